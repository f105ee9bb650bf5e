//! Transactions: several operations on objects of any system, all or nothing.

use super::{
    core::{
        collection::READS,
        endpoint::{Endpoint, group, post},
        idempotency,
        objects::{check_id, take_version},
        problem::{HttpProblem, HttpResult},
        render::Reply,
        request::Mutation,
    },
    systems::read_create,
};
use crate::app::App;
use actix_web::web;
use ifmatch_domain::{
    Action, Rejection,
    core::{
        self, Change, CreateObject, DeleteObject, Mode, Operation, Precondition, UpdateObject,
        read_value,
    },
};
use ifmatch_types::{Code, Kind, Version, pointer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Maximum number of operations of a transaction.
const OPERATIONS_MAX: usize = 50;

/// A transaction: operations that are carried out all or nothing.
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
    /// What to do. `check` only asserts a version.
    pub op: Op,
    /// The kind of the object.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The id of the object; not for `create`.
    #[serde(default)]
    pub id: Option<String>,
    /// The version that the operation was computed from; not for `create`.
    #[serde(default)]
    pub version: Option<Version>,
    /// The fields for `create`, the merge patch for `patch`.
    #[serde(default)]
    pub body: Option<Map<String, Value>>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Creates an object.
    Create,
    /// Changes an object.
    Patch,
    /// Deletes an object.
    Delete,
    /// Asserts an object's version.
    Check,
}

/// The results of a transaction.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TransactionResults {
    /// One result per operation, in order.
    pub results: Vec<Value>,
}

/// The route of transactions.
///
/// An operation may be refused for the same reasons as the route of its object.
pub fn routes(others: &[Endpoint]) -> Vec<Endpoint> {
    let of_objects: Vec<Code> =
        others.iter().flat_map(Endpoint::object_problems).copied().collect();
    group(
        "Billing",
        [post("/v1/transactions", transact)
            .agent()
            .scoped()
            .idempotent()
            .operation_id("transact")
            .summary("Several operations, all or nothing")
            .body::<NewTransaction>()
            .answers::<TransactionResults>(200)
            .problems(READS)
            .problems(&[Code::IdempotencyKeyRequired])
            .problems(&[Code::ConflictVersionMismatch, Code::PreconditionRequired])
            .problems(&of_objects)],
    )
}

/// `POST /v1/transactions`
async fn transact(app: web::Data<App>, mut mutation: Mutation) -> HttpResult {
    let body = mutation.body.object()?;
    if !mutation.has_idempotency_key() && creates_what_costs(&body) {
        return Err(idempotency::required());
    }
    mutation.takes_no_params()?;
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
        .map(|(index, operation)| {
            let path = format!("/operations/{index}");
            read(&path, operation).map_err(|problem| problem.with("failed_index", index))
        })
        .collect::<Result<Vec<Operation>, HttpProblem>>()?;
    let outcome = mutation.submit(&app, Action::Core(core::Action::Transact(operations))).await?;
    Ok(Reply::from(&outcome).into_response())
}

/// Whether an operation creates an object whose creation needs a key of its own route, too.
///
/// This is asked before the operations are read, because a missing key is told before wrong fields.
fn creates_what_costs(body: &Map<String, Value>) -> bool {
    let operations = body.get("operations").and_then(Value::as_array);
    operations.into_iter().flatten().any(|operation| {
        let member = |name: &str| operation.get(name).and_then(Value::as_str);
        member("op") == Some("create")
            && member("type").and_then(Kind::from_name).is_some_and(Kind::creation_needs_key)
    })
}

/// The parsed fields of an operation.
struct Fields {
    op: Op,
    kind: Kind,
    id: Option<String>,
    version: Option<Version>,
    body: Option<Map<String, Value>>,
}

fn read_fields(path: &str, operation: &Value) -> Result<Fields, HttpProblem> {
    let mut fields = operation
        .as_object()
        .cloned()
        .ok_or_else(|| HttpProblem::invalid(path, "must be a JSON object"))?;
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    let (op, kind, id) = (take("op"), take("type"), take("id"));
    let (version, body) = (take("version"), take("body"));
    if let Some(name) = fields.keys().next() {
        return Err(HttpProblem::invalid(pointer::member(path, name), "is not a field here"));
    }
    let required = |field: &str| required(path, field);
    Ok(Fields {
        op: typed(op, path, "/op")?.ok_or_else(|| required("/op"))?,
        kind: typed(kind, path, "/type")?.ok_or_else(|| required("/type"))?,
        id: typed(id, path, "/id")?,
        version: typed(version, path, "/version")?,
        body: typed(body, path, "/body")?,
    })
}

/// Reads the operation at this path of the request's body.
fn read(path: &str, operation: &Value) -> Result<Operation, HttpProblem> {
    let fields = read_fields(path, operation)?;
    match fields.op {
        Op::Create => fields.into_create(path),
        Op::Patch => fields.into_patch(path),
        Op::Delete => fields.into_delete(path),
        Op::Check => fields.into_check(path),
    }
}

impl Fields {
    fn into_create(self, path: &str) -> Result<Operation, HttpProblem> {
        if self.id.is_some() {
            return Err(meaningless(path, "/id"));
        }
        if self.version.is_some() {
            return Err(meaningless(path, "/version"));
        }
        let mut body = self.body.ok_or_else(|| required(path, "/body"))?;
        read_create(self.kind, &mut body)?;
        Ok(Operation::Create(CreateObject { kind: self.kind, body }))
    }

    fn into_patch(self, path: &str) -> Result<Operation, HttpProblem> {
        let id = self.target(path)?;
        let mut body = self.body.ok_or_else(|| required(path, "/body"))?;
        let precondition = match (self.version, take_version(&mut body)?) {
            (Some(version), Some(in_body)) if version != in_body => {
                let both = "the operation and its body name different versions";
                return Err(HttpProblem::new(Code::MalformedPrecondition, both));
            }
            (version, in_body) => precondition(version.or(in_body)),
        };
        Ok(Operation::Update(UpdateObject {
            kind: self.kind,
            id,
            change: Change::Patch(body),
            precondition,
            mode: Mode::Strict,
            refused_at: None,
        }))
    }

    fn into_delete(self, path: &str) -> Result<Operation, HttpProblem> {
        let id = self.target(path)?;
        self.refuse_body(path)?;
        let precondition = precondition(self.version);
        Ok(Operation::Delete(DeleteObject { kind: self.kind, id, precondition, force: None }))
    }

    fn into_check(self, path: &str) -> Result<Operation, HttpProblem> {
        let id = self.target(path)?;
        self.refuse_body(path)?;
        let version = self.version.ok_or(Rejection::Core(core::Rejection::PreconditionRequired))?;
        Ok(Operation::Check { kind: self.kind, id, version })
    }

    /// The id of the object, which all operations but `create` need.
    fn target(&self, path: &str) -> Result<String, HttpProblem> {
        let id = self.id.clone().ok_or_else(|| required(path, "/id"))?;
        check_id(self.kind, &id)?;
        Ok(id)
    }

    fn refuse_body(&self, path: &str) -> Result<(), HttpProblem> {
        if self.body.is_some() { Err(meaningless(path, "/body")) } else { Ok(()) }
    }
}

fn precondition(version: Option<Version>) -> Precondition {
    version.map_or(Precondition::Missing, Precondition::Version)
}

fn required(path: &str, field: &str) -> HttpProblem {
    HttpProblem::invalid(format!("{path}{field}"), "is required")
}

fn meaningless(path: &str, field: &str) -> HttpProblem {
    HttpProblem::invalid(format!("{path}{field}"), "has no meaning in this operation")
}

/// A field of an operation, if it is there.
fn typed<T: DeserializeOwned>(
    value: Option<Value>,
    path: &str,
    field: &str,
) -> Result<Option<T>, HttpProblem> {
    let read = |value| {
        read_value(&value)
            .map_err(|message| HttpProblem::invalid(format!("{path}{field}"), message))
    };
    value.map(read).transpose()
}
