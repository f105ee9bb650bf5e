//! The routes of products and servers.

use super::servers;
use crate::http::core::{
    collection::{READS, collection, collection_with, paths},
    endpoint::{Endpoint, get, group, post, schema},
    query::WAIT_MAX_MS,
};
use ifmatch_types::{
    Code, NewResolution, Product, ProductFields, Server, ServerEntry, ServerFields,
};

/// The section of servers in the OpenAPI document.
const SERVERS: &str = "Servers";

/// Every route of provisioning.
pub fn routes() -> Vec<Endpoint> {
    let products = collection::<Product, ProductFields>(
        "Products",
        &paths!("products"),
        &[Code::ProductInUse],
    );
    let create = post("/v1/servers", servers::create)
        .body::<ServerFields>()
        .query(
            "wait_ms",
            "How long to wait for the server to become active; 201 if it does",
            schema::integer(0, WAIT_MAX_MS.into()),
        )
        .problems(&[
            Code::PanelNotConfigured,
            Code::ProductUnavailable,
            Code::ServerLimitReached,
            Code::InsufficientCredits,
        ]);
    let servers = collection_with::<Server, ServerFields>(
        SERVERS,
        &paths!("servers"),
        create,
        &[Code::InvalidStateTransition],
    );
    [products, servers, timelines()].into_iter().flatten().collect()
}

fn timelines() -> Vec<Endpoint> {
    group(
        SERVERS,
        [
            get("/v1/servers/{id}/timeline", servers::timeline)
                .viewer()
                .scoped()
                .paged()
                .operation_id("list_server_timeline")
                .summary(
                    "List what happened to a server: each claim, call, observation and verdict",
                )
                .answers_page::<ServerEntry>(200)
                .problems(READS),
            post("/v1/servers/{id}/resolve", servers::resolve)
                .admin()
                .names_version()
                .idempotent()
                .tagged()
                .operation_id("resolve_server")
                .summary(
                    "Resolve a server: decide for the panel that it exists and is charged, or that \
                     it failed and its credits are given back",
                )
                .body::<NewResolution>()
                .answers::<Server>(200)
                .problems(READS)
                .problems(&[Code::InvalidStateTransition]),
        ],
    )
}
