//! Entitlements: packages and boosts grant, usage consumes, and limits are never exceeded.

mod advice;
mod assignments;
mod base_packages;
mod batches;
mod boosts;
mod catalogue;
mod consumables;
mod crashes;
mod events;
mod holds;
mod limits;
mod log;
mod packages;
mod provisioning;
mod races;
mod refusals;
mod reversals;
mod scopes;
mod usage;

use crate::harness::{Api, Backend, Server};

/// Clients of every server on the database. On PostgreSQL that includes a second server, which is
/// killed when the returned list is dropped.
async fn clients(server: &Server) -> (Vec<Api>, Vec<Server>) {
    let siblings = match server.database().backend() {
        Backend::Sqlite => Vec::new(),
        Backend::Postgres => vec![server.sibling().await],
    };
    let apis = std::iter::once(server).chain(&siblings).map(Server::api).collect();
    (apis, siblings)
}
