//! Where a request about entitlements is: in a workspace or a namespace, by the same handlers.

use super::{endpoint::EndpointInfo, objects::check_id, problem::HttpProblem};
use crate::app::App;
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use ifmatch_domain::{Rejection, ScopeRef};
use ifmatch_store::Found;
use ifmatch_types::Kind;
use std::future::Ready;

/// The ids in a path under a scope, as the caller wrote them.
#[derive(Debug)]
pub struct Place {
    kind: Kind,
    scope_id: String,
    /// What the path names under its scope; empty if that is the scope itself.
    pub member: String,
    /// What the path names under that; mostly empty.
    pub detail: String,
}

impl Place {
    /// The scope.
    ///
    /// # Errors
    ///
    /// If its id is of another type, or none.
    pub fn scope(&self) -> Result<ScopeRef, HttpProblem> {
        check_id(self.kind, &self.scope_id)?;
        Ok(ScopeRef { kind: self.kind, id: self.scope_id.clone() })
    }

    /// The scope, if there is such a one or was.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND`, or what [`scope`](Self::scope) says.
    pub async fn known_scope(&self, app: &App) -> Result<ScopeRef, HttpProblem> {
        let scope = self.scope()?;
        match app.reads.find(scope.kind, &scope.id).await? {
            None => Err(Rejection::not_found(scope.kind, &scope.id).into()),
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
        match app.reads.find(scope.kind, &scope.id).await? {
            None => Err(Rejection::not_found(scope.kind, &scope.id).into()),
            Some(Found::Deleted(deleted)) => Err(Rejection::Deleted(scope.kind, deleted).into()),
            Some(Found::Living { .. }) => Ok(scope),
        }
    }
}

impl FromRequest for Place {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = request.extensions().get::<EndpointInfo>().map_or("", |info| info.path);
        let is_namespace = path.starts_with("/v1/namespaces/");
        let kind = if is_namespace { Kind::Namespace } else { Kind::Workspace };
        let ids = web::Path::<Vec<String>>::extract(request).into_inner();
        let place = match ids {
            Ok(ids) => {
                let mut ids = ids.into_inner().into_iter();
                let mut next = || ids.next().unwrap_or_default();
                Ok(Self { kind, scope_id: next(), member: next(), detail: next() })
            }
            Err(_) => Err(HttpProblem::not_found("there is nothing at this path")),
        };
        std::future::ready(place)
    }
}
