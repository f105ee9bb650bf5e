//! The eight routes of every collection of versioned objects.

use super::{
    change,
    endpoint::{Endpoint, delete, get, group, patch, post, put, schema},
    history, list, objects,
};
use crate::kinds::Entity;
use ifmatch_store::{FieldType, filters, sorts};
use ifmatch_types::{Code, Deleted, HistoryEntry, INTEGER_MAX, Kind, Page};
use utoipa::ToSchema;

/// The description of `?sort=`.
pub const SORT: &str = "The order; - for descending";
/// The refusals of a read that also works after a deletion.
pub const KNOWN: &[Code] = &[Code::NotFound, Code::WrongIdType];
/// The refusals of a read of a living object.
pub const READS: &[Code] = &[Code::NotFound, Code::Deleted, Code::WrongIdType];

/// The paths of a collection.
pub struct Paths {
    /// `/v1/plans`
    pub all: &'static str,
    /// `/v1/plans/{id}`
    pub one: &'static str,
    /// `/v1/plans/{id}/history`
    pub history: &'static str,
    /// `/v1/plans/{id}/versions/{version}`
    pub version: &'static str,
}

/// The paths of the collection with this name.
macro_rules! paths {
    ($name:literal) => {
        $crate::http::core::collection::Paths {
            all: concat!("/v1/", $name),
            one: concat!("/v1/", $name, "/{id}"),
            history: concat!("/v1/", $name, "/{id}/history"),
            version: concat!("/v1/", $name, "/{id}/versions/{version}"),
        }
    };
}
pub(in crate::http) use paths;

/// The routes of a collection whose create takes the object's fields.
pub fn collection<E, F>(tag: &'static str, paths: &Paths, refusals: &[Code]) -> Vec<Endpoint>
where
    E: Entity,
    F: ToSchema,
    Page<E>: ToSchema,
{
    let create = post(paths.all, objects::create::<E>).body::<F>();
    collection_with::<E, F>(tag, paths, create, refusals)
}

/// The routes of a collection with its own create.
pub fn collection_with<E, F>(
    tag: &'static str,
    paths: &Paths,
    create: Endpoint,
    refusals: &[Code],
) -> Vec<Endpoint>
where
    E: Entity,
    F: ToSchema,
    Page<E>: ToSchema,
{
    let create = if E::KIND.creation_needs_key() {
        create.idempotency_required()
    } else {
        create.idempotent()
    };
    group(
        tag,
        [
            create
                .agent()
                .tagged()
                .summary("Create")
                .answers::<E>(201)
                .answers::<E>(200)
                .problems(&[Code::WrongIdType])
                .problems(refusals),
            listed(get(paths.all, list::list::<E>), E::KIND)
                .viewer()
                .paged()
                .summary("List")
                .answers_page::<E>(200),
            get(paths.one, objects::get::<E>)
                .viewer()
                .versioned()
                .summary("Read")
                .answers::<E>(200)
                .problems(READS),
            written(patch(paths.one, change::patch::<E>).merge_patch::<F>(), refusals)
                .summary("Change some fields")
                .answers::<E>(200),
            written(put(paths.one, change::put::<E>).body::<F>(), refusals)
                .summary("Replace all fields")
                .answers::<E>(200),
            written(delete(paths.one, change::delete::<E>), refusals)
                .summary("Delete")
                .answers::<Deleted>(200),
            history_of(get(paths.history, history::history::<E>))
                .summary("List the history: who changed what"),
            get(paths.version, history::version::<E>)
                .viewer()
                .tagged()
                .summary("Read an old version")
                .answers::<E>(200)
                .problems(READS)
                .problems(&[Code::VersionPruned]),
        ],
    )
}

/// Documents a write of one object.
fn written(endpoint: Endpoint, refusals: &[Code]) -> Endpoint {
    endpoint.agent().versioned().idempotent().problems(READS).problems(refusals)
}

/// Documents the history of an object.
pub fn history_of(endpoint: Endpoint) -> Endpoint {
    endpoint
        .viewer()
        .paged()
        .query("sort", SORT, schema::one_of(&["version", "-version"]))
        .answers_page::<HistoryEntry>(200)
        .problems(KNOWN)
}

/// Documents the filters and sort keys of a list.
pub fn listed(endpoint: Endpoint, kind: Kind) -> Endpoint {
    let mut endpoint = endpoint.problems(&[Code::WrongIdType]);
    for (name, field_type) in filters(kind).iter().filter(|(name, _)| *name != list::SCOPE) {
        let schema = match field_type {
            FieldType::Text => schema::text(),
            FieldType::Integer => schema::at_least(-INTEGER_MAX),
            FieldType::Boolean => schema::boolean(),
            FieldType::Instant => schema::instant(),
            FieldType::Date => schema::date(),
        };
        endpoint = endpoint.query(name, "Only objects with this value", schema);
    }
    let names: Vec<String> =
        sorts(kind).iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    endpoint.query("sort", SORT, schema::one_of(&names))
}
