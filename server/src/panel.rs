//! The panel's client: one call of Pterodactyl's or Pelican's Application API, and what it told.
//!
//! A panel is slow and fails, and a proxy may answer in its place. Answers are untrusted input.
//! A call therefore never fails: it ends in an
//! [`Observation`](ifmatch_domain::provisioning::Observation), which is `Unclear` if the answer
//! proves nothing. The saga decides what follows.

mod answer;
mod client;
mod config;
mod detail;
mod exchange;
mod pelican;
mod pterodactyl;
mod wire;

#[cfg(test)]
mod tests;

pub use client::Panel;
pub use config::{PanelConfig, PanelError};
