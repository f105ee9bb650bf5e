//! `?force=true`: an admin's request to skip the version check, with its reason.

use super::{
    problem::HttpProblem,
    query::{Params, Query},
};
use actix_web::{HttpRequest, http::header::HeaderMap};
use ifmatch_domain::core::Force;
use ifmatch_types::{Code, Role};

/// Maximum length of a reason, in characters.
pub const REASON_MAX: usize = 500;

/// Whether a request asks for force. The gate checks it on every path: only an admin may even ask.
pub fn is_wanted(request: &HttpRequest) -> bool {
    !request.method().is_safe() && Query::of(request).has("force", "true")
}

/// Takes `?force=true` of a write.
///
/// # Errors
///
/// `FORCE_FORBIDDEN` for all roles but admin, `REASON_REQUIRED` without `X-Force-Reason`, and
/// `VALIDATION_FAILED`.
pub fn read(
    params: &mut Params,
    headers: &HeaderMap,
    role: Role,
) -> Result<Option<Force>, HttpProblem> {
    if !take(params, role)? {
        return Ok(None);
    }
    let reason = reason(headers).ok_or_else(|| {
        HttpProblem::new(Code::ReasonRequired, "give the reason in X-Force-Reason")
    })?;
    if reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(HttpProblem::invalid(
            "X-Force-Reason",
            format!("must have 1 to {REASON_MAX} characters on one line"),
        ));
    }
    Ok(Some(Force { reason: reason.to_owned() }))
}

/// Takes `?force=true` of a preview. It needs no reason, because nothing is recorded.
///
/// # Errors
///
/// `FORCE_FORBIDDEN` for all roles but admin, and `VALIDATION_FAILED`.
pub fn read_unrecorded(params: &mut Params, role: Role) -> Result<Option<Force>, HttpProblem> {
    Ok(take(params, role)?.then(|| Force { reason: String::new() }))
}

/// Takes the parameter, and refuses it for all roles but admin.
fn take(params: &mut Params, role: Role) -> Result<bool, HttpProblem> {
    let force: bool = params.parsed("force", "true or false")?.unwrap_or_default();
    // The gate lets only admins through. This check holds even without the gate.
    if force && !role.allows(Role::Admin) {
        return Err(forbidden());
    }
    Ok(force)
}

/// The refusal of a force whose caller is not an admin.
pub fn forbidden() -> HttpProblem {
    HttpProblem::new(Code::ForceForbidden, "force needs the role admin")
}

/// The reason given for a force, if any.
pub fn reason(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("x-force-reason")?;
    let reason = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
    (!reason.is_empty()).then_some(reason)
}
