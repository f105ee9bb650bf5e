//! Recorded histories: what concurrent clients did and which answers they got.
//!
//! Servers are killed and frozen and answers are lost meanwhile. Checkers judge the history
//! afterwards and know nothing about the implementation. They are pure, and are tested with wrong
//! histories. `tests/mutants` shows that the scenarios detect wrong servers.

mod bookings;
mod capacity;
mod client;
mod events;
mod grants;
mod linear;
mod locks;
mod objects;
mod operation;
mod span;
mod stage;
mod units;
mod versions;

use crate::harness::{
    Backend, Cluster, Database, MUTANT, Server, Settings, Wire, binary, block_on, both_databases,
    id, postgres_only, version,
};
use serde_json::json;
use stage::{
    Disturbance::{Crash, Kill, Pause},
    Disturbances, Stage,
};
use std::sync::Arc;

both_databases![
    versions_follow_each_other_whatever_happens,
    units_are_used_once_and_never_beyond_the_limit_whatever_happens,
    days_are_never_overbooked_whatever_happens,
    lock_holders_lose_no_update_whatever_happens,
    without_fences_an_update_is_lost,
];
postgres_only![
    versions_follow_each_other_on_two_servers,
    units_are_used_once_and_never_beyond_the_limit_on_two_servers,
    days_are_never_overbooked_on_two_servers,
    lock_holders_lose_no_update_on_two_servers,
];

#[test]
fn a_server_that_was_built_as_usual_has_no_bugs_to_plant() {
    // `tests/mutants` checks that a server built with planted bugs does contain the name.
    let program = std::fs::read(binary()).expect("the server can be read");
    let is_there = program.windows(MUTANT.len()).any(|bytes| bytes == MUTANT.as_bytes());
    assert!(!is_there, "{MUTANT} means something to the server");
}

/// Disturbances of a server, by the percentage of operations done.
const DISTURBANCES: Disturbances = &[(10, Kill), (30, Pause), (45, Kill), (65, Pause), (80, Kill)];
/// Crashes of the database, by the percentage of operations done.
const CRASHES: Disturbances = &[(20, Crash), (50, Crash), (80, Crash)];

/// The histories under crashes of PostgreSQL. Each needs its own cluster.
mod crashes {
    use super::*;

    #[test]
    fn versions_follow_each_other_when_postgresql_crashes() {
        block_on(async { objects::race(crashing(objects::CLIENTS).await, CRASHES).await });
    }

    #[test]
    fn units_are_used_once_and_never_beyond_the_limit_when_postgresql_crashes() {
        block_on(async { units::race(crashing(units::CLIENTS).await, CRASHES).await });
    }

    #[test]
    fn days_are_never_overbooked_when_postgresql_crashes() {
        block_on(async { bookings::race(crashing(bookings::CLIENTS).await, CRASHES).await });
    }

    #[test]
    fn lock_holders_lose_no_update_when_postgresql_crashes() {
        block_on(async { locks::race(crashing(locks::CLIENTS).await, CRASHES).await });
    }
}

/// The histories while commits, or their answers, are lost on the way to PostgreSQL. No client may
/// notice.
mod lost_commits {
    use super::*;

    #[test]
    fn versions_follow_each_other_when_commits_get_lost() {
        block_on(async { objects::race(losing(objects::CLIENTS).await, &[]).await });
    }

    #[test]
    fn units_are_used_once_and_never_beyond_the_limit_when_commits_get_lost() {
        block_on(async { units::race(losing(units::CLIENTS).await, &[]).await });
    }

    #[test]
    fn days_are_never_overbooked_when_commits_get_lost() {
        block_on(async { bookings::race(losing(bookings::CLIENTS).await, &[]).await });
    }

    #[test]
    fn lock_holders_lose_no_update_when_commits_get_lost() {
        block_on(async { locks::race(losing(locks::CLIENTS).await, &[]).await });
    }

    #[test]
    fn each_write_is_answered_as_if_its_commit_had_not_been_lost() {
        block_on(async {
            let (server, wire) = wired().await;
            let api = server.api();
            let workspace = api.make_workspace(json!({})).await;
            let path = format!("/v1/workspaces/{}", id(&workspace));
            wire.lose_one_of(2);
            for base in 1..=12 {
                let body = json!({"name": format!("name {base}"), "version": base});
                let written = api.patch(&path, &body).await.ok(200);
                assert_eq!(version(&written), base + 1, "written once: {written}");
                assert_eq!(api.get(&path).await.ok(200), written);
            }
            wire.lose_one_of(0);
            assert!(wire.lost() > 6, "some were lost: {}", wire.lost());
        });
    }
}

/// A server whose connection to its database can lose commits.
async fn wired() -> (Server, Wire) {
    let database = Arc::new(Database::create(Backend::Postgres));
    let wire = Wire::before(database.url()).await;
    let settings = Settings {
        args: ["--database-url", wire.url()].map(str::to_owned).to_vec(),
        ..Settings::without("--database-url")
    };
    (Server::start_with(database, settings).await, wire)
}

async fn losing(clients: usize) -> Stage {
    let (server, wire) = wired().await;
    two(server, clients).await.behind(wire)
}

async fn crashing(clients: usize) -> Stage {
    let database = Arc::new(Database::create_in(Cluster::create()));
    two(Server::start(database).await, clients).await
}

async fn alone(server: Server, clients: usize) -> Stage {
    Stage::set(vec![server], clients).await
}

async fn two(server: Server, clients: usize) -> Stage {
    let second = server.sibling().await;
    Stage::set(vec![server, second], clients).await
}

async fn versions_follow_each_other_whatever_happens(server: Server) {
    objects::race(alone(server, objects::CLIENTS).await, DISTURBANCES).await;
}

async fn versions_follow_each_other_on_two_servers(server: Server) {
    objects::race(two(server, objects::CLIENTS).await, DISTURBANCES).await;
}

async fn units_are_used_once_and_never_beyond_the_limit_whatever_happens(server: Server) {
    units::race(alone(server, units::CLIENTS).await, DISTURBANCES).await;
}

async fn units_are_used_once_and_never_beyond_the_limit_on_two_servers(server: Server) {
    units::race(two(server, units::CLIENTS).await, DISTURBANCES).await;
}

async fn days_are_never_overbooked_whatever_happens(server: Server) {
    bookings::race(alone(server, bookings::CLIENTS).await, DISTURBANCES).await;
}

async fn days_are_never_overbooked_on_two_servers(server: Server) {
    bookings::race(two(server, bookings::CLIENTS).await, DISTURBANCES).await;
}

async fn lock_holders_lose_no_update_whatever_happens(server: Server) {
    locks::race(alone(server, locks::CLIENTS).await, DISTURBANCES).await;
}

async fn lock_holders_lose_no_update_on_two_servers(server: Server) {
    locks::race(two(server, locks::CLIENTS).await, DISTURBANCES).await;
}

async fn without_fences_an_update_is_lost(server: Server) {
    locks::race_without_fences(server).await;
}
