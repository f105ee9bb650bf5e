//! The id that ties an answer to the log lines about its request.

use std::{fmt, sync::Arc};
use uuid::Uuid;

/// The id of one request, in its answer and in every log line about it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Maximum length of a caller's id, in characters.
    pub const LEN_MAX: usize = 128;

    /// The caller's `X-Request-Id` if it is safe to repeat, else a new UUIDv7.
    ///
    /// A safe id has 1–128 characters of `A-Z a-z 0-9 . _ : -`. It is written to logs and headers
    /// as it is.
    pub fn from_header(value: Option<&str>) -> Self {
        let sane =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        match value {
            Some(id) if (1..=Self::LEN_MAX).contains(&id.len()) && id.bytes().all(sane) => {
                Self(id.into())
            }
            _ => Self::new(),
        }
    }

    /// A new id, for work that belongs to no request.
    pub fn new() -> Self {
        let mut buffer = Uuid::encode_buffer();
        Self(Arc::from(&*Uuid::now_v7().hyphenated().encode_lower(&mut buffer)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_of_the_caller_is_kept() {
        for id in ["a", "req-1", "A.b_c:9-", &"x".repeat(128)] {
            assert_eq!(RequestId::from_header(Some(id)).as_str(), id);
        }
    }

    #[test]
    fn anything_else_is_replaced_by_a_uuid_v7() {
        for id in [None, Some(""), Some("a b"), Some("a\nb"), Some("é"), Some(&*"x".repeat(129))] {
            let made = RequestId::from_header(id);
            let uuid: Uuid = made.as_str().parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7, "{id:?}");
        }
        assert_ne!(RequestId::new(), RequestId::new());
    }
}
