//! Properties of every sequence of commands.

use crate::{
    book::Book,
    commands::{members, merging, patch, top_up, update},
    invariants::assert_holds,
    random::{Raw, Reader, a_product, call_of, few, later, raw},
    world::{Decided, World, variant_name},
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection, billing,
    core::{self, Change, How, Precondition},
    decide,
    entitlement::{self, AssignPackage, ScopeRef},
};
use ifmatch_types::{ChangeKind, Kind, Timestamp, merge, merge::touches};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Batches of commands, each some days after the one before.
fn batches() -> impl Strategy<Value = Vec<(u8, Vec<Raw>)>> {
    vec((0u8..40, vec(raw(), 1..12)), 1..12)
}

/// A world with objects of every kind.
pub fn furnished() -> World {
    let mut book = Book::default();
    let (one, two) = (book.workspace(), book.workspace());
    let month = book.plan("month", json!({}));
    let trial = book.plan("trial", json!({"trial_days": 14, "amount": 777}));
    book.plan("week", json!({"interval": "week", "amount": 700}));
    book.plan("draft", json!({"status": "draft"}));
    book.make(Kind::Namespace, json!({"workspace_id": one, "name": "prod"}));
    book.subscription(&one, &month, json!({"start_at": "2026-10-31T00:00:00Z"}));
    book.subscription(&two, &trial, json!({}));
    book.invoice(&one, json!({}));
    book.invoice(&two, json!({"status": "open"}));
    book.make(
        Kind::Feature,
        json!({"code": "f0", "type": "limit", "reset": "monthly", "releasable": true}),
    );
    book.make(
        Kind::Feature,
        json!({"code": "f1", "type": "limit", "parent_code": "f0", "releasable": true}),
    );
    let rolling = json!({"code": "f2", "type": "limit", "reset": "rolling", "rolling_days": 7});
    book.make(Kind::Feature, rolling);
    let grants = json!([{"feature": "f0", "grant": "limit", "limit": 30},
        {"feature": "f2", "grant": "limit", "limit": 20}]);
    book.make(Kind::Package, json!({"code": "p0", "is_base": true, "grants": grants}));
    book.make(Kind::Package, json!({"code": "p1", "is_stackable": true, "grants": grants}));
    for (workspace, package) in [(&one, "p0"), (&two, "p1"), (&one, "p1")] {
        let body = members(json!({"package": package}));
        let assign = AssignPackage { scope: ScopeRef::workspace(workspace), body };
        book.ok(Action::Entitlement(entitlement::Action::AssignPackage(assign)));
    }
    let ttl = 5 * 86_400_000_i64;
    book.make(Kind::Bookable, json!({"name": "Room", "capacity": 3, "hold_ttl_ms": ttl}));
    book.run(top_up(&one, 10)).unwrap();
    book.run(top_up(&two, 3)).unwrap();
    for (price, choice) in [(3, 0), (0, 2)] {
        let product = book.make(Kind::Product, a_product(price, choice));
        for workspace in [&one, &two] {
            let body = json!({"workspace_id": workspace, "product_id": product, "name": "Game",
                "panel_user": 7});
            book.make(Kind::Server, body);
        }
    }
    // A call of the panel is under way.
    let server_id = book.world.servers.keys().next().unwrap().clone();
    for action in call_of(&server_id) {
        book.run(action).unwrap();
    }
    book.world
}

/// Reads batches against the growing world. `carry_out` executes each of them.
fn walk(
    batches: Vec<(u8, Vec<Raw>)>,
    mut carry_out: impl FnMut(&mut World, &[Command], Timestamp),
) {
    let mut world = furnished();
    let mut now = Book::default().now;
    let mut seed = 1u128 << 100;
    for (days, raws) in batches {
        now = later(now, i64::from(days));
        let reader = Reader { world: &world, now };
        let commands: Vec<Command> = raws
            .into_iter()
            .map(|raw| {
                seed += 1 << 32;
                reader.command(raw, seed)
            })
            .collect();
        carry_out(&mut world, &commands, now);
    }
    assert_holds(&world);
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn a_batch_comes_to_the_same_as_its_commands_one_by_one(batches in batches()) {
        walk(batches, |world, commands, now| {
            // Each commit ends a slice of expired objects, and the two sides commit differently
            // often.
            world.ends_all = true;
            let mut apart = world.clone();
            let one_by_one: Vec<Decided> = commands
                .iter()
                .flat_map(|command| apart.carry_out(std::slice::from_ref(command), now))
                .collect();
            let together = world.carry_out(commands, now);
            for ((command, together), apart) in commands.iter().zip(&together).zip(&one_by_one) {
                assert_eq!(together, apart, "{command:#?}");
            }
            assert_eq!(*world, apart);
        });
    }

    #[test]
    fn what_an_answer_says_is_what_was_done(batches in batches()) {
        walk(batches, |world, commands, now| {
            for command in commands {
                let before = world.clone();
                let decided = world.carry_out(std::slice::from_ref(command), now).remove(0);
                assert_told(command, &before, &decided, world);
            }
        });
    }

    #[test]
    fn a_rejected_command_leaves_the_state_as_it_was(batches in batches()) {
        walk(batches, |world, commands, now| {
            let mut state = world.load(commands, now);
            let mut seen = world.clone();
            for command in commands {
                match decide(&mut state, command, now) {
                    // A world shows what the state would save.
                    Err(rejection) => {
                        let now = saved(world, &state);
                        now.assert_untouched(&seen, &rejection);
                        seen = now;
                    }
                    Ok(_) => seen = saved(world, &state),
                }
            }
            *world = seen;
        });
    }

}

proptest! {
    #[test]
    fn of_several_updates_of_one_version_exactly_one_commits(
        quantities in vec(2i64..1_000, 2..30),
        tags in any::<bool>(),
        batched in any::<bool>(),
    ) {
        let mut book = Book::default();
        let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
        let id = book.subscription(&workspace, &plan, json!({}));
        let commands: Vec<Command> = quantities
            .iter()
            .map(|quantity| {
                let body = json!({"quantity": quantity}).as_object().unwrap().clone();
                let precondition = if tags {
                    Precondition::Tags(vec![1])
                } else {
                    Precondition::Version(1)
                };
                let update = update(Kind::Subscription, &id, precondition, Change::Patch(body));
                crate::commands::command(book.fresh_seed(), Action::Core(core::Action::Update(update)))
            })
            .collect();
        let size = if batched { commands.len() } else { 1 };
        let mut committed = 0;
        for batch in commands.chunks(size) {
            for decided in book.world.carry_out(batch, book.now) {
                match decided {
                    Ok(Outcome::Core(core::Outcome::Object(object))) => {
                        prop_assert_eq!((object.how, object.version), (How::Updated, 2));
                        committed += 1;
                    }
                    Err(Rejection::Core(core::Rejection::Conflict(conflict))) => {
                        prop_assert_eq!(conflict.expected_version, Some(1));
                        prop_assert!(conflict.current_version > 1);
                    }
                    other => panic!("neither committed nor in conflict: {other:?}"),
                }
            }
        }
        prop_assert_eq!(committed, 1);
        prop_assert_eq!(book.version(&id), 2);
    }

    #[test]
    fn a_merge_touches_no_other_path_than_the_attempted_ones(
        theirs in vec(raw(), 1..6), mine in raw(),
    ) {
        let world = furnished();
        let mut book = Book { world, ..Book::default() };
        let id = book.world.subscriptions.keys().next().unwrap().clone();
        let base = book.world.entity(&id);
        for raw in theirs {
            let wish = edit(&book, raw);
            let _ = book.edit(&id, wish);
        }
        let wish = edit(&book, mine);
        let before = book.world.entity(&id);
        let version = base["version"].as_i64().unwrap();
        let decided = book.run(merging(patch(Kind::Subscription, &id, version, wish.clone())));
        let Ok(Outcome::Core(core::Outcome::Object(answer))) = decided else { return Ok(()) };
        if let How::Merged(from) = answer.how {
            prop_assert_eq!(from, version);
            assert_merge_is_narrow(&base, &before, &answer.body, &wish);
        }
    }
}

/// A walk that is refused everywhere would prove nothing.
#[test]
fn the_random_commands_come_to_every_kind_of_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..1_500 {
        let batches = batches().new_tree(&mut runner).unwrap().current();
        walk(batches, |world, commands, now| {
            for decided in world.carry_out(commands, now) {
                *reached.entry(name_of(&decided)).or_default() += 1;
            }
        });
    }
    let expected = [
        "ApiKeyCreated",
        "ApiKeyRevoked",
        "Billed",
        "Settled",
        "BillingPreviewed",
        "BalanceAdjusted",
        "InsufficientBalance",
        "SubscriptionEnded",
        "Deleted",
        "Previewed",
        "Boost",
        "Hold",
        "Payment",
        "PaymentTurned",
        "Transferred",
        "Reserved",
        "Resolved",
        "Insufficient",
        "ExceedsReservation",
        "AlreadyResolved",
        "Owned",
        "Begun",
        "Claimed",
        "Called",
        "Recorded",
        "ProductUnavailable",
        "ProductInUse",
        "LimitReached",
        "Expired",
        "Replayed",
        "Reversed",
        "Usage",
        "Transaction",
        "Created",
        "Existed",
        "Updated",
        "Unchanged",
        "Merged",
        "Forced",
        "AlreadyExists",
        "Clean",
        "Overlap",
        "GroupOverlap",
        "Identical",
        "Deleted",
        "BasePackageConflict",
        "Denied",
        "DuplicateAddon",
        "DuplicateExternalService",
        "ExceedsAmountDue",
        "FeatureInUse",
        "HoldNotActive",
        "IdempotencyKeyReused",
        "Invalid",
        "InvalidTransition",
        "InvoiceHasPayments",
        "InvoiceImmutable",
        "Operation",
        "PackageInUse",
        "PackageInactive",
        "PlanInUse",
        "PlanInactive",
        "PlanPriceFrozen",
        "PreconditionRequired",
        "ReversalExceedsRecord",
        "SubscriptionInUse",
        "WorkspaceInUse",
        "NoRoom",
        "CapacityBelowReserved",
        "BookableInUse",
        "BookableUnavailable",
    ];
    for name in expected {
        assert!(reached.contains_key(name), "{name} is among {reached:#?}");
    }
}

/// The variant's name of an outcome or a rejection; for a conflict, its verdict's.
fn name_of(decided: &Decided) -> String {
    match decided {
        Ok(Outcome::Core(core::Outcome::Object(object))) => variant_name(&object.how),
        Ok(outcome) => variant_name(outcome),
        Err(Rejection::Core(core::Rejection::Conflict(conflict))) => {
            variant_name(&conflict.merge.verdict)
        }
        Err(rejection) => variant_name(rejection),
    }
}

/// An edit of a subscription from random numbers.
fn edit(book: &Book, raw: Raw) -> Value {
    let reader = Reader { world: &book.world, now: book.now };
    reader.edit_of_subscription(raw).into()
}

/// Asserts that a merge changed only the patch's own paths and what follows.
///
/// Any change of a subscription brings it to the present: its period may move on, its trial and it
/// may have ended. Only a change of status ends a trial early.
fn assert_merge_is_narrow(base: &Value, before: &Value, after: &Value, wish: &Value) {
    let of_present = ["/canceled_at", "/ended_at", "/current_period_start", "/current_period_end"];
    let mut wanted = base.clone();
    for (key, value) in wish.as_object().unwrap() {
        match value.as_object() {
            Some(inner) => {
                for (inner_key, value) in inner {
                    wanted[key][inner_key] = value.clone();
                }
            }
            None => wanted[key] = value.clone(),
        }
    }
    let attempted = merge::diff(base, &wanted);
    for change in merge::diff(before, after) {
        let is_attempted = attempted.iter().any(|attempt| touches(&attempt.path, &change.path));
        let sets_status = attempted.iter().any(|attempt| attempt.path == "/status");
        let follows = match change.path.as_str() {
            "/status" => {
                change.to == "canceled" || (change.from == "trialing" && change.to == "active")
            }
            "/trial_end" => sets_status,
            path => of_present.contains(&path),
        };
        assert!(is_attempted || follows, "{} was not attempted: {wish}", change.path);
    }
}

fn saved(world: &World, state: &ifmatch_domain::State) -> World {
    let mut world = world.clone();
    world.save(state);
    world
}

/// Compares an answer with the changes of the world.
fn assert_told(command: &Command, before: &World, decided: &Decided, after: &World) {
    let made = &after.events[before.events.len()..];
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    match decided {
        Err(rejection) => after.assert_untouched(before, rejection),
        Ok(Outcome::Core(outcome)) => count(outcome, &mut told),
        Ok(_) => {}
    }
    let is_indirect = matches!(
        command.action,
        Action::Billing(billing::Action::BillSubscription(_))
            | Action::Billing(billing::Action::SettleSubscription(_))
            | Action::Billing(billing::Action::RecordPayment(_))
            | Action::Billing(billing::Action::ReversePayment(_))
            | Action::Billing(billing::Action::ReinstatePayment(_))
            | Action::Provisioning(_)
            | Action::Entitlement(entitlement::Action::AssignPackage(_))
            | Action::Entitlement(entitlement::Action::GrantBoost(_))
            | Action::Entitlement(entitlement::Action::CheckAndRecord(_))
            | Action::Entitlement(entitlement::Action::PlaceHold(_))
            | Action::Entitlement(entitlement::Action::EndHold(_))
            | Action::Entitlement(entitlement::Action::ReverseUsage(_))
            | Action::Entitlement(entitlement::Action::ExpireEntitlements(_))
    );
    if !is_indirect {
        let mut done: BTreeMap<String, i64> = BTreeMap::new();
        // Any command that needs room may also end expired holds, and any change of a
        // subscription makes its invoices if it has ended.
        let own = made.iter().filter(|event| {
            let is_bill = event.entry.kind == ChangeKind::Created
                && !event.state["lines"][0]["period_start"].is_null();
            event.entry.by.actor != "expiry" && !is_bill
        });
        own.for_each(|event| *done.entry(event.id.clone()).or_default() += 1);
        assert_eq!(told, done, "{command:#?}");
    }
    if let Ok(Outcome::Core(core::Outcome::Object(object))) = decided {
        assert_eq!(**object.body, after.entity(&object.id));
        assert_eq!(object.version, after.entity(&object.id)["version"]);
    }
    if let Ok(Outcome::Billing(billing::Outcome::Billed { made: count, .. })) = decided {
        let invoices = after.invoices.len() - before.invoices.len();
        assert_eq!(usize::try_from(*count).unwrap(), invoices);
    }
}

/// Counts the changes of each object that an answer reports.
fn count(outcome: &core::Outcome, told: &mut BTreeMap<String, i64>) {
    match outcome {
        core::Outcome::Object(object) => match object.how {
            How::Unchanged | How::Existed => {}
            How::Created | How::Begun { .. } | How::Updated | How::Merged(_) | How::Forced => {
                *told.entry(object.id.clone()).or_default() += 1;
            }
        },
        core::Outcome::Deleted { deleted, .. } => *told.entry(deleted.id.clone()).or_default() += 1,
        core::Outcome::Transaction(outcomes) => {
            outcomes.iter().for_each(|inner| count(inner, told))
        }
        _ => {}
    }
}
