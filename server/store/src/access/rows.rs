//! The rows of API keys.

use crate::{
    core::{
        column::{ids, names},
        record::record,
    },
    schema::ApiKeyRow,
};
use ifmatch_domain::access::StoredApiKey;
use ifmatch_types::{ApiKey, ApiKeyId, Role};

ids!(ApiKeyId);
names!(Role);

record! {
    ApiKeyRow => StoredApiKey {
        key: ApiKey {
            id, name, role, workspace_id, acting_for, created_at, expires_at, revoked_at,
            rotated_to, last_used_at,
        },
        digest, version, name_key, line_id,
    }
}
