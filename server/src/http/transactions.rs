//! Several operations, all or nothing.

use super::{
    bookings::read_confirm,
    objects::{Answer, check_id, take_version},
    problem::HttpProblem,
    query::Params,
    render::render,
    request::Mutation,
};
use crate::app::App;
use actix_web::{HttpRequest, web};
use ifmatch_domain::{
    Action, Change, CreateObject, DeleteObject, Mode, Operation, Precondition, Rejection, Transact,
    UpdateObject,
};
use ifmatch_types::{Code, Kind, Version, pointer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// So many operations at most.
const OPERATIONS_MAX: usize = 50;

/// What to do, all or nothing.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTransaction {
    /// 1–50 operations, carried out in order.
    pub operations: Vec<NewOperation>,
}

/// One operation of a transaction.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOperation {
    /// What to do; `check` only asserts a version.
    pub op: Op,
    /// The kind of the object.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The object; not for `create`.
    #[serde(default)]
    pub id: Option<String>,
    /// The version it was computed from; not for `create`.
    #[serde(default)]
    pub version: Option<Version>,
    /// The fields of a `create`, the merge patch of a `patch`.
    #[serde(default)]
    pub body: Option<Map<String, Value>>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Makes an object.
    Create,
    /// Changes an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Asserts an object's version.
    Check,
}

/// What a transaction did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TransactionResults {
    /// One result per operation, in order.
    pub results: Vec<Value>,
}

/// `POST /v1/transactions`
pub async fn transact(app: web::Data<App>, request: HttpRequest, mutation: Mutation) -> Answer {
    Params::of(&request)?.end()?;
    let body = mutation.body.object()?;
    if let Some(name) = body.keys().find(|name| *name != "operations") {
        return Err(HttpProblem::invalid(pointer::member("", name), "is not a field here"));
    }
    let operations = match body.get("operations") {
        Some(Value::Array(operations)) => operations,
        Some(_) => return Err(HttpProblem::invalid("/operations", "must be a list")),
        None => return Err(HttpProblem::invalid("/operations", "is required")),
    };
    if operations.is_empty() || operations.len() > OPERATIONS_MAX {
        let message =
            format!("must have 1 to {OPERATIONS_MAX} operations, has {}", operations.len());
        return Err(HttpProblem::invalid("/operations", message));
    }
    let operations = operations
        .iter()
        .enumerate()
        .map(|(index, operation)| read(index, operation))
        .collect::<Result<Vec<Operation>, HttpProblem>>()?;
    let outcome = mutation.submit(&app, Action::Transact(Transact { operations })).await?;
    Ok(render(&outcome).into_response())
}

fn read(index: usize, operation: &Value) -> Result<Operation, HttpProblem> {
    let at = |field: &str| format!("/operations/{index}{field}");
    let failed = |problem: HttpProblem| problem.with("failed_index", index);
    let mut fields = operation
        .as_object()
        .cloned()
        .ok_or_else(|| failed(HttpProblem::invalid(at(""), "must be a JSON object")))?;
    let required = |field: &str| failed(HttpProblem::invalid(at(field), "is required"));
    let refused =
        |field: &str| failed(HttpProblem::invalid(at(field), "has no meaning in this operation"));
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    let (op, kind, id) = (take("op"), take("type"), take("id"));
    let (version, body) = (take("version"), take("body"));
    if let Some(name) = fields.keys().next() {
        let path = at(&pointer::member("", name));
        return Err(failed(HttpProblem::invalid(path, "is not a field here")));
    }
    let op: Op = typed(op, &at("/op")).map_err(failed)?.ok_or_else(|| required("/op"))?;
    let kind: Kind = typed(kind, &at("/type")).map_err(failed)?.ok_or_else(|| required("/type"))?;
    let id: Option<String> = typed(id, &at("/id")).map_err(failed)?;
    let version: Option<Version> = typed(version, &at("/version")).map_err(failed)?;
    let body: Option<Map<String, Value>> = typed(body, &at("/body")).map_err(failed)?;
    if op == Op::Create {
        if id.is_some() {
            return Err(refused("/id"));
        }
        if version.is_some() {
            return Err(refused("/version"));
        }
        let mut body = body.ok_or_else(|| required("/body"))?;
        read_confirm(kind, &mut body).map_err(failed)?;
        return Ok(Operation::Create(CreateObject { kind, body }));
    }
    let id = id.ok_or_else(|| required("/id"))?;
    check_id(kind, &id).map_err(failed)?;
    let precondition = version.map_or(Precondition::Missing, Precondition::Version);
    match (op, body) {
        (Op::Patch, Some(mut body)) => {
            let in_body = take_version(&mut body).map_err(failed)?;
            let precondition = match (version, in_body) {
                (Some(version), Some(in_body)) if version != in_body => {
                    let both = "the operation and its body name different versions";
                    return Err(failed(HttpProblem::new(Code::MalformedPrecondition, both)));
                }
                (version, in_body) => {
                    version.or(in_body).map_or(Precondition::Missing, Precondition::Version)
                }
            };
            Ok(Operation::Update(UpdateObject {
                kind,
                id,
                change: Change::Patch(body),
                precondition,
                mode: Mode::Strict,
                refused_at: None,
            }))
        }
        (Op::Patch, None) => Err(required("/body")),
        (_, Some(_)) => Err(refused("/body")),
        (Op::Delete, None) => {
            Ok(Operation::Delete(DeleteObject { kind, id, precondition, force: None }))
        }
        (_, None) => {
            let version = version.ok_or_else(|| failed(Rejection::PreconditionRequired.into()))?;
            Ok(Operation::Check { kind, id, version })
        }
    }
}

/// A field of an operation, if it is there.
fn typed<T: DeserializeOwned>(value: Option<Value>, path: &str) -> Result<Option<T>, HttpProblem> {
    let read = |value| {
        serde_json::from_value(value).map_err(|error| HttpProblem::invalid(path, error.to_string()))
    };
    value.map(read).transpose()
}
