//! The credits of a workspace: what it has, and the transfers that moved it.

use crate::{
    app::App,
    http::core::{
        objects::{check_id, check_id_of, living},
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
    ledger::{self, CREDITS, MoveCredits, Movement, ReserveCredits, account_id},
};
use ifmatch_store::TransferQuery;
use ifmatch_types::{Credits, Kind, Transfer, TransferId, TransferKind};

/// The values of `?kind=`.
pub fn kinds() -> [&'static str; TransferKind::ALL.len()] {
    TransferKind::ALL.map(TransferKind::name)
}

/// `GET /v1/workspaces/{id}/credits`
pub async fn get(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    Params::of(&request)?.end()?;
    let account_id = known_account(&app, &id).await?;
    let account = app.reads.run(move |db| db.account(&account_id)).await?;
    let credits = account
        .map_or(Credits { available: 0, reserved: 0, version: 0 }, |account| account.credits());
    Ok(HttpResponse::Ok().json(credits))
}

/// `GET /v1/workspaces/{id}/credits/transfers`
pub async fn list(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResult {
    let mut params = Params::of(&request)?;
    let limit = params.limit()?;
    let mut query = TransferQuery {
        kind: params.one_of("kind", &kinds(), TransferKind::from_name)?,
        reference: params.text("ref"),
        since: params.parsed("since", "an RFC 3339 instant")?,
        before: params.cursor()?,
        ..TransferQuery::default()
    };
    params.end()?;
    query.account_id = known_account(&app, &id).await?;
    let page = app.reads.run(move |db| {
        PageText::read(limit, |last: Option<&Transfer>, rows| {
            let before = last.map(|last| (last.at, last.version)).or(query.before);
            db.transfers(&TransferQuery { before, limit: rows, ..query.clone() })
        })
    });
    Ok(page.await?.answer(|last| cursor(&(last.at, last.version))))
}

/// `GET /v1/workspaces/{id}/credits/transfers/{transfer_id}`
pub async fn get_transfer(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResult {
    Params::of(&request)?.end()?;
    let (id, transfer_id) = path.into_inner();
    check_id_of("transfer", TransferId::PREFIX, &transfer_id)?;
    let account_id = known_account(&app, &id).await?;
    let key = transfer_id.clone();
    match app.reads.run(move |db| db.transfer(&account_id, &key)).await? {
        Some(transfer) => Ok(HttpResponse::Ok().json(transfer)),
        None => Err(HttpProblem::not_found(format!("there is no transfer {transfer_id}"))),
    }
}

/// `POST /v1/workspaces/{id}/credits/topups`
pub async fn top_up(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    move_credits(&app, &id, Movement::Topup, mutation).await
}

/// `POST /v1/workspaces/{id}/credits/adjustments`
pub async fn adjust(app: web::Data<App>, id: web::Path<String>, mutation: Mutation) -> HttpResult {
    move_credits(&app, &id, Movement::Adjust, mutation).await
}

async fn move_credits(
    app: &App,
    id: &str,
    movement: Movement,
    mut mutation: Mutation,
) -> HttpResult {
    check_id(Kind::Workspace, id)?;
    mutation.takes_no_params()?;
    let movement = MoveCredits::new(id.to_owned(), movement, mutation.body.object()?);
    submit(app, &mutation, ledger::Action::MoveCredits(movement)).await
}

/// `POST /v1/workspaces/{id}/credits/reservations`
pub async fn reserve(
    app: web::Data<App>,
    id: web::Path<String>,
    mut mutation: Mutation,
) -> HttpResult {
    check_id(Kind::Workspace, &id)?;
    mutation.takes_no_params()?;
    let reserve = ReserveCredits::new(id.into_inner(), mutation.body.object()?);
    submit(&app, &mutation, ledger::Action::ReserveCredits(reserve)).await
}

/// Submits an action of the ledger and answers with its reply.
pub async fn submit(app: &App, mutation: &Mutation, action: ledger::Action) -> HttpResult {
    let outcome = mutation.submit(app, Action::Ledger(action)).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// The account of a living workspace.
pub async fn known_account(app: &App, workspace_id: &str) -> Result<String, HttpProblem> {
    check_id(Kind::Workspace, workspace_id)?;
    let found = app.reads.find(Kind::Workspace, workspace_id).await?;
    living(Kind::Workspace, workspace_id, found)?;
    Ok(account_id(workspace_id, CREDITS))
}
