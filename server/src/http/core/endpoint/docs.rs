//! The documentation of an endpoint: the part of its row that only the OpenAPI document uses.

use super::{Endpoint, schema::collect};
use actix_web::http::Method;
use ifmatch_types::{Code, Page};
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Required, Schema,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Ref,
    },
};

/// The documentation of an endpoint, beyond its path and access.
#[derive(Default)]
pub struct Docs {
    pub tag: Option<&'static str>,
    pub summary: Option<&'static str>,
    pub operation_id: Option<&'static str>,
    pub parameters: Vec<Parameter>,
    pub body: Option<BodySchema>,
    pub successes: Vec<Success>,
    pub problems: Vec<Code>,
    pub schemas: Vec<(String, RefOr<Schema>)>,
    pub versioned: bool,
    pub previews: bool,
    pub tagged: bool,
    pub paged: bool,
}

/// The schema of a request's body.
pub struct BodySchema {
    pub schema: String,
    pub form: BodyForm,
    pub required: bool,
}

/// How to read the schema of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// As it is.
    Whole,
    /// Every field is optional, and `null` means its default (RFC 7396).
    MergePatch,
}

/// A successful answer of an endpoint.
pub struct Success {
    pub status: u16,
    /// Content type and schema, if there is a body.
    pub content: Option<(&'static str, Option<RefOr<Schema>>)>,
}

impl Endpoint {
    /// Its section of the OpenAPI document.
    pub fn tag(mut self, tag: &'static str) -> Self {
        self.docs.tag = Some(tag);
        self
    }

    /// What it does, in a few words.
    pub fn summary(mut self, summary: &'static str) -> Self {
        self.docs.summary = Some(summary);
        self
    }

    /// Its name in generated clients, if the name made from method and path reads badly.
    pub fn operation_id(mut self, operation_id: &'static str) -> Self {
        self.docs.operation_id = Some(operation_id);
        self
    }

    /// Answers with a `T` as JSON.
    pub fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        let schema = RefOr::Ref(Ref::from_schema_name(collect::<T>(&mut self.docs.schemas)));
        let content = Some(("application/json", Some(schema)));
        self.docs.successes.push(Success { status, content });
        self
    }

    /// Answers with a page of `T`s as JSON.
    ///
    /// `answers::<Page<T>>` does not work: the derived schemas of a generic type leave out those of
    /// its parameter.
    pub fn answers_page<T: ToSchema>(mut self, status: u16) -> Self
    where
        Page<T>: ToSchema,
    {
        collect::<T>(&mut self.docs.schemas);
        self.answers::<Page<T>>(status)
    }

    /// Answers with a body of this content type, which no schema describes.
    pub fn answers_with(mut self, status: u16, content_type: &'static str) -> Self {
        self.docs.successes.push(Success { status, content: Some((content_type, None)) });
        self
    }

    /// Adds refusals.
    ///
    /// Those for authorization, bodies, versions and idempotency follow from the rest of the row
    /// and need not be listed.
    pub fn problems(mut self, codes: &[Code]) -> Self {
        self.docs.problems.extend_from_slice(codes);
        self
    }

    /// Its refusals that an operation of a transaction can also have.
    ///
    /// Only creating, changing or deleting an object of a collection has such refusals.
    pub fn object_problems(&self) -> &[Code] {
        let is_of_collection = self.info.path.split('/').count() <= 4;
        let is_write = self.method != Method::GET;
        if is_of_collection && is_write && (self.docs.versioned || self.docs.tagged) {
            &self.docs.problems
        } else {
            &[]
        }
    }

    /// Needs a `T` as its body.
    pub fn body<T: ToSchema>(self) -> Self {
        self.with_body::<T>(BodyForm::Whole, true)
    }

    /// Takes a `T` as its body, or none.
    pub fn optional_body<T: ToSchema>(self) -> Self {
        self.with_body::<T>(BodyForm::Whole, false)
    }

    /// Needs a merge patch of a `T` as its body (RFC 7396). No field is required.
    pub fn merge_patch<T: ToSchema>(self) -> Self {
        self.with_body::<T>(BodyForm::MergePatch, true)
    }

    fn with_body<T: ToSchema>(mut self, form: BodyForm, required: bool) -> Self {
        let schema = collect::<T>(&mut self.docs.schemas);
        self.info.takes_patch = form == BodyForm::MergePatch;
        self.docs.body = Some(BodySchema { schema, form, required });
        self.info.needs_body = required;
        self
    }

    /// Takes an optional parameter in the query.
    pub fn query(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Query, Required::False, name, description, schema)
    }

    /// Takes a query parameter that it cannot do without.
    pub fn required_query(
        self,
        name: &str,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        self.parameter(ParameterIn::Query, Required::True, name, description, schema)
    }

    /// Takes an optional header.
    pub fn header(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Header, Required::False, name, description, schema)
    }

    fn parameter(
        mut self,
        place: ParameterIn,
        required: Required,
        name: &str,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(schema));
        self.docs.parameters.push(parameter.build());
        self
    }

    /// Marks an endpoint that shows or changes one versioned object.
    ///
    /// A `GET` has an `ETag`. Any other method but `POST` must name the version it was computed
    /// from, and may be forced.
    pub fn versioned(mut self) -> Self {
        self.docs.versioned = true;
        self.info.versioned = true;
        self.info.names_version = ![Method::GET, Method::POST].contains(&self.method);
        self.docs.tagged = self.method != Method::DELETE;
        self
    }

    /// Marks a `POST` that changes one versioned object. It must name the version it was computed
    /// from, and cannot be forced.
    pub fn names_version(mut self) -> Self {
        self.info.names_version = true;
        self.docs.tagged = true;
        self
    }

    /// Marks an endpoint that tells what a write would do. It takes what the write takes.
    pub fn previews(mut self) -> Self {
        self.docs.previews = true;
        self
    }

    /// Marks an endpoint whose good answers have an `ETag`: they show one version of an object.
    pub fn tagged(mut self) -> Self {
        self.docs.tagged = true;
        self
    }

    /// Answers a list page by page, with `limit` and `cursor`.
    pub fn paged(mut self) -> Self {
        self.docs.paged = true;
        self
    }
}
