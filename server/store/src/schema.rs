//! The one list of all tables and columns, for Diesel's rows and for bulk statements.
//!
//! Only column types that both databases have are used. Ids, enums and JSON are text, instants are
//! microseconds in UTC, money is a 64-bit integer. A test compares this list with both databases,
//! column by column.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        sql::{Cell, Sql},
    },
    on_backend,
};
use std::sync::OnceLock;

use diesel::{
    PgConnection, RunQueryDsl,
    sql_types::{self, BigInt, Bool, Nullable, Text},
};

/// The Rust type of a column.
pub(crate) trait Native {
    type Rust;
}

impl Native for Text {
    type Rust = String;
}

impl Native for BigInt {
    type Rust = i64;
}

impl Native for Bool {
    type Rust = bool;
}

impl<T: Native + sql_types::SqlType> Native for Nullable<T> {
    type Rust = Option<T::Rust>;
}

/// A row of a table.
pub(crate) trait StoredRow: Sized {
    /// The table's name.
    const TABLE: &'static str;
    /// The SQL types of all columns, in order.
    type Columns;
    /// The names of all columns, in order. The first is the key if rows are updated.
    const COLUMNS: &'static [&'static str];

    /// The value of the first column, which names a row in errors.
    fn name(&self) -> String;

    /// The row's values, in the order of the columns.
    fn cells(self) -> Vec<Cell>;

    /// Runs a query that returns all columns in order.
    fn query(db: &mut Db, sql: Sql) -> Result<Vec<Self>, StoreError>;

    /// Runs a query that returns all columns in order, and then the row's stamp.
    fn query_stamped(
        connection: &mut PgConnection,
        sql: Sql,
    ) -> Result<Vec<(Self, i64)>, StoreError>;

    /// All columns, quoted, separated by commas.
    fn column_list() -> &'static str;

    /// `SELECT` all columns `FROM` the table.
    fn select() -> Sql {
        Sql::new("SELECT ").text(Self::column_list()).text(" FROM ").text(Self::TABLE)
    }
}

/// Names, quoted, separated by commas.
pub(crate) fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

/// A table as the schema test sees it.
#[derive(Debug)]
pub struct TableShape {
    /// Its name.
    pub name: &'static str,
    /// Its columns with their Diesel types, in order.
    pub columns: &'static [(&'static str, &'static str)],
}

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident => $row:ident {
        $first:ident: $first_type:ty, $($column:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, diesel::Queryable, serde::Deserialize)]
            pub(crate) struct $row {
                pub(crate) $first: <$first_type as Native>::Rust,
                $(pub(crate) $column: <$type as Native>::Rust,)*
            }

            impl StoredRow for $row {
                type Columns = ($first_type, $($type,)*);
                const TABLE: &'static str = stringify!($table);
                const COLUMNS: &'static [&'static str] = &[stringify!($first), $(stringify!($column),)*];

                fn name(&self) -> String {
                    self.$first.to_string()
                }

                fn cells(self) -> Vec<Cell> {
                    vec![Cell::from(self.$first), $(Cell::from(self.$column),)*]
                }

                fn column_list() -> &'static str {
                    static LIST: OnceLock<String> = OnceLock::new();
                    LIST.get_or_init(|| quoted(Self::COLUMNS))
                }

                fn query(db: &mut Db, sql: Sql) -> Result<Vec<Self>, StoreError> {
                    let query = sql.returning::<Self::Columns>();
                    Ok(on_backend!(db, connection => query.load::<Self>(connection))?)
                }

                fn query_stamped(
                    connection: &mut PgConnection,
                    sql: Sql,
                ) -> Result<Vec<(Self, i64)>, StoreError> {
                    let query = sql.returning::<(Self::Columns, BigInt)>();
                    Ok(query.load::<(Self, i64)>(connection)?)
                }
            }
        )*

        /// Every table.
        pub const TABLES: &[TableShape] = &[
            $(TableShape {
                name: stringify!($table),
                columns: &[
                    (stringify!($first), stringify!($first_type)),
                    $((stringify!($column), stringify!($type)),)*
                ],
            },)*
        ];
    };
}

tables! {
    /// A plan.
    plans => PlanRow {
        id: Text, version: BigInt, code: Text, name: Text, description: Text, currency: Text,
        amount: BigInt, interval: Text, interval_count: BigInt, trial_days: BigInt, status: Text,
        metadata: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A workspace.
    workspaces => WorkspaceRow {
        id: Text, version: BigInt, name: Text, email: Nullable<Text>, currency: Nullable<Text>,
        metadata: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A namespace.
    namespaces => NamespaceRow {
        id: Text, version: BigInt, workspace_id: Text, name: Text,
        metadata: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A subscription, with billing's own columns.
    subscriptions => SubscriptionRow {
        id: Text, version: BigInt, workspace_id: Text, plan_id: Text, quantity: BigInt,
        status: Text, notes: Text, cancel_at_period_end: Bool, start_at: BigInt,
        current_period_start: Nullable<BigInt>, current_period_end: Nullable<BigInt>,
        trial_end: Nullable<BigInt>, canceled_at: Nullable<BigInt>, ended_at: Nullable<BigInt>,
        metadata: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
        reached_at: BigInt, due_at: Nullable<BigInt>, billed_until: Nullable<BigInt>,
        settled_at: Nullable<BigInt>, settled_anchor: Nullable<BigInt>,
        had_draft: Bool, last_term: BigInt, settled_segment: Nullable<BigInt>, last_term_at: BigInt,
        quantity_max: BigInt,
    }
    /// A segment of a subscription's terms. Rows are only added.
    subscription_terms => SegmentRow {
        subscription_id: Text, at: BigInt, seq: BigInt, previous_at: Nullable<BigInt>,
        plan_id: Text, quantity: BigInt, status: Text, anchor_at: Nullable<BigInt>, invoiced_until: Nullable<BigInt>,
        invoiced_amount: Nullable<BigInt>,
    }
    /// An invoice.
    invoices => InvoiceRow {
        id: Text, version: BigInt, workspace_id: Text, subscription_id: Nullable<Text>,
        number: Nullable<Text>, status: Text, currency: Text, lines: Text, subtotal: BigInt,
        tax: BigInt, total: BigInt, amount_paid: BigInt, amount_due: BigInt,
        period_start: Nullable<BigInt>, period_end: Nullable<BigInt>, due_at: Nullable<BigInt>,
        notes: Text, finalized_at: Nullable<BigInt>, paid_at: Nullable<BigInt>,
        voided_at: Nullable<BigInt>, metadata: Text, created_at: BigInt, updated_at: BigInt,
        updated_by: Text, deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
        balance_applied: BigInt, charged_until: Nullable<BigInt>,
    }
    /// A payment.
    payments => PaymentRow {
        id: Text, version: BigInt, invoice_id: Text, amount: BigInt, provider_ref: Text,
        status: Text, created_at: BigInt, created_by: Text, reversed_at: Nullable<BigInt>,
        reversal_reason: Nullable<Text>, reinstated_at: Nullable<BigInt>,
        reinstatement_reason: Nullable<Text>,
    }
    /// One change of one object. Its `seq` is assigned by the database.
    events => EventRow {
        resource_id: Text, version: BigInt, resource_type: Text, kind: Text, at: BigInt,
        actor: Text, on_behalf_of: Nullable<Text>, source: Text, forced: Bool,
        reason: Nullable<Text>, overwrote: Nullable<Text>, request_id: Text, changes: Text,
        state: Text, key_digest: Nullable<Text>, key_id: Nullable<Text>, workspace_id: Nullable<Text>,
    }
    /// The log of all changes: the name of its epoch, and the place after which it is complete.
    event_log => EventLogRow {
        id: BigInt, epoch: Text, oldest: BigInt,
    }
    /// One line of the audit log.
    audits => AuditRow {
        id: Text, audit_type: Text, at: BigInt, actor: Text, on_behalf_of: Nullable<Text>,
        reason: Nullable<Text>, request_id: Text, resource_type: Nullable<Text>,
        resource_id: Nullable<Text>, expected_version: Nullable<Text>,
        overwritten_version: Nullable<BigInt>, changes: Text, key_id: Nullable<Text>, attempts: BigInt,
    }
    /// A redaction whose object's past is still to be rewritten, and how far that has come.
    redactions => RedactionRow {
        id: Text, resource_type: Text, resource_id: Text, version: BigInt, at: BigInt, marks: Text,
        stage: Text, place: Text,
    }
    /// A kept answer: the stored answer for an Idempotency-Key. `scope` is the key's owner.
    answers => AnswerRow {
        scope: Text, key: Text, fingerprint: Text, status: BigInt, headers: Text, body: Text,
        created_at: BigInt,
    }
    /// The last number assigned in a series.
    sequences => SequenceRow {
        series: Text, last: BigInt,
    }
    /// An API key.
    api_keys => ApiKeyRow {
        id: Text, version: BigInt, name: Text, role: Text, digest: Text, created_at: BigInt,
        expires_at: Nullable<BigInt>, revoked_at: Nullable<BigInt>, name_key: Nullable<Text>,
        workspace_id: Nullable<Text>, acting_for: Nullable<Text>, line_id: Nullable<Text>,
        rotated_to: Nullable<Text>, last_used_at: Nullable<BigInt>,
    }
    /// A named lock: its latest grant.
    locks => LockRow {
        id: Text, version: BigInt, workspace_id: Nullable<Text>, scope: Text,
        function: Nullable<Text>, key: Text, fence: BigInt, owner_digest: Text,
        label: Nullable<Text>, acquired_at: BigInt, expires_at: BigInt, ttl_ms: BigInt,
        ended: Nullable<Text>, previous_digest: Nullable<Text>, previous_end: Nullable<Text>,
        cooldown_until: Nullable<BigInt>, changed_by: Text,
    }
    /// An account of the ledger: what a workspace has of one unit.
    ledger_accounts => LedgerAccountRow {
        id: Text, version: BigInt, workspace_id: Text, unit: Text, available: BigInt,
        reserved: BigInt,
    }
    /// A transfer of the ledger. Rows are never changed.
    transfers => TransferRow {
        id: Text, account_id: Text, version: BigInt, kind: Text, amount: BigInt,
        reservation_id: Nullable<Text>, available: BigInt, reserved: BigInt,
        reference: Nullable<Text>, reason: Nullable<Text>, at: BigInt, actor: Text,
        key_id: Nullable<Text>, on_behalf_of: Nullable<Text>, source: Text, request_id: Text,
        invoice_id: Nullable<Text>, invoice_cause: Nullable<Text>,
    }
    /// A reservation of credits.
    reservations => ReservationRow {
        id: Text, version: BigInt, account_id: Text, workspace_id: Text, amount: BigInt,
        reference: Nullable<Text>, status: Text, posted: Nullable<BigInt>,
        resolved_by: Nullable<Text>, created_at: BigInt, resolved_at: Nullable<BigInt>,
        server_id: Nullable<Text>,
    }
    /// A secret that the server made for itself.
    secrets => SecretRow {
        name: Text, value: Text,
    }
    /// A feature, with the pool it draws from.
    features => FeatureRow {
        id: Text, version: BigInt, code: Text, name: Text, feature_type: Text, reset: Text,
        rolling_days: Nullable<BigInt>, parent_code: Nullable<Text>, releasable: Bool,
        status: Text, pool: Text, pool_reset: Text, pool_rolling_days: Nullable<BigInt>,
        granted: Bool, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A package. Each of its grants names the pool it adds to.
    packages => PackageRow {
        id: Text, version: BigInt, code: Text, name: Text, is_base: Bool, is_stackable: Bool,
        grants: Text, status: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A package assigned to a scope.
    assignments => AssignmentRow {
        id: Text, version: BigInt, scope: Text, package_id: Text, package: Text, status: Text,
        is_base: Bool, starts_at: BigInt, expires_at: Nullable<BigInt>,
        cancel_at: Nullable<BigInt>, ended_at: Nullable<BigInt>, anchor_at: BigInt,
        external_service_id: Nullable<Text>, created_at: BigInt, updated_at: BigInt,
        updated_by: Text, deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A boost.
    boosts => BoostRow {
        id: Text, version: BigInt, scope: Text, feature: Text, pool: Text, kind: Text,
        duration: Text, amount: Nullable<BigInt>, consumed: BigInt, priority: BigInt,
        expires_at: Nullable<BigInt>, source: Nullable<Text>,
        external_addon_id: Nullable<Text>, addon_key: Nullable<Text>, anchor_at: BigInt,
        is_over: Bool, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// The usage of a pool in one window.
    counters => CounterRow {
        id: Text, version: BigInt, scope: Text, pool: Text, window_start: Nullable<BigInt>,
        used: BigInt, held: BigInt, rolled_until: Nullable<BigInt>, notified: BigInt,
        events: BigInt, burnt_in_order: Text, rolling_burnt: BigInt,
        expired_until: Nullable<BigInt>,
    }
    /// Recorded usage.
    usage_records => UsageRecordRow {
        id: Text, version: BigInt, counter_id: Text, scope: Text, charged_scope: Text,
        feature: Text, quantity: BigInt, reversed: BigInt, is_rolling: Bool, metadata: Text,
        at: BigInt, actor: Text, on_behalf_of: Nullable<Text>, source: Text, request_id: Text,
        key_id: Nullable<Text>, burns: Text, burnt: BigInt,
    }
    /// A usage hold: units set aside until it ends.
    usage_holds => UsageHoldRow {
        id: Text, version: BigInt, counter_id: Text, scope: Text, charged_scope: Text,
        feature: Text, quantity: BigInt, status: Text, expires_at: BigInt,
        settled_quantity: Nullable<BigInt>, record_id: Nullable<Text>, created_at: BigInt,
        ended_at: Nullable<BigInt>, burns: Text, burnt: BigInt,
    }
    /// One line of an entitlement log.
    entitlement_log => LogRow {
        id: Text, scope: Text, log_type: Text, at: BigInt, actor: Text,
        on_behalf_of: Nullable<Text>, source: Text, request_id: Text, details: Text,
        key_id: Nullable<Text>,
    }
    /// A bookable: something that is booked by the day.
    bookables => BookableRow {
        id: Text, version: BigInt, name: Text, capacity: BigInt, range_mode: Text,
        min_days: BigInt, max_days: BigInt, hold_ttl_ms: BigInt, horizon_days: BigInt,
        status: Text, metadata: Text, created_at: BigInt, updated_at: BigInt, updated_by: Text,
        deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
        time_zone: Text,
    }
    /// A booking, with the range of days that it takes.
    bookings => BookingRow {
        id: Text, version: BigInt, bookable_id: Text, start_date: Text, end_date: Text,
        quantity: BigInt, user_id: Nullable<Text>, notes: Text, status: Text,
        hold_expires_at: Nullable<BigInt>, confirmed_at: Nullable<BigInt>,
        cancelled_at: Nullable<BigInt>, ended_at: Nullable<BigInt>, until_day: Text,
        taken_until: Text, metadata: Text, created_at: BigInt, updated_at: BigInt,
        updated_by: Text, deleted_at: Nullable<BigInt>, deleted_by: Nullable<Text>,
        workspace_id: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A product: something that can be provisioned.
    products => ProductRow {
        id: Text, version: BigInt, name: Text, price_credits: BigInt, egg: BigInt,
        docker_image: Text, startup: Text, environment: Text, limits: Text, feature_limits: Text,
        deploy: Text, max_per_workspace: Nullable<BigInt>, status: Text, created_at: BigInt,
        updated_at: BigInt, updated_by: Text, deleted_at: Nullable<BigInt>,
        deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// A server, with what its workers must know.
    servers => ServerRow {
        id: Text, version: BigInt, workspace_id: Text, product_id: Text, name: Text,
        panel_user: BigInt, status: Text, suspended: Bool, suspended_on_panel: Bool,
        external_id: Text, remote_id: Nullable<BigInt>, remote_uuid: Nullable<Text>,
        panel_status: Nullable<Text>, reservation_id: Nullable<Text>, price_credits: BigInt,
        attempts: BigInt, last_observation: Nullable<Text>, next_check_at: Nullable<BigInt>,
        spec: Text, generation: BigInt, lease_until: Nullable<BigInt>,
        unsettled_since: Nullable<BigInt>, progress: Text, entries: BigInt,
        due_at: Nullable<BigInt>,
        created_at: BigInt, updated_at: BigInt, updated_by: Text, deleted_at: Nullable<BigInt>,
        deleted_by: Nullable<Text>, last_version: Nullable<BigInt>,
    }
    /// How many servers of a product a workspace has that count towards its limit.
    server_slots => ServerSlotsRow {
        id: Text, version: BigInt, workspace_id: Text, product_id: Text, used: BigInt,
    }
    /// An entry of a server's timeline. Rows are never changed.
    server_entries => ServerEntryRow {
        id: Text, server_id: Text, seq: BigInt, at: BigInt, step: Text,
        panel_call: Nullable<Text>, observation: Nullable<Text>, verdict: Nullable<Text>,
        detail: Nullable<Text>, status: Text, generation: BigInt, actor: Text,
    }
    /// How much of one day of a bookable is reserved.
    booking_days => BookingDayRow {
        id: Text, version: BigInt, bookable_id: Text, day: Text, capacity: BigInt,
        reserved: BigInt,
    }
}
