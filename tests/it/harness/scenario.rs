//! Runs a scenario as a test: a fresh database, a fresh server, its own runtime.

use super::{Backend, Database, Server};
use std::{sync::Arc, time::Duration};

/// A longer scenario is taken for hung. Tests that kill servers many times stay below it too.
const SCENARIO_MAX: Duration = Duration::from_mins(15);

/// Runs `scenario` against a new server on a new database.
pub fn run<F>(backend: Backend, scenario: impl FnOnce(Server) -> F)
where
    F: Future<Output = ()>,
{
    block_on(async {
        let server = Server::start(Arc::new(Database::create(backend))).await;
        scenario(server).await;
    });
}

/// Runs a future to its end on a new runtime.
pub fn block_on(scenario: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(async {
            tokio::time::timeout(SCENARIO_MAX, scenario)
                .await
                .expect("the scenario ends in reasonable time");
        });
}

/// Makes two tests, `name::sqlite` and `name::postgres`, of each `async fn name(server: Server)`.
macro_rules! both_databases {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[test]
                fn sqlite() {
                    $crate::harness::run($crate::harness::Backend::Sqlite, super::$name);
                }

                #[test]
                fn postgres() {
                    $crate::harness::run($crate::harness::Backend::Postgres, super::$name);
                }
            }
        )*
    };
}

/// Makes the test `name::postgres` of each scenario that needs several server processes.
macro_rules! postgres_only {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[test]
                fn postgres() {
                    $crate::harness::run($crate::harness::Backend::Postgres, super::$name);
                }
            }
        )*
    };
}

/// Makes the test `name::sqlite` of each scenario about the layer before the API, or about a page that
/// sees only the API: it is expensive, and a second database would show nothing new.
macro_rules! sqlite_only {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[test]
                fn sqlite() {
                    $crate::harness::run($crate::harness::Backend::Sqlite, super::$name);
                }
            }
        )*
    };
}

pub(crate) use {both_databases, postgres_only, sqlite_only};
