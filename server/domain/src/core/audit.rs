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

/// Records uses of a special right that were refused because of the caller's role.
pub(crate) fn record_denied(denied: &RecordDenied, ctx: &mut Context<'_>) {
    let (resource, reason) = (denied.resource.clone(), denied.reason.clone());
    let record = plain_audit(denied.audit_type, resource, reason, ctx);
    ctx.state.audits.push(Audit { attempts: denied.attempts, ..record });
}
