//! For admins: API keys and the audit log.

use crate::{Call, Client, List, reply::Reply};
use ifmatch_types::{ApiKey, ApiKeyId, AuditRecord, NewApiKey, Rotation};
use serde::Deserialize;
use std::{fmt, time::Duration};

/// The keys to the API; needs the role `admin`.
///
/// ```
/// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
/// for key in billing.api_keys().list().await?.items {
///     println!("{} {}", key.name, key.role.name());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ApiKeys {
    client: Client,
}

/// A key that was just made. Its `Debug` output hides the secret.
#[derive(Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct IssuedApiKey {
    /// The key, as lists show it.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// The secret for requests, shown only here. `None` if the first answer got lost: the server
    /// keeps no secrets, so revoke such a key and make another.
    #[serde(rename = "key", default)]
    pub secret: Option<String>,
}

impl fmt::Debug for IssuedApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedApiKey").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

impl Client {
    /// The keys to the API.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client) {
    /// let keys: ifmatch::ApiKeys = billing.api_keys();
    /// # }
    /// ```
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys { client: self.clone() }
    }

    /// The audit log, newest first: forced writes, denied attempts, keys made and revoked.
    ///
    /// Filters are `type`, `actor` and `since`; needs the role `admin`.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// for record in billing.audit().filter("type", "forced_write").await?.items {
    ///     println!("{} {}: {}", record.at, record.actor, record.reason.unwrap_or_default());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn audit(&self) -> List<AuditRecord> {
        List::new(self, &["audit"])
    }
}

impl ApiKeys {
    /// Makes a key; every change made with it is recorded under its name and its id.
    ///
    /// Your own services hold keys of the role `agent`. A customer's program gets a key of its own,
    /// of the role `viewer` or `usage`, for one workspace and with an end.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use ifmatch::{NewApiKey, Role};
    ///
    /// let issued = billing.api_keys().create(NewApiKey::new("billing-job", Role::Agent)).await?;
    ///
    /// let meter = NewApiKey {
    ///     workspace_id: Some("wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f".parse()?),
    ///     expires_at: Some("2030-01-01T00:00:00Z".parse()?),
    ///     ..NewApiKey::new("acme-meter", Role::Usage)
    /// };
    /// let issued = billing.api_keys().create(meter).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if the role of this client's own key is too small.
    pub fn create(&self, key: NewApiKey) -> Call<IssuedApiKey> {
        Call::post(&self.client, &["api-keys"], &key, Reply::decode)
    }

    /// The existing keys, without their secrets.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// let page = billing.api_keys().list().await?;
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List<ApiKey> {
        List::new(&self.client, &["api-keys"])
    }

    /// Replaces a key by a new one of the same kind. The old one works for `overlap` longer.
    ///
    /// The new key continues the line of the old one: a request that was sent with the old key can
    /// be repeated with the new one, under the same Idempotency-Key.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ApiKeyId)
    /// # -> Result<(), ifmatch::Error> {
    /// let hour = std::time::Duration::from_secs(3_600);
    /// let issued = billing.api_keys().rotate(&id, hour).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if there is no such key, or if it was revoked, has
    /// expired or was rotated before.
    pub fn rotate(&self, id: &ApiKeyId, overlap: Duration) -> Call<IssuedApiKey> {
        let overlap_ms = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
        let path = ["api-keys", id.as_str(), "rotate"];
        Call::post(&self.client, &path, &Rotation { overlap_ms }, Reply::decode)
    }

    /// Revokes a key: at once in the server process that answers, within 3 seconds in others.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ApiKeyId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.api_keys().revoke(&id).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if there is no such key.
    pub fn revoke(&self, id: &ApiKeyId) -> Call<ApiKey> {
        Call::delete(&self.client, &["api-keys", id.as_str()], Reply::decode)
    }
}
