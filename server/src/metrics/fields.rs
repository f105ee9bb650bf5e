//! The fields of the entities as labels. They are bounded, whatever paths a caller sends.

use crate::kinds::entity;
use ifmatch_types::Kind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};
use utoipa::openapi::{RefOr, Schema};

static FIELDS: LazyLock<BTreeMap<Kind, BTreeSet<String>>> = LazyLock::new(|| {
    let fields = |kind| match entity(kind).1 {
        RefOr::T(Schema::Object(object)) => {
            object.properties.into_keys().map(|name| format!("/{name}")).collect()
        }
        _ => BTreeSet::new(),
    };
    Kind::ALL.into_iter().map(|kind| (kind, fields(kind))).collect()
});

/// The top-level fields that these JSON Pointers lead into. A path outside of them is `/other`.
pub fn fields_of<'a>(
    kind: Kind,
    paths: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<&'static str> {
    let known = FIELDS.get(&kind);
    let field = |path: &str| {
        let end = path.match_indices('/').nth(1).map_or(path.len(), |(at, _)| at);
        let top = path.get(..end).unwrap_or_default();
        known.and_then(|fields| fields.get(top)).map_or("/other", String::as_str)
    };
    paths.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_field_of_the_entity_or_other() {
        let paths = ["/metadata/secret-key", "/metadata/another", "/status", "/made~1up", "", "x"];
        let fields: Vec<_> = fields_of(Kind::Subscription, paths).into_iter().collect();
        assert_eq!(fields, ["/metadata", "/other", "/status"]);
        for kind in Kind::ALL {
            assert!(!fields_of(kind, ["/version"]).contains("/other"), "{kind} has no fields");
        }
    }
}
