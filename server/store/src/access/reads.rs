//! Reads of API keys.

use crate::{
    StoreError,
    core::{
        db::Db,
        record::{Record, records},
        sql::Sql,
    },
    on_backend,
    schema::{ApiKeyRow, StoredRow},
};
use diesel::{RunQueryDsl, sql_types::BigInt};
use ifmatch_domain::access::StoredApiKey;

/// How many API keys there are, and the sum of their versions.
///
/// A key is never removed, and each change of its rights or its end raises its version. Two sets of
/// keys that were read one after the other and have the same tally are therefore the same set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyTally {
    /// The number of keys, revoked ones included.
    pub keys: i64,
    /// The sum of their versions.
    pub versions: i64,
}

impl Db {
    /// Every API key, revoked ones included, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_keys(&mut self) -> Result<Vec<StoredApiKey>, StoreError> {
        records(ApiKeyRow::query(self, ApiKeyRow::select().text(" ORDER BY id"))?)
    }

    /// Counts the API keys, without reading them.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_key_tally(&mut self) -> Result<ApiKeyTally, StoreError> {
        let sql =
            Sql::new("SELECT count(*), CAST(coalesce(sum(version), 0) AS bigint) FROM api_keys")
                .returning::<(BigInt, BigInt)>();
        let (keys, versions) = on_backend!(self, c => sql.get_result::<(i64, i64)>(c))?;
        Ok(ApiKeyTally { keys, versions })
    }

    /// The API key with this digest, revoked or not.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_key(&mut self, digest: &str) -> Result<Option<StoredApiKey>, StoreError> {
        let sql = ApiKeyRow::select().text(" WHERE digest = ").bind(digest);
        ApiKeyRow::query(self, sql)?.into_iter().next().map(Record::from_row).transpose()
    }
}
