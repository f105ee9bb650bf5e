//! Products: what can be provisioned, at which price.

use super::{Need, Rejection};
use crate::core::{self, Context, DeleteObject, Errors, Resource, Wants, redactable, usual_parts};
use ifmatch_types::{
    Deploy, Environment, FeatureLimits, INTEGER_MAX, Kind, PanelKind, Product, ProductFields,
    ProductId, ProductStatus as Status, ServerLimits, pointer,
};
use serde_json::Value;

/// Maximum of a limit in MiB or per cent; the panel stores 32 bits.
const LIMIT_MAX: i64 = 2_147_483_647;
/// Maximum number of variables, locations, tags and port ranges.
const ITEMS_MAX: usize = 100;

impl Resource for Product {
    type Entity = Self;
    type Fields = ProductFields;

    const KIND: Kind = Kind::Product;
    const FIELDS: &'static [&'static str] = &[
        "name",
        "price_credits",
        "egg",
        "docker_image",
        "startup",
        "environment",
        "limits",
        "feature_limits",
        "deploy",
        "max_per_workspace",
        "status",
    ];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    const IN_CATALOGUE: bool = true;

    usual_parts!(products, |record| *record);
    redactable!(|record| *record, { name: Text });

    fn check(fields: &mut ProductFields, errors: &mut Errors) {
        errors.text("/name", &fields.name, 1, 200);
        errors.range("/price_credits", fields.price_credits, 0, INTEGER_MAX);
        errors.range("/egg", fields.egg, 1, LIMIT_MAX);
        errors.text("/docker_image", &fields.docker_image, 1, 500);
        errors.text("/startup", &fields.startup, 1, 5_000);
        check_environment(&fields.environment, errors);
        check_limits(&fields.limits, errors);
        check_feature_limits(&fields.feature_limits, errors);
        check_deploy(&fields.deploy, errors);
        if let Some(max) = fields.max_per_workspace {
            errors.range("/max_per_workspace", max, 1, 1_000_000);
        }
    }

    fn check_change(
        &self,
        fields: &ProductFields,
        _: &Value,
        ctx: &Context<'_>,
    ) -> Result<(), Rejection> {
        // What was right for the operator's last panel can stay as it is.
        if fields.deploy == self.deploy { Ok(()) } else { check_panel(&fields.deploy, ctx) }
    }

    fn create(fields: ProductFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        check_panel(&fields.deploy, ctx)?;
        Ok(Self {
            id: ProductId::from_unchecked(id),
            version: 1,
            name: fields.name,
            price_credits: fields.price_credits,
            egg: fields.egg,
            docker_image: fields.docker_image,
            startup: fields.startup,
            environment: fields.environment,
            limits: fields.limits,
            feature_limits: fields.feature_limits,
            deploy: fields.deploy,
            max_per_workspace: fields.max_per_workspace,
            status: fields.status.unwrap_or(Status::Active),
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        })
    }

    fn change(&self, fields: ProductFields, _: &mut Context<'_>) -> Result<Self, Rejection> {
        Ok(Self {
            name: fields.name,
            price_credits: fields.price_credits,
            egg: fields.egg,
            docker_image: fields.docker_image,
            startup: fields.startup,
            environment: fields.environment,
            limits: fields.limits,
            feature_limits: fields.feature_limits,
            deploy: fields.deploy,
            max_per_workspace: fields.max_per_workspace,
            status: fields.status.unwrap_or(self.status),
            ..self.clone()
        })
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // Every new server locks the product's row. While that row is locked here, no server can
        // appear before the commit.
        let mut servers = ctx.state.provisioning().servers.iter();
        let is_used_in_batch = servers.any(|row| row.record.server.product_id == self.id);
        if is_used_in_batch || ctx.state.is_used_elsewhere(self.id.as_str()) {
            return Err(Rejection::ProductInUse);
        }
        Ok(())
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Product, &delete.id);
    }
}

fn check_environment(environment: &Environment, errors: &mut Errors) {
    at_most_items("/environment", environment.len(), errors);
    for (name, value) in environment {
        let path = pointer::member("/environment", name);
        errors.text(&path, value, 0, 2_000);
        if name.is_empty() || name.chars().count() > 191 {
            errors.push(path, "must have a name of 1 to 191 characters");
        }
    }
}

fn check_limits(limits: &ServerLimits, errors: &mut Errors) {
    errors.range("/limits/memory", limits.memory, 0, LIMIT_MAX);
    errors.range("/limits/swap", limits.swap, -1, LIMIT_MAX);
    errors.range("/limits/disk", limits.disk, 0, LIMIT_MAX);
    errors.range("/limits/io", limits.io, 10, 1_000);
    errors.range("/limits/cpu", limits.cpu, 0, LIMIT_MAX);
}

fn check_feature_limits(limits: &FeatureLimits, errors: &mut Errors) {
    errors.range("/feature_limits/databases", limits.databases, 0, LIMIT_MAX);
    errors.range("/feature_limits/allocations", limits.allocations, 0, LIMIT_MAX);
    errors.range("/feature_limits/backups", limits.backups, 0, LIMIT_MAX);
}

/// The field of `deploy` that a panel does not know and would drop in silence.
pub fn unknown_field(deploy: &Deploy, panel: PanelKind) -> Option<&'static str> {
    match panel {
        PanelKind::Pelican => (!deploy.locations.is_empty()).then_some("locations"),
        PanelKind::Pterodactyl | PanelKind::Unknown(_) => {
            (!deploy.tags.is_empty()).then_some("tags")
        }
    }
}

/// Refuses a field that the panel does not know: the server would land on any node.
fn check_panel(deploy: &Deploy, ctx: &Context<'_>) -> Result<(), Rejection> {
    let panel = ctx.state.provisioning().panel.unwrap_or(PanelKind::Pterodactyl);
    match unknown_field(deploy, panel) {
        None => Ok(()),
        Some(field) => {
            let message = format!("is not a field of {}", panel.name());
            Err(core::Rejection::invalid(format!("/deploy/{field}"), message).into())
        }
    }
}

fn check_deploy(deploy: &Deploy, errors: &mut Errors) {
    at_most_items("/deploy/locations", deploy.locations.len(), errors);
    for (index, location) in deploy.locations.iter().enumerate() {
        errors.range(&format!("/deploy/locations/{index}"), *location, 1, LIMIT_MAX);
    }
    at_most_items("/deploy/tags", deploy.tags.len(), errors);
    for (index, tag) in deploy.tags.iter().enumerate() {
        errors.text(&format!("/deploy/tags/{index}"), tag, 1, 191);
    }
    at_most_items("/deploy/port_range", deploy.port_range.len(), errors);
    for (index, range) in deploy.port_range.iter().enumerate() {
        if !is_port_range(range) {
            let path = format!("/deploy/port_range/{index}");
            errors.push(path, "must be a port such as 25565, or a range such as 25565-25600");
        }
    }
}

fn at_most_items(path: &str, items: usize, errors: &mut Errors) {
    if items > ITEMS_MAX {
        errors.push(path, format!("must have at most {ITEMS_MAX} items, has {items}"));
    }
}

fn is_port_range(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        Some((first, last)) => {
            port(first).zip(port(last)).is_some_and(|(first, last)| first <= last)
        }
        None => port(text).is_some(),
    }
}
