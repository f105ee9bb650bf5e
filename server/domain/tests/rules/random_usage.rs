//! Random commands about entitlements and usage of scopes.

use crate::{
    commands::members,
    random::{Raw, Reader, later, name, one_of, pick},
};
use ifmatch_domain::{
    Action,
    entitlement::{
        self, AssignPackage, CheckAndRecord, EndHold, ExpireEntitlements, GrantBoost, HoldEnd,
        PlaceHold, ReverseUsage, ScopeRef,
    },
};
use serde_json::{Value, json};

/// A feature's fields: few codes, and some features draw from the pool of another.
pub fn a_feature(raw: Raw) -> Value {
    let code = format!("f{}", raw.other % 6);
    let mut feature = match raw.amount % 6 {
        0 => json!({"code": code, "type": "limit", "parent_code": "f0"}),
        1 => json!({"code": code, "type": "limit", "parent_code": format!("f{}", raw.choice % 6)}),
        2 => json!({"code": code, "type": "limit", "reset": "rolling",
            "rolling_days": i64::from(raw.choice % 20) + 1}),
        3 => json!({"code": code, "type": "limit", "reset": "monthly"}),
        4 => json!({"code": code, "type": name(&["boolean", "unlimited"], raw.choice)}),
        _ => json!({"code": code, "type": "limit"}),
    };
    // The usage of most features can be given back.
    feature["releasable"] = json!(!raw.mode.is_multiple_of(4));
    feature
}

/// The fields of a package.
pub fn a_package(raw: Raw) -> Value {
    json!({"code": format!("p{}", raw.other % 5), "is_base": raw.choice.is_multiple_of(2),
        "is_stackable": raw.choice.is_multiple_of(3), "grants": grants(raw.amount)})
}

pub fn grants(amount: u8) -> Value {
    let limit =
        |code: u8| json!({"feature": format!("f{code}"), "grant": "limit", "limit": amount});
    match amount % 6 {
        0 => json!([]),
        1 => json!([limit(1), limit(2)]),
        2 => json!([{"feature": format!("f{}", amount / 6 % 6), "grant": "enabled"}]),
        3 => json!([{"feature": "f3", "grant": "unlimited"}, limit(0)]),
        n => json!([limit(n), limit(0), limit(2)]),
    }
}

impl Reader<'_> {
    /// Makes one command about entitlements or usage.
    pub fn entitlement_action(&self, raw: Raw) -> Action {
        let scope = self.scope(raw);
        let feature = self.code(raw.other);
        let quantity = i64::from(raw.amount % 16);
        match raw.op % 11 {
            0 => Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
                scope,
                body: self.assignment(raw),
            })),
            1 | 2 => Action::Entitlement(entitlement::Action::GrantBoost(GrantBoost {
                scope,
                body: self.boost(raw, &feature),
            })),
            3..=5 => {
                let item = |n: i64| members(json!({"feature": feature, "quantity": n}));
                let is_batch = raw.choice.is_multiple_of(4);
                let also = members(json!({"feature": self.code(raw.target), "quantity": 1}));
                let items = if is_batch {
                    vec![item(quantity), also, item(2)]
                } else {
                    vec![item(quantity)]
                };
                Action::Entitlement(entitlement::Action::CheckAndRecord(CheckAndRecord {
                    scope,
                    items,
                    is_batch,
                }))
            }
            6 => {
                let ttl_ms = i64::from(raw.choice) * 60_000;
                let body = json!({"feature": feature, "quantity": quantity, "ttl_ms": ttl_ms});
                Action::Entitlement(entitlement::Action::PlaceHold(PlaceHold {
                    scope,
                    body: members(body),
                }))
            }
            7 | 8 => self.end_hold(raw, scope),
            9 => self.reverse_usage(raw, scope),
            _ => Action::Entitlement(entitlement::Action::ExpireEntitlements(ExpireEntitlements {
                scope,
            })),
        }
    }

    fn scope(&self, raw: Raw) -> ScopeRef {
        if raw.mode.is_multiple_of(2) {
            ScopeRef::workspace(pick(&self.world.workspaces, raw.target))
        } else {
            let id = pick(&self.world.namespaces, raw.target);
            ScopeRef::parse(&format!("namespaces/{id}")).unwrap()
        }
    }

    /// The code of a feature, or one that does not exist.
    fn code(&self, n: u8) -> String {
        name(&["f0", "f1", "f2", "f0", "f1", "f2", "f3", "f4", "f5"], n).to_owned()
    }

    fn assignment(&self, raw: Raw) -> serde_json::Map<String, Value> {
        let package = self.world.packages.get(&pick(&self.world.packages, raw.other));
        let package = package.map_or("p0".to_owned(), |row| row.record.package.code.clone());
        let mut body = members(json!({"package": package}));
        if raw.choice.is_multiple_of(3) {
            let external = format!("service{}", raw.amount % 3);
            body.insert("external_service_id".to_owned(), json!(external));
        }
        if raw.choice.is_multiple_of(4) {
            let end = later(self.now, i64::from(raw.amount % 30));
            body.insert("expires_at".to_owned(), json!(end));
        }
        body
    }

    fn boost(&self, raw: Raw, feature: &str) -> serde_json::Map<String, Value> {
        let end = json!(later(self.now, i64::from(raw.amount % 40)));
        let mut body = members(match raw.choice % 8 {
            0 => json!({"kind": "enable", "duration": "permanent"}),
            1 => json!({"kind": "unlimited", "duration": "fixed", "expires_at": end}),
            2 => json!({"kind": "add_limit", "amount": raw.amount, "duration": "cycle_bound"}),
            3 => json!({"kind": "add_limit", "amount": raw.amount, "duration": "permanent"}),
            4 => json!({"kind": "add_limit", "amount": 7, "duration": "consumable",
                "expires_at": end}),
            _ => json!({"kind": "add_limit", "amount": raw.amount % 20, "duration": "consumable",
                "priority": raw.version % 3}),
        });
        body.insert("feature".to_owned(), json!(feature));
        if raw.version.is_multiple_of(4) {
            body.insert("external_addon_id".to_owned(), json!(format!("addon{}", raw.amount % 3)));
            let source = one_of(&[json!("shop"), Value::Null], raw.version / 4);
            body.insert("source".to_owned(), source);
        }
        body
    }

    fn end_hold(&self, raw: Raw, scope: ScopeRef) -> Action {
        let hold_id = pick(&self.world.holds, raw.target);
        let own = self.world.holds.get(&hold_id);
        let own = own.and_then(|stored| ScopeRef::parse(&stored.hold.scope));
        let settled = members(json!({"quantity": raw.amount % 16}));
        let end = if raw.choice.is_multiple_of(3) {
            HoldEnd::Release(Default::default())
        } else {
            HoldEnd::Settle(settled)
        };
        let scope = own.filter(|_| raw.choice < 240).unwrap_or(scope);
        Action::Entitlement(entitlement::Action::EndHold(EndHold { scope, hold_id, end }))
    }

    fn reverse_usage(&self, raw: Raw, scope: ScopeRef) -> Action {
        let record_id = pick(&self.world.records, raw.target);
        let own = self.world.records.get(&record_id);
        let own = own.and_then(|stored| ScopeRef::parse(&stored.record.scope));
        let scope = own.filter(|_| raw.choice < 240).unwrap_or(scope);
        let body = members(json!({"quantity": raw.amount % 8}));
        Action::Entitlement(entitlement::Action::ReverseUsage(ReverseUsage {
            scope,
            record_id,
            body,
        }))
    }
}
