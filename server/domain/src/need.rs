//! What must be loaded before a command can be decided.

use crate::{
    Action, AssignPackage, Change, Command, CreateObject, DeleteObject, EndHold, FeatureTerms,
    GrantBoost, Operation, ReverseUsage, ScopeRef, State, UpdateObject, bookable::HORIZON_DAYS_MAX,
    counter_key, entitlement::COUNTERS_AT_ONCE, invoice::SERIES, rolling_start,
};
use foldhash::HashSet;
use ifmatch_types::{BookingStatus, Date, FeatureType, Kind, PlanId, Timestamp, Version};
use serde_json::{Map, Value};

/// So many versions back an overwrite is told from a blind repeat.
const REFUSAL_REACH: Version = 50;

/// Something a command must see. Objects and sequences are locked until the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A versioned object that the command may change; locked against everybody.
    Object(Kind, String),
    /// A versioned object that the command only refers to; locked against changes. A command that
    /// may also change it asks for [`Object`](Self::Object), or a batch would have to make its lock
    /// stronger, which two batches cannot do to one row at a time.
    Reference(Kind, String),
    /// Which plan has this code.
    PlanCode(String),
    /// The terms of a plan somebody subscribed to; frozen, so not locked.
    PlanTerms(PlanId),
    /// The snapshot at this version, and all changes since.
    History(String, Version),
    /// All payments of an invoice.
    Payments(String),
    /// The payment with this provider reference.
    PaymentRef(String),
    /// The periods for which a subscription has a recurring invoice that is not void.
    BilledPeriods(String),
    /// What lives in a workspace, or the invoices of a subscription or the bookings of a bookable,
    /// deleted ones included.
    InUse(Kind, String),
    /// An API key.
    ApiKey(String),
    /// The answer kept for a scope and a key.
    Answer(String, String),
    /// The last number of a series, locked; always the last lock.
    Sequence(&'static str),
    /// The object that another one belongs to for ever, by a field that is set once; not locked.
    Owner(Kind, String),
    /// The instant that judges deadlines: read after every lock was taken.
    Clock,
    /// The living feature with this code and its terms; not locked.
    FeatureCode(String),
    /// Which living package has this code.
    PackageCode(String),
    /// Which assignment has this external service id.
    ExternalService(String),
    /// Which boost has this add-on's key.
    Addon(String),
    /// What a scope has, with what its packages grant; the scope is locked.
    Holdings(String),
    /// A counter; its scope is locked.
    Counter(String),
    /// What left a counter's rolling window after the first instant and up to the second.
    RolledOff(String, Option<Timestamp>, Timestamp),
    /// Holds of a counter whose time is over at an instant, and what the rest of them holds.
    DueHolds(String, Timestamp),
    /// The counters of a scope that have such holds.
    DueCounters(String, Timestamp),
    /// A usage record.
    Record(String),
    /// A usage hold.
    Hold(String),
    /// Days of a bookable from one on up to another, both included.
    Days(String, Date, Date),
    /// Days of a bookable, from a date on, of which more than this is reserved.
    DaysAbove(String, i64, Date),
    /// Holds of a bookable that are over by the clock, and what the rest of them takes.
    DueBookings(String),
}

impl Need {
    /// In which turn it is loaded while something is still to be locked: objects and facts, then
    /// sequences, then the clock and what is over by it, then kept answers. When nothing is, all that
    /// is needed comes at once.
    pub const fn turn(&self) -> u8 {
        match self {
            Self::Sequence(_) => 1,
            Self::Clock | Self::DueBookings(_) => 2,
            Self::Answer(..) => 3,
            _ => 0,
        }
    }

    /// Whether it locks anything.
    pub fn locks(&self) -> bool {
        self.lock().is_some() || matches!(self, Self::Sequence(_))
    }

    /// Whether what it finds is about to be locked.
    pub const fn leads_to_locks(&self) -> bool {
        matches!(self, Self::Owner(..) | Self::PlanCode(_) | Self::PackageCode(_))
    }

    /// Whether it is true only if everything that is to be locked was locked before it was read.
    pub const fn comes_after_locks(&self) -> bool {
        matches!(self, Self::Clock | Self::DueBookings(_) | Self::Answer(..))
    }

    /// What it mostly comes after, in another round: once that is known to be asked for, so may this
    /// be. Both need the same lock.
    pub fn follows(&self) -> Option<Self> {
        match self {
            Self::Counter(key) => {
                let (end, _) = key.match_indices('/').nth(1)?;
                Some(Self::Holdings(key.get(..end)?.to_owned()))
            }
            Self::Days(bookable_id, ..) => Some(Self::DueBookings(bookable_id.clone())),
            _ => None,
        }
    }

    /// Which object it locks, as a place in the order in which everybody locks.
    pub fn lock(&self) -> Option<(u8, &str)> {
        match self {
            Self::Object(kind, id) | Self::Reference(kind, id) => Some((lock_place(*kind), id)),
            Self::ApiKey(id) => Some((u8::MAX, id)),
            _ => None,
        }
    }
}

/// A kind's place in the order of locks: workspace → namespace → plan → subscription → invoice →
/// package → feature → assignment → boost → bookable → booking.
pub const fn lock_place(kind: Kind) -> u8 {
    match kind {
        Kind::Workspace => 0,
        Kind::Namespace => 1,
        Kind::Plan => 2,
        Kind::Subscription => 3,
        Kind::Invoice => 4,
        Kind::Package => 5,
        Kind::Feature => 6,
        Kind::Assignment => 7,
        Kind::Boost => 8,
        Kind::Bookable => 9,
        Kind::Booking => 10,
    }
}

/// What must be seen to say what a scope may use of some features, or of all that were loaded.
pub fn entitlement_needs<'a>(
    scope: &ScopeRef,
    features: impl Iterator<Item = &'a str>,
    state: &State,
    wanted: &mut Vec<Need>,
) {
    Wants { state, wanted, used: HashSet::default() }.pools(scope, features);
}

/// What a batch of commands must see and `state` does not have yet.
///
/// A pure function of the commands and of what is loaded. The lane calls it, loads, and calls it
/// again until nothing is wanted: what a subscription's bill needs depends on the subscription.
pub fn needs<'a>(batch: impl IntoIterator<Item = &'a Command>, state: &State) -> Vec<Need> {
    let mut wanted = Vec::new();
    let mut wants = Wants { state, wanted: &mut wanted, used: HashSet::default() };
    for command in batch {
        needs_of(command, state, &mut wants);
    }
    wanted
}

fn needs_of<'a>(command: &'a Command, state: &State, wants: &mut Wants<'_, 'a>) {
    if let Some(key) = &command.idempotency {
        wants.answer(key.scope.as_str(), &key.key);
    }
    match &command.action {
        Action::Create(create) => wants.create(create),
        Action::Update(update) => wants.update(update),
        Action::Delete(delete) => wants.delete(delete),
        Action::Transact(transact) => {
            for operation in &transact.operations {
                match operation {
                    Operation::Create(create) => wants.create(create),
                    Operation::Update(update) => wants.update(update),
                    Operation::Delete(delete) => wants.delete(delete),
                    Operation::Check { kind, id, version } => {
                        wants.reference(*kind, id);
                        wants.history(*kind, id, *version);
                    }
                }
            }
        }
        Action::RecordPayment(record) => {
            wants.object(Kind::Invoice, &record.invoice_id);
            wants.payments(&record.invoice_id);
            if let Some(provider_ref) = record.provider_ref()
                && !state.payment_refs.is_loaded(provider_ref)
            {
                wants.wanted.push(Need::PaymentRef(provider_ref.to_owned()));
            }
        }
        Action::ReversePayment(reverse) => {
            wants.object(Kind::Invoice, &reverse.invoice_id);
            wants.payments(&reverse.invoice_id);
        }
        Action::BillSubscription(bill) => wants.bill(&bill.subscription_id),
        Action::RevokeApiKey(revoke) => {
            if !state.api_keys.is_loaded(&revoke.id) {
                wants.wanted.push(Need::ApiKey(revoke.id.clone()));
            }
        }
        Action::AssignPackage(assign) => wants.assign(assign),
        Action::GrantBoost(boost) => wants.boost(boost),
        Action::CheckAndRecord(check) => wants.usage(&check.scope, check.features()),
        Action::PlaceHold(place) => wants.usage(&place.scope, place.feature().into_iter()),
        Action::EndHold(end) => wants.end_hold(end),
        Action::ReverseUsage(reverse) => wants.reverse(reverse),
        Action::ExpireEntitlements(expire) => wants.expire(&expire.scope),
        Action::ExpireBookings(expire) => {
            wants.object(Kind::Bookable, &expire.bookable_id);
            wants.due_bookings(&expire.bookable_id);
        }
        Action::Admit(Some((kind, id))) => wants.reference(*kind, id),
        Action::Admit(None)
        | Action::FinishBillingRun(_)
        | Action::CreateApiKey(_)
        | Action::RecordDenied(_) => {}
    }
}

struct Wants<'s, 'c> {
    state: &'s State,
    wanted: &'s mut Vec<Need>,
    /// The features of scopes that were looked at: a busy batch names one again and again.
    used: HashSet<(Kind, &'c str, &'c str)>,
}

impl<'c> Wants<'_, 'c> {
    fn answer(&mut self, scope: &str, key: &str) {
        let both = (scope.to_owned(), key.to_owned());
        if !self.state.answers.is_loaded(&both) {
            self.wanted.push(Need::Answer(both.0, both.1));
        }
    }

    fn object(&mut self, kind: Kind, id: &str) {
        if kind == Kind::Booking {
            // Nobody locks a booking before its bookable, which every change of it needs.
            match self.state.owners.get(&(kind, id.to_owned())) {
                None => return self.wanted.push(Need::Owner(kind, id.to_owned())),
                Some(Some(bookable_id)) => self.object(Kind::Bookable, bookable_id),
                Some(None) => {}
            }
        }
        if !self.state.is_object_locked(kind, id) {
            self.wanted.push(Need::Object(kind, id.to_owned()));
        }
    }

    /// An object that a command refers to and does not change.
    fn reference(&mut self, kind: Kind, id: &str) {
        if kind == Kind::Booking {
            return self.object(kind, id);
        }
        if !self.state.is_object_loaded(kind, id) {
            self.wanted.push(Need::Reference(kind, id.to_owned()));
        }
    }

    /// The objects that the fields of a request name.
    fn references(&mut self, body: &Map<String, Value>) {
        let fields = [
            ("workspace_id", Kind::Workspace),
            ("plan_id", Kind::Plan),
            ("subscription_id", Kind::Subscription),
        ];
        for (field, kind) in fields {
            if let Some(id) = body.get(field).and_then(Value::as_str) {
                self.reference(kind, id);
            }
        }
        // The lock of a bookable is also the lock of its days, which a booking changes.
        if let Some(id) = body.get("bookable_id").and_then(Value::as_str) {
            self.object(Kind::Bookable, id);
        }
    }

    fn create(&mut self, create: &CreateObject) {
        self.references(&create.body);
        match create.kind {
            Kind::Plan => self.plan_code(&create.body),
            Kind::Feature => self.feature_fields(&create.body),
            Kind::Package => self.package_fields(&create.body),
            Kind::Invoice if is_open(&create.body) => self.sequence(),
            Kind::Booking => {
                if let Some(bookable_id) = create.body.get("bookable_id").and_then(Value::as_str) {
                    self.booking_days(bookable_id, None, &create.body);
                }
            }
            _ => {}
        }
    }

    fn plan_code(&mut self, body: &Map<String, Value>) {
        let Some(code) = body.get("code").and_then(Value::as_str) else { return };
        if !self.state.plan_codes.is_loaded(code) {
            self.wanted.push(Need::PlanCode(code.to_owned()));
        } else if let Some(holder) = self.state.plan_codes.get(code) {
            self.reference(Kind::Plan, &holder.id.clone());
        }
    }

    fn update(&mut self, update: &UpdateObject) {
        if update.kind == Kind::Assignment {
            // Its scope is locked before it.
            let Some(scope) = self.owner(Kind::Assignment, &update.id) else { return };
            if let Some(scope) = scope.as_deref().and_then(ScopeRef::parse) {
                let Some(chain) = self.chain(&scope) else { return };
                self.holdings(&chain);
            }
            self.clock();
        }
        self.object(update.kind, &update.id);
        self.references(update.change.body());
        if let Some(named) = update.precondition.named() {
            self.history(update.kind, &update.id, named);
        }
        if let Some(refused_at) = self.recent_refusal(update) {
            self.history(update.kind, &update.id, refused_at);
        }
        let body = update.change.body();
        match update.kind {
            // Periods are counted by plans: by another one, from a change on; by all, after a pause.
            Kind::Subscription if body.contains_key("plan_id") || body.contains_key("status") => {
                self.terms_of_subscription(&update.id);
            }
            Kind::Feature => {
                self.feature_fields(body);
                self.parent_of_feature(&update.id);
            }
            Kind::Package => {
                self.package_fields(body);
                self.granted_features(&update.id);
            }
            Kind::Invoice => {
                self.references_of_invoice(&update.id);
                if is_open(body) {
                    self.sequence();
                }
            }
            Kind::Bookable => {
                if let Some(capacity) = body.get("capacity").and_then(Value::as_i64) {
                    self.days_above(&update.id, capacity);
                }
            }
            Kind::Booking if moves_days(&update.change) => self.rebooking(&update.id, body),
            _ => {}
        }
    }

    fn delete(&mut self, delete: &DeleteObject) {
        self.object(delete.kind, &delete.id);
        if let Some(version) = delete.precondition.named() {
            self.history(delete.kind, &delete.id, version);
        }
        if delete.kind == Kind::Booking {
            self.ended_hold(&delete.id);
        }
        let has_users = matches!(
            delete.kind,
            Kind::Workspace | Kind::Subscription | Kind::Package | Kind::Bookable
        );
        // Under another kind's name nothing is found, and what uses it is not looked for.
        if has_users
            && Kind::of_id(&delete.id) == Some(delete.kind)
            && !self.state.in_use.is_loaded(&delete.id)
        {
            self.wanted.push(Need::InUse(delete.kind, delete.id.clone()));
        }
    }

    /// Where to look for what an earlier refused write replaces now. That is a courtesy, and not
    /// worth reading through a hot object's history for.
    fn recent_refusal(&self, update: &UpdateObject) -> Option<Version> {
        let loaded = self.state.loaded_version(update.kind, &update.id)?;
        update.refused_at.filter(|refused_at| loaded.saturating_sub(*refused_at) <= REFUSAL_REACH)
    }

    /// The explanation of a write that names an older version than the one that was loaded.
    fn history(&mut self, kind: Kind, id: &str, named: Version) {
        let Some(loaded) = self.state.loaded_version(kind, id) else { return };
        let asked = self.state.histories.get(id).is_some_and(|h| h.asked.contains(&named));
        if (1..loaded).contains(&named) && !asked {
            self.wanted.push(Need::History(id.to_owned(), named));
        }
    }

    fn terms_of_subscription(&mut self, id: &str) {
        let Some(row) = self.state.subscriptions.original(id) else { return };
        self.terms(&row.record.subscription.plan_id);
        for change in &row.record.plan_changes {
            self.terms(&change.from);
            self.terms(&change.to);
        }
    }

    fn terms(&mut self, plan_id: &PlanId) {
        if !self.state.plan_terms.contains_key(plan_id) {
            self.wanted.push(Need::PlanTerms(plan_id.clone()));
        }
    }

    fn references_of_invoice(&mut self, id: &str) {
        // A draft that moves to another workspace takes its subscription along, which must be
        // looked at again.
        let Some(row) = self.state.invoices.original(id) else { return };
        if let Some(subscription_id) = &row.record.subscription_id {
            self.reference(Kind::Subscription, subscription_id.as_str());
        }
    }

    fn payments(&mut self, invoice_id: &str) {
        if !self.state.paid_invoices.contains(invoice_id) {
            self.wanted.push(Need::Payments(invoice_id.to_owned()));
        }
    }

    fn bill(&mut self, subscription_id: &str) {
        self.object(Kind::Subscription, subscription_id);
        self.terms_of_subscription(subscription_id);
        if !self.state.billed.is_loaded(subscription_id) {
            self.wanted.push(Need::BilledPeriods(subscription_id.to_owned()));
        }
        self.sequence();
    }

    fn clock(&mut self) -> Option<Timestamp> {
        if self.state.clock.is_none() {
            self.wanted.push(Need::Clock);
        }
        self.state.clock
    }

    /// Whether this bookable is locked, and not only looked for.
    fn is_bookable(&self, id: &str) -> bool {
        self.state.bookables.original(id).is_some()
    }

    /// The holds of a locked bookable that are over, and the days that are given back.
    fn due_bookings(&mut self, bookable_id: &str) {
        if !self.is_bookable(bookable_id) {
            return;
        }
        self.clock();
        let Some(due) = self.state.due_bookings.get(bookable_id) else {
            return self.wanted.push(Need::DueBookings(bookable_id.to_owned()));
        };
        for row in due.ids.iter().filter_map(|id| self.state.bookings.original(id)) {
            self.days(bookable_id, [row.record.booking.start_date, row.record.until_day]);
        }
    }

    /// All days from the first to the last of these.
    fn days(&mut self, bookable_id: &str, days: impl IntoIterator<Item = Date>) {
        let days: Vec<Date> = days.into_iter().collect();
        if let (Some(from), Some(to)) = (days.iter().min(), days.iter().max())
            && !self.state.has_days(bookable_id, *from, *to)
        {
            self.wanted.push(Need::Days(bookable_id.to_owned(), *from, *to));
        }
    }

    /// Every day that a booking may take or give back, whatever it combines of the dates it has
    /// and those the request names.
    fn booking_days(
        &mut self,
        bookable_id: &str,
        range: Option<(Date, Date)>,
        body: &Map<String, Value>,
    ) {
        self.due_bookings(bookable_id);
        let Some(now) = self.state.clock else { return };
        if !self.is_bookable(bookable_id) {
            return;
        }
        let today = Date::of(now);
        // Others are refused before anybody looks at their days.
        let can_be_booked =
            |day: &Date| (0..=HORIZON_DAYS_MAX + 1).contains(&today.days_until(*day));
        let named = ["start_date", "end_date"]
            .into_iter()
            .filter_map(|field| body.get(field)?.as_str()?.parse().ok().filter(can_be_booked));
        let known = range.into_iter().flat_map(|(start, until)| [start, until]);
        self.days(bookable_id, known.chain(named));
    }

    fn rebooking(&mut self, id: &str, body: &Map<String, Value>) {
        if let Some(row) = self.state.bookings.original(id) {
            let record = &row.record;
            let range = (record.booking.start_date, record.until_day);
            self.booking_days(record.booking.bookable_id.as_str(), Some(range), body);
        }
    }

    /// The days of a hold that is over, whose booking is about to be deleted.
    fn ended_hold(&mut self, id: &str) {
        let Some(row) = self.state.bookings.original(id) else { return };
        let record = &row.record;
        if record.booking.status == BookingStatus::Held
            && let Some(now) = self.clock()
            && record.status_at(now) != BookingStatus::Held
        {
            let days = [record.booking.start_date, record.until_day];
            self.days(record.booking.bookable_id.as_str(), days);
        }
    }

    /// The days that a capacity would be too small for.
    fn days_above(&mut self, bookable_id: &str, capacity: i64) {
        self.due_bookings(bookable_id);
        let Some(now) = self.state.clock else { return };
        let wanted = (bookable_id.to_owned(), capacity, Date::of(now));
        if !self.state.days_above.contains(&wanted) {
            self.wanted.push(Need::DaysAbove(wanted.0, wanted.1, wanted.2));
        }
    }

    fn sequence(&mut self) {
        if !self.state.sequences.is_loaded(SERIES) {
            self.wanted.push(Need::Sequence(SERIES));
        }
    }

    /// What an object belongs to, once that is known.
    fn owner(&mut self, kind: Kind, id: &str) -> Option<Option<String>> {
        let known = self.state.owners.get(&(kind, id.to_owned())).cloned();
        if known.is_none() {
            self.wanted.push(Need::Owner(kind, id.to_owned()));
        }
        known
    }

    /// A scope and, for a namespace, the workspace it falls back to, once they are locked.
    fn chain(&mut self, scope: &ScopeRef) -> Option<Vec<ScopeRef>> {
        let mut chain = vec![scope.clone()];
        if scope.kind == Kind::Namespace
            && let Some(workspace) = self.owner(Kind::Namespace, &scope.id)?
        {
            chain.push(ScopeRef::workspace(workspace));
        }
        for scope in &chain {
            self.object(scope.kind, &scope.id);
        }
        let are_locked =
            chain.iter().all(|scope| self.state.is_object_locked(scope.kind, &scope.id));
        are_locked.then_some(chain)
    }

    /// What scopes have, read after their locks; says whether it is all there.
    fn holdings(&mut self, chain: &[ScopeRef]) -> bool {
        let mut are_loaded = true;
        for scope in chain {
            let scope = scope.to_string();
            if !self.state.holdings.contains_key(&scope) {
                self.wanted.push(Need::Holdings(scope));
                are_loaded = false;
            }
        }
        are_loaded
    }

    /// The feature with this code, once it is known whether there is one.
    fn feature_code(&mut self, code: &str) -> Option<FeatureTerms> {
        if !self.state.feature_codes.is_loaded(code) {
            self.wanted.push(Need::FeatureCode(code.to_owned()));
            return None;
        }
        let holder = self.state.feature_codes.original(code)?;
        self.state.feature_terms.get(&holder.id).cloned()
    }

    /// A feature that is about to be granted: the first time its terms are frozen under its lock.
    fn granted_feature(&mut self, code: &str) {
        if let Some(terms) = self.feature_code(code)
            && !terms.granted
        {
            let id = terms.id.to_string();
            self.object(Kind::Feature, &id);
        }
    }

    fn feature_fields(&mut self, body: &Map<String, Value>) {
        if let Some(code) = body.get("code").and_then(Value::as_str)
            && let Some(terms) = self.feature_code(code)
        {
            let id = terms.id.to_string();
            self.object(Kind::Feature, &id);
        }
        if let Some(parent) = body.get("parent_code").and_then(Value::as_str) {
            self.granted_feature(parent);
        }
    }

    /// The feature that a feature draws from already: a patch that leaves it is checked against it.
    fn parent_of_feature(&mut self, id: &str) {
        let row = self.state.features.original(id);
        let parent = row.and_then(|row| row.record.feature.parent_code.clone());
        if let Some(parent) = parent {
            self.granted_feature(&parent);
        }
    }

    fn package_fields(&mut self, body: &Map<String, Value>) {
        if let Some(code) = body.get("code").and_then(Value::as_str) {
            self.package_code(code);
        }
        let grants = body.get("grants").and_then(Value::as_array).map(Vec::as_slice);
        for grant in grants.unwrap_or_default() {
            if let Some(code) = grant.get("feature").and_then(Value::as_str) {
                self.granted_feature(code);
            }
        }
    }

    /// The features that a package grants already: a patch that leaves its grants keeps them.
    fn granted_features(&mut self, package_id: &str) {
        let Some(row) = self.state.packages.original(package_id) else { return };
        for grant in &row.record.grants {
            self.granted_feature(&grant.feature);
        }
        // What a merge is put on top of may grant others than the base that its caller saw.
        let Some(history) = self.state.histories.get(package_id) else { return };
        for base in history.bases.values() {
            let body = base.as_object().cloned().unwrap_or_default();
            let grants = Map::from_iter(body.into_iter().filter(|(name, _)| name == "grants"));
            self.package_fields(&grants);
        }
    }

    fn package_code(&mut self, code: &str) {
        if !self.state.package_codes.is_loaded(code) {
            self.wanted.push(Need::PackageCode(code.to_owned()));
        } else if let Some(holder) = self.state.package_codes.original(code) {
            self.reference(Kind::Package, &holder.id.clone());
        }
    }

    fn assign(&mut self, assign: &AssignPackage) {
        if let Some(code) = assign.text("package") {
            self.package_code(code);
        }
        // Whatever else is there is looked at under the scope's lock.
        let Some(chain) = self.chain(&assign.scope) else { return };
        self.holdings(&chain);
        self.clock();
        if let Some(external) = assign.text("external_service_id")
            && !self.state.external_services.is_loaded(external)
        {
            self.wanted.push(Need::ExternalService(external.to_owned()));
        }
    }

    fn boost(&mut self, boost: &GrantBoost) {
        if let Some(code) = boost.text("feature") {
            self.granted_feature(code);
        }
        let Some(chain) = self.chain(&boost.scope) else { return };
        self.holdings(&chain);
        self.clock();
        if let Some(key) = boost.addon_key()
            && !self.state.addons.is_loaded(&key)
        {
            self.wanted.push(Need::Addon(key));
        }
    }

    /// The pools that features draw from, for a scope and whatever it falls back to.
    fn usage(&mut self, scope: &'c ScopeRef, features: impl Iterator<Item = &'c str>) {
        let mut is_repeat = false;
        let mut new = Vec::new();
        for code in features {
            match self.used.insert((scope.kind, scope.id.as_str(), code)) {
                true => new.push(code),
                false => is_repeat = true,
            }
        }
        // What names no feature at all is refused, under the scope's lock.
        if !new.is_empty() || !is_repeat {
            self.pools(scope, new.into_iter());
        }
    }

    /// As [`usage`](Self::usage), whoever asks.
    fn pools<'f>(&mut self, scope: &ScopeRef, features: impl Iterator<Item = &'f str>) {
        // Everything but the locks is looked up at once, after them.
        let Some(chain) = self.chain(scope) else { return };
        let are_loaded = self.holdings(&chain);
        self.clock();
        for code in features {
            let terms = self.feature_code(code);
            let (true, Some(now)) = (are_loaded, self.state.clock) else { continue };
            for terms in self.pools_to_be(terms) {
                for scope in &chain {
                    self.pool(&scope.to_string(), &terms, now);
                }
            }
        }
    }

    /// The pool of a feature; of one that is not frozen yet, or does not exist, every pool that this
    /// batch might make it draw from before this command's turn.
    fn pools_to_be(&self, terms: Option<FeatureTerms>) -> Vec<FeatureTerms> {
        if terms.as_ref().is_some_and(|terms| terms.granted) {
            return terms.into_iter().collect();
        }
        let known = self.state.feature_terms.values();
        let parents = known.filter(|t| t.feature_type == FeatureType::Limit && !t.has_parent);
        terms.into_iter().chain(parents.cloned()).collect()
    }

    fn pool(&mut self, scope: &str, terms: &FeatureTerms, now: Timestamp) {
        let anchor = self.state.holdings.get(scope).and_then(|holdings| holdings.anchor);
        let key = counter_key(scope, &terms.pool, anchor.unwrap_or(now), now);
        self.counter(&key, terms, now);
    }

    /// A counter with what time takes off it.
    fn counter(&mut self, key: &str, terms: &FeatureTerms, now: Timestamp) {
        if !self.state.counters.is_loaded(key) {
            self.wanted.push(Need::Counter(key.to_owned()));
            return;
        }
        let Some(counter) = self.state.counters.original(key) else { return };
        if counter.held > 0 && !self.state.due_holds.contains_key(key) {
            self.wanted.push(Need::DueHolds(key.to_owned(), now));
        }
        if let Some(start) = rolling_start(&terms.pool, now)
            && !self.state.rolled.contains_key(key)
        {
            let from = counter.rolled_until;
            self.wanted.push(Need::RolledOff(key.to_owned(), from, start));
        }
    }

    fn end_hold(&mut self, end: &EndHold) {
        if self.chain(&end.scope).is_none() {
            return;
        }
        if !self.state.holds.is_loaded(&end.hold_id) {
            return self.wanted.push(Need::Hold(end.hold_id.clone()));
        }
        let Some(stored) = self.state.holds.original(&end.hold_id) else { return };
        let (feature, counter_id) = (stored.hold.feature.clone(), stored.counter_id.clone());
        self.charged_then(&end.scope, &feature, &counter_id);
    }

    fn reverse(&mut self, reverse: &ReverseUsage) {
        if self.chain(&reverse.scope).is_none() {
            return;
        }
        if !self.state.records.is_loaded(&reverse.record_id) {
            return self.wanted.push(Need::Record(reverse.record_id.clone()));
        }
        let Some(stored) = self.state.records.original(&reverse.record_id) else { return };
        let (feature, counter_id) = (stored.record.feature.clone(), stored.counter_id.clone());
        self.charged_then(&reverse.scope, &feature, &counter_id);
    }

    /// The pool that an earlier request was charged to.
    fn charged_then(&mut self, scope: &ScopeRef, feature: &str, counter_id: &str) {
        self.pools(scope, std::iter::once(feature));
        if let Some(terms) = self.feature_code(feature)
            && let Some(now) = self.state.clock
        {
            self.counter(counter_id, &terms, now);
        }
    }

    fn expire(&mut self, scope: &ScopeRef) {
        let Some(chain) = self.chain(scope) else { return };
        self.holdings(&chain);
        self.clock();
        let Some(now) = self.state.clock else { return };
        let scope = scope.to_string();
        match self.state.due_counters.get(&scope) {
            None => self.wanted.push(Need::DueCounters(scope, now)),
            Some(counters) => {
                for key in counters.iter().take(COUNTERS_AT_ONCE) {
                    if !self.state.counters.is_loaded(key) {
                        self.wanted.push(Need::Counter(key.clone()));
                    }
                    if !self.state.due_holds.contains_key(key) {
                        self.wanted.push(Need::DueHolds(key.clone(), now));
                    }
                }
            }
        }
    }
}

/// Whether a change of a booking may take or give back days. What a replace leaves out takes its
/// default.
fn moves_days(change: &Change) -> bool {
    let fields = ["start_date", "end_date", "quantity", "status"];
    match change {
        Change::Patch(body) => fields.iter().any(|field| body.contains_key(*field)),
        Change::Replace(_) => true,
    }
}

fn is_open(body: &Map<String, Value>) -> bool {
    body.get("status").and_then(Value::as_str) == Some("open")
}
