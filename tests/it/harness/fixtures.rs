//! The objects that scenarios start from, each created through the API.

use super::Api;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that is unique in this process.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The date `days` days from today, in UTC.
pub fn day(days: i64) -> String {
    let today = ifmatch::Date::of(ifmatch::Timestamp::now());
    today.plus_days(days).expect("the calendar goes on").to_string()
}

/// An object with some members replaced or added.
pub fn with(mut object: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().expect("members are an object") {
        object[name] = value.clone();
    }
    object
}

#[track_caller]
pub fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap_or_else(|| panic!("it has an id: {object}"))
}

#[track_caller]
pub fn version(object: &Value) -> i64 {
    object["version"].as_i64().unwrap_or_else(|| panic!("it has a version: {object}"))
}

impl Api {
    async fn make(&self, collection: &str, defaults: Value, members: Value) -> Value {
        let body = with(defaults, &members);
        self.post(&format!("/v1/{collection}"), &body).await.ok(201)
    }

    /// A draft plan of USD 10.00 a month.
    pub async fn make_plan(&self, members: Value) -> Value {
        let defaults = json!({"code": unique("plan"), "name": "Basic", "currency": "USD",
            "amount": 1000, "interval": "month"});
        self.make("plans", defaults, members).await
    }

    /// A plan that can be subscribed to.
    pub async fn make_active_plan(&self, members: Value) -> Value {
        let plan = self.make_plan(members).await;
        let activate = json!({"version": 1, "status": "active"});
        self.patch(&format!("/v1/plans/{}", id(&plan)), &activate).await.ok(200)
    }

    pub async fn make_workspace(&self, members: Value) -> Value {
        self.make("workspaces", json!({"name": "Acme"}), members).await
    }

    pub async fn make_namespace(&self, members: Value) -> Value {
        let workspace = self.make_workspace(json!({})).await;
        self.make("namespaces", json!({"workspace_id": id(&workspace), "name": "eu"}), members)
            .await
    }

    /// A subscription of a new workspace to a new plan.
    pub async fn make_subscription(&self, members: Value) -> Value {
        let workspace = self.make_workspace(json!({})).await;
        let plan = self.make_active_plan(json!({})).await;
        let defaults = json!({"workspace_id": id(&workspace), "plan_id": id(&plan)});
        self.make("subscriptions", defaults, members).await
    }

    /// A subscription to a given plan.
    pub async fn subscribe(&self, plan: &Value, members: Value) -> Value {
        let workspace = self.make_workspace(json!({})).await;
        let defaults = json!({"workspace_id": id(&workspace), "plan_id": id(plan)});
        self.make("subscriptions", defaults, members).await
    }

    /// A draft invoice over USD 10.00 for a new workspace.
    pub async fn make_invoice(&self, members: Value) -> Value {
        let workspace = self.make_workspace(json!({})).await;
        let defaults = json!({"workspace_id": id(&workspace), "currency": "USD",
            "lines": [{"description": "Seats", "quantity": 2, "unit_amount": 500}]});
        self.make("invoices", defaults, members).await
    }

    /// A bookable room with a capacity of two.
    pub async fn make_bookable(&self, members: Value) -> Value {
        self.make("bookables", json!({"name": "Room", "capacity": 2}), members).await
    }

    /// A held booking of a new room, on distant days.
    pub async fn make_booking(&self, members: Value) -> Value {
        let bookable = self.make_bookable(json!({})).await;
        let defaults = json!({"bookable_id": id(&bookable), "start_date": day(30),
            "end_date": day(32), "quantity": 1});
        self.make("bookings", defaults, members).await
    }

    /// A cancelled booking, which can be deleted.
    pub async fn make_cancelled_booking(&self) -> Value {
        let booking = self.make_booking(json!({})).await;
        let cancel = json!({"version": 1, "status": "cancelled"});
        self.patch(&format!("/v1/bookings/{}", id(&booking)), &cancel).await.ok(200)
    }

    /// A finalized invoice over USD 10.00.
    pub async fn make_open_invoice(&self, members: Value) -> Value {
        let draft = self.make_invoice(members).await;
        self.finalize(&draft).await
    }

    pub async fn finalize(&self, draft: &Value) -> Value {
        let body = json!({"version": version(draft), "status": "open"});
        self.patch(&format!("/v1/invoices/{}", id(draft)), &body).await.ok(200)
    }

    /// Records a payment of `amount` under a new provider reference.
    pub async fn pay(&self, invoice: &Value, amount: i64) -> super::Answer {
        let body = json!({"amount": amount, "provider_ref": unique("ref")});
        let path = format!("/v1/invoices/{}/payments", id(invoice));
        self.post(&path, &body).key(&unique("payment")).await
    }

    /// A reservation of one credit, of this workspace or of a new one.
    pub async fn make_reservation(&self, workspace_id: Option<&str>) -> Value {
        let workspace_id = match workspace_id {
            Some(id) => id.to_owned(),
            None => id(&self.make_workspace(json!({})).await).to_owned(),
        };
        let credits = format!("/v1/workspaces/{workspace_id}/credits");
        let body = json!({"amount": 10, "reason": "bought"});
        self.post(&format!("{credits}/topups"), &body).await.ok(201);
        self.post(&format!("{credits}/reservations"), &json!({"amount": 1})).await.ok(201)
    }

    /// A product that costs no credits.
    pub async fn make_product(&self, members: Value) -> Value {
        let defaults = json!({"name": "Game server", "price_credits": 0, "egg": 5,
            "docker_image": "ghcr.io/games/server:1", "startup": "./run",
            "environment": {"MAX_PLAYERS": "20"}, "limits": {"memory": 1024, "disk": 4096},
            "deploy": {"locations": [1]}});
        self.make("products", defaults, members).await
    }

    /// An active server of a new product, of this workspace or of a new one.
    pub async fn make_server(&self, workspace_id: Option<&str>) -> Value {
        let workspace_id = match workspace_id {
            Some(id) => id.to_owned(),
            None => id(&self.make_workspace(json!({})).await).to_owned(),
        };
        let product = self.make_product(json!({})).await;
        let body = json!({"workspace_id": workspace_id, "product_id": id(&product),
            "name": "Castle", "panel_user": 7});
        self.post("/v1/servers?wait_ms=30000", &body).key(&unique("server")).await.ok(201)
    }

    /// The current state of an object.
    pub async fn read(&self, collection: &str, object: &Value) -> Value {
        self.get(&format!("/v1/{collection}/{}", id(object))).await.ok(200)
    }

    /// Changes an object at its current version and returns the result.
    pub async fn change(&self, collection: &str, object: &Value, members: Value) -> Value {
        let now = self.read(collection, object).await;
        let body = with(members, &json!({"version": version(&now)}));
        self.patch(&format!("/v1/{collection}/{}", id(object)), &body).await.ok(200)
    }

    /// A client with a new key of this role.
    pub async fn make_key(&self, role: &str) -> Self {
        let (api, _) = self.make_named_key(role).await;
        api
    }

    /// A client with a new key of this role, and the server's answer about the key.
    pub async fn make_named_key(&self, role: &str) -> (Self, Value) {
        let body = json!({"name": unique(role), "role": role});
        let made = self.post("/v1/api-keys", &body).await.ok(201);
        (self.with_key(made["key"].as_str().expect("the key is shown once")), made)
    }
}
