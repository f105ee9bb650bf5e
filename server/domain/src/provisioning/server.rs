//! Servers: ordered in one commit, which reserves their credits and calls nobody.

use super::{
    Need, Progress, Rejection, Saga, ServerRecord, ServerSpec,
    limit::{slots, take_slots, want_slots},
    product::unknown_field,
    saga::Doubt,
    timeline::{Told, note},
};
use crate::{
    core::{
        self, Context, Errors, Resource, ScopedWrites, State, Wants, redactable, referenced,
        usual_parts,
    },
    ledger,
};
use ifmatch_types::{
    Deleted, INTEGER_MAX, Kind, Product, ProductStatus, Server, ServerFields, ServerId,
    ServerStatus as Status, ServerStep, Workspace,
};
use serde_json::{Map, Value};

impl Resource for ServerRecord {
    type Entity = Server;
    type Fields = ServerFields;

    const KIND: Kind = Kind::Server;
    const FIELDS: &'static [&'static str] =
        &["workspace_id", "product_id", "name", "panel_user", "suspended"];
    const SET_ONCE: &'static [&'static str] = &["workspace_id", "product_id", "panel_user"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["suspended"];

    const REFERENCES: &'static [(&'static str, Kind)] =
        &[("workspace_id", Kind::Workspace), ("product_id", Kind::Product)];
    const SCOPED_WRITES: ScopedWrites = ScopedWrites::ALL;
    const GOES_ON: bool = true;

    usual_parts!(servers, |record| record.server);
    redactable!(|record| record.server, { name: Text });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.server.workspace_id.to_string())
    }

    fn check(fields: &mut ServerFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        errors.reference("/product_id", fields.product_id.as_str());
        errors.text("/name", &fields.name, 1, 191);
        errors.range("/panel_user", fields.panel_user, 1, INTEGER_MAX);
    }

    fn create(fields: ServerFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let panel = ctx.state.provisioning().panel.ok_or(Rejection::NoPanel)?;
        let workspace_id = fields.workspace_id.as_str();
        referenced::<Workspace>("/workspace_id", workspace_id, ctx.state)?;
        let product_id = fields.product_id.as_str();
        let product = referenced::<Product>("/product_id", product_id, ctx.state)?.clone();
        if product.status != ProductStatus::Active {
            let (product_id, status) = (product.id.to_string(), product.status.name());
            return Err(Rejection::ProductUnavailable { product_id, status });
        }
        if let Some(field) = unknown_field(&product.deploy, panel) {
            return Err(Rejection::WrongPanel { product_id: product.id.to_string(), field });
        }
        let server_id = ServerId::from_unchecked(id);
        let reservation_id = if product.price_credits > 0 {
            Some(ledger::reserve_for(&server_id, workspace_id, product.price_credits, ctx)?)
        } else {
            None
        };
        let slots = slots(&fields.workspace_id, &fields.product_id, ctx);
        if let Some(limit) = product.max_per_workspace
            && slots.used >= limit
        {
            let (product_id, used) = (product.id.to_string(), slots.used);
            return Err(Rejection::LimitReached { product_id, limit, used });
        }
        take_slots(slots, 1, ctx);
        let saga = Saga::begin(ctx.now).switch(fields.suspended.unwrap_or(false), ctx.now);
        let mut record = Self {
            spec: ServerSpec::of(&product),
            generation: 0,
            lease_until: None,
            progress: Progress {
                running_call: None,
                call_started_at: None,
                next_call: None,
                doubt: Doubt::None,
                settle_at: None,
                absent_at: None,
                failures: 0,
                watch_until: None,
            },
            unsettled_since: None,
            entries: 0,
            server: Server {
                external_id: server_id.to_string(),
                id: server_id,
                version: 1,
                workspace_id: fields.workspace_id,
                product_id: fields.product_id,
                name: fields.name,
                panel_user: fields.panel_user,
                status: saga.status,
                suspended: saga.suspended,
                suspended_on_panel: saga.suspended_on_panel,
                remote_id: None,
                remote_uuid: None,
                panel_status: None,
                reservation_id,
                price_credits: product.price_credits,
                attempts: 0,
                last_observation: None,
                next_check_at: None,
                created_at: ctx.now,
                updated_at: ctx.now,
                updated_by: ctx.meta.actor.name.clone(),
            },
        };
        record.set_saga(&saga);
        note(&mut record, ServerStep::Requested, Told::default(), ctx);
        Ok(record)
    }

    fn change(&self, fields: ServerFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let mut after = self.clone();
        after.server.name = fields.name;
        let suspended = fields.suspended.unwrap_or(self.server.suspended);
        if suspended != self.server.suspended {
            let saga = self.saga();
            if !saga.can_switch() {
                let status = self.server.status.name();
                let (allowed, fields) = (Vec::new(), vec!["suspended"]);
                let fixed =
                    core::Rejection::FixedByStatus { from: status, to: status, allowed, fields };
                return Err(fixed.into());
            }
            after.set_saga(&saga.switch(suspended, ctx.now));
            note(&mut after, ServerStep::Switched, Told::default(), ctx);
        }
        Ok(after)
    }

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        let from = self.server.status;
        if from == Status::Active {
            return Ok(());
        }
        let (from, to, allowed) = (from.name(), Status::Deprovisioning.name(), Vec::new());
        Err(core::Rejection::InvalidTransition { from, to, allowed }.into())
    }

    fn retired(&self, ctx: &mut Context<'_>) -> Option<Self> {
        let mut after = self.clone();
        after.set_saga(&self.saga().deprovision(ctx.now));
        // A suspension that is being carried out does not matter any more.
        after.end_claim();
        after.generation = after.generation.saturating_add(1);
        note(&mut after, ServerStep::Deprovisioned, Told::default(), ctx);
        Some(after)
    }

    fn gone(&self) -> Option<Deleted> {
        let server = &self.server;
        (server.status == Status::Deleted).then(|| Deleted {
            id: server.id.to_string(),
            deleted_at: server.updated_at,
            deleted_by: server.updated_by.clone(),
            last_version: server.version.saturating_sub(1),
        })
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if let (Some(workspace_id), Some(product_id)) = (text("workspace_id"), text("product_id")) {
            wants.through(Need::Ledger, |wants| ledger::want_account_of(workspace_id, wants));
            // The lock of the workspace's row makes its limit exact.
            wants.object(Kind::Workspace, workspace_id);
            if Kind::of_id(workspace_id) == Some(Kind::Workspace) {
                want_slots(workspace_id, product_id, wants);
            }
            wants.clock();
        }
    }

    fn anchor(body: &Map<String, Value>) -> Option<&str> {
        body.get("workspace_id")?.as_str()
    }
}
