//! The rows of the route table: what an endpoint is, who may call it, how it is documented.
//!
//! One row says all of it, so routing, authorization and the OpenAPI document cannot drift apart.
//! An endpoint whose row names no role is for admins only.

mod docs;
mod mount;
pub mod schema;

pub use docs::{BodyForm, Docs, Success};
pub use mount::mount;

use actix_web::{FromRequest, Handler, Responder, Route, http::Method, web};
use ifmatch_types::Role;
use std::fmt;

/// The key or role that an endpoint asks for.
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
    /// Ignores it.
    None,
    /// Honours it.
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
    /// The key or role that it asks for.
    pub access: Access,
    /// How it treats an `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// Whether a request cannot do without a body.
    pub needs_body: bool,
    /// Whether it shows or changes one versioned object.
    pub versioned: bool,
}

/// One row of the route table.
pub struct Endpoint {
    pub(super) method: Method,
    pub(super) info: EndpointInfo,
    pub(super) docs: Docs,
    pub(super) route: Route,
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
    /// A read. `HEAD` is answered, too.
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

/// The endpoints of one resource, tagged with its name in the OpenAPI document.
pub fn group<const N: usize>(tag: &'static str, endpoints: [Endpoint; N]) -> Vec<Endpoint> {
    endpoints.into_iter().map(|endpoint| endpoint.tag(tag)).collect()
}

impl Endpoint {
    fn new(method: Method, path: &'static str, route: Route) -> Self {
        let access = Access::Role(Role::Admin);
        let idempotency = Idempotency::None;
        let info = EndpointInfo { path, access, idempotency, needs_body: false, versioned: false };
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
}

/// One line of the list of all routes: method, path, role, idempotency.
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
