//! The objects that the load reads, changes and uses, created through the API.

use crate::{
    Failure,
    http::{Answer, Connection},
    process::KEY,
    workload::Workload,
};
use jiff::{ToSpan, civil::Date};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};

/// Concurrent connections for seeding.
const CONNECTIONS: usize = 8;
/// Subscriptions per transaction.
const PER_TRANSACTION: usize = 50;
const WORKSPACES: usize = 100;
/// Accounts of credits for the workload that spreads over many.
pub const ACCOUNTS: usize = 10_000;
/// The limit of usage, far above what a run can use.
pub const LIMIT: i64 = 1_000_000_000;
/// The capacity of a day, the highest that is allowed.
const CAPACITY: i64 = 1_000_000;
pub const ROLLING_DAYS: i64 = 30;
/// Notes of realistic length, so that rows are as wide as in production.
const NOTES: &str =
    "Called on Monday about the invoice of last month; wants to hear from us before the renewal.";

/// The seeded objects.
#[derive(Clone)]
pub struct Seeded {
    /// The ids of the subscriptions.
    pub subscriptions: Vec<String>,
    /// The plan of all subscriptions.
    plan: String,
    /// The workspaces of the subscriptions.
    workspaces: Arc<Vec<String>>,
    /// The workspace that records usage. Each feature has the name of its workload.
    pub workspace: String,
    /// The bookable; empty if no workload books.
    pub bookable: String,
    /// The workspaces with credits; empty if no workload reserves any.
    accounts: Vec<String>,
    /// The body of an order of a server, if a workload makes any.
    pub order: Option<String>,
    /// The day of seeding. Cells book later days.
    today: Date,
}

/// A request that can be repeated.
pub struct Post {
    path: String,
    body: String,
}

impl Post {
    /// Sends it as a new request.
    pub async fn send<'a>(&self, to: &'a mut Connection) -> Result<Answer<'a>, Failure> {
        to.post(&self.path, &self.body).await
    }
}

impl Seeded {
    /// The day that this cell's clients book. All cells together could fill a shared one.
    pub fn day(&self, clients: usize) -> Result<Date, Failure> {
        Ok(self.today.checked_add(i64::try_from(clients)?.days())?)
    }

    /// The body of a new subscription in one of the workspaces.
    pub fn sign_up(&self, draw: usize) -> Option<String> {
        let workspace = self.workspaces.get(draw % self.workspaces.len().max(1))?;
        let body = json!({"workspace_id": workspace, "plan_id": self.plan, "notes": NOTES});
        Some(body.to_string())
    }

    /// The path of a reservation of some account.
    pub fn reservation(&self, draw: usize) -> Option<String> {
        let workspace = self.accounts.get(draw % self.accounts.len().max(1))?;
        Some(format!("/v1/workspaces/{workspace}/credits/reservations"))
    }

    /// The request of a workload that only posts.
    pub fn post(&self, workload: Workload, clients: usize) -> Option<Post> {
        let (path, body) = match workload {
            Workload::HotCounter | Workload::HotRolling => {
                let body = json!({"feature": workload.name(), "quantity": 1});
                (format!("/v1/workspaces/{}/usage", self.workspace), body)
            }
            Workload::HotDay => {
                let day = self.day(clients).ok()?.to_string();
                let body = json!({"bookable_id": self.bookable, "start_date": day, "end_date": day,
                    "quantity": 1, "confirm": true});
                ("/v1/bookings".to_owned(), body)
            }
            Workload::CreditHot => (self.reservation(0)?, json!({"amount": 1})),
            _ => return None,
        };
        Some(Post { path, body: body.to_string() })
    }
}

/// Creates subscriptions and the other objects that the cells need.
pub async fn seed(
    address: SocketAddr,
    rows: usize,
    cells: &[(Workload, usize)],
) -> Result<Seeded, Failure> {
    let mut connection = Connection::open(address, KEY).await?;
    let mut seeded = seed_subscriptions(address, &mut connection, rows).await?;
    if cells.iter().any(|(workload, _)| workload.is_credit()) {
        seeded.accounts = open_accounts(address).await?;
    }
    // The first connection may have been idle for longer than the server keeps one.
    let mut connection = Connection::open(address, KEY).await?;
    if cells.iter().any(|(workload, _)| workload.is_usage()) {
        grant(&mut connection, &seeded.workspace).await?;
    }
    if cells.iter().any(|(workload, _)| *workload == Workload::HotDay) {
        let body = json!({"name": "Desk", "capacity": CAPACITY});
        seeded.bookable = make_one(&mut connection, "/v1/bookables", &body).await?;
    }
    if cells.iter().any(|(workload, _)| *workload == Workload::Provisioning) {
        seeded.order = Some(offer_server(&mut connection, &seeded.workspace).await?);
    }
    // Counters and days exist before the measurement. Creating them is not compared.
    for (workload, clients) in cells {
        if let Some(post) = seeded.post(*workload, *clients) {
            created(&post.send(&mut connection).await?)?;
        }
    }
    Ok(seeded)
}

/// Makes workspaces with as many credits as no run can spend.
async fn open_accounts(address: SocketAddr) -> Result<Vec<String>, Failure> {
    let mut parts = Vec::new();
    for _ in 0..CONNECTIONS {
        parts.push(tokio::spawn(async move {
            let mut connection = Connection::open(address, KEY).await?;
            let mut ids = Vec::new();
            while ids.len() < ACCOUNTS / CONNECTIONS {
                let fields = json!({"name": "Spender"});
                let some = vec![create("workspace", &fields); PER_TRANSACTION];
                for id in make(&mut connection, &some).await? {
                    let path = format!("/v1/workspaces/{id}/credits/topups");
                    let body = json!({"amount": LIMIT, "reason": "bench"});
                    make_one(&mut connection, &path, &body).await?;
                    ids.push(id);
                }
            }
            Result::<_, Failure>::Ok(ids)
        }));
    }
    let mut ids = Vec::with_capacity(ACCOUNTS);
    for part in parts {
        ids.extend(part.await??);
    }
    Ok(ids)
}

/// Makes a product, and a workspace able to pay for it. Returns the body of its order.
async fn offer_server(connection: &mut Connection, workspace: &str) -> Result<String, Failure> {
    let path = format!("/v1/workspaces/{workspace}/credits/topups");
    make_one(connection, &path, &json!({"amount": LIMIT, "reason": "bench"})).await?;
    let product = json!({"name": "Small", "price_credits": 1, "egg": 1, "docker_image": "java:21",
        "startup": "java -jar server.jar", "limits": {"memory": 1024, "disk": 4096},
        "deploy": {"locations": [1]}});
    let product = make_one(connection, "/v1/products", &product).await?;
    let order = json!({"workspace_id": workspace, "product_id": product, "name": "Castle",
        "panel_user": 7});
    Ok(order.to_string())
}

/// Grants a workspace the features of the workloads.
async fn grant(connection: &mut Connection, workspace: &str) -> Result<(), Failure> {
    let (counter, rolling) = (Workload::HotCounter.name(), Workload::HotRolling.name());
    let feature = json!({"code": counter, "type": "limit"});
    make_one(connection, "/v1/features", &feature).await?;
    let feature = json!({"code": rolling, "type": "limit", "reset": "rolling",
        "rolling_days": ROLLING_DAYS});
    make_one(connection, "/v1/features", &feature).await?;
    let limit = |code| json!({"feature": code, "grant": "limit", "limit": LIMIT});
    let package = json!({"code": "bench", "grants": [limit(counter), limit(rolling)]});
    make_one(connection, "/v1/packages", &package).await?;
    let path = format!("/v1/workspaces/{workspace}/packages");
    make_one(connection, &path, &json!({"package": "bench"})).await?;
    Ok(())
}

/// Creates one object and returns its id.
async fn make_one(
    connection: &mut Connection,
    path: &str,
    body: &Value,
) -> Result<String, Failure> {
    created(&connection.post(path, &body.to_string()).await?)
}

/// The id of a created object.
fn created(answer: &Answer<'_>) -> Result<String, Failure> {
    if answer.status != 201 {
        return Err(format!("seeding: {}", answer.text()).into());
    }
    let made: Value = serde_json::from_slice(answer.body)?;
    Ok(made.get("id").and_then(Value::as_str).ok_or("an id")?.to_owned())
}

/// Creates subscriptions, their plan and their workspaces.
async fn seed_subscriptions(
    address: SocketAddr,
    connection: &mut Connection,
    rows: usize,
) -> Result<Seeded, Failure> {
    let plan = json!({"code": "bench", "name": "Bench", "currency": "USD", "amount": 1000,
        "interval": "month", "status": "active"});
    let plan = make(connection, &[create("plan", &plan)]).await?;
    let plan = plan.first().ok_or("a plan")?.clone();
    let mut workspaces = Vec::new();
    while workspaces.len() < WORKSPACES {
        let some: Vec<Value> = (0..PER_TRANSACTION)
            .map(|number| create("workspace", &json!({"name": format!("Acme {number}")})))
            .collect();
        workspaces.extend(make(connection, &some).await?);
    }
    let first = workspaces.first().ok_or("a workspace")?.clone();
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
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    Ok(Seeded {
        subscriptions: ids,
        plan,
        workspaces,
        workspace: first,
        bookable: String::new(),
        accounts: Vec::new(),
        order: None,
        today,
    })
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

/// Creates objects in one transaction and returns their ids.
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
