//! API keys: made with their secret shown once, listed without it, revoked at once.

use crate::{
    app::App,
    http::core::{
        objects::check_id_of,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor, page},
        render::Reply,
        request::Mutation,
    },
    key,
};
use actix_web::{HttpRequest, web};
use ifmatch_domain::{Action, CreateApiKey, Outcome, RevokeApiKey};
use ifmatch_types::{ApiKey, ApiKeyId, Code};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A new API key, with its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApiKeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// The whole key, shown this once; a replayed answer is without it.
    pub key: String,
}

/// `POST /v1/api-keys`
pub async fn create(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let body = Value::Object(mutation.body.object()?);
    let id = ApiKeyId::from_unchecked(format!("{}{}", ApiKeyId::PREFIX, Uuid::now_v7().simple()));
    let secret = key::mint(&id).map_err(|error| {
        tracing::error!(%error, "the operating system has no random numbers");
        HttpProblem::new(Code::Internal, "no key could be made")
    })?;
    let digest = key::digest_of(&secret);
    let create = CreateApiKey { body, id, digest };
    let outcome = mutation.submit(&app, Action::CreateApiKey(create)).await?;
    let mut reply = Reply::from(&outcome);
    if let Outcome::ApiKeyCreated(stored) = outcome {
        app.keyring.put(stored.clone());
        let shown =
            ApiKeyWithSecret { api_key: stored.key, key: secret.expose_secret().to_owned() };
        reply.body = serde_json::to_string(&shown).expect("an API key is a JSON object");
    }
    Ok(reply.into_response())
}

/// `GET /v1/api-keys`
pub async fn list(app: web::Data<App>, request: HttpRequest) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    params.end()?;
    // There are few keys, and the keyring reads all of them every second anyway.
    let keys = app.reads.run(ifmatch_store::Db::api_keys).await?;
    let keys = keys.into_iter().map(|stored| stored.key);
    let beyond: Vec<ApiKey> = keys.filter(|key| key.id.as_str() > after.as_str()).collect();
    Ok(page(beyond, limit, |last| cursor(&last.id)))
}

/// `DELETE /v1/api-keys/{id}`
pub async fn revoke(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    check_id_of("api_key", ApiKeyId::PREFIX, &id)?;
    let revoke = RevokeApiKey { id: id.into_inner() };
    let outcome = mutation.submit(&app, Action::RevokeApiKey(revoke)).await?;
    if let Outcome::ApiKeyRevoked(stored) = &outcome {
        app.keyring.put(stored.clone());
    }
    Ok(Reply::from(&outcome).into_response())
}
