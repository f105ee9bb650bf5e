//! Redactions: values that a person asked to be forgotten.

use crate::Version;

/// The text that stands where a value was redacted. A field that may be `null` becomes `null`.
pub const REDACTED: &str = "[redacted]";

wire! {
    /// Replace the values at some paths, wherever they are stored.
    #[serde(deny_unknown_fields)]
    pub struct NewRedaction {
        /// JSON Pointers, 1 to 60: those of `/name`, `/email`, `/notes`, `/description` and
        /// `/user_id` that the object has, and keys of its metadata such as `/metadata/phone`.
        pub paths: Vec<String>,
        /// The reason, 1 to 500 characters. It is kept, so it must not repeat the values.
        pub reason: String,
        /// The version this was computed from, unless `If-Match` names it. Of a deleted object: its
        /// newest version, or the last living one if it was not redacted since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<Version>,
    }
}
