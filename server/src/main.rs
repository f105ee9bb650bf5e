//! The Ifmatch server: a subscription-billing backend in which no write is ever lost.

mod app;
mod budget;
mod commands;
mod config;
mod http;
mod key;
mod keyring;
mod kinds;
mod lane;
mod listener;
mod log;
mod metrics;
#[cfg(feature = "mutants")]
mod mutants;
mod network;
mod panel;
mod reads;
mod routes;
mod serve;
mod streams;
mod tail;
mod tls;
mod workers;

use config::{Config, Task};
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// The allocator.
///
/// Memory of a request is often allocated on one thread and freed on another. That costs the
/// system's allocator a lock each time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "mutants")]
    if let Some(code) = mutants::plant() {
        return code;
    }
    let (action, config) = match config::from_process() {
        Ok(asked) => asked,
        Err(error) => return ExitCode::from(error.report()),
    };
    if let Err(error) = log::start(config.log_format, &config.log_level) {
        eprintln!("log_level: {error}");
        return ExitCode::from(2);
    }
    match run(action, &config) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

fn run(action: Task, config: &Config) -> Result<ExitCode, commands::CommandError> {
    match action {
        Task::Serve => serve::serve(config).map(|()| ExitCode::SUCCESS),
        Task::Migrate => commands::migrate(config),
        Task::Keys(keys) => commands::keys(config, keys),
        Task::Openapi => commands::openapi(config),
        Task::Settings => commands::settings(),
        Task::Man => commands::man(),
        Task::Completions { shell } => commands::completions(shell),
        Task::Doctor => commands::doctor(config),
        Task::Verify => commands::verify(config),
        Task::Restored => commands::restored(config),
    }
}
