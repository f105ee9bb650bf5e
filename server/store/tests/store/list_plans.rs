//! The plans of lists: no documented order or filter sorts a whole table.

use crate::database::{Database, both_databases, execute};
use diesel::{RunQueryDsl, sql_query, sql_types::Text};
use ifmatch_store::{Db, Field, FieldType, Use, filters, sorts};
use ifmatch_types::Kind;

both_databases![
    no_list_sorts_its_whole_table,
    a_filter_that_few_objects_match_is_found_by_an_index,
    the_ledger_lists_an_account_by_an_index,
];

/// The steps of a statement's plan, one a line.
fn plan(db: &mut Db, sql: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct OfSqlite {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    #[derive(diesel::QueryableByName)]
    struct OfPostgres {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let steps: Vec<String> = match db {
        Db::Sqlite(db) => {
            let rows: Vec<OfSqlite> =
                sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(db.connection()).unwrap();
            rows.into_iter().map(|row| row.detail).collect()
        }
        Db::Postgres(db) => {
            let rows: Vec<OfPostgres> =
                sql_query(format!("EXPLAIN {sql}")).load(db.connection()).unwrap();
            rows.into_iter().map(|row| row.line.trim().to_owned()).collect()
        }
    };
    steps.join("\n")
}

/// A connection whose planner sorts and scans only if it must: the tables of a test are small.
fn reader(database: &Database) -> Db {
    let mut db = database.connect(Use::Read);
    if !db.is_sqlite() {
        execute(
            &mut db,
            "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off",
        );
    }
    db
}

fn list(kind: Kind, conditions: &[&Field], (sort, sort_type): Field, order: &str) -> String {
    let table = kind.collection();
    let sort = match sort_type {
        FieldType::OptInstant => format!("coalesce({sort}, {})", i64::MAX),
        _ => sort.to_owned(),
    };
    let conditions = conditions.iter().map(|(name, field_type)| {
        let value = match field_type {
            FieldType::Text | FieldType::Date => "'x'",
            FieldType::Integer | FieldType::Instant | FieldType::OptInstant => "7",
            FieldType::Boolean => "true",
        };
        format!(" AND \"{name}\" = {value}")
    });
    let conditions: String = conditions.collect();
    format!(
        "SELECT * FROM {table} WHERE deleted_at IS NULL{conditions} \
         ORDER BY {sort} {order}, id {order} LIMIT 51"
    )
}

/// Whether a plan sorts all rows that its condition leaves.
///
/// A sort of rows that are equal in the first column is none of these: it ends with the page.
fn sorts_everything(plan: &str) -> bool {
    plan.lines().any(|step| {
        let step = step.trim_start_matches("->").trim();
        step.starts_with("Sort  (cost") || step == "USE TEMP B-TREE FOR ORDER BY"
    })
}

/// Whether a plan looks rows up by a condition on an indexed column.
fn looks_up(plan: &str) -> bool {
    plan.contains("Index Cond:") || plan.contains("SEARCH ")
}

fn no_list_sorts_its_whole_table(database: &Database) {
    let mut db = reader(database);
    for kind in Kind::ALL {
        // What a workspace or namespace has is listed for itself only.
        let owned = matches!(kind, Kind::Assignment | Kind::Boost);
        let scope: Vec<_> =
            filters(kind).iter().filter(|(name, _)| owned && *name == "scope").collect();
        for &sort in sorts(kind) {
            for order in ["ASC", "DESC"] {
                refuse_a_full_sort(&mut db, &list(kind, &scope, sort, order));
            }
        }
        let by_default = sorts(kind)[0];
        for filter in filters(kind) {
            let mut conditions = scope.clone();
            conditions.push(filter);
            refuse_a_full_sort(&mut db, &list(kind, &conditions, by_default, "ASC"));
        }
    }
}

fn refuse_a_full_sort(db: &mut Db, sql: &str) {
    let plan = plan(db, sql);
    assert!(!sorts_everything(&plan) || looks_up(&plan), "{sql}\n{plan}");
}

fn a_filter_that_few_objects_match_is_found_by_an_index(database: &Database) {
    let mut db = reader(database);
    if !db.is_sqlite() {
        // A page of few found rows is sorted.
        execute(&mut db, "SET enable_sort = on");
    }
    for (kind, name) in [
        (Kind::Workspace, "name"),
        (Kind::Workspace, "email"),
        (Kind::Namespace, "workspace_id"),
        (Kind::Namespace, "name"),
        (Kind::Plan, "code"),
        (Kind::Subscription, "workspace_id"),
        (Kind::Subscription, "plan_id"),
        (Kind::Invoice, "workspace_id"),
        (Kind::Invoice, "subscription_id"),
        (Kind::Invoice, "number"),
        (Kind::Feature, "code"),
        (Kind::Package, "code"),
        (Kind::Assignment, "scope"),
        (Kind::Boost, "scope"),
        (Kind::Bookable, "name"),
        (Kind::Booking, "bookable_id"),
        (Kind::Booking, "user_id"),
        (Kind::Booking, "start_date"),
    ] {
        let filter = filters(kind).iter().find(|filter| filter.0 == name).unwrap();
        let sql = list(kind, &[filter], sorts(kind)[0], "ASC");
        let plan = plan(&mut db, &sql);
        assert!(looks_up(&plan), "{sql}\n{plan}");
    }
}

fn the_ledger_lists_an_account_by_an_index(database: &Database) {
    let mut db = reader(database);
    for (table, condition, order, index) in [
        ("transfers", "", "version DESC", "transfers_by_account"),
        (
            "transfers",
            "AND kind = 'topup' AND kind <> 'reserve'",
            "version DESC",
            "transfers_by_kind",
        ),
        ("transfers", "AND reference = 'x'", "version DESC", "transfers_by_reference"),
        ("transfers", "AND at >= 5", "at DESC, version DESC", "transfers_by_time"),
        ("reservations", "AND status <> 'pending'", "id", "reservations_resolved"),
        ("reservations", "AND status = 'pending'", "id", "reservations_pending"),
    ] {
        let after = match order {
            "id" => "AND id > 'x'",
            "version DESC" => "AND version < 7",
            _ => "AND (at, version) < (9, 7)",
        };
        let sql = format!(
            "SELECT * FROM {table} WHERE account_id = 'x' {condition} {after} \
             ORDER BY {order} LIMIT 51"
        );
        let plan = plan(&mut db, &sql);
        assert!(plan.contains(index) && !sorts_everything(&plan), "{sql}\n{plan}");
    }
}
