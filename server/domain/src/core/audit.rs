//! Audit records of actions that need a special right, whether allowed or denied.

use super::{command::RecordDenied, context::Context, journal::Audit};
use ifmatch_types::AuditResource;

/// An audit record that names no object version.
pub(crate) fn plain_audit(
    audit_type: &str,
    resource: Option<AuditResource>,
    reason: Option<String>,
    ctx: &mut Context<'_>,
) -> Audit {
    Audit {
        id: ctx.ids.fresh("aud_"),
        audit_type: audit_type.to_owned(),
        at: ctx.now,
        actor: ctx.meta.actor.name.clone(),
        key_id: ctx.meta.actor.key_id.clone(),
        on_behalf_of: ctx.meta.on_behalf_of.clone(),
        reason,
        request_id: ctx.meta.request_id.clone(),
        resource,
        expected_version: None,
        overwritten_version: None,
        changes: Vec::new(),
        attempts: 1,
    }
}

/// Records forced writes that were refused because of the caller's role.
pub(crate) fn record_denied(denied: &RecordDenied, ctx: &mut Context<'_>) {
    let resource = denied
        .object
        .as_ref()
        .map(|(kind, id)| AuditResource { resource_type: kind.name().to_owned(), id: id.clone() });
    let record = plain_audit("force_denied", resource, denied.reason.clone(), ctx);
    ctx.state.audits.push(Audit { attempts: denied.attempts, ..record });
}
