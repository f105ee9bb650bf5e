//! A fake of Pterodactyl's and Pelican's Application API that behaves as badly as the real ones.
//!
//! It needs only tokio, serde_json and fastrand, so that tests, examples and benchmarks include it
//! by path. Its facts come from the panels' sources: Pterodactyl 1.11 and Pelican 1.0.0-beta38.
#![allow(dead_code, unused_imports, reason = "each test, example and benchmark uses a part of it")]

mod answers;
mod chaos;
mod connection;
mod desk;
mod fields;
mod handle;
mod http;
mod jobs;
mod node;
mod routes;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod trouble;

pub use chaos::Chaos;
pub use handle::Panel;
pub use rows::Remote;
pub use state::Call;
pub use trouble::{Kind, On, Told, Trouble};
