//! Rows of the catalogue, of what scopes have, and of what they used.

use super::{
    Stored, deleted_at, deleted_by, deletion, instant, json, micros, name, opt_instant, reading,
    text,
};
use crate::{
    error::StoreError,
    schema::{
        AssignmentRow, BoostRow, CounterRow, FeatureRow, LogRow, PackageRow, StoredRow,
        UsageHoldRow, UsageRecordRow,
    },
};
use ifmatch_domain::{
    AssignmentRecord, BoostRecord, Counter, FeatureRecord, Guarded, LogLine, PackageRecord,
    PoolGrant, PoolTerms, Row, StoredHold, StoredRecord, addon_key,
};
use ifmatch_types::{
    Assignment, AssignmentId, AssignmentStatus, Boost, BoostDuration, BoostId, BoostKind, By,
    CatalogStatus, EntitlementLogEntry, Feature, FeatureId, FeatureType, Hold, HoldId, HoldStatus,
    Package, PackageId, RecordId, Reset, Source, UsageRecord,
};

impl Stored for FeatureRecord {
    type Row = FeatureRow;

    fn from_row(row: FeatureRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(FeatureRow::TABLE, &id, || {
            let feature = Feature {
                id: FeatureId::from_unchecked(row.id),
                version: row.version,
                code: row.code,
                name: row.name,
                feature_type: name(FeatureType::from_name(&row.feature_type), &row.feature_type)?,
                reset: name(Reset::from_name(&row.reset), &row.reset)?,
                rolling_days: row.rolling_days,
                parent_code: row.parent_code,
                releasable: row.releasable,
                status: name(CatalogStatus::from_name(&row.status), &row.status)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let pool = PoolTerms {
                code: row.pool,
                reset: name(Reset::from_name(&row.pool_reset), &row.pool_reset)?,
                rolling_days: row.pool_rolling_days,
            };
            let record = Self { feature, pool, granted: row.granted };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> FeatureRow {
        let Self { feature, pool, granted } = &row.record;
        FeatureRow {
            id: feature.id.to_string(),
            version: feature.version,
            code: feature.code.clone(),
            name: feature.name.clone(),
            feature_type: feature.feature_type.name().to_owned(),
            reset: feature.reset.name().to_owned(),
            rolling_days: feature.rolling_days,
            parent_code: feature.parent_code.clone(),
            releasable: feature.releasable,
            status: feature.status.name().to_owned(),
            pool: pool.code.clone(),
            pool_reset: pool.reset.name().to_owned(),
            pool_rolling_days: pool.rolling_days,
            granted: *granted,
            created_at: feature.created_at.as_micros(),
            updated_at: feature.updated_at.as_micros(),
            updated_by: feature.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for PackageRecord {
    type Row = PackageRow;

    fn from_row(row: PackageRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(PackageRow::TABLE, &id, || {
            let grants: Vec<PoolGrant> = json(&row.grants)?;
            let package = Package {
                id: PackageId::from_unchecked(row.id),
                version: row.version,
                code: row.code,
                name: row.name,
                is_base: row.is_base,
                is_stackable: row.is_stackable,
                grants: grants.iter().map(PoolGrant::shown).collect(),
                status: name(CatalogStatus::from_name(&row.status), &row.status)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let record = Self { package, grants };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> PackageRow {
        let Self { package, grants } = &row.record;
        PackageRow {
            id: package.id.to_string(),
            version: package.version,
            code: package.code.clone(),
            name: package.name.clone(),
            is_base: package.is_base,
            is_stackable: package.is_stackable,
            grants: text(grants),
            status: package.status.name().to_owned(),
            created_at: package.created_at.as_micros(),
            updated_at: package.updated_at.as_micros(),
            updated_by: package.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for AssignmentRecord {
    type Row = AssignmentRow;

    fn from_row(row: AssignmentRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(AssignmentRow::TABLE, &id, || {
            let assignment = Assignment {
                id: AssignmentId::from_unchecked(row.id),
                version: row.version,
                scope: row.scope,
                package: row.package,
                status: name(AssignmentStatus::from_name(&row.status), &row.status)?,
                is_base: row.is_base,
                starts_at: instant(row.starts_at)?,
                expires_at: opt_instant(row.expires_at)?,
                cancel_at: opt_instant(row.cancel_at)?,
                ended_at: opt_instant(row.ended_at)?,
                anchor_at: instant(row.anchor_at)?,
                external_service_id: row.external_service_id,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let package_id = PackageId::from_unchecked(row.package_id);
            let record = Self { assignment, package_id };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> AssignmentRow {
        let Self { assignment, package_id } = &row.record;
        AssignmentRow {
            id: assignment.id.to_string(),
            version: assignment.version,
            scope: assignment.scope.clone(),
            package_id: package_id.to_string(),
            package: assignment.package.clone(),
            status: assignment.status.name().to_owned(),
            is_base: assignment.is_base,
            starts_at: assignment.starts_at.as_micros(),
            expires_at: micros(assignment.expires_at),
            cancel_at: micros(assignment.cancel_at),
            ended_at: micros(assignment.ended_at),
            anchor_at: assignment.anchor_at.as_micros(),
            external_service_id: assignment.external_service_id.clone(),
            created_at: assignment.created_at.as_micros(),
            updated_at: assignment.updated_at.as_micros(),
            updated_by: assignment.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for BoostRecord {
    type Row = BoostRow;

    fn from_row(row: BoostRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(BoostRow::TABLE, &id, || {
            let boost = Boost {
                id: BoostId::from_unchecked(row.id),
                version: row.version,
                scope: row.scope,
                feature: row.feature,
                kind: name(BoostKind::from_name(&row.kind), &row.kind)?,
                duration: name(BoostDuration::from_name(&row.duration), &row.duration)?,
                amount: row.amount,
                consumed: row.consumed,
                priority: row.priority,
                expires_at: opt_instant(row.expires_at)?,
                source: row.source,
                external_addon_id: row.external_addon_id,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let record = Self {
                boost,
                pool: row.pool,
                anchor_at: instant(row.anchor_at)?,
                is_over: row.is_over,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> BoostRow {
        let Self { boost, pool, anchor_at, is_over } = &row.record;
        BoostRow {
            id: boost.id.to_string(),
            version: boost.version,
            scope: boost.scope.clone(),
            feature: boost.feature.clone(),
            pool: pool.clone(),
            kind: boost.kind.name().to_owned(),
            duration: boost.duration.name().to_owned(),
            amount: boost.amount,
            consumed: boost.consumed,
            priority: boost.priority,
            expires_at: micros(boost.expires_at),
            source: boost.source.clone(),
            external_addon_id: boost.external_addon_id.clone(),
            addon_key: addon_key(boost.source.as_deref(), boost.external_addon_id.as_deref()),
            anchor_at: anchor_at.as_micros(),
            is_over: *is_over,
            created_at: boost.created_at.as_micros(),
            updated_at: boost.updated_at.as_micros(),
            updated_by: boost.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

pub(crate) fn counter_from(row: CounterRow) -> Result<Counter, StoreError> {
    let id = row.id.clone();
    reading(CounterRow::TABLE, &id, || {
        Ok(Counter {
            id: row.id,
            version: row.version,
            scope: row.scope,
            pool: row.pool,
            window_start: opt_instant(row.window_start)?,
            used: row.used,
            held: row.held,
            burns: json(&row.burns)?,
            rolled_until: opt_instant(row.rolled_until)?,
            notified: row.notified,
            events: row.events,
        })
    })
}

pub(crate) fn counter_to(counter: &Counter) -> CounterRow {
    CounterRow {
        id: counter.id.clone(),
        version: counter.version,
        scope: counter.scope.clone(),
        pool: counter.pool.clone(),
        window_start: micros(counter.window_start),
        used: counter.used,
        held: counter.held,
        burns: text(&counter.burns),
        rolled_until: micros(counter.rolled_until),
        notified: counter.notified,
        events: counter.events,
    }
}

pub(crate) fn record_from(row: UsageRecordRow) -> Result<StoredRecord, StoreError> {
    let id = row.id.clone();
    reading(UsageRecordRow::TABLE, &id, || {
        let record = UsageRecord {
            id: RecordId::from_unchecked(row.id),
            scope: row.scope,
            charged_scope: row.charged_scope,
            feature: row.feature,
            quantity: row.quantity,
            reversed: row.reversed,
            metadata: json(&row.metadata)?,
            at: instant(row.at)?,
            by: By {
                actor: row.actor,
                on_behalf_of: row.on_behalf_of,
                source: name(Source::from_name(&row.source), &row.source)?,
                forced: false,
            },
            request_id: row.request_id,
        };
        Ok(StoredRecord { record, counter_id: row.counter_id, is_rolling: row.is_rolling })
    })
}

pub(crate) fn record_to(stored: &StoredRecord) -> UsageRecordRow {
    let record = &stored.record;
    UsageRecordRow {
        id: record.id.to_string(),
        version: stored.guard(),
        counter_id: stored.counter_id.clone(),
        scope: record.scope.clone(),
        charged_scope: record.charged_scope.clone(),
        feature: record.feature.clone(),
        quantity: record.quantity,
        reversed: record.reversed,
        is_rolling: stored.is_rolling,
        metadata: text(&record.metadata),
        at: record.at.as_micros(),
        actor: record.by.actor.clone(),
        on_behalf_of: record.by.on_behalf_of.clone(),
        source: record.by.source.name().to_owned(),
        request_id: record.request_id.clone(),
    }
}

pub(crate) fn hold_from(row: UsageHoldRow) -> Result<StoredHold, StoreError> {
    let id = row.id.clone();
    reading(UsageHoldRow::TABLE, &id, || {
        let hold = Hold {
            id: HoldId::from_unchecked(row.id),
            scope: row.scope,
            feature: row.feature,
            quantity: row.quantity,
            status: name(HoldStatus::from_name(&row.status), &row.status)?,
            expires_at: instant(row.expires_at)?,
            settled_quantity: row.settled_quantity,
            record_id: row.record_id.map(RecordId::from_unchecked),
            created_at: instant(row.created_at)?,
            ended_at: opt_instant(row.ended_at)?,
        };
        Ok(StoredHold { hold, counter_id: row.counter_id, charged_scope: row.charged_scope })
    })
}

pub(crate) fn hold_to(stored: &StoredHold) -> UsageHoldRow {
    let hold = &stored.hold;
    UsageHoldRow {
        id: hold.id.to_string(),
        version: stored.guard(),
        counter_id: stored.counter_id.clone(),
        scope: hold.scope.clone(),
        charged_scope: stored.charged_scope.clone(),
        feature: hold.feature.clone(),
        quantity: hold.quantity,
        status: hold.status.name().to_owned(),
        expires_at: hold.expires_at.as_micros(),
        settled_quantity: hold.settled_quantity,
        record_id: hold.record_id.as_ref().map(ToString::to_string),
        created_at: hold.created_at.as_micros(),
        ended_at: micros(hold.ended_at),
    }
}

pub(crate) fn log_from(row: LogRow) -> Result<EntitlementLogEntry, StoreError> {
    let id = row.id.clone();
    reading(LogRow::TABLE, &id, || {
        Ok(EntitlementLogEntry {
            id: row.id,
            log_type: row.log_type,
            at: instant(row.at)?,
            by: By {
                actor: row.actor,
                on_behalf_of: row.on_behalf_of,
                source: name(Source::from_name(&row.source), &row.source)?,
                forced: false,
            },
            request_id: row.request_id,
            details: json(&row.details)?,
        })
    })
}

pub(crate) fn log_to(line: &LogLine) -> LogRow {
    let entry = &line.entry;
    LogRow {
        id: entry.id.clone(),
        scope: line.scope.clone(),
        log_type: entry.log_type.clone(),
        at: entry.at.as_micros(),
        actor: entry.by.actor.clone(),
        on_behalf_of: entry.by.on_behalf_of.clone(),
        source: entry.by.source.name().to_owned(),
        request_id: entry.request_id.clone(),
        details: text(&entry.details),
    }
}
