//! API keys. The secret is shown once at creation and never again. A revocation takes effect at
//! once.

use crate::{
    app::App,
    http::core::{
        finish::to_the_end,
        objects::check_id_of,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor, page},
        render::Reply,
        request::Mutation,
    },
    key,
};
use actix_web::{HttpRequest, web};
use ifmatch_domain::{
    Action, Outcome,
    access::{self, CreateApiKey, RevokeApiKey, RotateApiKey, StoredApiKey},
};
use ifmatch_types::{ApiKey, ApiKeyId, Code};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

/// A new API key, with its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApiKeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// The whole key, shown only once. A replayed answer does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// `POST /v1/api-keys`
pub async fn create(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    mutation.takes_no_params()?;
    let body = Value::Object(mutation.body.object()?);
    let (id, secret) = mint()?;
    let digest = key::digest_of(&secret);
    let create = CreateApiKey { body, id, digest };
    let outcome =
        mutation.submit(&app, Action::Access(access::Action::CreateApiKey(create))).await?;
    let mut reply = Reply::from(&outcome);
    if let Outcome::Access(access::Outcome::ApiKeyCreated(stored)) = outcome {
        app.keyring.put(stored.clone());
        reply.body = shown(stored.key, &secret);
    }
    Ok(reply.into_response())
}

/// `POST /v1/api-keys/{id}/rotate`
pub async fn rotate(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    mutation.takes_no_params()?;
    check_id_of("api_key", ApiKeyId::PREFIX, &id)?;
    let body = Value::Object(mutation.body.object()?);
    let (new_id, secret) = mint()?;
    let digest = key::digest_of(&secret);
    let rotate = RotateApiKey { id: id.into_inner(), body, new_id, digest };
    // The end of the old key must be known here once it is committed.
    let answer = to_the_end(async move {
        let rotate = Action::Access(access::Action::RotateApiKey(rotate));
        let outcome = mutation.submit(&app, rotate).await?;
        let mut reply = Reply::from(&outcome);
        if let Outcome::Access(access::Outcome::ApiKeyRotated { old, new }) = outcome {
            app.keyring.put(*old);
            app.keyring.put(StoredApiKey::clone(&new));
            reply.body = shown(new.key, &secret);
        }
        Ok::<_, HttpProblem>(reply)
    });
    Ok(answer.await??.into_response())
}

/// A new id, and the key with this id.
fn mint() -> Result<(ApiKeyId, SecretString), HttpProblem> {
    let id = key::fresh_id();
    let secret = key::mint(&id).map_err(|error| {
        tracing::error!(%error, "the operating system has no random numbers");
        HttpProblem::new(Code::Internal, "no key could be made")
    })?;
    Ok((id, secret))
}

/// The answer that shows a new key, once.
fn shown(api_key: ApiKey, secret: &SecretString) -> String {
    let shown = ApiKeyWithSecret { api_key, key: Some(secret.expose_secret().to_owned()) };
    serde_json::to_string(&shown).expect("an API key is a JSON object")
}

/// `GET /v1/api-keys`
pub async fn list(app: web::Data<App>, request: HttpRequest) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let after: String = params.cursor()?.unwrap_or_default();
    params.end()?;
    // There are few keys, so a page of them is cut out in memory.
    let keys = app.reads.run(ifmatch_store::Db::api_keys).await?;
    let keys = keys.into_iter().map(|stored| stored.key);
    let beyond: Vec<ApiKey> = keys.filter(|key| key.id.as_str() > after.as_str()).collect();
    Ok(page(beyond, limit, |last| cursor(&last.id)))
}

/// `DELETE /v1/api-keys/{id}`
pub async fn revoke(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    check_id_of("api_key", ApiKeyId::PREFIX, &id)?;
    mutation.takes_no_params()?;
    let revoke = RevokeApiKey { id: id.into_inner() };
    // The key must stop working here once its revocation is committed.
    let outcome = to_the_end(async move {
        let revoke = Action::Access(access::Action::RevokeApiKey(revoke));
        let outcome = mutation.submit(&app, revoke).await?;
        if let Outcome::Access(access::Outcome::ApiKeyRevoked(stored)) = &outcome {
            app.keyring.put(stored.clone());
        }
        Ok::<_, HttpProblem>(outcome)
    });
    Ok(Reply::from(&outcome.await??).into_response())
}
