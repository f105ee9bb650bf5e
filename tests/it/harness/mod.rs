//! The base of every scenario: a database, the server's binary, a client, and faults.

mod answer;
mod api;
mod browser;
mod cluster;
mod database;
mod documented;
mod entitlements;
mod fixtures;
mod healthy_panel;
#[path = "../../support/panel/mod.rs"]
pub mod panel;
mod pool;
mod process;
pub mod proxy;
mod scenario;
mod server;
mod socket;
mod sse;
mod wait;
mod wire;

pub use answer::Answer;
pub use api::{Api, Call};
pub use browser::Browser;
pub use cluster::Cluster;
pub use database::{Backend, Database};
pub use entitlements::{grant, in_ms, instant, members, scope, units};
pub use fixtures::{day, id, unique, version, with};
pub use pool::Pool;
pub use process::{
    Finished, MUTANT, binary, find_key, run_deaf, run_example, run_to_end, without_settings,
};
pub use scenario::{block_on, run};
pub(crate) use scenario::{both_databases, postgres_only, sqlite_only};
pub use server::{ADMIN_KEY, Server, Settings};
pub use socket::Socket;
pub use sse::{EventStream, field};
pub use wait::{eventually, together};
pub use wire::Wire;
