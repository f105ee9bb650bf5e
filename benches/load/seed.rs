//! The subscriptions that are read and changed, made through the API.

use crate::{Failure, http::Connection, process::KEY};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};

/// So many connections seed at the same time.
const CONNECTIONS: usize = 8;
/// So many subscriptions are made in one transaction.
const PER_TRANSACTION: usize = 50;
const WORKSPACES: usize = 100;
/// What people wrote about it: rows are as wide as in an office, not as in a test.
const NOTES: &str =
    "Called on Monday about the invoice of last month; wants to hear from us before the renewal.";

/// Makes so many subscriptions; their ids.
pub async fn seed(address: SocketAddr, rows: usize) -> Result<Vec<String>, Failure> {
    let mut connection = Connection::open(address, KEY).await?;
    let plan = json!({"code": "bench", "name": "Bench", "currency": "USD", "amount": 1000,
        "interval": "month", "status": "active"});
    let plan = make(&mut connection, &[create("plan", &plan)]).await?;
    let plan = plan.first().ok_or("a plan")?.clone();
    let mut workspaces = Vec::new();
    while workspaces.len() < WORKSPACES {
        let some: Vec<Value> = (0..PER_TRANSACTION)
            .map(|number| create("workspace", &json!({"name": format!("Acme {number}")})))
            .collect();
        workspaces.extend(make(&mut connection, &some).await?);
    }
    let workspaces = Arc::new(workspaces);
    let mut parts = Vec::new();
    for part in 0..CONNECTIONS {
        let (workspaces, plan) = (Arc::clone(&workspaces), plan.clone());
        let wanted = rows / CONNECTIONS + usize::from(part < rows % CONNECTIONS);
        parts.push(tokio::spawn(async move {
            make_subscriptions(address, &workspaces, &plan, wanted).await
        }));
    }
    let mut ids = Vec::with_capacity(rows);
    for part in parts {
        ids.extend(part.await??);
    }
    Ok(ids)
}

async fn make_subscriptions(
    address: SocketAddr,
    workspaces: &[String],
    plan: &str,
    wanted: usize,
) -> Result<Vec<String>, Failure> {
    let mut connection = Connection::open(address, KEY).await?;
    let mut ids = Vec::with_capacity(wanted);
    let mut workspaces = workspaces.iter().cycle();
    while ids.len() < wanted {
        let some = PER_TRANSACTION.min(wanted.saturating_sub(ids.len()));
        let operations: Vec<Value> = workspaces
            .by_ref()
            .take(some)
            .map(|workspace| {
                let body = json!({"workspace_id": workspace, "plan_id": plan, "quantity": 1,
                    "notes": NOTES, "metadata": {"source": "bench"}});
                create("subscription", &body)
            })
            .collect();
        ids.extend(make(&mut connection, &operations).await?);
    }
    Ok(ids)
}

fn create(kind: &str, body: &Value) -> Value {
    json!({"op": "create", "type": kind, "body": body})
}

/// Makes objects in one transaction; their ids.
async fn make(connection: &mut Connection, operations: &[Value]) -> Result<Vec<String>, Failure> {
    let body = json!({ "operations": operations }).to_string();
    let answer = connection.post("/v1/transactions", &body).await?;
    if answer.status != 200 {
        return Err(format!("seeding: {}", answer.text()).into());
    }
    let answer: Value = serde_json::from_slice(answer.body)?;
    let results = answer.get("results").and_then(Value::as_array).ok_or("results")?;
    let id = |result: &Value| Some(result.get("id")?.as_str()?.to_owned());
    Ok(results.iter().map(id).collect::<Option<_>>().ok_or("ids")?)
}
