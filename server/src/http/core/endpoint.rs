//! The rows of the route table: what an endpoint is, who may call it, how it is documented.
//!
//! One row says all of it, so routing, authorization and the OpenAPI document cannot drift apart.
//! A row names the least roles that may call the endpoint; roles that include one of them may as
//! well. An endpoint whose row names no role is for admins only, and one whose row does not say so
//! is not for keys of one workspace.

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
    /// All callers, without a key and without a rate limit: the probes of load balancers.
    Probe,
    /// All callers, without a key.
    Open,
    /// Callers with a key whose role includes one of these.
    AnyOf(&'static [Role]),
}

impl Access {
    /// Whether a key of this role may call the endpoint.
    pub fn allows(self, role: Role) -> bool {
        match self {
            Self::Probe | Self::Open => true,
            Self::AnyOf(least) => least.iter().any(|least| role.allows(*least)),
        }
    }

    /// The least roles, separated by `or`. Empty if no key is needed.
    pub fn least_roles(self) -> String {
        match self {
            Self::Probe | Self::Open => String::new(),
            Self::AnyOf(least) => {
                least.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ")
            }
        }
    }
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
    /// Whether keys of one workspace may call it, about what they see.
    pub is_scoped: bool,
    /// How it treats an `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// Whether its body may be a merge patch.
    pub takes_patch: bool,
    /// Whether a request cannot do without a body.
    pub needs_body: bool,
    /// Whether it shows or changes one versioned object.
    pub versioned: bool,
    /// How a request is put on record that is refused for its caller's role.
    pub denial: Option<Denial>,
    /// Whether its requests must name the version they were computed from.
    pub names_version: bool,
}

/// The audit record of a request that is refused for its caller's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its type.
    pub audit_type: &'static str,
    /// The type of what the request is about.
    pub resource_type: &'static str,
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
        let access = Access::AnyOf(&[Role::Admin]);
        let info = EndpointInfo {
            path,
            access,
            is_scoped: false,
            idempotency: Idempotency::None,
            takes_patch: false,
            needs_body: false,
            versioned: false,
            denial: None,
            names_version: false,
        };
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

    /// Makes it a probe: it needs no key and has no rate limit.
    pub fn probe(mut self) -> Self {
        self.info.access = Access::Probe;
        self
    }

    /// Keys that may read may call it.
    pub fn viewer(self) -> Self {
        self.any_of(&[Role::Viewer])
    }

    /// Keys that may record usage may call it.
    pub fn usage(self) -> Self {
        self.any_of(&[Role::Usage])
    }

    /// Keys that may read, and keys that may record usage, may call it.
    pub fn viewer_or_usage(self) -> Self {
        self.any_of(&[Role::Viewer, Role::Usage])
    }

    /// Keys that may write may call it.
    pub fn agent(self) -> Self {
        self.any_of(&[Role::Agent])
    }

    /// Only admins may call it.
    pub fn admin(self) -> Self {
        self.any_of(&[Role::Admin])
    }

    /// Puts requests on record that are refused for their caller's role.
    pub fn denials_recorded(
        mut self,
        audit_type: &'static str,
        resource_type: &'static str,
    ) -> Self {
        self.info.denial = Some(Denial { audit_type, resource_type });
        self
    }

    fn any_of(mut self, least: &'static [Role]) -> Self {
        self.info.access = Access::AnyOf(least);
        self
    }

    /// Keys of one workspace may call it, too. It must answer with what they see, and nothing else.
    pub fn scoped(self) -> Self {
        self.scoped_if(true)
    }

    /// Whether keys of one workspace may call it, too.
    pub fn scoped_if(mut self, is_scoped: bool) -> Self {
        self.info.is_scoped = is_scoped;
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

/// One line of the list of all routes: method, path, least roles, whether scoped keys may call it,
/// idempotency.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.info.access {
            Access::Probe | Access::Open => "open".to_owned(),
            access @ Access::AnyOf(_) => access.least_roles(),
        };
        let key = match self.info.idempotency {
            Idempotency::None => "",
            Idempotency::Optional => " key",
            Idempotency::Required => " key!",
        };
        let scoped = if self.info.is_scoped { " scoped" } else { "" };
        write!(f, "{:6} {:65} {role}{scoped}{key}", self.method.as_str(), self.info.path)
    }
}

#[cfg(test)]
mod tests;
