//! Holds: settled, released or expired exactly once, and no obstacle after their end.

use super::quota::{FULL, HOUR_MS, Quota, denied, wrong};
use crate::{
    book::Book,
    commands::{at, command, delete, force, members},
    properties::furnished,
};
use ifmatch_domain::{
    Action, Outcome, Rejection, core,
    entitlement::{self, CheckAndRecord, EndHold, HoldEnd, PlaceHold, ReverseUsage, ScopeRef},
};
use ifmatch_types::{HoldStatus, Kind};
use serde_json::json;

#[test]
fn what_is_held_is_set_aside() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let held = quota.hold(&one, 6, HOUR_MS).unwrap();
    assert_eq!((held.meter.used, held.meter.held, held.meter.remaining), (0, 6, Some(4)));
    assert_eq!(held.hold.expires_at, at("2027-01-01T01:00:00Z"));
    assert_eq!(denied(quota.take(&workspace, "calls", 5)), FULL);
    assert_eq!(denied(quota.hold(&workspace, 5, HOUR_MS)), FULL);
    quota.take(&workspace, "calls", 3).unwrap();
    quota.hold(&workspace, 1, HOUR_MS).unwrap();
    assert_eq!(quota.calls(&one), (3, 7, Some(10), Some(0)));
}

/// 4 of 10 held and 3 used: the settled quantity, and the used count or a denial.
#[test]
fn settling_records_what_the_work_took() {
    for (quantity, used) in [(1, Some(4)), (4, Some(7)), (5, Some(8)), (7, Some(10)), (8, None)] {
        let mut quota = Quota::of_calls(10);
        let (workspace, one) = quota.scopes();
        quota.take(&workspace, "calls", 3).unwrap();
        let hold = quota.hold(&one, 4, HOUR_MS).unwrap();
        let settled = quota.settle(&hold, quantity);
        let Some(used) = used else {
            assert_eq!(denied(settled), FULL);
            assert_eq!(quota.calls(&workspace), (3, 4, Some(10), Some(3)), "it is still held");
            quota.settle(&hold, 7).unwrap();
            continue;
        };
        let settled = settled.unwrap();
        assert_eq!(settled.hold.status, HoldStatus::Settled);
        assert_eq!(settled.hold.settled_quantity, Some(quantity));
        assert_eq!((settled.meter.used, settled.meter.held), (used, 0));
        let record = &quota.book.world.records[settled.hold.record_id.unwrap().as_str()].record;
        assert_eq!((record.quantity, &record.scope), (quantity, &one.to_string()));
        assert_eq!(quota.calls(&workspace), (used, 0, Some(10), Some(10 - used)));
    }
}

#[test]
fn a_released_hold_gives_everything_back() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let hold = quota.hold(&workspace, 10, HOUR_MS).unwrap();
    let released = quota.release(&hold).unwrap();
    assert_eq!((released.hold.status, released.hold.record_id), (HoldStatus::Released, None));
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    assert!(quota.book.world.records.is_empty());
}

/// After any kind of end, a hold cannot end again.
#[test]
fn a_hold_ends_exactly_once() {
    for ending in ["settled", "released", "expired", "swept"] {
        let mut quota = Quota::of_calls(10);
        let (workspace, _) = quota.scopes();
        let hold = quota.hold(&workspace, 4, HOUR_MS).unwrap();
        let used = match ending {
            "settled" => quota.settle(&hold, 2).map(|_| 2).unwrap(),
            "released" => quota.release(&hold).map(|_| 0).unwrap(),
            _ => {
                quota.pass_ms(HOUR_MS);
                0
            }
        };
        if ending == "swept" {
            quota.sweep(&workspace);
        }
        for again in 0..2 {
            let expected = if ending == "swept" { "expired" } else { ending };
            for rejection in [quota.settle(&hold, 1), quota.release(&hold)] {
                assert_eq!(
                    rejection.unwrap_err(),
                    Rejection::Entitlement(entitlement::Rejection::HoldNotActive {
                        status: expected
                    })
                );
            }
            assert_eq!(quota.calls(&workspace), (used, 0, Some(10), Some(10 - used)), "{ending}");
            if again == 0 {
                quota.sweep(&workspace);
            }
        }
    }
}

#[test]
fn an_expired_hold_blocks_nobody_swept_or_not() {
    for is_swept in [true, false] {
        let mut quota = Quota::of_calls(10);
        let (workspace, one) = quota.scopes();
        let hold = quota.hold(&one, 10, HOUR_MS).unwrap();
        quota.pass_ms(HOUR_MS - 1);
        assert_eq!(denied(quota.take(&workspace, "calls", 1)), FULL);
        if is_swept {
            quota.sweep(&workspace);
            assert_eq!(
                quota.calls(&workspace),
                (0, 10, Some(10), Some(0)),
                "not before it expires"
            );
        }
        quota.pass_ms(1);
        if is_swept {
            quota.sweep(&workspace);
        }
        assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
        assert_eq!(denied(quota.take(&workspace, "calls", 11)), FULL);
        quota.take(&workspace, "calls", 10).unwrap();
        let stored = &quota.book.world.holds[hold.hold.id.as_str()].hold;
        assert_eq!(stored.status, HoldStatus::Expired, "the next command ends it");
        let ends = quota.book.world.log.iter().filter(|l| l.entry.log_type == "hold.expired");
        let by: Vec<_> = ends.map(|line| line.entry.by.actor.as_str()).collect();
        assert_eq!(by, ["expiry"], "once, by the expiry worker");
    }
}

/// After an outage many holds may be over. One commit ends a slice; none of them counts.
#[test]
fn a_backlog_of_holds_is_ended_slice_by_slice_and_blocks_nobody() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let holds = [4, 3, 3].map(|quantity| quota.hold(&one, quantity, HOUR_MS).unwrap());
    let ended = |quota: &Quota| {
        let rows = holds.iter().map(|held| &quota.book.world.holds[held.hold.id.as_str()].hold);
        rows.map(|hold| hold.status == HoldStatus::Expired).collect::<Vec<_>>()
    };
    quota.pass_ms(HOUR_MS);
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    let recorded = quota.take(&workspace, "calls", 9).unwrap();
    assert_eq!((recorded.meter.used, recorded.meter.held), (9, 0));
    assert_eq!(recorded.meter.remaining, Some(1));
    assert_eq!(ended(&quota), [true, false, false], "one per commit in these tests");
    assert_eq!(denied(quota.take(&workspace, "calls", 2)), FULL);
    let counter = quota.book.world.counters.values().next().unwrap();
    assert_eq!((counter.used, counter.held), (9, 0), "the counter counts none of them");
    quota.hold(&one, 1, HOUR_MS).unwrap();
    assert_eq!(quota.calls(&workspace), (9, 1, Some(10), Some(0)));
    for held in &holds {
        assert!(quota.release(held).is_err(), "an expired hold gives back once");
    }
    quota.sweep(&workspace);
    assert_eq!(ended(&quota), [true, true, true]);
    assert_eq!(quota.calls(&workspace), (9, 1, Some(10), Some(0)));
    let counter = quota.book.world.counters.values().next().unwrap();
    assert_eq!((counter.used, counter.held), (9, 1));
}

/// Units burnt for expired holds return to their boosts.
#[test]
fn a_backlog_of_holds_gives_back_what_was_burnt_for_it() {
    let mut quota = Quota::of_calls(2);
    let (workspace, _) = quota.scopes();
    let boost = quota.consumable(&workspace, 8, json!({}));
    for _ in 0..3 {
        quota.hold(&workspace, 3, HOUR_MS).unwrap();
    }
    assert_eq!(quota.burnt(&boost), 7);
    quota.pass_ms(HOUR_MS);
    let recorded = quota.take(&workspace, "calls", 4).unwrap();
    assert_eq!((recorded.meter.held, recorded.meter.remaining), (0, Some(6)), "one of three ended");
    quota.sweep(&workspace);
    assert_eq!(quota.burnt(&boost), 2);
}

/// Ending a backlog in slices gives the same decisions and final state as ending all at once.
#[test]
fn slices_of_a_backlog_change_no_decision_and_no_boost() {
    let carried_out = |ends_all: bool, quantities: [i64; 5]| {
        let mut quota = Quota::of_calls(3);
        quota.book.world.ends_all = ends_all;
        let (workspace, _) = quota.scopes();
        let boosts = [(5, 1), (7, 2), (4, 2)].map(|(amount, priority)| {
            quota.consumable(&workspace, amount, json!({"priority": priority}))
        });
        for quantity in [4, 3, 5, 2] {
            quota.hold(&workspace, quantity, HOUR_MS).unwrap();
        }
        quota.pass_ms(HOUR_MS);
        let meters = quantities.map(|quantity| {
            let taken = quota.take(&workspace, "calls", quantity);
            taken.map(|recorded| {
                (recorded.meter.used, recorded.meter.held, recorded.meter.remaining)
            })
        });
        quota.sweep(&workspace);
        let burnt = boosts.map(|boost| quota.burnt(&boost));
        (meters.map(Result::ok), burnt, quota.calls(&workspace))
    };
    for quantities in [[1, 2, 3, 4, 5], [9, 9, 1, 1, 1], [19, 1, 1, 1, 1], [3, 1, 12, 4, 1]] {
        assert_eq!(carried_out(false, quantities), carried_out(true, quantities), "{quantities:?}");
    }
}

#[test]
fn a_hold_is_ended_on_the_counter_on_which_it_was_placed() {
    let mut quota = Quota::default();
    let (workspace, one) = quota.scopes();
    quota.feature("calls", json!({"reset": "monthly"}));
    quota.package("base", json!({"is_base": true}), json!({"calls": 10}));
    quota.assign(&workspace, "base");
    quota.until("2027-01-31T23:00:00Z");
    let held = [3, 4, 2].map(|quantity| quota.hold(&one, quantity, 5 * HOUR_MS).unwrap());
    quota.until("2027-02-01T01:00:00Z");
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)), "a new month");
    quota.package("own", json!({}), json!({"calls": 1}));
    quota.assign(&one, "own");
    let settled = quota.settle(&held[0], 4).unwrap();
    assert_eq!((settled.meter.used, settled.meter.held), (4, 6));
    assert_eq!(settled.meter.charged_scope, workspace.to_string());
    assert_eq!(denied(quota.settle(&held[1], 5)), FULL, "last month is full");
    assert_eq!(quota.release(&held[2]).unwrap().meter.held, 4);
    quota.settle(&held[1], 6).unwrap();
    assert_eq!(quota.calls(&workspace), (0, 0, Some(10), Some(10)));
    assert_eq!(quota.calls(&one), (0, 0, Some(1), Some(1)));
}

#[test]
fn a_hold_is_settled_when_nothing_is_granted_any_more() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let hold = quota.hold(&workspace, 4, HOUR_MS).unwrap();
    let assignment = quota.book.world.assignments.keys().next().unwrap().clone();
    quota.book.edit(&assignment, json!({"status": "cancelled"})).unwrap();
    assert_eq!(denied(quota.settle(&hold, 5)), "FEATURE_NOT_INCLUDED");
    assert_eq!(quota.settle(&hold, 4).unwrap().meter.used, 4);
}

#[test]
fn a_hold_is_found_by_its_own_scope_only() {
    let mut quota = Quota::of_calls(10);
    let (workspace, one) = quota.scopes();
    let hold = quota.hold(&one, 4, HOUR_MS).unwrap();
    for (scope, hold_id) in [(workspace, hold.hold.id.to_string()), (one, "hld_nothing".to_owned())]
    {
        let settle = HoldEnd::Settle(members(json!({"quantity": -1})));
        for end in [settle, HoldEnd::Release(Default::default())] {
            let scope = scope.clone();
            let action = Action::Entitlement(entitlement::Action::EndHold(EndHold {
                scope,
                hold_id: hold_id.clone(),
                end,
            }));
            assert!(matches!(
                quota.book.refused(action),
                Rejection::Core(core::Rejection::NotFound { what: "hold", .. })
            ));
        }
    }
}

#[test]
fn wrong_holds_and_settlements_are_refused_by_field() {
    let mut quota = Quota::of_calls(10);
    let (workspace, _) = quota.scopes();
    let max = 1_000_000_000_000i64;
    for (quantity, ttl_ms, fields) in [
        (json!(0), json!(1), vec!["/quantity"]),
        (json!(-1), json!(0), vec!["/quantity", "/ttl_ms"]),
        (json!(max + 1), json!(86_400_001), vec!["/quantity", "/ttl_ms"]),
        (json!(i64::MAX), json!(i64::MIN), vec!["/quantity", "/ttl_ms"]),
        (json!(1.5), json!(1), vec!["/quantity"]),
        (json!(1), json!("1"), vec!["/ttl_ms"]),
        (json!(1), json!(null), vec!["/ttl_ms"]),
    ] {
        let body = json!({"feature": "calls", "quantity": quantity, "ttl_ms": ttl_ms});
        assert_eq!(wrong(quota.try_hold(&workspace, body)), fields);
    }
    let unknown = json!({"feature": "nothing", "quantity": 1, "ttl_ms": 1});
    assert_eq!(wrong(quota.try_hold(&workspace, unknown)), ["/feature"]);
    let hold = quota.hold(&workspace, 1, 86_400_000).unwrap();
    for quantity in [0, -1, max + 1, i64::MIN] {
        assert_eq!(wrong(quota.settle(&hold, quantity)), ["/quantity"]);
    }
}

/// Reversed units return to the consumable that they burnt, even in the batch that burnt it.
///
/// Expired holds that wait for later commits need none of it.
#[test]
fn a_backlog_of_holds_keeps_no_consumable_burnt() {
    let mut quota = Quota::of_calls(3);
    let (workspace, _) = quota.scopes();
    let boost = quota.consumable(&workspace, 5, json!({}));
    for _ in 0..3 {
        quota.hold(&workspace, 1, HOUR_MS).unwrap();
    }
    quota.pass_ms(HOUR_MS);
    let (seed, now) = (quota.book.fresh_seed(), quota.book.now);
    let scope = workspace.clone();
    let items = vec![members(json!({"feature": "calls", "quantity": 4}))];
    let used = CheckAndRecord { scope: scope.clone(), items, is_batch: false };
    let used = command(seed, Action::Entitlement(entitlement::Action::CheckAndRecord(used)));
    // The same seed produces the same ids.
    let tried = quota.book.world.clone().carry_out(std::slice::from_ref(&used), now).remove(0);
    let Ok(Outcome::Entitlement(entitlement::Outcome::Usage { recorded, .. })) = tried else {
        panic!("{tried:?}")
    };
    let record_id = recorded[0].id.to_string();
    let body = members(json!({"quantity": 1}));
    let reversed = Action::Entitlement(entitlement::Action::ReverseUsage(ReverseUsage {
        scope,
        record_id,
        body,
    }));
    let reversed = command(quota.book.fresh_seed(), reversed);
    let decided = quota.book.world.carry_out(&[used, reversed], now);
    assert!(decided.iter().all(Result::is_ok), "{decided:?}");
    assert_eq!(quota.burnt(&boost), 0);
}

/// An admin deletes a feature by force, although a hold counts its units.
#[test]
fn the_hold_of_a_feature_that_is_gone_is_refused_by_its_feature() {
    let mut book = Book { world: furnished(), seed: 1 << 80, ..Book::default() };
    let scope = ScopeRef::workspace("wsp_00000000000000010000000100000000".to_owned());
    let body = members(json!({"feature": "f1", "quantity": 1, "ttl_ms": HOUR_MS}));
    let place = PlaceHold { scope: scope.clone(), body };
    let placed = book.run(Action::Entitlement(entitlement::Action::PlaceHold(place))).unwrap();
    let Outcome::Entitlement(entitlement::Outcome::Hold { answer: held, .. }) = placed else {
        panic!("{placed:?}")
    };
    let feature = book.world.features.values().find(|row| row.record.feature.code == "f1");
    let id = feature.unwrap().record.feature.id.to_string();
    let Action::Core(core::Action::Delete(mut delete)) = delete(Kind::Feature, &id, 1) else {
        panic!("it deletes");
    };
    delete.force = Some(force());
    book.run(Action::Core(core::Action::Delete(delete))).unwrap();
    for end in
        [HoldEnd::Release(Default::default()), HoldEnd::Settle(members(json!({"quantity": 1})))]
    {
        let hold_id = held.hold.id.to_string();
        let end = EndHold { scope: scope.clone(), hold_id, end };
        let ended = book.run(Action::Entitlement(entitlement::Action::EndHold(end)));
        assert_eq!(wrong(ended), ["/feature"]);
    }
}
