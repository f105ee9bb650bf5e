//! Places in the log of all changes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place in the log of all changes, between two of them. Pass it as `?after=` to go on from there.
///
/// It is text that only a server reads: `8812`, or `8812-5f0c9d2e71ab` after the log was replaced. A
/// number alone is a place in the first log of an installation, and 0 is the beginning of any log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct EventCursor(String);

impl EventCursor {
    /// The place after the event with this number, in the log of this epoch.
    ///
    /// The epoch is the name of a log. The first log of an installation has none.
    pub fn in_epoch(epoch: &str, seq: i64) -> Self {
        Self(if epoch.is_empty() { seq.to_string() } else { format!("{seq}-{epoch}") })
    }

    /// Its epoch and number, if it has the form of a cursor.
    pub fn parts(&self) -> Option<(&str, i64)> {
        let (seq, epoch) = match self.0.split_once('-') {
            Some((_, "")) => return None,
            Some((seq, epoch)) => (seq, epoch),
            None => (self.0.as_str(), ""),
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_plain(seq) || !is_plain(epoch) {
            return None;
        }
        Some((epoch, seq.parse().ok()?))
    }

    /// The cursor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names no place. The answer of a server that knows no cursors has such ones.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i64> for EventCursor {
    fn from(seq: i64) -> Self {
        Self(seq.to_string())
    }
}

impl From<&str> for EventCursor {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for EventCursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&Self> for EventCursor {
    fn from(cursor: &Self) -> Self {
        cursor.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_number_and_the_name_of_its_log() {
        for (epoch, seq, text) in [("", 8812, "8812"), ("5f0c", 7, "7-5f0c"), ("", 0, "0")] {
            let cursor = EventCursor::in_epoch(epoch, seq);
            assert_eq!(cursor.as_str(), text);
            assert_eq!(cursor.parts(), Some((epoch, seq)));
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in ["", "-1", "+1", "1-", "-", "x", "1-a-b", "1 ", "1-é", "9223372036854775808"] {
            assert_eq!(EventCursor::from(text).parts(), None, "{text:?}");
        }
    }
}
