//! Entitlements over HTTP: features, packages, boosts, and the usage of what they grant.

mod entitlements;
pub mod observe;
pub mod problem;
pub mod render;
pub mod routes;
mod scope_path;
mod usage;
