//! The path of a request about entitlements: below a workspace or a namespace, for the same
//! handlers.

use crate::{
    app::App,
    http::core::{
        endpoint::EndpointInfo,
        objects::{check_id, living},
        problem::HttpProblem,
    },
};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use ifmatch_domain::{Rejection, core, entitlement::ScopeRef};
use ifmatch_types::Kind;
use std::future::Ready;

/// The ids in a path below a scope, as the caller wrote them.
#[derive(Debug)]
pub struct ScopePath {
    kind: Kind,
    scope_id: String,
    /// The id that follows the scope in the path. Empty if there is none.
    pub member: String,
    /// The id or version that follows the member in the path. Mostly empty.
    pub detail: String,
}

impl ScopePath {
    /// The scope.
    ///
    /// # Errors
    ///
    /// If its id is of another type, or not an id.
    pub fn scope(&self) -> Result<ScopeRef, HttpProblem> {
        check_id(self.kind, &self.scope_id)?;
        Ok(ScopeRef { kind: self.kind, id: self.scope_id.clone() })
    }

    /// The scope, if it exists or existed.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND`, or what [`scope`](Self::scope) says.
    pub async fn known_scope(&self, app: &App) -> Result<ScopeRef, HttpProblem> {
        let scope = self.scope()?;
        match app.reads.find(scope.kind, &scope.id).await? {
            None => Err(Rejection::Core(core::Rejection::not_found(scope.kind, &scope.id)).into()),
            Some(_) => Ok(scope),
        }
    }

    /// The scope, if it is alive.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` or `DELETED`, or what [`scope`](Self::scope) says.
    pub async fn living_scope(&self, app: &App) -> Result<ScopeRef, HttpProblem> {
        let scope = self.scope()?;
        living(scope.kind, &scope.id, app.reads.find(scope.kind, &scope.id).await?)?;
        Ok(scope)
    }
}

impl FromRequest for ScopePath {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pattern = request.extensions().get::<EndpointInfo>().map_or("", |info| info.path);
        let is_namespace = pattern.starts_with("/v1/namespaces/");
        let kind = if is_namespace { Kind::Namespace } else { Kind::Workspace };
        let ids = web::Path::<Vec<String>>::extract(request).into_inner();
        let path = match ids {
            Ok(ids) => {
                let mut ids = ids.into_inner().into_iter();
                let mut next = || ids.next().unwrap_or_default();
                Ok(Self { kind, scope_id: next(), member: next(), detail: next() })
            }
            Err(_) => Err(HttpProblem::not_found("there is nothing at this path")),
        };
        std::future::ready(path)
    }
}
