//! The entitlement log: changes of a scope's packages, boosts, usage and holds.

use crate::core::Context;
use ifmatch_types::{By, EntitlementLogEntry};
use serde_json::Value;

/// One line to be saved to the entitlement log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// The scope that owns the log.
    pub scope: String,
    /// The line.
    pub entry: EntitlementLogEntry,
}

/// Adds a line to a scope's log, with the caller as author.
pub(crate) fn log(of: &str, log_type: &str, details: Value, ctx: &mut Context<'_>) {
    let by = ctx.meta.by(false);
    log_as(by, of, log_type, details, ctx);
}

/// Adds a line to a scope's log, with the given author.
pub(crate) fn log_as(by: By, of: &str, log_type: &str, details: Value, ctx: &mut Context<'_>) {
    let entry = EntitlementLogEntry {
        id: ctx.ids.fresh("elg_"),
        log_type: log_type.to_owned(),
        at: ctx.now,
        by,
        request_id: ctx.meta.request_id.clone(),
        details,
    };
    ctx.state.entitlement_mut().log.push(LogLine { scope: of.to_owned(), entry });
}
