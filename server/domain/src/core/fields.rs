//! Checks of single fields that all collections share.

use super::{rejection::Rejection, resource::Resource, state::State, versioned::alive};
use ifmatch_types::{FieldError, INTEGER_MAX, Kind, Metadata, pointer};

/// The invalid fields found so far.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Adds an invalid field.
    pub fn push(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { path: path.into(), message: message.into() });
    }

    /// Returns a rejection if any field is invalid.
    pub fn into_result(self) -> Result<(), Rejection> {
        if self.0.is_empty() { Ok(()) } else { Err(Rejection::Invalid(self.0)) }
    }

    /// Checks for `min..=max` characters, with no control characters but line breaks and tabs.
    pub fn text(&mut self, path: &str, value: &str, min: usize, max: usize) {
        let length = value.chars().count();
        if length < min && value.is_empty() {
            self.push(path, "must not be empty");
        } else if length < min || length > max {
            self.push(path, format!("must have {min} to {max} characters, but has {length}"));
        }
        if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.push(path, "must not contain control characters");
        }
    }

    /// Checks for a whole number in `min..=max`.
    pub fn range(&mut self, path: &str, value: i64, min: i64, max: i64) {
        if value < min || value > max {
            let message = if max == INTEGER_MAX && value < min {
                format!("must be at least {min}, but is {value}")
            } else {
                format!("must be from {min} to {max}, but is {value}")
            };
            self.push(path, message);
        }
    }

    /// Checks for an ISO 4217 code in upper case.
    pub fn currency(&mut self, path: &str, value: &str) {
        let known = iso_currency::Currency::from_code(value).is_some();
        if !known {
            self.push(path, "must be an ISO 4217 currency code in upper case, such as USD");
        }
    }

    /// Checks a caller's own keys and values.
    pub fn metadata(&mut self, metadata: &Metadata) {
        if metadata.len() > 50 {
            self.push(
                "/metadata",
                format!("must have at most 50 keys, but has {}", metadata.len()),
            );
        }
        for (key, value) in metadata {
            let path = pointer::member("/metadata", key);
            self.text(&path, key, 1, 40);
            self.text(&path, value, 0, 500);
        }
    }

    /// Checks a code that callers choose: letters, digits and `. _ : -`.
    pub fn code(&mut self, path: &str, value: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if value.is_empty() || value.len() > 100 || !value.chars().all(allowed) {
            self.push(path, "must have 1 to 100 characters from A-Z a-z 0-9 . _ : -");
        } else if matches!(value, "." | "..") {
            self.push(path, r#"must not be "." or "..""#);
        }
    }

    /// Checks a reference to another object.
    pub fn reference(&mut self, path: &str, id: &str) {
        if id.is_empty() {
            self.push(path, "must not be empty");
        }
    }
}

/// The living object that a field names.
pub(crate) fn referenced<'a, R: Resource>(
    path: &str,
    id: &str,
    state: &'a State,
) -> Result<&'a R, Rejection> {
    if Kind::of_id(id).is_some_and(|kind| kind != R::KIND) {
        let expected_prefix = R::KIND.id_prefix();
        return Err(Rejection::WrongIdType { path: path.to_owned(), expected_prefix });
    }
    let none = |_| Rejection::invalid(path, format!("no such {}", R::KIND.name()));
    alive::<R>(id, state).map_err(none)
}
