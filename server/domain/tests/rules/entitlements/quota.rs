//! One customer's quotas: a workspace, two namespaces, and short commands.

use crate::{
    book::{Book, with},
    commands::{at, delete, members},
    invariants::assert_holds,
    world::Decided,
};
use ifmatch_domain::{
    Action, Outcome, Rejection, core,
    entitlement::{
        self, AssignPackage, CheckAndRecord, EndHold, ExpireEntitlements, GrantBoost, HoldEnd,
        PlaceHold, ReverseUsage, ScopeRef,
    },
};
use ifmatch_types::{BoostAnswer, Entitlement, HoldAnswer, Kind, Recorded, Reversed, Timestamp};
use serde_json::{Value, json};

/// An hour, in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

pub struct Quota {
    pub book: Book,
    pub workspace: ScopeRef,
    pub one: ScopeRef,
    pub two: ScopeRef,
}

impl Default for Quota {
    fn default() -> Self {
        Self::at("2027-01-01T00:00:00Z")
    }
}

impl Quota {
    pub fn at(now: &str) -> Self {
        let mut book = Book::at(now);
        let workspace = book.workspace();
        let mut namespace = || {
            let body = json!({"workspace_id": workspace, "name": "n"});
            let id = book.make(Kind::Namespace, body);
            ScopeRef::parse(&format!("namespaces/{id}")).unwrap()
        };
        let (one, two) = (namespace(), namespace());
        Self { book, workspace: ScopeRef::workspace(workspace), one, two }
    }

    /// A workspace with a limit on `calls`.
    pub fn of_calls(limit: i64) -> Self {
        let mut quota = Self::default();
        quota.feature("calls", json!({}));
        quota.package("base", json!({"is_base": true}), json!({"calls": limit}));
        quota.assign(&quota.workspace.clone(), "base");
        quota
    }

    /// The workspace and its first namespace.
    pub fn scopes(&self) -> (ScopeRef, ScopeRef) {
        (self.workspace.clone(), self.one.clone())
    }

    /// A feature of type `limit` that never resets and whose usage can be given back, unless
    /// `changed` says otherwise.
    #[track_caller]
    pub fn feature(&mut self, code: &str, changed: Value) -> String {
        let usual = json!({"code": code, "type": "limit", "releasable": true});
        self.book.make(Kind::Feature, with(usual, changed))
    }

    /// A package with grants such as `{"code": 10, "other": "enabled"}`.
    #[track_caller]
    pub fn package(&mut self, code: &str, changed: Value, grants: Value) -> String {
        let usual = json!({"code": code, "grants": listed(grants)});
        self.book.make(Kind::Package, with(usual, changed))
    }

    pub fn try_assign(&mut self, scope: &ScopeRef, body: Value) -> Decided {
        let (scope, body) = (scope.clone(), members(body));
        self.book.run(Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
            scope,
            body,
        })))
    }

    #[track_caller]
    pub fn assign(&mut self, scope: &ScopeRef, package: &str) -> String {
        object_id(self.try_assign(scope, json!({"package": package})))
    }

    pub fn try_boost(
        &mut self,
        scope: &ScopeRef,
        feature: &str,
        body: Value,
    ) -> Result<BoostAnswer, Rejection> {
        let body = members(with(json!({"feature": feature}), body));
        let scope = scope.clone();
        match self
            .book
            .run(Action::Entitlement(entitlement::Action::GrantBoost(GrantBoost { scope, body })))?
        {
            Outcome::Entitlement(entitlement::Outcome::Boost(answer)) => Ok(answer),
            other => panic!("a boost was expected: {other:?}"),
        }
    }

    #[track_caller]
    pub fn boost(&mut self, scope: &ScopeRef, feature: &str, body: Value) -> String {
        self.try_boost(scope, feature, body).unwrap().boost.id.to_string()
    }

    /// A consumable boost of `calls`, with further members.
    #[track_caller]
    pub fn consumable(&mut self, scope: &ScopeRef, amount: i64, changed: Value) -> String {
        let usual = json!({"kind": "add_limit", "amount": amount, "duration": "consumable"});
        self.boost(scope, "calls", with(usual, changed))
    }

    /// Revokes a boost at its current version.
    pub fn revoke(&mut self, boost: &str) -> Decided {
        let version = self.book.version(boost);
        self.book.run(delete(Kind::Boost, boost, version))
    }

    pub fn try_use(
        &mut self,
        scope: &ScopeRef,
        items: Vec<Value>,
        is_batch: bool,
    ) -> Result<Vec<Recorded>, Rejection> {
        let items = items.into_iter().map(members).collect();
        let scope = scope.clone();
        match self.book.run(Action::Entitlement(entitlement::Action::CheckAndRecord(
            CheckAndRecord { scope, items, is_batch },
        )))? {
            Outcome::Entitlement(entitlement::Outcome::Usage { recorded, .. }) => Ok(recorded),
            other => panic!("usage was expected: {other:?}"),
        }
    }

    pub fn take(
        &mut self,
        scope: &ScopeRef,
        feature: &str,
        quantity: i64,
    ) -> Result<Recorded, Rejection> {
        let item = json!({"feature": feature, "quantity": quantity});
        self.try_use(scope, vec![item], false).map(|mut recorded| recorded.remove(0))
    }

    pub fn hold(
        &mut self,
        scope: &ScopeRef,
        quantity: i64,
        ttl_ms: i64,
    ) -> Result<HoldAnswer, Rejection> {
        let body = json!({"feature": "calls", "quantity": quantity, "ttl_ms": ttl_ms});
        self.try_hold(scope, body)
    }

    pub fn try_hold(&mut self, scope: &ScopeRef, body: Value) -> Result<HoldAnswer, Rejection> {
        let (scope, body) = (scope.clone(), members(body));
        held(
            self.book.run(Action::Entitlement(entitlement::Action::PlaceHold(PlaceHold {
                scope,
                body,
            }))),
        )
    }

    pub fn end(&mut self, hold: &HoldAnswer, end: HoldEnd) -> Result<HoldAnswer, Rejection> {
        let scope = ScopeRef::parse(&hold.hold.scope).unwrap();
        let hold_id = hold.hold.id.to_string();
        held(self.book.run(Action::Entitlement(entitlement::Action::EndHold(EndHold {
            scope,
            hold_id,
            end,
        }))))
    }

    pub fn settle(&mut self, hold: &HoldAnswer, quantity: i64) -> Result<HoldAnswer, Rejection> {
        self.end(hold, HoldEnd::Settle(members(json!({"quantity": quantity}))))
    }

    pub fn release(&mut self, hold: &HoldAnswer) -> Result<HoldAnswer, Rejection> {
        self.end(hold, HoldEnd::Release(Default::default()))
    }

    pub fn reverse(&mut self, recorded: &Recorded, quantity: i64) -> Result<Reversed, Rejection> {
        let record_id = recorded.id.to_string();
        let scope = ScopeRef::parse(&self.book.world.records[&record_id].record.scope).unwrap();
        let body = members(json!({"quantity": quantity}));
        match self.book.run(Action::Entitlement(entitlement::Action::ReverseUsage(
            ReverseUsage { scope, record_id, body },
        )))? {
            Outcome::Entitlement(entitlement::Outcome::Reversed(reversed)) => Ok(reversed),
            other => panic!("a reversal was expected: {other:?}"),
        }
    }

    #[track_caller]
    pub fn sweep(&mut self, scope: &ScopeRef) {
        loop {
            let scope = scope.clone();
            let expire =
                Action::Entitlement(entitlement::Action::ExpireEntitlements(ExpireEntitlements {
                    scope,
                }));
            match self.book.run(expire).unwrap() {
                Outcome::Entitlement(entitlement::Outcome::Expired { more: true }) => {}
                Outcome::Entitlement(entitlement::Outcome::Expired { more: false }) => return,
                other => panic!("an end was expected: {other:?}"),
            }
        }
    }

    /// The entitlement that a reader gets.
    #[track_caller]
    pub fn look(&self, scope: &ScopeRef, feature: &str) -> Entitlement {
        self.book.world.entitlement(scope, feature, self.book.now).unwrap()
    }

    /// Used, held, limit and remaining of `calls`, as a reader gets them.
    #[track_caller]
    pub fn calls(&self, scope: &ScopeRef) -> (i64, i64, Option<i64>, Option<i64>) {
        let meter = self.look(scope, "calls").meter;
        (meter.used, meter.held, meter.limit, meter.remaining)
    }

    /// The burnt units of a boost.
    pub fn burnt(&self, boost: &str) -> i64 {
        self.book.world.boosts[boost].record.boost.consumed
    }

    pub fn status(&self, id: &str) -> String {
        self.book.field(id, "status").as_str().unwrap().to_owned()
    }

    /// Moves the clock forward.
    pub fn pass_ms(&mut self, ms: i64) {
        let now = self.book.now.as_micros() + ms * 1_000;
        self.book.now = Timestamp::from_micros(now).unwrap();
    }

    pub fn pass_days(&mut self, days: i64) {
        self.pass_ms(days * 24 * HOUR_MS);
    }

    pub fn until(&mut self, instant: &str) {
        assert!(at(instant) >= self.book.now, "time does not run backwards");
        self.book.now = at(instant);
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_holds(&self.book.world);
        }
    }
}

/// Grants such as `{"code": 10, "other": "enabled"}` in the API's list form.
pub fn listed(grants: Value) -> Value {
    let one = |(feature, given): (String, Value)| match given.as_i64() {
        Some(limit) => json!({"feature": feature, "grant": "limit", "limit": limit}),
        None => json!({"feature": feature, "grant": given}),
    };
    members(grants).into_iter().map(one).collect()
}

#[track_caller]
pub fn object_id(decided: Decided) -> String {
    match decided.unwrap() {
        Outcome::Core(core::Outcome::Object(object)) => object.id,
        other => panic!("an object was expected: {other:?}"),
    }
}

fn held(decided: Decided) -> Result<HoldAnswer, Rejection> {
    match decided? {
        Outcome::Entitlement(entitlement::Outcome::Hold { answer, .. }) => Ok(answer),
        other => panic!("a hold was expected: {other:?}"),
    }
}

/// The code of a denial.
#[track_caller]
pub fn denied<T: std::fmt::Debug>(decided: Result<T, Rejection>) -> &'static str {
    let rejection = decided.unwrap_err();
    let denial =
        rejection.denial().unwrap_or_else(|| panic!("a denial was expected: {rejection:?}"));
    denial.reason.code().name()
}

/// The paths of the wrong fields.
#[track_caller]
pub fn wrong<T: std::fmt::Debug>(decided: Result<T, Rejection>) -> Vec<String> {
    let mut rejection = decided.unwrap_err();
    if let Rejection::Operation { rejection: inner, .. } = rejection {
        rejection = *inner;
    }
    match rejection {
        Rejection::Core(core::Rejection::Invalid(errors)) => {
            errors.into_iter().map(|error| error.path).collect()
        }
        other => panic!("wrong fields were expected: {other:?}"),
    }
}

/// The code of a denial because the limit is reached.
pub const FULL: &str = "ENTITLEMENT_LIMIT_EXCEEDED";
/// The code of a denial because there is no grant.
pub const NOT_INCLUDED: &str = "FEATURE_NOT_INCLUDED";
