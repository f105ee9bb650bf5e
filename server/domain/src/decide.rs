//! One command, decided: the only door to the rules.

use crate::{
    Action, Command, Mutant, Outcome, Rejection, Scope, State, access::plain_audit,
    entitlement::log_denial, id::Ids, versioned,
};
use ifmatch_types::{AuditResource, Timestamp};

/// Runs generic code for a kind that is known at run time.
macro_rules! dispatch_kind {
    ($kind:expr, $resource:ident => $body:expr) => {
        match $kind {
            ifmatch_types::Kind::Plan => {
                type $resource = ifmatch_types::Plan;
                $body
            }
            ifmatch_types::Kind::Workspace => {
                type $resource = ifmatch_types::Workspace;
                $body
            }
            ifmatch_types::Kind::Namespace => {
                type $resource = ifmatch_types::Namespace;
                $body
            }
            ifmatch_types::Kind::Subscription => {
                type $resource = crate::SubscriptionRecord;
                $body
            }
            ifmatch_types::Kind::Invoice => {
                type $resource = ifmatch_types::Invoice;
                $body
            }
            ifmatch_types::Kind::Feature => {
                type $resource = crate::FeatureRecord;
                $body
            }
            ifmatch_types::Kind::Package => {
                type $resource = crate::PackageRecord;
                $body
            }
            ifmatch_types::Kind::Assignment => {
                type $resource = crate::AssignmentRecord;
                $body
            }
            ifmatch_types::Kind::Boost => {
                type $resource = crate::BoostRecord;
                $body
            }
            ifmatch_types::Kind::Bookable => {
                type $resource = ifmatch_types::Bookable;
                $body
            }
            ifmatch_types::Kind::Booking => {
                type $resource = crate::BookingRecord;
                $body
            }
        }
    };
}
pub(crate) use dispatch_kind;

/// The fields of a kind that its create sets and nothing else may.
pub fn set_once(kind: ifmatch_types::Kind) -> &'static [&'static str] {
    dispatch_kind!(kind, R => <R as crate::Resource>::SET_ONCE)
}

/// Decides one command on what was loaded for it.
///
/// On `Ok` the state holds the effect; what to answer is in the outcome. On `Err` the state is as
/// it was before, so that the next command of the batch does not see a trace of this one; a denial
/// leaves its line in the entitlement log, and nothing else.
pub fn decide(state: &mut State, command: &Command, now: Timestamp) -> Result<Outcome, Rejection> {
    if let Some(key) = &command.idempotency
        && let Some(answer) = state.recall(key)
        && !Mutant::IgnoreKeptAnswers.is_planted()
    {
        return if answer.fingerprint == key.fingerprint {
            Ok(Outcome::Replayed(answer.clone()))
        } else {
            Err(Rejection::IdempotencyKeyReused)
        };
    }
    let decided = state.attempt(|state| {
        let ids = Ids::from_seed(command.seed);
        let mut scope = Scope { state, now, ids, meta: &command.meta, force: None };
        act(&command.action, &mut scope)
    });
    if let Err(Some(denial)) = decided.as_ref().map_err(Rejection::denial) {
        log_denial(denial, command, now, state);
    }
    decided
}

fn act(action: &Action, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
    match action {
        Action::Create(create) => {
            dispatch_kind!(create.kind, R => versioned::create::<R>(create, scope))
        }
        Action::Update(update) => {
            dispatch_kind!(update.kind, R => versioned::update::<R>(update, scope))
        }
        Action::Delete(delete) => {
            dispatch_kind!(delete.kind, R => versioned::delete::<R>(delete, scope))
        }
        Action::Transact(transact) => transact.decide(scope),
        Action::RecordPayment(record) => record.decide(scope),
        Action::ReversePayment(reverse) => reverse.decide(scope),
        Action::BillSubscription(bill) => bill.decide(scope),
        Action::FinishBillingRun(finish) => Ok(finish.decide()),
        Action::CreateApiKey(create) => create.decide(scope),
        Action::RevokeApiKey(revoke) => revoke.decide(scope),
        Action::AssignPackage(assign) => assign.decide(scope),
        Action::GrantBoost(boost) => boost.decide(scope),
        Action::CheckAndRecord(check) => check.decide(scope),
        Action::PlaceHold(place) => place.decide(scope),
        Action::EndHold(end) => end.decide(scope),
        Action::ReverseUsage(reverse) => reverse.decide(scope),
        Action::ExpireEntitlements(expire) => expire.decide(scope),
        Action::RecordDenied(denied) => {
            let resource = denied.object.as_ref().map(|(kind, id)| AuditResource {
                resource_type: kind.name().to_owned(),
                id: id.clone(),
            });
            let record = plain_audit("force_denied", resource, denied.reason.clone(), scope);
            scope.state.audits.push(record);
            Ok(Outcome::Recorded)
        }
        Action::ExpireBookings(expire) => Ok(expire.decide(scope)),
        Action::Admit(None) => Ok(Outcome::Admitted),
        Action::Admit(Some((kind, id))) => dispatch_kind!(*kind, R => {
            versioned::alive::<R>(id, scope.state).map(|_| Outcome::Admitted)
        }),
    }
}
