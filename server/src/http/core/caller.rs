//! The caller of a request: the holder of an accepted API key.

use super::problem::HttpProblem;
use crate::{app::App, key::hex, log::RequestId};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use ifmatch_domain::{
    Action, Command,
    core::{Actor, Guard, IdempotencyKey, Meta},
};
use ifmatch_types::{ApiKeyId, Code, Role, Source};
use sha2::{Digest, Sha256};
use std::future::Ready;
use uuid::Uuid;

/// The holder of an accepted key. The gate puts it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the key.
    pub key_id: ApiKeyId,
    /// The first key of its line, which owns the caller's Idempotency-Keys.
    pub line_id: ApiKeyId,
    /// The identity that is recorded.
    pub actor: Actor,
    /// The key's role.
    pub role: Role,
    /// The person or system that the caller acts for: as its key says, else as it says itself.
    pub on_behalf_of: Option<String>,
}

impl Caller {
    /// The caller that the gate let through.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if the request did not pass the gate.
    pub fn of(request: &HttpRequest) -> Result<Self, HttpProblem> {
        let known = request.extensions().get::<Self>().cloned();
        known.ok_or_else(unaccepted)
    }

    /// Refuses a request whose key was revoked or has expired since it passed the gate.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED`.
    pub fn refuse_ended(&self, request: &HttpRequest) -> Result<(), HttpProblem> {
        if self.has_ended(request)() { Err(unaccepted()) } else { Ok(()) }
    }

    /// Tells at any later time whether the key has ended.
    pub fn has_ended(&self, request: &HttpRequest) -> impl Fn() -> bool + Send + Sync + use<> {
        let app = request.app_data::<web::Data<App>>().cloned();
        let key_id = self.key_id.clone();
        move || app.as_ref().is_some_and(|app| app.keyring.has_ended(&key_id))
    }

    /// A command from a request of this caller.
    pub fn command(
        &self,
        request_id: &RequestId,
        idempotency: Option<IdempotencyKey>,
        guard: Guard,
        action: Action,
    ) -> Command {
        Command {
            meta: Meta {
                actor: self.actor.clone(),
                on_behalf_of: self.on_behalf_of.clone(),
                source: Source::Api,
                request_id: request_id.as_str().to_owned(),
                key_digest: idempotency.as_ref().map(digest),
            },
            seed: Uuid::now_v7(),
            idempotency,
            guard,
            action,
        }
    }
}

impl FromRequest for Caller {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

/// The digest by which the sender of an Idempotency-Key knows its own write in a history.
pub fn digest(key: &IdempotencyKey) -> String {
    hex(&Sha256::digest(key.key.as_bytes()))
}

/// The refusal of a request without an accepted key.
pub fn unaccepted() -> HttpProblem {
    HttpProblem::new(Code::Unauthenticated, "send a valid key: Authorization: Bearer KEY")
}
