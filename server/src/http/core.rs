//! The HTTP side without any system: the code that all requests, replies and routes share.

pub mod auth;
pub mod body;
pub mod caller;
pub mod change;
pub mod collection;
pub mod endpoint;
pub mod events;
pub mod finish;
pub mod force;
pub mod frame;
pub mod history;
pub mod idempotency;
pub mod limit;
pub mod list;
pub mod objects;
pub mod observe;
pub mod openapi;
pub mod ops;
pub mod pages;
pub mod precondition;
pub mod problem;
pub mod query;
pub mod refused;
pub mod render;
pub mod request;
pub mod routes;
