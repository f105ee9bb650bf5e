//! The list of all systems: wraps their enums, holds their tables and dispatches to them.
//!
//! To add a system, add one line to [`systems!`], and one line to [`dispatch_kind!`] for each kind
//! of object that it has.

use crate::{
    access, billing, booking,
    core::{
        self, Claim, Context, CreateObject, DeleteObject, IdempotencyKey, Ids, KeptAnswer,
        LockClass, Meta, Mutant, Operation, RedactObject, Resource, ScopedWrites, State,
        SystemNeed, Tables, Turn, Unlocked, UpdateObject, Wanted, Wants, alive, allow,
        record_denied, see,
    },
    entitlement::{self, Denial, ScopeRef},
    ledger, lock, provisioning,
};
use foldhash::HashSet;
use ifmatch_types::{Kind, PanelKind, Timestamp, Version};
use uuid::Uuid;

/// The operator's settings that rules depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The panel that servers are made on. `None`: no servers can be made.
    pub panel: Option<PanelKind>,
}

impl State {
    /// An empty state under these settings, opened at an instant.
    pub fn under(settings: Settings, opened_at: Timestamp) -> Self {
        let mut state = Self::default();
        state.opened_at = Some(opened_at);
        state.provisioning_mut().panel = settings.panel;
        state
    }
}

/// A command to any system.
pub type Command = core::Command<Action>;

/// Wraps the enums of all systems, together with those of the core.
macro_rules! systems {
    ($($(#[$doc:meta])* $name:ident($system:ident),)*) => {
        /// Any action.
        #[derive(Clone, Debug)]
        pub enum Action {
            /// An action on any versioned object.
            Core(core::Action),
            $($(#[$doc])* $name($system::Action),)*
        }

        /// Anything that a command may need to have loaded.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Need {
            /// A need that all systems share.
            Core(core::Need),
            $($(#[$doc])* $name($system::Need),)*
        }

        /// The outcome of an accepted command.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Outcome {
            /// An outcome that all systems share.
            Core(core::Outcome),
            $($(#[$doc])* $name($system::Outcome),)*
            /// What a change would do. Nothing was written.
            Previewed {
                /// Its effect.
                preview: core::Preview,
                /// The reason to refuse it, if there is one.
                refusal: Option<Box<Rejection>>,
            },
        }

        /// The reason why a command was refused. The HTTP layer maps it to a status and a text.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Rejection {
            /// A rejection that all systems share.
            Core(core::Rejection),
            $($(#[$doc])* $name($system::Rejection),)*
            /// An operation of a transaction or an item of a usage batch was refused, so all were.
            Operation {
                /// Its index, from 0.
                failed_index: usize,
                /// The reason.
                rejection: Box<Self>,
            },
        }

        $(
            impl From<$system::Action> for Action {
                fn from(action: $system::Action) -> Self {
                    Self::$name(action)
                }
            }

            impl From<Wanted<$system::Need>> for Need {
                fn from(wanted: Wanted<$system::Need>) -> Self {
                    match wanted {
                        Wanted::Core(need) => Self::Core(need),
                        Wanted::Own(need) => Self::$name(need),
                    }
                }
            }
        )*

        impl Default for State {
            fn default() -> Self {
                let systems: Vec<Box<dyn Tables>> =
                    vec![$(Box::new($system::State::default()),)*];
                Self::with(systems)
            }
        }

        impl Need {
            fn inner(&self) -> &dyn SystemNeed {
                match self {
                    Self::Core(need) => need,
                    $(Self::$name(need) => need,)*
                }
            }
        }

        impl Action {
            fn own_subject(&self) -> Option<&str> {
                match self {
                    Self::Core(action) => action.subject(),
                    $(Self::$name(action) => action.subject(),)*
                }
            }

            fn wants<'c>(
                &'c self,
                state: &State,
                asked: &mut core::Asked<'c>,
                wanted: &mut Vec<Need>,
            ) {
                match self {
                    Self::Core(action) => wants_of_core(action, state, asked, wanted),
                    $(Self::$name(action) => {
                        let mut sink = |need: Wanted<$system::Need>| wanted.push(need.into());
                        action.wants(&mut Wants::new(state, asked, &mut sink));
                    })*
                }
            }

            /// Refuses a scoped key what only others may do, and objects that it does not see.
            ///
            /// Writes of versioned objects are judged one by one, where each is decided.
            fn admit(&self, ctx: &Context<'_>) -> Result<(), core::Rejection> {
                match self {
                    Self::Core(core::Action::Admit(Some((kind, id)))) => see(*kind, id, ctx),
                    Self::Core(_) => Ok(()),
                    $(Self::$name(action) => {
                        allow(action.is_for_scoped_keys(), ctx)?;
                        let subject = action.subject().and_then(|id| Some((Kind::of_id(id)?, id)));
                        subject.map_or(Ok(()), |(kind, id)| see(kind, id, ctx))
                    })*
                }
            }

            fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
                match self {
                    Self::Core(action) => decide_core(action, ctx),
                    $(Self::$name(action) => Ok(action.decide(ctx)?.into()),)*
                }
            }
        }
    };
}

systems! {
    /// The billing system.
    Billing(billing),
    /// The entitlement system.
    Entitlement(entitlement),
    /// The booking system.
    Booking(booking),
    /// API keys.
    Access(access),
    /// Named locks.
    Lock(lock),
    /// The ledger.
    Ledger(ledger),
    /// Provisioning.
    Provisioning(provisioning),
}

/// Runs generic code for a kind known at run time; the list of all kinds and their types.
macro_rules! dispatch_kind {
    ($kind:expr, $resource:ident => $body:expr) => {
        dispatch_kind!(@match $kind, $resource => $body, {
            Plan: ifmatch_types::Plan,
            Workspace: ifmatch_types::Workspace,
            Namespace: ifmatch_types::Namespace,
            Subscription: billing::SubscriptionRecord,
            Invoice: ifmatch_types::Invoice,
            Feature: entitlement::FeatureRecord,
            Package: entitlement::PackageRecord,
            Assignment: entitlement::AssignmentRecord,
            Boost: entitlement::BoostRecord,
            Bookable: ifmatch_types::Bookable,
            Booking: booking::BookingRecord,
            Product: ifmatch_types::Product,
            Server: provisioning::ServerRecord,
        })
    };
    (@match $kind:expr, $resource:ident => $body:expr, { $($name:ident: $type:ty,)* }) => {
        match $kind {
            $(Kind::$name => {
                type $resource = $type;
                $body
            })*
        }
    };
}

impl From<core::Outcome> for Outcome {
    fn from(outcome: core::Outcome) -> Self {
        Self::Core(outcome)
    }
}

impl From<billing::Outcome> for Outcome {
    fn from(outcome: billing::Outcome) -> Self {
        Self::Billing(outcome)
    }
}

impl From<entitlement::Outcome> for Outcome {
    fn from(outcome: entitlement::Outcome) -> Self {
        match outcome {
            entitlement::Outcome::Core(outcome) => Self::Core(outcome),
            own => Self::Entitlement(own),
        }
    }
}

impl From<booking::Outcome> for Outcome {
    fn from(outcome: booking::Outcome) -> Self {
        Self::Booking(outcome)
    }
}

impl From<access::Outcome> for Outcome {
    fn from(outcome: access::Outcome) -> Self {
        Self::Access(outcome)
    }
}

impl From<lock::Outcome> for Outcome {
    fn from(outcome: lock::Outcome) -> Self {
        Self::Lock(outcome)
    }
}

impl From<ledger::Outcome> for Outcome {
    fn from(outcome: ledger::Outcome) -> Self {
        Self::Ledger(outcome)
    }
}

impl From<provisioning::Outcome> for Outcome {
    fn from(outcome: provisioning::Outcome) -> Self {
        match outcome {
            provisioning::Outcome::Core(outcome) => Self::Core(outcome),
            own => Self::Provisioning(own),
        }
    }
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}

impl From<billing::Rejection> for Rejection {
    fn from(rejection: billing::Rejection) -> Self {
        match rejection {
            billing::Rejection::Core(rejection) => Self::Core(rejection),
            billing::Rejection::Ledger(rejection) => rejection.into(),
            own => Self::Billing(own),
        }
    }
}

impl From<entitlement::Rejection> for Rejection {
    fn from(rejection: entitlement::Rejection) -> Self {
        match rejection {
            entitlement::Rejection::Core(rejection) => Self::Core(rejection),
            entitlement::Rejection::Item { failed_index, rejection } => {
                Self::Operation { failed_index, rejection: Box::new((*rejection).into()) }
            }
            own => Self::Entitlement(own),
        }
    }
}

impl From<booking::Rejection> for Rejection {
    fn from(rejection: booking::Rejection) -> Self {
        match rejection {
            booking::Rejection::Core(rejection) => Self::Core(rejection),
            own => Self::Booking(own),
        }
    }
}

impl From<access::Rejection> for Rejection {
    fn from(rejection: access::Rejection) -> Self {
        match rejection {
            access::Rejection::Core(rejection) => Self::Core(rejection),
        }
    }
}

impl From<lock::Rejection> for Rejection {
    fn from(rejection: lock::Rejection) -> Self {
        match rejection {
            lock::Rejection::Core(rejection) => Self::Core(rejection),
            own => Self::Lock(own),
        }
    }
}

impl From<ledger::Rejection> for Rejection {
    fn from(rejection: ledger::Rejection) -> Self {
        match rejection {
            ledger::Rejection::Core(rejection) => Self::Core(rejection),
            own => Self::Ledger(own),
        }
    }
}

impl From<provisioning::Rejection> for Rejection {
    fn from(rejection: provisioning::Rejection) -> Self {
        match rejection {
            provisioning::Rejection::Core(rejection) => Self::Core(rejection),
            provisioning::Rejection::Ledger(rejection) => rejection.into(),
            own => Self::Provisioning(own),
        }
    }
}

impl Outcome {
    /// Whether this outcome becomes the kept answer for its Idempotency-Key.
    ///
    /// It does not if it is a kept answer itself, or if nothing was asked to be written.
    pub const fn is_kept(&self) -> bool {
        !matches!(
            self,
            Self::Core(core::Outcome::Replayed(_) | core::Outcome::Admitted)
                | Self::Previewed { .. }
                | Self::Billing(billing::Outcome::BillingPreviewed(_))
                | Self::Lock(lock::Outcome::Acquired { is_repeat: true, .. })
        )
    }
}

impl Rejection {
    /// The usage denial, if this is one.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Entitlement(entitlement::Rejection::Denied(denial)) => Some(denial),
            Self::Operation { rejection, .. } => rejection.denial(),
            Self::Core(_)
            | Self::Billing(_)
            | Self::Entitlement(_)
            | Self::Booking(_)
            | Self::Access(_)
            | Self::Lock(_)
            | Self::Ledger(_)
            | Self::Provisioning(_) => None,
        }
    }
}

impl Rejection {
    /// Whether this is told before a version that does not match.
    fn precedes_versions(&self) -> bool {
        match self {
            Self::Core(rejection) => rejection.precedes_versions(),
            Self::Operation { rejection, .. } => rejection.precedes_versions(),
            Self::Billing(_)
            | Self::Entitlement(_)
            | Self::Booking(_)
            | Self::Access(_)
            | Self::Lock(_)
            | Self::Ledger(_)
            | Self::Provisioning(_) => false,
        }
    }
}

impl Need {
    /// The row that this need locks, with its class in the lock order.
    pub fn lock(&self) -> Option<(LockClass, &str)> {
        self.inner().lock()
    }

    /// The turn in which it is loaded while row locks are still to be taken.
    pub fn turn(&self) -> Turn {
        self.inner().turn()
    }

    /// What it is to a batch that locks nothing.
    pub fn unlocked(&self) -> Unlocked {
        self.inner().unlocked()
    }

    /// Whether it is only valid if read after all row locks are taken.
    pub fn comes_after_locks(&self) -> bool {
        self.turn() >= Turn::Clock
    }
}

impl Action {
    /// The object that the action is about. Commands about the same object use the same lane.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Core(core::Action::Create(create)) => anchor(create),
            Self::Core(core::Action::Transact(operations)) => {
                operations.iter().find_map(|operation| match operation {
                    Operation::Create(create) => anchor(create),
                    Operation::Update(update) => Some(update.id.as_str()),
                    Operation::Delete(delete) => Some(delete.id.as_str()),
                    Operation::Check { id, .. } => Some(id.as_str()),
                })
            }
            _ => self.own_subject(),
        }
    }
}

impl Rejection {
    /// The conflict, if a stale version is the reason.
    pub fn conflict(&self) -> Option<&ifmatch_types::Conflict> {
        match self {
            Self::Core(core::Rejection::Conflict(conflict)) => Some(conflict),
            Self::Operation { rejection, .. } => rejection.conflict(),
            _ => None,
        }
    }
}

impl Action {
    /// Answers a repeat of a request: with the kept answer, or with what has become of it.
    fn repeat(&self, answer: KeptAnswer, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let own = match self {
            Self::Lock(action) => action.repeat(ctx),
            Self::Core(_)
            | Self::Billing(_)
            | Self::Entitlement(_)
            | Self::Booking(_)
            | Self::Access(_)
            | Self::Ledger(_)
            | Self::Provisioning(_) => None,
        };
        match own {
            Some(repeated) => Ok(repeated?.into()),
            None => Ok(core::Outcome::Replayed(answer).into()),
        }
    }
}

impl Action {
    /// Whether an object that this creates may get the workspace of a scoped key.
    fn gives_own_workspace(&self) -> bool {
        let gives = |create: &CreateObject| dispatch_kind!(create.kind, R => R::GETS_OWN_WORKSPACE);
        match self {
            Self::Core(core::Action::Create(create)) => gives(create),
            Self::Core(core::Action::Transact(operations)) => operations
                .iter()
                .any(|operation| matches!(operation, Operation::Create(create) if gives(create))),
            _ => false,
        }
    }
}

/// The existing object that a new one is added to.
fn anchor(create: &CreateObject) -> Option<&str> {
    dispatch_kind!(create.kind, R => R::anchor(&create.body))
}

/// The fields of a kind that cannot change after creation.
pub fn set_once(kind: Kind) -> &'static [&'static str] {
    dispatch_kind!(kind, R => R::SET_ONCE)
}

/// Whether every key may read the objects of a kind.
pub fn is_in_catalogue(kind: Kind) -> bool {
    dispatch_kind!(kind, R => R::IN_CATALOGUE)
}

/// Whether what a create or a deletion of a kind begins goes on after their answer.
pub fn goes_on(kind: Kind) -> bool {
    dispatch_kind!(kind, R => R::GOES_ON)
}

/// The writes of a kind's objects that a scoped key may ask for.
pub fn scoped_writes(kind: Kind) -> ScopedWrites {
    dispatch_kind!(kind, R => R::SCOPED_WRITES)
}

/// The needs of a batch of commands that `state` does not have yet.
///
/// This is a pure function of the commands and the loaded state. The lane calls it, loads the
/// needs, and repeats this until none is left. Several rounds are necessary because some needs
/// depend on loaded rows: the plan terms that a bill needs are known only from the subscription.
pub fn needs<'c>(batch: impl IntoIterator<Item = &'c Command>, state: &State) -> Vec<Need> {
    let mut wanted = Vec::new();
    let mut asked = HashSet::default();
    for command in batch {
        if let Some(IdempotencyKey { owner, key, .. }) = &command.idempotency {
            let mut sink = |need: Wanted<billing::Need>| wanted.push(need.into());
            Wants::new(state, &mut asked, &mut sink).answer(owner.as_str(), key);
        }
        if let Some(fence) = &command.guard.fence {
            let mut sink = |need: Wanted<lock::Need>| wanted.push(need.into());
            lock::want_fence(fence, &mut Wants::new(state, &mut asked, &mut sink));
        }
        if let Some(own) = &command.meta.actor.workspace_id
            && command.action.gives_own_workspace()
        {
            let mut sink = |need: Wanted<billing::Need>| wanted.push(need.into());
            Wants::new(state, &mut asked, &mut sink).reference(Kind::Workspace, own.as_str());
        }
        let asked_so_far = wanted.len();
        command.action.wants(state, &mut asked, &mut wanted);
        if let Some(Claim { kind, id, matches, .. }) = &command.guard.claim
            && wanted.len() == asked_so_far
        {
            // Only now is it known how the action locks the object. Two locks of different
            // strength would be taken otherwise.
            let named = matches.as_ref().and_then(core::Tags::latest);
            wants_to_see(*kind, id, named, state, &mut asked, &mut wanted);
        }
    }
    wanted
}

/// Adds the needs of a read that tells how much of some features a scope may use.
pub fn entitlement_needs<'a>(
    scope: &ScopeRef,
    features: impl Iterator<Item = &'a str>,
    state: &State,
    wanted: &mut Vec<Need>,
) {
    let mut asked = HashSet::default();
    let mut sink = |need: Wanted<entitlement::Need>| wanted.push(need.into());
    entitlement::want_pools(scope, features, &mut Wants::new(state, &mut asked, &mut sink));
}

fn wants_of_core<'c>(
    action: &'c core::Action,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    match action {
        core::Action::Create(create) => wants_to_create(create, state, asked, wanted),
        core::Action::Update(update) | core::Action::Preview(update) => {
            wants_to_update(update, state, asked, wanted);
        }
        core::Action::Delete(delete) => wants_to_delete(delete, state, asked, wanted),
        core::Action::Redact(redact) => wants_to_redact(redact, state, asked, wanted),
        core::Action::Transact(operations) => {
            for operation in operations {
                match operation {
                    Operation::Create(create) => wants_to_create(create, state, asked, wanted),
                    Operation::Update(update) => wants_to_update(update, state, asked, wanted),
                    Operation::Delete(delete) => wants_to_delete(delete, state, asked, wanted),
                    Operation::Check { kind, id, version } => {
                        wants_to_see(*kind, id, Some(*version), state, asked, wanted);
                    }
                }
            }
        }
        core::Action::Admit(Some((kind, id))) => {
            wants_to_see(*kind, id, None, state, asked, wanted);
        }
        core::Action::Admit(None) | core::Action::RecordDenied(_) => {}
    }
}

/// Runs generic code with a collector of needs for the system that a kind belongs to.
macro_rules! with_wants {
    ($kind:expr, $state:ident, $asked:ident, $wanted:ident, |$resource:ident, $wants:ident| $body:expr) => {
        dispatch_kind!($kind, $resource => {
            let mut sink =
                |need: Wanted<<$resource as Resource>::Need>| $wanted.push(need.into());
            let $wants = &mut Wants::new($state, $asked, &mut sink);
            $body
        })
    };
}

fn wants_to_create<'c>(
    create: &'c CreateObject,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    with_wants!(create.kind, state, asked, wanted, |R, wants| {
        wants.references(R::REFERENCES, &create.body);
        R::want_for_create(&create.body, wants);
    });
}

fn wants_to_update<'c>(
    update: &'c UpdateObject,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    with_wants!(update.kind, state, asked, wanted, |R, wants| {
        R::want(&update.id, wants);
        wants.references(R::REFERENCES, update.change.body());
        wants.history_of_update(update);
        R::want_for_change(update, wants);
    });
}

fn wants_to_delete<'c>(
    delete: &'c DeleteObject,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    with_wants!(delete.kind, state, asked, wanted, |R, wants| {
        R::want(&delete.id, wants);
        wants.history_of_delete(delete);
        R::want_for_delete(delete, wants);
    });
}

fn wants_to_redact<'c>(
    redact: &'c RedactObject,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    with_wants!(redact.kind, state, asked, wanted, |R, wants| {
        R::want(&redact.id, wants);
        if let Some(named) = redact.precondition.latest() {
            wants.history(redact.kind, &redact.id, named);
        }
        // What was recorded before it is found by its instant, whichever server wrote it.
        wants.clock();
    });
}

fn wants_to_see<'c>(
    kind: Kind,
    id: &'c str,
    version: Option<Version>,
    state: &State,
    asked: &mut core::Asked<'c>,
    wanted: &mut Vec<Need>,
) {
    with_wants!(kind, state, asked, wanted, |R, wants| {
        R::want_to_see(id, wants);
        if let Some(version) = version {
            wants.history(kind, id, version);
        }
    });
}

/// Decides one command against the loaded state.
///
/// On `Ok` the state holds the effect, and the outcome holds the answer. On `Err` the state is
/// unchanged, so the next command of the batch sees no trace of this one. The only exception is a
/// usage denial, which adds a line to the entitlement log.
pub fn decide(state: &mut State, command: &Command, now: Timestamp) -> Result<Outcome, Rejection> {
    let kept = command.idempotency.as_ref().and_then(|key| {
        let answer = state.recall(key).filter(|_| !Mutant::IgnoreKeptAnswers.is_planted())?;
        Some((key, answer))
    });
    let decided = state.attempt(|state| {
        let ids = Ids::from_seed(command.seed);
        let mut ctx = Context { state, now, ids, meta: &command.meta, force: None };
        match kept {
            Some((key, answer)) if answer.fingerprint == key.fingerprint => {
                command.action.repeat(answer, &mut ctx)
            }
            Some(_) => Err(core::Rejection::IdempotencyKeyReused.into()),
            None => decide_guarded(command, &mut ctx),
        }
    });
    if let Err(rejection) = &decided {
        leave_trace(rejection, &command.meta, command.seed, now, state);
    }
    decided
}

/// Decides a command whose claim may fail.
///
/// Wrong fields are told before a wrong version, and only the action's own rules know them.
fn decide_guarded(command: &Command, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
    if let Some(fence) = &command.guard.fence {
        lock::check_fence(fence, ctx)?;
    }
    command.action.admit(ctx)?;
    let claim = command.guard.claim.as_ref();
    let claimed = claim.map_or(
        Ok(()),
        |claim| dispatch_kind!(claim.kind, R => core::check_claim::<R>(claim, ctx)),
    );
    match claimed {
        Ok(()) => command.action.decide(ctx),
        Err(gone @ (core::Rejection::NotFound { .. } | core::Rejection::Deleted(..))) => {
            Err(gone.into())
        }
        Err(failed) => match command.action.decide(ctx) {
            Err(rejection) if rejection.precedes_versions() => Err(rejection),
            // What would refuse the change is a part of what its preview tells.
            Ok(Outcome::Previewed { preview, refusal }) => {
                let earlier = refusal.filter(|refusal| refusal.precedes_versions());
                let refusal = earlier.unwrap_or_else(|| Box::new(failed.into()));
                Ok(Outcome::Previewed { preview, refusal: Some(refusal) })
            }
            _ => Err(failed.into()),
        },
    }
}

/// Stores the log line of a usage denial.
fn leave_trace(rejection: &Rejection, meta: &Meta, seed: Uuid, now: Timestamp, state: &mut State) {
    if let Some(denial) = rejection.denial() {
        entitlement::log_denial(denial, meta, seed, now, state);
    }
}

fn decide_core(action: &core::Action, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
    let outcome = match action {
        core::Action::Create(create) => {
            dispatch_kind!(create.kind, R => core::create::<R>(create, ctx)?)
        }
        core::Action::Update(update) => {
            dispatch_kind!(update.kind, R => core::update::<R>(update, ctx)?)
        }
        core::Action::Delete(delete) => {
            dispatch_kind!(delete.kind, R => core::delete::<R>(delete, ctx)?)
        }
        core::Action::Redact(redact) => {
            dispatch_kind!(redact.kind, R => core::redact::<R>(redact, ctx)?)
        }
        core::Action::Preview(update) => {
            let (preview, refusal) = dispatch_kind!(update.kind, R => {
                let (preview, refusal) = core::preview::<R>(update, ctx)?;
                (preview, refusal.map(Rejection::from))
            });
            return Ok(Outcome::Previewed { preview, refusal: refusal.map(Box::new) });
        }
        core::Action::Transact(operations) => transact(operations, ctx)?,
        core::Action::RecordDenied(denied) => {
            record_denied(denied, ctx);
            core::Outcome::Recorded
        }
        core::Action::Admit(None) => core::Outcome::Admitted,
        core::Action::Admit(Some((kind, id))) => {
            dispatch_kind!(*kind, R => alive::<R>(id, ctx.state).map(|_| ())?);
            core::Outcome::Admitted
        }
    };
    Ok(outcome.into())
}

fn transact(operations: &[Operation], ctx: &mut Context<'_>) -> Result<core::Outcome, Rejection> {
    let mut outcomes = Vec::with_capacity(operations.len());
    for (failed_index, operation) in operations.iter().enumerate() {
        let outcome = operate(operation, ctx).map_err(|rejection| Rejection::Operation {
            failed_index,
            rejection: Box::new(rejection),
        })?;
        outcomes.push(outcome);
    }
    Ok(core::Outcome::Transaction(outcomes))
}

fn operate(operation: &Operation, ctx: &mut Context<'_>) -> Result<core::Outcome, Rejection> {
    Ok(match operation {
        Operation::Create(create) => {
            dispatch_kind!(create.kind, R => core::create::<R>(create, ctx)?)
        }
        Operation::Update(update) => {
            dispatch_kind!(update.kind, R => core::update::<R>(update, ctx)?)
        }
        Operation::Delete(delete) => {
            dispatch_kind!(delete.kind, R => core::delete::<R>(delete, ctx)?)
        }
        Operation::Check { kind, id, version } => {
            dispatch_kind!(*kind, R => core::check::<R>(id, *version, ctx)?)
        }
    })
}
