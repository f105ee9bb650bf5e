//! Schemas of parameters, short enough for a row of the route table, and of the wire's types.

use ifmatch_types::INTEGER_MAX;
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
