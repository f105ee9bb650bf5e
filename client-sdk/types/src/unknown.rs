//! Names of the wire that this version does not know, kept so that enumerations can be `Copy`.
//!
//! A kept name is never freed. Their number and length are bounded, so that a faulty server cannot
//! fill the memory of its clients.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Maximum number of names that are kept.
const NAMES_MAX: usize = 1_000;
/// Maximum length of a name that is kept.
const NAME_BYTES_MAX: usize = 64;
/// Stands for a name beyond these bounds.
const UNKNOWN: &str = "unknown";

static NAMES: Names = Names(Mutex::new(BTreeSet::new()));

struct Names(Mutex<BTreeSet<&'static str>>);

/// The same text for the rest of the process, or `unknown` if there are too many or it is too long.
pub(crate) fn keep(name: &str) -> &'static str {
    NAMES.keep(name)
}

impl Names {
    fn keep(&self, name: &str) -> &'static str {
        if name.len() > NAME_BYTES_MAX {
            return UNKNOWN;
        }
        // A set of texts is sound after a panic, too.
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = names.get(name) {
            return kept;
        }
        if names.len() == NAMES_MAX {
            return UNKNOWN;
        }
        let kept: &'static str = Box::leak(name.into());
        names.insert(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let names = Names(Mutex::default());
        let first = names.keep("frozen");
        assert_eq!(first, "frozen");
        assert!(std::ptr::eq(first, names.keep("frozen")));
    }

    #[test]
    fn names_beyond_the_bounds_read_as_unknown() {
        let names = Names(Mutex::default());
        assert_eq!(names.keep(&"x".repeat(65)), "unknown");
        for n in 0..1_000 {
            let name = format!("name_{n}");
            assert_eq!(names.keep(&name), name);
        }
        assert_eq!(names.keep("one_more"), "unknown");
        assert_eq!(names.keep("name_7"), "name_7", "the kept ones stay");
    }
}
