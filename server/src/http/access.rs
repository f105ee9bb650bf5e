//! Access over HTTP: API keys and the audit log.

mod api_keys;
mod audit;
pub mod render;
pub mod routes;
