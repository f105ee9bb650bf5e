//! The owner token of a grant: whoever knows it can renew and release the grant.

use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, sync::Arc};

/// An owner token. It is in no log, error or `Debug` output, and is not written to disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerToken {
    /// `None` after it was read from disk.
    #[serde(skip)]
    token: Option<Arc<str>>,
}

impl OwnerToken {
    pub(crate) fn new(token: String) -> Self {
        Self { token: Some(token.into()) }
    }

    /// The body with the token in it, as it is sent.
    pub(crate) fn put_into(&self, body: Option<&str>) -> Result<String, Error> {
        let Some(token) = &self.token else {
            let lost = "the owner token of the lock was not kept; the lock expires by itself";
            return Err(Error::Unsendable(lost.to_owned()));
        };
        let mut body: Value = serde_json::from_str(body.unwrap_or("{}")).map_err(Error::Encode)?;
        if let Value::Object(body) = &mut body {
            body.insert("owner".to_owned(), Value::from(&**token));
        }
        Ok(body.to_string())
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken(…)")
    }
}
