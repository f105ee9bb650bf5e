//! A 2xx answer: its body, and what its headers say about the write.

use crate::{Error, Versioned, WriteInfo};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A 2xx answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) body: Value,
    pub(crate) info: WriteInfo,
}

impl Reply {
    pub(crate) fn new(headers: &HeaderMap, body: Value) -> Self {
        Self { body, info: write_info(headers) }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_value(self.body).map_err(Error::Decode)
    }

    /// The version comes from the body: proxies weaken ETags, and then no tag matches.
    pub(crate) fn versioned<T: DeserializeOwned>(self) -> Result<Versioned<T>, Error> {
        let info = self.info.clone();
        let version = version_of(&self.body)?;
        Ok(Versioned::with(self.decode()?, version, info))
    }
}

/// The `version` in an object's JSON.
pub(crate) fn version_of(object: &Value) -> Result<ifmatch_types::Version, Error> {
    use serde::de::Error as _;
    object.get("version").and_then(Value::as_i64).ok_or_else(|| {
        Error::Decode(serde_json::Error::custom("the answer is not a versioned object"))
    })
}

fn write_info(headers: &HeaderMap) -> WriteInfo {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    WriteInfo {
        merged_from: text("x-merged-from").and_then(|version| version.parse().ok()),
        changed: text("x-changed") != Some("false"),
        overwrote: text("x-overwrote").map(paths).unwrap_or_default(),
        forced: text("x-forced") == Some("true"),
        replayed: text("idempotency-replayed") == Some("true"),
        conflicts: 0,
    }
}

/// Paths as a header has them: with commas between them, and escaped where they are not plain.
fn paths(list: &str) -> Vec<String> {
    list.split(',').map(|path| unescaped(path.trim())).filter(|path| !path.is_empty()).collect()
}

fn unescaped(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn headers_tell_what_a_write_did() {
        assert_eq!(write_info(&HeaderMap::new()), WriteInfo::default());
        let mut headers = HeaderMap::new();
        headers.insert("x-merged-from", HeaderValue::from_static("3"));
        headers.insert("x-changed", HeaderValue::from_static("false"));
        headers.insert("x-overwrote", HeaderValue::from_static("/notes, /a%2Cb%25"));
        headers.insert("x-forced", HeaderValue::from_static("true"));
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        let info = write_info(&headers);
        assert_eq!(info.merged_from, Some(3));
        assert_eq!(info.overwrote, ["/notes", "/a,b%"]);
        assert!(!info.changed && info.forced && info.replayed);
    }
}
