//! The routes of access: the audit log and API keys.

use super::{
    api_keys::{self, ApiKeyWithSecret},
    audit,
};
use crate::http::core::{
    collection::KNOWN,
    endpoint::{Endpoint, delete, get, group, post, schema},
};
use ifmatch_types::{ApiKey, AuditRecord, Code, NewApiKey, Rotation};

/// Every route of access.
pub fn routes() -> Vec<Endpoint> {
    let audit = group(
        "Changes",
        [get("/v1/audit", audit::list)
            .admin()
            .paged()
            .query("type", "Only records of this type", schema::some_text())
            .query("actor", "Only records of this API key's name", schema::some_text())
            .query("since", "Only from this instant on", schema::instant())
            .summary("List uses of special rights")
            .answers_page::<AuditRecord>(200)],
    );
    let api_keys = group(
        "API keys",
        [
            post("/v1/api-keys", api_keys::create)
                .admin()
                .idempotent()
                .summary("Create a key; it is shown only once")
                .body::<NewApiKey>()
                .answers::<ApiKeyWithSecret>(201)
                .problems(&[Code::AlreadyExists, Code::WrongIdType]),
            get("/v1/api-keys", api_keys::list)
                .admin()
                .paged()
                .summary("List all keys")
                .answers_page::<ApiKey>(200),
            post("/v1/api-keys/{id}/rotate", api_keys::rotate)
                .admin()
                .idempotent()
                .operation_id("rotate_api_key")
                .summary("Rotate a key")
                .optional_body::<Rotation>()
                .answers::<ApiKeyWithSecret>(201)
                .problems(KNOWN)
                .problems(&[Code::InvalidStateTransition]),
            delete("/v1/api-keys/{id}", api_keys::revoke)
                .admin()
                .idempotent()
                .summary("Revoke a key")
                .answers::<ApiKey>(200)
                .problems(KNOWN),
        ],
    );
    [audit, api_keys].into_iter().flatten().collect()
}
