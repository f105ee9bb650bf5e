//! Products and servers, as the API has them.

pub mod observe;
pub mod problem;
pub mod render;
pub mod routes;
mod servers;
