//! Reads of entitlements, usage, holds and logs, and of scopes with something to end.

use crate::{
    StoreError,
    core::{db::Db, record::Record, sql::Sql},
    on_backend,
    schema::{LogRow, StoredRow, UsageHoldRow, UsageRecordRow},
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    Need, State,
    entitlement::{BURNT_OUT_KEPT_US, LogLine, ScopeRef, StoredHold, StoredRecord, entitlement},
    entitlement_needs,
};
use ifmatch_types::{Entitlement, EntitlementLogEntry, Hold, Kind, Timestamp, UsageRecord};
use std::collections::BTreeSet;

impl Db {
    /// The entitlement of a scope to a feature: how much it may use.
    ///
    /// `None` if the scope or the feature does not exist or is deleted.
    ///
    /// It is never cached. It is computed from one snapshot of what is committed, by the rules that
    /// admit usage.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn entitlement(
        &mut self,
        scope: &ScopeRef,
        code: &str,
    ) -> Result<Option<Entitlement>, StoreError> {
        let codes = [code.to_owned()];
        let (state, now) = self.in_one_snapshot(|db| db.look(scope, &codes))?;
        Ok(is_living(scope, &state).then(|| entitlement(scope, code, now, &state)).flatten())
    }

    /// The entitlements of a scope to the features after a code, in the order of the codes.
    ///
    /// `None` if the scope does not exist or is deleted.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn entitlements(
        &mut self,
        scope: &ScopeRef,
        after: &str,
        limit: i64,
    ) -> Result<Option<Vec<Entitlement>>, StoreError> {
        let sql = Sql::new("SELECT code FROM features WHERE deleted_at IS NULL AND code > ")
            .bind(after)
            .text(" ORDER BY code LIMIT ")
            .bind(limit)
            .returning::<Text>();
        let (codes, state, now) = self.in_one_snapshot(|db| {
            let codes: Vec<String> = on_backend!(db, c => sql.load(c))?;
            let (state, now) = db.look(scope, &codes)?;
            Ok((codes, state, now))
        })?;
        let told = codes.iter().filter_map(|code| entitlement(scope, code, now, &state));
        Ok(is_living(scope, &state).then(|| told.collect()))
    }

    /// Loads what a decision about these features needs, without locks.
    ///
    /// It takes several statements, which must see one snapshot. Holdings and counters of different
    /// moments could admit usage that was never allowed.
    fn look(
        &mut self,
        scope: &ScopeRef,
        codes: &[String],
    ) -> Result<(State, Timestamp), StoreError> {
        let mut state = State::default();
        loop {
            let mut wanted = Vec::new();
            entitlement_needs(scope, codes.iter().map(String::as_str), &state, &mut wanted);
            // Nothing is locked, so the needs of all turns can be loaded together.
            let wanted: BTreeSet<Need> = wanted.into_iter().collect();
            if wanted.is_empty() {
                let now = state.clock.unwrap_or_else(Timestamp::now);
                return Ok((state, now));
            }
            self.peek(wanted, &mut state)?;
        }
    }

    /// Usage records of a scope with ids below `before`, newest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn usage_records(
        &mut self,
        scope: &str,
        feature: Option<&str>,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<UsageRecord>, StoreError> {
        let mut sql = UsageRecordRow::select().text(" WHERE scope = ").bind(scope);
        if let Some(feature) = feature {
            sql = sql.text(" AND feature = ").bind(feature);
        }
        if let Some(before) = before {
            sql = sql.text(" AND id < ").bind(before);
        }
        let sql = sql.text(" ORDER BY id DESC LIMIT ").bind(limit);
        let rows = UsageRecordRow::query(self, sql)?.into_iter();
        rows.map(|row| StoredRecord::from_row(row).map(|stored| stored.record)).collect()
    }

    /// The usage record with this id.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn usage_record(&mut self, id: &str) -> Result<Option<UsageRecord>, StoreError> {
        let sql = UsageRecordRow::select().text(" WHERE id = ").bind(id);
        let row = UsageRecordRow::query(self, sql)?.into_iter().next();
        row.map(|row| StoredRecord::from_row(row).map(|stored| stored.record)).transpose()
    }

    /// The usage hold with this id.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn hold(&mut self, id: &str) -> Result<Option<Hold>, StoreError> {
        let sql = UsageHoldRow::select().text(" WHERE id = ").bind(id);
        let row = UsageHoldRow::query(self, sql)?.into_iter().next();
        row.map(|row| StoredHold::from_row(row).map(|stored| stored.hold)).transpose()
    }

    /// The entitlement log of a scope with ids below `before`, newest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn entitlement_log(
        &mut self,
        scope: &str,
        log_type: Option<&str>,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<EntitlementLogEntry>, StoreError> {
        let mut sql = LogRow::select().text(" WHERE scope = ").bind(scope);
        if let Some(log_type) = log_type {
            sql = sql.text(" AND log_type = ").bind(log_type);
        }
        if let Some(before) = before {
            sql = sql.text(" AND id < ").bind(before);
        }
        let sql = sql.text(" ORDER BY id DESC LIMIT ").bind(limit);
        let rows = LogRow::query(self, sql)?.into_iter();
        rows.map(|row| LogLine::from_row(row).map(|line| line.entry)).collect()
    }

    /// Scopes with something that is over and has not been ended yet, at most `limit`.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn scopes_with_something_over(
        &mut self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let now = now.as_micros();
        let sql = Sql::new(
            "SELECT charged_scope FROM usage_holds WHERE status = 'active' AND expires_at <= ",
        )
        .bind(now)
        .text(
            " UNION SELECT scope FROM assignments WHERE status IN ('active', 'suspended') \
             AND expires_at IS NOT NULL AND expires_at <= ",
        )
        .bind(now)
        .text(
            " UNION SELECT scope FROM assignments WHERE status IN ('active', 'suspended') \
             AND cancel_at IS NOT NULL AND cancel_at <= ",
        )
        .bind(now)
        .text(
            " UNION SELECT scope FROM boosts WHERE NOT is_over AND expires_at IS NOT NULL \
             AND expires_at <= ",
        )
        .bind(now)
        .text(
            " UNION SELECT scope FROM boosts WHERE NOT is_over AND duration = 'consumable' \
             AND consumed >= amount AND updated_at < ",
        )
        .bind(now.saturating_sub(BURNT_OUT_KEPT_US))
        .text(" LIMIT ")
        .bind(limit)
        .returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }
}

fn is_living(scope: &ScopeRef, state: &State) -> bool {
    match scope.kind {
        Kind::Namespace => {
            state.billing().namespaces.get(&scope.id).is_some_and(|row| row.deleted.is_none())
        }
        _ => state.billing().workspaces.get(&scope.id).is_some_and(|row| row.deleted.is_none()),
    }
}
