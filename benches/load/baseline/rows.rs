//! The statements of the baseline, in plain Diesel.

use super::pool::Either;
use diesel::{
    AsChangeset, Connection, ExpressionMethods, Insertable, OptionalExtension, PgConnection,
    QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper, SqliteConnection,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

diesel::table! {
    subscriptions (id) {
        id -> Text,
        version -> BigInt,
        workspace_id -> Text,
        plan_id -> Text,
        quantity -> BigInt,
        status -> Text,
        notes -> Text,
        cancel_at_period_end -> Bool,
        start_at -> BigInt,
        current_period_start -> BigInt,
        current_period_end -> BigInt,
        trial_end -> Nullable<BigInt>,
        canceled_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        metadata -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        updated_by -> Text,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    events (seq) {
        seq -> BigInt,
        resource_id -> Text,
        version -> BigInt,
        resource_type -> Text,
        kind -> Text,
        at -> BigInt,
        actor -> Text,
        source -> Text,
        forced -> Bool,
        request_id -> Text,
        changes -> Text,
        state -> Text,
    }
}

/// A stored subscription.
#[derive(Queryable, Selectable)]
#[diesel(table_name = subscriptions)]
struct SubscriptionRow {
    id: String,
    version: i64,
    workspace_id: String,
    plan_id: String,
    quantity: i64,
    status: String,
    notes: String,
    cancel_at_period_end: bool,
    start_at: i64,
    current_period_start: i64,
    current_period_end: i64,
    trial_end: Option<i64>,
    canceled_at: Option<i64>,
    ended_at: Option<i64>,
    metadata: String,
    created_at: i64,
    updated_at: i64,
    updated_by: String,
}

/// A subscription as it is sent to clients.
#[derive(Serialize)]
pub struct Subscription {
    id: String,
    pub version: i64,
    workspace_id: String,
    plan_id: String,
    quantity: i64,
    status: String,
    notes: String,
    cancel_at_period_end: bool,
    start_at: String,
    current_period_start: String,
    current_period_end: String,
    trial_end: Option<String>,
    canceled_at: Option<String>,
    ended_at: Option<String>,
    metadata: Value,
    created_at: String,
    updated_at: String,
    updated_by: String,
}

impl From<SubscriptionRow> for Subscription {
    fn from(row: SubscriptionRow) -> Self {
        Self {
            id: row.id,
            version: row.version,
            workspace_id: row.workspace_id,
            plan_id: row.plan_id,
            quantity: row.quantity,
            status: row.status,
            notes: row.notes,
            cancel_at_period_end: row.cancel_at_period_end,
            start_at: instant(row.start_at),
            current_period_start: instant(row.current_period_start),
            current_period_end: instant(row.current_period_end),
            trial_end: row.trial_end.map(instant),
            canceled_at: row.canceled_at.map(instant),
            ended_at: row.ended_at.map(instant),
            metadata: serde_json::from_str(&row.metadata).unwrap_or_default(),
            created_at: instant(row.created_at),
            updated_at: instant(row.updated_at),
            updated_by: row.updated_by,
        }
    }
}

fn instant(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map(|at| at.to_string()).unwrap_or_default()
}

/// A patch: its base version and the new values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    version: i64,
    quantity: Option<i64>,
    notes: Option<String>,
}

#[derive(AsChangeset)]
#[diesel(table_name = subscriptions)]
struct Changes<'a> {
    version: i64,
    quantity: Option<i64>,
    notes: Option<&'a str>,
    updated_at: i64,
    updated_by: &'a str,
}

#[derive(Insertable)]
#[diesel(table_name = events)]
struct NewEvent<'a> {
    resource_id: &'a str,
    version: i64,
    resource_type: &'a str,
    kind: &'a str,
    at: i64,
    actor: &'a str,
    source: &'a str,
    forced: bool,
    request_id: &'a str,
    changes: String,
    state: String,
}

/// Reads one subscription.
pub fn find(connection: &mut Either, id: &str) -> QueryResult<Option<Subscription>> {
    // Not `first`: its bound LIMIT makes SQLite prepare the statement again each time.
    let row = match connection {
        Either::Sqlite(connection) => {
            let query = subscriptions::table.find(id).select(SubscriptionRow::as_select());
            query.get_result(connection).optional()?
        }
        Either::Postgres(connection) => {
            let query = subscriptions::table.find(id).select(SubscriptionRow::as_select());
            query.get_result(connection).optional()?
        }
    };
    Ok(row.map(Subscription::from))
}

/// Writes an edit and its event. `None` if the version is not the patch's base.
pub fn write(
    connection: &mut Either,
    id: &str,
    edit: &Edit,
    request_id: &str,
) -> QueryResult<Option<Subscription>> {
    let now = jiff::Timestamp::now().as_microsecond();
    match connection {
        Either::Sqlite(c) => c.immediate_transaction(|c| {
            let row = update_sqlite(c, id, edit, now)?;
            let Some(subscription) = row.map(Subscription::from) else {
                return Ok(None);
            };
            let event = event(&subscription, edit, now, request_id);
            diesel::insert_into(events::table).values(&event).execute(c)?;
            drop(event);
            Ok(Some(subscription))
        }),
        Either::Postgres(c) => c.transaction(|c| {
            let row = update_postgres(c, id, edit, now)?;
            let Some(subscription) = row.map(Subscription::from) else {
                return Ok(None);
            };
            let event = event(&subscription, edit, now, request_id);
            diesel::insert_into(events::table).values(&event).execute(c)?;
            drop(event);
            Ok(Some(subscription))
        }),
    }
}

fn changes(edit: &Edit, now: i64) -> Changes<'_> {
    Changes {
        version: edit.version + 1,
        quantity: edit.quantity,
        notes: edit.notes.as_deref(),
        updated_at: now,
        updated_by: "admin",
    }
}

fn update_postgres(
    connection: &mut PgConnection,
    id: &str,
    edit: &Edit,
    now: i64,
) -> QueryResult<Option<SubscriptionRow>> {
    let target = subscriptions::table.find(id);
    let target = target.filter(subscriptions::version.eq(edit.version));
    diesel::update(target.filter(subscriptions::deleted_at.is_null()))
        .set(changes(edit, now))
        .returning(SubscriptionRow::as_returning())
        .get_result(connection)
        .optional()
}

fn update_sqlite(
    connection: &mut SqliteConnection,
    id: &str,
    edit: &Edit,
    now: i64,
) -> QueryResult<Option<SubscriptionRow>> {
    let target = subscriptions::table.find(id);
    let target = target.filter(subscriptions::version.eq(edit.version));
    let changed = diesel::update(target.filter(subscriptions::deleted_at.is_null()))
        .set(changes(edit, now))
        .execute(connection)?;
    if changed == 0 {
        return Ok(None);
    }
    let query = subscriptions::table.find(id).select(SubscriptionRow::as_select());
    query.get_result(connection).map(Some)
}

fn event<'a>(
    subscription: &'a Subscription,
    edit: &Edit,
    now: i64,
    request_id: &'a str,
) -> NewEvent<'a> {
    let mut changed = Vec::new();
    if let Some(quantity) = edit.quantity {
        changed.push(json!({"path": "/quantity", "from": 0, "to": quantity}));
    }
    if let Some(notes) = &edit.notes {
        changed.push(json!({"path": "/notes", "from": "", "to": notes}));
    }
    NewEvent {
        resource_id: &subscription.id,
        version: subscription.version,
        resource_type: "subscription",
        kind: "updated",
        at: now,
        actor: "admin",
        source: "api",
        forced: false,
        request_id,
        changes: Value::from(changed).to_string(),
        state: serde_json::to_string(subscription).unwrap_or_default(),
    }
}
