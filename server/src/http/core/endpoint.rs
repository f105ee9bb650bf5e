//! The vocabulary of the route table: what an endpoint is, who may call it, how it is documented.
//!
//! One row says all of it, so that routing, authorization and the OpenAPI document cannot drift
//! apart. An endpoint whose row names no role is for admins.

mod mount;
pub mod schema;

pub use mount::mount;
use schema::collect;

use actix_web::{FromRequest, Handler, Responder, Route, http::Method, web};
use ifmatch_types::{Code, Page, Role};
use std::fmt;
use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Required, Schema,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Ref,
    },
};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All callers, without a key.
    Open,
    /// Callers with a key of this role or a larger one.
    Role(Role),
}

/// How an endpoint treats an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing.
    None,
    /// Honours one.
    Optional,
    /// Refuses requests without one.
    Required,
}

/// The part of an endpoint's row that authorization and metrics need.
///
/// It is in the request's extensions from routing on, before any extractor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointInfo {
    /// The pattern: `/v1/plans/{id}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// How it treats an `Idempotency-Key`.
    pub idempotency: Idempotency,
}

/// One row of the route table.
pub struct Endpoint {
    pub(super) method: Method,
    pub(super) info: EndpointInfo,
    pub(super) docs: Docs,
    pub(super) route: Route,
}

/// The documentation of an endpoint, beyond its path and access.
#[derive(Default)]
pub(super) struct Docs {
    pub tag: Option<&'static str>,
    pub summary: Option<&'static str>,
    pub operation_id: Option<&'static str>,
    pub parameters: Vec<Parameter>,
    pub body: Option<BodySchema>,
    pub successes: Vec<Success>,
    pub problems: Vec<Code>,
    pub schemas: Vec<(String, RefOr<Schema>)>,
    pub versioned: bool,
    pub tagged: bool,
    pub paged: bool,
}

/// The schema of a request's body.
pub(super) struct BodySchema {
    pub schema: String,
    pub form: BodyForm,
    pub required: bool,
}

/// How the schema of a body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// As it stands.
    Whole,
    /// Every field may be left out, and `null` means its default (RFC 7396).
    MergePatch,
}

/// One way an endpoint answers an accepted request.
pub(super) struct Success {
    pub status: u16,
    /// Content type and schema, if there is a body.
    pub content: Option<(&'static str, Option<RefOr<Schema>>)>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name<F, Args>(path: &'static str, handler: F) -> Endpoint
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                Endpoint::new(Method::$method, path, web::route().to(handler))
            }
        )*
    };
}

methods! {
    /// A read; `HEAD` is answered too.
    get GET;
    /// A creation or an action.
    post POST;
    /// A full replacement.
    put PUT;
    /// A partial change.
    patch PATCH;
    /// A removal.
    delete DELETE;
}

/// The endpoints of one resource, tagged with its name in the document.
pub fn group<const N: usize>(tag: &'static str, endpoints: [Endpoint; N]) -> Vec<Endpoint> {
    endpoints.into_iter().map(|endpoint| endpoint.tag(tag)).collect()
}

impl Endpoint {
    fn new(method: Method, path: &'static str, route: Route) -> Self {
        let access = Access::Role(Role::Admin);
        let info = EndpointInfo { path, access, idempotency: Idempotency::None };
        Self { method, info, docs: Docs::default(), route }
    }

    /// Its path, access and idempotency.
    #[cfg(test)]
    pub fn info(&self) -> EndpointInfo {
        self.info
    }

    /// Makes it open: it needs no key.
    pub fn open(mut self) -> Self {
        self.info.access = Access::Open;
        self
    }

    /// Any key may call it.
    pub fn viewer(self) -> Self {
        self.role(Role::Viewer)
    }

    /// Keys that may write may call it.
    pub fn agent(self) -> Self {
        self.role(Role::Agent)
    }

    /// Only admins may call it.
    pub fn admin(self) -> Self {
        self.role(Role::Admin)
    }

    fn role(mut self, role: Role) -> Self {
        self.info.access = Access::Role(role);
        self
    }

    /// The section of the document it is in.
    pub fn tag(mut self, tag: &'static str) -> Self {
        self.docs.tag = Some(tag);
        self
    }

    /// What it does, in a few words.
    pub fn summary(mut self, summary: &'static str) -> Self {
        self.docs.summary = Some(summary);
        self
    }

    /// Its name for generated clients, where the one made of method and path reads badly.
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

    /// Answers with a page of `T`s as JSON. (Not `answers::<Page<T>>`: a generic type's derived
    /// schemas leave out its parameter's.)
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

    /// Adds refusals. Those of authorization, bodies, versions and idempotency follow from the rest of
    /// the row and need not be listed.
    pub fn problems(mut self, codes: &[Code]) -> Self {
        self.docs.problems.extend_from_slice(codes);
        self
    }

    /// Its refusals, if an operation of a transaction does the same: if it creates, changes or deletes
    /// an object of a collection.
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

    /// Needs a merge patch of a `T` as its body (RFC 7396): nothing of it is required.
    pub fn merge_patch<T: ToSchema>(self) -> Self {
        self.with_body::<T>(BodyForm::MergePatch, true)
    }

    fn with_body<T: ToSchema>(mut self, form: BodyForm, required: bool) -> Self {
        let schema = collect::<T>(&mut self.docs.schemas);
        self.docs.body = Some(BodySchema { schema, form, required });
        self
    }

    /// Takes an optional parameter in the query.
    pub fn query(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Query, Required::False, name, description, schema)
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

    /// Honours an `Idempotency-Key`.
    pub fn idempotent(mut self) -> Self {
        self.info.idempotency = Idempotency::Optional;
        self
    }

    /// Refuses requests without an `Idempotency-Key`.
    pub fn idempotency_required(mut self) -> Self {
        self.info.idempotency = Idempotency::Required;
        self
    }

    /// Shows or changes one versioned object: a `GET` has an `ETag`, another method but `POST`
    /// must name the version it was computed from and may be forced.
    pub fn versioned(mut self) -> Self {
        self.docs.versioned = true;
        self.docs.tagged = self.method != Method::DELETE;
        self
    }

    /// Has an `ETag` on its good answers: they show one version of an object.
    pub fn tagged(mut self) -> Self {
        self.docs.tagged = true;
        self
    }

    /// Answers a list page by page: `limit` and `cursor`.
    pub fn paged(mut self) -> Self {
        self.docs.paged = true;
        self
    }
}

/// One line of the page of all routes: method, path, role, idempotency.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.info.access {
            Access::Open => "open",
            Access::Role(role) => role.name(),
        };
        let key = match self.info.idempotency {
            Idempotency::None => "",
            Idempotency::Optional => " key",
            Idempotency::Required => " key!",
        };
        write!(f, "{:6} {:65} {role}{key}", self.method.as_str(), self.info.path)
    }
}

#[cfg(test)]
mod tests;
