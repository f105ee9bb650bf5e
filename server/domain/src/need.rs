//! What must be loaded before a command can be decided.

use crate::{
    Action, Change, Command, CreateObject, DeleteObject, Operation, State, UpdateObject,
    bookable::HORIZON_DAYS_MAX, invoice::SERIES,
};
use ifmatch_types::{Date, Kind, PlanId, Timestamp, Version};
use serde_json::{Map, Value};

/// So many versions back an overwrite is told from a blind repeat.
const REFUSAL_REACH: Version = 50;

/// Something a command must see. Objects and sequences are locked until the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A versioned object, locked.
    Object(Kind, String),
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
    /// Days of a bookable from one on up to another, both included.
    Days(String, Date, Date),
    /// Days of a bookable, from a date on, of which more than this is reserved.
    DaysAbove(String, i64, Date),
    /// The holds of a bookable that are over at an instant.
    DueBookings(String, Timestamp),
}

impl Need {
    /// In which turn it is loaded: objects and facts, then sequences, then the clock, then kept
    /// answers. What depends on the clock is asked for when it is known.
    pub const fn turn(&self) -> u8 {
        match self {
            Self::Sequence(_) => 1,
            Self::Clock => 2,
            Self::Answer(..) => 3,
            _ => 0,
        }
    }

    /// What it locks, as a place in the order in which everybody locks.
    pub fn lock(&self) -> Option<(u8, &str)> {
        match self {
            Self::Object(kind, id) => Some((lock_place(*kind), id)),
            Self::ApiKey(id) => Some((u8::MAX, id)),
            _ => None,
        }
    }
}

/// A kind's place in the order of locks: workspace → namespace → plan → subscription → invoice →
/// bookable → booking.
pub const fn lock_place(kind: Kind) -> u8 {
    match kind {
        Kind::Workspace => 0,
        Kind::Namespace => 1,
        Kind::Plan => 2,
        Kind::Subscription => 3,
        Kind::Invoice => 4,
        Kind::Bookable => 5,
        Kind::Booking => 6,
    }
}

/// Adds what a command must see and `state` does not have yet.
///
/// A pure function of the command and of what is loaded. The lane calls it, loads, and calls it
/// again until nothing is added: what a subscription's bill needs depends on the subscription.
pub fn needs(command: &Command, state: &State, wanted: &mut Vec<Need>) {
    let mut wants = Wants { state, wanted };
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
                        wants.object(*kind, id);
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
        Action::ExpireBookings(expire) => {
            wants.object(Kind::Bookable, &expire.bookable_id);
            wants.due_bookings(&expire.bookable_id);
        }
        Action::FinishBillingRun(_) | Action::CreateApiKey(_) | Action::RecordDenied(_) => {}
    }
}

struct Wants<'a> {
    state: &'a State,
    wanted: &'a mut Vec<Need>,
}

impl Wants<'_> {
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
        if !self.state.is_object_loaded(kind, id) {
            self.wanted.push(Need::Object(kind, id.to_owned()));
        }
    }

    /// The objects that the fields of a request name.
    fn references(&mut self, body: &Map<String, Value>) {
        let fields = [
            ("workspace_id", Kind::Workspace),
            ("plan_id", Kind::Plan),
            ("subscription_id", Kind::Subscription),
            ("bookable_id", Kind::Bookable),
        ];
        for (field, kind) in fields {
            if let Some(id) = body.get(field).and_then(Value::as_str) {
                self.object(kind, id);
            }
        }
    }

    fn create(&mut self, create: &CreateObject) {
        self.references(&create.body);
        match create.kind {
            Kind::Plan => self.plan_code(&create.body),
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
            self.object(Kind::Plan, &holder.id.clone());
        }
    }

    fn update(&mut self, update: &UpdateObject) {
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
            // Another plan is compared with the one there is; another status may begin a period.
            Kind::Subscription if body.contains_key("plan_id") || body.contains_key("status") => {
                self.terms_of_subscription(&update.id);
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
        if matches!(delete.kind, Kind::Workspace | Kind::Subscription | Kind::Bookable)
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
        let row = self.state.subscriptions.original(id);
        if let Some(row) = row {
            self.terms(&row.record.subscription.plan_id);
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
            self.object(Kind::Subscription, subscription_id.as_str());
        }
    }

    fn payments(&mut self, invoice_id: &str) {
        if !self.state.paid_invoices.contains(invoice_id) {
            self.wanted.push(Need::Payments(invoice_id.to_owned()));
        }
    }

    fn bill(&mut self, subscription_id: &str) {
        self.object(Kind::Subscription, subscription_id);
        let Some(row) = self.state.subscriptions.original(subscription_id) else { return };
        self.terms(&row.record.subscription.plan_id);
        for change in &row.record.plan_changes {
            self.terms(&change.from);
            self.terms(&change.to);
        }
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

    /// The holds of a locked bookable that are over, and the days they give back.
    fn due_bookings(&mut self, bookable_id: &str) {
        if !self.is_bookable(bookable_id) {
            return;
        }
        let Some(now) = self.clock() else { return };
        let due = self.state.due_bookings.get(bookable_id).filter(|due| due.at == now);
        let Some(due) = due else {
            return self.wanted.push(Need::DueBookings(bookable_id.to_owned(), now));
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
