//! Schemas of parameters, short enough for a row of the route table, and of the wire's types.

use ifmatch_types::{INTEGER_MAX, Kind};
use utoipa::{
    ToSchema,
    openapi::{
        KnownFormat, RefOr, Schema, SchemaFormat,
        schema::{ObjectBuilder, Type},
    },
};

/// A text.
pub fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// A text of so many characters.
pub fn characters(least: usize, most: usize) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.min_length(Some(least)).max_length(Some(most)).into()
}

/// A text that is not empty.
pub fn some_text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).into()
}

/// A text that matches a regular expression.
pub fn matching(pattern: impl Into<String>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
}

/// A value of a field of this name: an id for `plan_id` and the like, else any text.
pub fn value_of(field: &str) -> RefOr<Schema> {
    let kind = field.strip_suffix("_id").and_then(Kind::from_name);
    kind.map_or_else(some_text, |kind| matching(id_pattern(kind)))
}

/// What the ids of a kind look like.
pub fn id_pattern(kind: Kind) -> String {
    format!("^{}[0-9a-f]{{32}}$", kind.id_prefix())
}

/// One of these texts.
pub fn one_of(values: &[&str]) -> RefOr<Schema> {
    let values = values.iter().copied();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

/// A whole number between these two, both included.
pub fn integer(least: i64, most: i64) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    number.minimum(Some(least)).maximum(Some(most)).into()
}

/// A whole number that is at least this one.
pub fn at_least(least: i64) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    number.minimum(Some(least)).maximum(Some(INTEGER_MAX)).into()
}

/// `true` or `false`.
pub fn boolean() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

/// An RFC 3339 instant.
pub fn instant() -> RefOr<Schema> {
    formatted(KnownFormat::DateTime)
}

/// A civil date.
pub fn date() -> RefOr<Schema> {
    formatted(KnownFormat::Date)
}

fn formatted(format: KnownFormat) -> RefOr<Schema> {
    let format = SchemaFormat::KnownFormat(format);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
}

/// Adds the schemas of a type and of those it mentions. Returns the type's name.
pub fn collect<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) -> String {
    let name = component_name::<T>();
    found.push((name.clone(), T::schema()));
    T::schemas(found);
    name
}

/// The schema's name in the OpenAPI document: `Plan`, and `PlanPage` for a `Page<Plan>`.
fn component_name<T: ToSchema>() -> String {
    let full = std::any::type_name::<T>();
    if !full.contains('<') {
        return T::name().into_owned();
    }
    let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
    let parts = full.split(['<', '>', ',', ' ']).filter(|part| !part.is_empty());
    parts.rev().map(last).collect()
}
