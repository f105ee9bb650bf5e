//! Reads about entitlements: advice, usage, holds, logs, and what is over.

use crate::{
    StoreError,
    core::{db::Db, record::Record, sql::Sql},
    on_backend,
    schema::{LogRow, StoredRow, UsageHoldRow, UsageRecordRow},
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    BURNT_OUT_KEPT_US, LogLine, Need, ScopeRef, State, StoredHold, StoredRecord, entitlement,
    entitlement_needs,
};
use ifmatch_types::{Entitlement, EntitlementLogEntry, Hold, Timestamp, UsageRecord};
use std::collections::BTreeSet;

impl Db {
    /// What a living scope may use of a feature; `None` if there is no such feature.
    ///
    /// Never cached: computed from what is committed, by the rules that admit usage.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn entitlement(
        &mut self,
        scope: &ScopeRef,
        code: &str,
    ) -> Result<Option<Entitlement>, StoreError> {
        let (state, now) = self.look(scope, std::slice::from_ref(&code.to_owned()))?;
        Ok(entitlement(scope, code, now, &state))
    }

    /// What a living scope may use of each feature after a code, in the order of the codes.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn entitlements(
        &mut self,
        scope: &ScopeRef,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Entitlement>, StoreError> {
        let sql = Sql::new("SELECT code FROM features WHERE deleted_at IS NULL AND code > ")
            .bind(after)
            .text(" ORDER BY code LIMIT ")
            .bind(limit)
            .returning::<Text>();
        let codes: Vec<String> = on_backend!(self, c => sql.load(c))?;
        let (state, now) = self.look(scope, &codes)?;
        Ok(codes.iter().filter_map(|code| entitlement(scope, code, now, &state)).collect())
    }

    /// Loads what a decision about these features would, and locks nothing.
    fn look(
        &mut self,
        scope: &ScopeRef,
        codes: &[String],
    ) -> Result<(State, Timestamp), StoreError> {
        let mut state = State::default();
        loop {
            let mut wanted = Vec::new();
            entitlement_needs(scope, codes.iter().map(String::as_str), &state, &mut wanted);
            let mut wanted: BTreeSet<Need> = wanted.into_iter().collect();
            if wanted.is_empty() {
                let now = state.clock.unwrap_or_else(Timestamp::now);
                return Ok((state, now));
            }
            let turn = wanted.iter().map(Need::turn).min();
            wanted.retain(|need| Some(need.turn()) == turn);
            self.peek(wanted, &mut state)?;
        }
    }

    /// Usage of a scope, newest first, with ids below one.
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

    /// The entitlement log of a scope, newest first, with ids below one.
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

    /// Scopes in which the time of something is over that nobody has ended yet.
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
