//! The balance of a customer: what there is, what moved it, and corrections.

use crate::{
    app::App,
    http::core::{
        objects::{check_id, living},
        page::PageText,
        problem::{HttpProblem, HttpResult},
        query::{Params, cursor},
        render::Reply,
        request::Mutation,
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ifmatch_domain::{
    Action,
    billing::{self, AdjustBalance},
};
use ifmatch_store::BalanceQuery;
use ifmatch_types::{Balance, BalanceTransaction, Kind};

/// `GET /v1/workspaces/{id}/balance`
pub async fn get(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    Params::of(&request)?.end()?;
    let workspace_id = known(&app, &id).await?;
    let items = app.reads.run(move |db| db.balances(&workspace_id)).await?;
    Ok(HttpResponse::Ok().json(Balance { items }))
}

/// `GET /v1/workspaces/{id}/balance/transactions`
pub async fn list(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let before: Option<String> = params.cursor()?;
    let currency = params.text("currency");
    params.end()?;
    let workspace_id = known(&app, &id).await?;
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&BalanceTransaction>, rows| {
            let before = last.map(|last| last.id.to_string()).or_else(|| before.clone());
            let (workspace_id, currency) = (workspace_id.clone(), currency.clone());
            db.balance_transactions(&BalanceQuery { workspace_id, currency, before, limit: rows })
        })
    });
    Ok(page.await?.answer(|last| cursor(&last.id)))
}

/// `POST /v1/workspaces/{id}/balance/adjustments`
pub async fn adjust(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    check_id(Kind::Workspace, &id)?;
    mutation.takes_no_params()?;
    let adjust = AdjustBalance { workspace_id: id.into_inner(), body: mutation.body.object()? };
    let action = Action::Billing(billing::Action::AdjustBalance(adjust));
    let outcome = mutation.submit(&app, action).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// The id of a living workspace.
async fn known(app: &App, workspace_id: &str) -> Result<String, HttpProblem> {
    check_id(Kind::Workspace, workspace_id)?;
    let found = app.reads.find(Kind::Workspace, workspace_id).await?;
    living(Kind::Workspace, workspace_id, found)?;
    Ok(workspace_id.to_owned())
}
