//! The ten routes of every collection of versioned objects.

use super::{
    change,
    endpoint::{Endpoint, delete, get, group, patch, post, put, schema},
    history, list, objects, preview, redact,
};
use crate::kinds::Entity;
use ifmatch_domain::{goes_on, scoped_writes};
use ifmatch_store::{FieldType, filters, sorts};
use ifmatch_types::{Code, Deleted, HistoryEntry, INTEGER_MAX, Kind, NewRedaction, Page, Preview};
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
    /// `/v1/plans/{id}/preview`
    pub preview: &'static str,
    /// `/v1/plans/{id}/redact`
    pub redact: &'static str,
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
            preview: concat!("/v1/", $name, "/{id}/preview"),
            redact: concat!("/v1/", $name, "/{id}/redact"),
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
    let scoped = scoped_writes(E::KIND);
    let delete = written(delete(paths.one, change::delete::<E>), refusals);
    let (create, delete) = if goes_on(E::KIND) {
        (create.answers::<E>(202), delete.answers::<E>(202).tagged())
    } else {
        (create.answers::<E>(200), delete.answers::<Deleted>(200))
    };
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
                .scoped_if(scoped.create)
                .problems(if scoped.create { &[Code::NotFound] } else { &[] })
                .tagged()
                .summary("Create")
                .answers::<E>(201)
                .problems(&[Code::WrongIdType])
                .problems(refusals),
            listed(get(paths.all, list::list::<E>), E::KIND)
                .viewer()
                .scoped()
                .paged()
                .summary("List")
                .answers_page::<E>(200),
            get(paths.one, objects::get::<E>)
                .viewer()
                .scoped()
                .versioned()
                .summary("Read")
                .answers::<E>(200)
                .problems(READS),
            written(patch(paths.one, change::patch::<E>).merge_patch::<F>(), refusals)
                .scoped_if(scoped.update)
                .summary("Change some fields")
                .answers::<E>(200),
            written(put(paths.one, change::put::<E>).body::<F>(), refusals)
                .scoped_if(scoped.update)
                .summary("Replace all fields")
                .answers::<E>(200),
            delete.scoped_if(scoped.delete).summary("Delete"),
            preview_of::<F>(post(paths.preview, preview::preview::<E>)).scoped_if(scoped.update),
            post(paths.redact, redact::redact::<E>)
                .admin()
                .names_version()
                .idempotent()
                .summary("Redact values in the object and in everything stored about it")
                .body::<NewRedaction>()
                .answers::<E>(200)
                .problems(KNOWN),
            history_of(get(paths.history, history::history::<E>))
                .summary("List the history: who changed what"),
            get(paths.version, history::version::<E>)
                .viewer()
                .scoped()
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

/// Documents the preview of a change.
pub fn preview_of<F: ToSchema>(endpoint: Endpoint) -> Endpoint {
    endpoint
        .agent()
        .previews()
        .summary("Preview a change: what it would do, without doing it")
        .merge_patch::<F>()
        .answers::<Preview>(200)
        .problems(READS)
        .problems(&[Code::PreconditionRequired, Code::MalformedPrecondition])
}

/// Documents the history of an object.
pub fn history_of(endpoint: Endpoint) -> Endpoint {
    endpoint
        .viewer()
        .scoped()
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
            FieldType::Text => schema::value_of(name),
            FieldType::Integer => schema::at_least(-INTEGER_MAX),
            FieldType::Boolean => schema::boolean(),
            FieldType::Instant | FieldType::OptInstant => schema::instant(),
            FieldType::Date => schema::date(),
        };
        endpoint = endpoint.query(name, "Only objects with this value", schema);
    }
    let names: Vec<String> =
        sorts(kind).iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    endpoint.query("sort", SORT, schema::one_of(&names))
}
