//! Reads of API keys.

use crate::{
    StoreError,
    core::{
        db::Db,
        record::{Record, records},
    },
    schema::{ApiKeyRow, StoredRow},
};
use ifmatch_domain::StoredApiKey;

impl Db {
    /// Every API key there is, revoked ones included, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_keys(&mut self) -> Result<Vec<StoredApiKey>, StoreError> {
        records(ApiKeyRow::query(self, ApiKeyRow::select().text(" ORDER BY id"))?)
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
