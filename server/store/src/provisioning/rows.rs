//! The rows of provisioning, and the filters and sorts of its lists.

use crate::{
    core::{
        column::{ids, json, names},
        list::{
            Field,
            FieldType::{Boolean, Instant, Integer, Text},
        },
        object::StoredObject,
        record::record,
    },
    schema::{ProductRow, ServerEntryRow, ServerRow, ServerSlotsRow},
};
use ifmatch_domain::{
    core::Row,
    provisioning::{Progress, ServerRecord, ServerSpec, Slots, StoredEntry},
};
use ifmatch_types::{
    Deploy, FeatureLimits, PanelCall, PanelObservation, Product, ProductId, ProductStatus, Server,
    ServerEntry, ServerId, ServerLimits, ServerStatus, ServerStep, ServerVerdict, Timestamp,
};

ids!(ProductId, ServerId);
names!(ProductStatus, ServerStatus, PanelCall, PanelObservation, ServerVerdict, ServerStep);
json!(ServerLimits, FeatureLimits, Deploy, ServerSpec, Progress);

record! {
    ProductRow => Row<Product> {
        id, version, name, price_credits, egg, docker_image, startup, environment, limits,
        feature_limits, deploy, max_per_workspace, status, created_at, updated_at, updated_by,
    }
}

record! {
    ServerRow => Row<ServerRecord> {
        server: Server {
            id, version, workspace_id, product_id, name, panel_user, status, suspended,
            suspended_on_panel, external_id, remote_id, remote_uuid, panel_status, reservation_id,
            price_credits, attempts, last_observation, next_check_at, created_at, updated_at,
            updated_by,
        },
        spec, generation, lease_until, unsettled_since, progress, entries,
    }
    write |of| { due_at: of.record.due_at().map(Timestamp::as_micros) }
}

record! {
    ServerSlotsRow => Slots { workspace_id, product_id, used, version }
    write |of| { id: Slots::key(of.workspace_id.as_str(), of.product_id.as_str()) }
}

record! {
    ServerEntryRow => StoredEntry {
        entry: ServerEntry {
            seq, at, step, call as panel_call, observation, verdict, detail, status, generation,
            by as actor,
        },
        id, server_id,
    }
}

impl StoredObject for Product {
    const FILTERS: &'static [Field] = &[("name", Text), ("status", Text), ("egg", Integer)];
    const SORTS: &'static [Field] = &[("created_at", Instant)];
    const USERS: &'static [&'static str] =
        &["SELECT product_id, id FROM servers WHERE product_id = "];
    const HAS_TURNSTILE: bool = true;
}

impl StoredObject for ServerRecord {
    const WORKSPACE: Option<&'static str> = Some("workspace_id");
    const OWNER: Option<&'static str> = Some("workspace_id");
    const FILTERS: &'static [Field] = &[
        ("workspace_id", Text),
        ("product_id", Text),
        ("status", Text),
        ("name", Text),
        ("suspended", Boolean),
    ];
    const SORTS: &'static [Field] = &[("created_at", Instant)];
}
