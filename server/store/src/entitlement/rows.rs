//! The rows of entitlements, and the filters and sorts of their lists.

use crate::{
    core::{
        column::{ids, json, names},
        list::{
            Field,
            FieldType::{Boolean, Instant, Text},
        },
        object::StoredObject,
        record::record,
    },
    schema::{
        AssignmentRow, BoostRow, CounterRow, FeatureRow, LogRow, PackageRow, UsageHoldRow,
        UsageRecordRow,
    },
};
use ifmatch_domain::{
    core::{Guarded, Row},
    entitlement::{
        AssignmentRecord, BoostRecord, Burns, Counter, FeatureRecord, LogLine, PackageRecord,
        PoolGrant, PoolTerms, StoredHold, StoredRecord, addon_key,
    },
};
use ifmatch_types::{
    Assignment, AssignmentId, AssignmentStatus, Boost, BoostDuration, BoostId, BoostKind, By,
    CatalogStatus, EntitlementLogEntry, Feature, FeatureId, FeatureType, Grant, Hold, HoldId,
    HoldStatus, Package, PackageId, RecordId, Reset, UsageRecord,
};
ids!(FeatureId, PackageId, AssignmentId, BoostId, RecordId, HoldId);
names!(FeatureType, Reset, CatalogStatus, AssignmentStatus, BoostKind, BoostDuration, HoldStatus,);
json!(Vec<PoolGrant>, Burns);

record! {
    FeatureRow => Row<FeatureRecord> {
        feature: Feature {
            id, version, code, name, feature_type, reset, rolling_days, parent_code, releasable,
            status, created_at, updated_at, updated_by,
        },
        pool: PoolTerms { code as pool, reset as pool_reset, rolling_days as pool_rolling_days },
        granted,
    }
}

record! {
    PackageRow => Row<PackageRecord> {
        package: Package {
            id, version, code, name, is_base, is_stackable, grants = shown(&grants), status,
            created_at, updated_at, updated_by,
        },
        grants,
    }
}

record! {
    AssignmentRow => Row<AssignmentRecord> {
        assignment: Assignment {
            id, version, scope, package, status, is_base, starts_at, expires_at, cancel_at,
            ended_at, anchor_at, external_service_id, created_at, updated_at, updated_by,
        },
        package_id,
    }
}

record! {
    BoostRow => Row<BoostRecord> {
        boost: Boost {
            id, version, scope, feature, kind, duration, amount, consumed, priority, expires_at,
            source, external_addon_id, created_at, updated_at, updated_by,
        },
        pool, anchor_at, is_over,
    }
    write |row| {
        addon_key: {
            let boost = &row.record.boost;
            addon_key(boost.source.as_deref(), boost.external_addon_id.as_deref())
        },
    }
}

record! {
    CounterRow => Counter {
        id, version, scope, pool, window_start, used, held, burns as burnt_in_order, rolling_burnt,
        rolled_until, expired_until, notified, events,
    }
}

record! {
    UsageRecordRow => StoredRecord {
        record: UsageRecord {
            id, scope, charged_scope, feature, quantity, reversed, metadata, at,
            by: By { actor, key_id, on_behalf_of, source, forced = false, },
            request_id,
        },
        counter_id, is_rolling, burns,
    }
    write |stored| { version: stored.guard(), burnt: stored.burns.units() }
}

record! {
    UsageHoldRow => StoredHold {
        hold: Hold {
            id, scope, feature, quantity, status, expires_at, settled_quantity, record_id,
            created_at, ended_at,
        },
        counter_id, charged_scope, burns,
    }
    write |stored| { version: stored.guard(), burnt: stored.burns.units() }
}

record! {
    LogRow => LogLine {
        scope,
        entry: EntitlementLogEntry {
            id, log_type, at,
            by: By { actor, key_id, on_behalf_of, source, forced = false, },
            request_id, details,
        },
    }
}

/// The grants of a package as the API shows them.
#[expect(clippy::ptr_arg, reason = "it says the type of the column, which a slice would not")]
fn shown(grants: &Vec<PoolGrant>) -> Vec<Grant> {
    grants.iter().map(PoolGrant::shown).collect()
}

const CATALOG_SORTS: &[Field] = &[("created_at", Instant), ("code", Text), ("name", Text)];

impl StoredObject for FeatureRecord {
    const FILTERS: &'static [Field] = &[
        ("code", Text),
        ("status", Text),
        ("reset", Text),
        ("parent_code", Text),
        ("releasable", Boolean),
    ];
    const SORTS: &'static [Field] = CATALOG_SORTS;
}

impl StoredObject for PackageRecord {
    const FILTERS: &'static [Field] = &[("code", Text), ("status", Text), ("is_base", Boolean)];
    const SORTS: &'static [Field] = CATALOG_SORTS;
    const USERS: &'static [&'static str] =
        &["SELECT package_id, id FROM assignments WHERE package_id = "];
    const HAS_TURNSTILE: bool = true;
}

impl StoredObject for AssignmentRecord {
    const FILTERS: &'static [Field] = &[("scope", Text), ("status", Text), ("package", Text)];
    const SORTS: &'static [Field] = &[("created_at", Instant)];
    const OWNER: Option<&'static str> = Some("scope");
}

impl StoredObject for BoostRecord {
    const FILTERS: &'static [Field] = &[("scope", Text), ("feature", Text), ("kind", Text)];
    const SORTS: &'static [Field] = &[("created_at", Instant)];
    const OWNER: Option<&'static str> = Some("scope");
}
