//! Features, packages and scopes that entitlement scenarios start from.

use super::{Answer, Api, id, unique, with};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// A grant of `limit` units.
pub fn units(feature: &str, limit: i64) -> Value {
    json!({"feature": feature, "grant": "limit", "limit": limit})
}

/// A grant without units: `enabled` or `unlimited`.
pub fn grant(feature: &str, kind: &str) -> Value {
    json!({"feature": feature, "grant": kind})
}

/// The scope of a workspace: `workspaces/wsp_…`.
pub fn scope(workspace: &Value) -> String {
    format!("workspaces/{}", id(workspace))
}

/// The instant `ms` milliseconds from now, in the API's format.
pub fn in_ms(ms: i64) -> String {
    let now = Timestamp::now().as_millisecond();
    Timestamp::from_millisecond(now + ms).expect("an instant near now").to_string()
}

#[track_caller]
pub fn instant(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("an instant: {value}")).parse().unwrap()
}

impl Api {
    /// The scope of a new workspace.
    pub async fn make_scope(&self) -> String {
        scope(&self.make_workspace(json!({})).await)
    }

    /// The scope of a new namespace in a workspace's scope.
    pub async fn make_scope_in(&self, workspace: &str) -> String {
        let workspace = workspace.strip_prefix("workspaces/").expect("the scope of a workspace");
        let body = json!({"workspace_id": workspace, "name": unique("ns")});
        let namespace = self.post("/v1/namespaces", &body).await.ok(201);
        format!("namespaces/{}", id(&namespace))
    }

    /// The code of a new feature, by default a `limit` that never resets and is releasable.
    pub async fn make_feature(&self, members: Value) -> String {
        let body = json!({"code": unique("api.calls"), "name": "Calls", "type": "limit",
            "releasable": true});
        let feature = self.post("/v1/features", &with(body, &members)).await.ok(201);
        feature["code"].as_str().expect("a code").to_owned()
    }

    /// A new package with these grants. `members` are added to its body.
    pub async fn make_package(&self, grants: Value, members: Value) -> Value {
        let body = json!({"code": unique("pro"), "name": "Pro", "grants": grants});
        self.post("/v1/packages", &with(body, &members)).await.ok(201)
    }

    /// Assigns a package to a scope.
    pub async fn assign(&self, scope: &str, package: &Value, members: Value) -> Answer {
        let body = with(json!({"package": package["code"]}), &members);
        self.post(&format!("/v1/{scope}/packages"), &body).await
    }

    /// Changes an assignment at its current version.
    pub async fn reassign(&self, scope: &str, assignment: &Value, members: Value) -> Answer {
        let path = format!("/v1/{scope}/packages/{}", id(assignment));
        let now = self.get(&path).await.ok(200);
        self.patch(&path, &with(members, &json!({"version": now["version"]}))).await
    }

    /// A new workspace's scope and a new feature of which it has `limit` units.
    pub async fn make_entitled(&self, limit: i64) -> (String, String) {
        let (scope, feature) = (self.make_scope().await, self.make_feature(json!({})).await);
        self.entitle(&scope, json!([units(&feature, limit)])).await;
        (scope, feature)
    }

    /// Assigns a new package with these grants to a scope. Returns the assignment.
    pub async fn entitle(&self, scope: &str, grants: Value) -> Value {
        let package = self.make_package(grants, json!({})).await;
        self.assign(scope, &package, json!({})).await.ok(201)
    }

    /// Gives a scope a boost; by default 5 units without an end.
    pub async fn boost(&self, scope: &str, feature: &str, members: Value) -> Answer {
        let body = json!({"feature": feature, "kind": "add_limit", "amount": 5,
            "duration": "permanent"});
        let mut body = with(body, &members);
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.post(&format!("/v1/{scope}/boosts"), &body).await
    }

    /// Revokes a boost at its current version. Returns the tombstone.
    pub async fn revoke(&self, scope: &str, boost: &Value) -> Value {
        let path = format!("/v1/{scope}/boosts/{}", id(boost));
        let now = self.get(&path).await.ok(200);
        self.delete(&format!("{path}?version={}", now["version"])).await.ok(200)
    }

    /// Records usage of `quantity` units under a new key.
    pub async fn spend(&self, scope: &str, feature: &str, quantity: i64) -> Answer {
        let body = json!({"feature": feature, "quantity": quantity});
        self.post(&format!("/v1/{scope}/usage"), &body).key(&unique("usage")).await
    }

    /// Holds `quantity` units under a new key.
    pub async fn hold(&self, scope: &str, feature: &str, quantity: i64, ttl_ms: i64) -> Answer {
        let body = json!({"feature": feature, "quantity": quantity, "ttl_ms": ttl_ms});
        self.post(&format!("/v1/{scope}/usage/holds"), &body).key(&unique("hold")).await
    }

    /// Settles a hold with `quantity` units.
    pub async fn settle(&self, scope: &str, hold: &Value, quantity: i64) -> Answer {
        let path = format!("/v1/{scope}/usage/holds/{}/settle", id(hold));
        self.post(&path, &json!({"quantity": quantity})).key(&unique("settle")).await
    }

    pub async fn release(&self, scope: &str, hold: &Value) -> Answer {
        let path = format!("/v1/{scope}/usage/holds/{}/release", id(hold));
        self.post(&path, &json!({})).key(&unique("release")).await
    }

    /// Reverses `quantity` units of a record.
    pub async fn reverse(&self, scope: &str, record: &Value, quantity: i64) -> Answer {
        let path = format!("/v1/{scope}/usage/{}/reversals", id(record));
        self.post(&path, &json!({"quantity": quantity})).key(&unique("reversal")).await
    }

    /// The advisory state of a feature for a scope, asserted to be as of the call or later.
    pub async fn entitlement(&self, scope: &str, feature: &str) -> Value {
        let asked_at = Timestamp::now() - 1.milliseconds();
        let path = format!("/v1/{scope}/entitlements/{feature}");
        super::eventually("the advice is of now", async || {
            let advice = self.get(&path).await.ok(200);
            (instant(&advice["as_of"]) >= asked_at).then_some(advice)
        })
        .await
    }

    /// The current `(used, held)` of a feature.
    pub async fn counted(&self, scope: &str, feature: &str) -> (i64, i64) {
        let advice = self.entitlement(scope, feature).await;
        let count = |name: &str| {
            advice[name].as_i64().unwrap_or_else(|| panic!("{name} is a number: {advice}"))
        };
        (count("used"), count("held"))
    }

    /// The units of a feature recorded for a scope, less the reversed ones.
    pub async fn recorded(&self, scope: &str, feature: &str) -> i64 {
        let mut records = self.list(&format!("/v1/{scope}/usage")).await;
        records.retain(|record| record["feature"] == feature);
        let left = |r: &Value| r["quantity"].as_i64().unwrap() - r["reversed"].as_i64().unwrap();
        records.iter().map(left).sum()
    }

    /// All events of one type.
    pub async fn events_of(&self, event_type: &str) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/v1/events?after={after}&type={event_type}");
            let page = self.get(&path).await.ok(200);
            let items = page["items"].as_array().expect("a list has items");
            let Some(last) = items.last() else { return events };
            after = last["seq"].as_i64().expect("an event has a sequence number");
            events.extend(items.iter().cloned());
        }
    }
}

impl Answer {
    /// The body of a success with any 2xx status.
    #[track_caller]
    pub fn done(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        self.body
    }

    /// The body of a denial because the limit is reached.
    #[track_caller]
    pub fn exceeded(self) -> Value {
        self.problem(403, "ENTITLEMENT_LIMIT_EXCEEDED")
    }

    /// The body of a 422 that names this field or a field inside it.
    #[track_caller]
    pub fn invalid_within(self, path: &str) -> Value {
        let body = self.problem(422, "VALIDATION_FAILED");
        let errors = body["errors"].as_array().expect("errors is a list");
        let within = |error: &Value| {
            let rest = error["path"].as_str().and_then(|named| named.strip_prefix(path));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        assert!(errors.iter().any(within), "{path} is not named in {body}");
        body
    }
}

/// The names of an object's members, sorted.
#[track_caller]
pub fn members(object: &Value) -> Vec<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("an object: {object}"));
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
