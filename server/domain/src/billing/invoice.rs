//! Invoices: editable drafts, numbers without gaps, and fields that finalizing freezes.

use super::{
    Need, Rejection, SubscriptionRecord, balance,
    charges::{change_charges, want_charges},
    terms::want_terms,
};
use crate::core::{
    self, Context, Errors, Guarded, Resource, ScopedWrites, State, UpdateObject, Wants, allow,
    keep_internally, redactable, referenced, usual_parts,
};
use ifmatch_types::{
    INTEGER_MAX, Invoice, InvoiceFields, InvoiceId, InvoiceLine, InvoiceLineFields,
    InvoiceStatus as Status, Kind, PaymentStatus, SubscriptionId, SubscriptionStatus, Timestamp,
    Workspace, WorkspaceId, integer::is_exact,
};
use serde_json::{Map, Value};

/// The series of invoice numbers; also the key of its sequence row.
pub const SERIES: &str = "INV";

/// Maximum number of lines of an invoice that a caller writes.
const LINES_MAX: usize = 200;

/// The last number assigned in a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The series.
    pub series: &'static str,
    /// The last number; 0 if none was assigned.
    pub last: i64,
}

impl Guarded for Sequence {
    fn guard(&self) -> i64 {
        self.last
    }
}

impl Resource for Invoice {
    type Entity = Invoice;
    type Fields = InvoiceFields;

    const KIND: Kind = Kind::Invoice;
    const FIELDS: &'static [&'static str] = &[
        "workspace_id",
        "subscription_id",
        "currency",
        "lines",
        "tax",
        "due_at",
        "notes",
        "status",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status", "currency"];
    const COMPUTED: &'static [(&'static str, &'static str)] =
        &[("lines", "amount"), ("lines", "period_start"), ("lines", "segment_start")];

    const REFERENCES: &'static [(&'static str, Kind)] = &[("workspace_id", Kind::Workspace)];

    const NAMED: &'static [(&'static str, Kind)] =
        &[("workspace_id", Kind::Workspace), ("subscription_id", Kind::Subscription)];
    /// A scoped key makes drafts; what becomes of them is not its decision.
    const SCOPED_WRITES: ScopedWrites = ScopedWrites { create: true, ..ScopedWrites::NONE };

    usual_parts!(invoices, |record| *record);
    redactable!(|record| *record, { notes: Text, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.workspace_id.to_string())
    }

    fn check(fields: &mut InvoiceFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        if let Some(currency) = &fields.currency {
            errors.currency("/currency", currency);
        }
        for (index, line) in fields.lines.iter_mut().enumerate() {
            check_line(index, line, errors);
        }
        errors.range("/tax", fields.tax, 0, INTEGER_MAX);
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
    }

    fn create(fields: InvoiceFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let workspace =
            referenced::<Workspace>("/workspace_id", fields.workspace_id.as_str(), ctx.state)?;
        let currency =
            fields.currency.clone().or_else(|| workspace.currency.clone()).ok_or_else(|| {
                core::Rejection::invalid(
                    "/currency",
                    "is required because the workspace has no currency",
                )
            })?;
        let status = fields.status;
        let mut invoice = draft(id, fields.workspace_id.clone(), currency, ctx);
        invoice.edit(fields, ctx)?;
        match status.unwrap_or(Status::Draft) {
            Status::Draft => {}
            Status::Open => {
                allow(false, ctx)?;
                invoice.finalize_for_caller(ctx)?;
            }
            _ => {
                return Err(core::Rejection::invalid(
                    "/status",
                    "must be draft or open for a new invoice",
                )
                .into());
            }
        }
        Ok(invoice)
    }

    fn change(&self, fields: InvoiceFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(self.status);
        let mut after = self.clone();
        if self.status == Status::Draft {
            after.edit(fields, ctx)?;
        } else {
            self.refuse_frozen(&fields)?;
            after.due_at = fields.due_at;
            after.notes = fields.notes;
            after.metadata = fields.metadata;
        }
        after.change_status(status, ctx)?;
        Ok(after)
    }

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        if self.status == Status::Draft {
            return Ok(());
        }
        Err(Rejection::InvoiceImmutable { fields: Vec::new() })
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        wants.references(&[("subscription_id", Kind::Subscription)], body);
        if asks_for(Status::Open, body) {
            if let Some(workspace_id) = body.get("workspace_id").and_then(Value::as_str) {
                balance::want_balances(workspace_id, wants);
            }
            want_sequence(wants);
        }
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        let body = update.change.body();
        let Some(row) = wants.state.billing().invoices.original(&update.id) else { return };
        let (opens, voids) = (asks_for(Status::Open, body), asks_for(Status::Void, body));
        if opens || voids {
            let named = body.get("workspace_id").and_then(Value::as_str);
            for id in named.into_iter().chain([row.record.workspace_id.as_str()]) {
                balance::want_balances(id, wants);
            }
        }
        // Voiding an invoice and taking a draft off change its subscription. If a draft moves to
        // another workspace, the workspace of its subscription is checked again.
        let named = body.get("subscription_id").and_then(Value::as_str);
        let known = row.record.subscription_id.as_ref().map(SubscriptionId::as_str);
        for id in named.into_iter().chain(known) {
            wants.object(Kind::Subscription, id);
        }
        if let Some(id) = known.filter(|_| voids) {
            // A bill of the same batch must see what is due again, however old it is.
            want_terms(id, true, wants);
            want_charges(id, true, wants);
        }
        if opens {
            want_sequence(wants);
        }
    }
}

fn asks_for(status: Status, body: &Map<String, Value>) -> bool {
    body.get("status").and_then(Value::as_str) == Some(status.name())
}

/// Requests the last number that was assigned.
pub(crate) fn want_sequence(wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.billing().sequences.is_loaded(SERIES) {
        wants.push(Need::Sequence(SERIES));
    }
}

/// A new, empty draft.
pub(crate) fn draft(
    id: String,
    workspace_id: WorkspaceId,
    currency: String,
    ctx: &Context<'_>,
) -> Invoice {
    Invoice {
        id: InvoiceId::from_unchecked(id),
        version: 1,
        workspace_id,
        subscription_id: None,
        number: None,
        status: Status::Draft,
        currency,
        lines: Vec::new(),
        subtotal: 0,
        tax: 0,
        total: 0,
        amount_paid: 0,
        balance_applied: 0,
        amount_due: 0,
        period_start: None,
        period_end: None,
        due_at: None,
        notes: String::new(),
        finalized_at: None,
        paid_at: None,
        voided_at: None,
        metadata: Default::default(),
        created_at: ctx.now,
        updated_at: ctx.now,
        updated_by: ctx.meta.actor.name.clone(),
    }
}

fn check_line(index: usize, line: &mut InvoiceLineFields, errors: &mut Errors) {
    let path = format!("/lines/{index}");
    errors.text(&format!("{path}/description"), &line.description, 1, 500);
    errors.range(&format!("{path}/quantity"), line.quantity, 1, INTEGER_MAX);
    errors.range(&format!("{path}/unit_amount"), line.unit_amount, -INTEGER_MAX, INTEGER_MAX);
    // An overflow is reported when the sums are computed, with its own code.
    let product = line.quantity.checked_mul(line.unit_amount).filter(|amount| is_exact(*amount));
    if line.amount.is_some() && product.is_some() && line.amount != product {
        errors.push(format!("{path}/amount"), "is read-only: it is always quantity × unit_amount");
    }
    line.amount = product;
    for (name, instant) in
        [("period_start", line.period_start), ("segment_start", line.segment_start)]
    {
        if instant.is_some() {
            errors.push(format!("{path}/{name}"), "is read-only: only billing sets it");
        }
    }
}

/// A line that billing makes.
pub(super) struct LineOfBilling {
    pub(super) description: String,
    pub(super) quantity: i64,
    pub(super) unit_amount: i64,
    pub(super) period_start: Timestamp,
    pub(super) segment_start: Timestamp,
}

pub(crate) trait InvoiceRules {
    /// Sets all settable fields of a draft except the status.
    fn edit(&mut self, fields: InvoiceFields, ctx: &mut Context<'_>) -> Result<(), Rejection>;
    /// Replaces the lines and recomputes the sums.
    fn set_lines(&mut self, lines: Vec<InvoiceLineFields>, tax: i64) -> Result<(), Rejection>;
    /// Sets the lines of an invoice that billing makes.
    fn set_billed_lines(&mut self, lines: Vec<LineOfBilling>) -> Result<(), Rejection>;
    /// Finalizes an invoice at a caller's request.
    fn finalize_for_caller(&mut self, ctx: &mut Context<'_>) -> Result<(), Rejection>;
    /// Assigns the invoice's number, applies the balance, and freezes the invoice.
    fn finalize(&mut self, ctx: &mut Context<'_>) -> Result<(), Rejection>;
    /// Recomputes the amounts and the status from all payments of the invoice.
    fn settle(&mut self, ctx: &Context<'_>) -> Result<(), Rejection>;
    fn change_status(&mut self, to: Status, ctx: &mut Context<'_>) -> Result<(), Rejection>;
    fn refuse_frozen(&self, fields: &InvoiceFields) -> Result<(), Rejection>;
}

impl InvoiceRules for Invoice {
    fn edit(&mut self, fields: InvoiceFields, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // Billing makes as many lines as it needs, so only what a caller writes is limited.
        if fields.lines.len() > LINES_MAX {
            let told = format!("must have at most {LINES_MAX} lines, has {}", fields.lines.len());
            return Err(core::Rejection::invalid("/lines", told).into());
        }
        if fields.workspace_id != self.workspace_id {
            referenced::<Workspace>("/workspace_id", fields.workspace_id.as_str(), ctx.state)?;
        }
        if let Some(subscription_id) = &fields.subscription_id
            && (fields.subscription_id != self.subscription_id
                || fields.workspace_id != self.workspace_id)
        {
            refuse_foreign_subscription(subscription_id, &fields.workspace_id, ctx)?;
        }
        if let Some(left) = self.subscription_id.as_ref()
            && fields.subscription_id.as_ref() != Some(left)
        {
            remember_draft(left, ctx);
        }
        self.workspace_id = fields.workspace_id;
        self.subscription_id = fields.subscription_id;
        if let Some(currency) = fields.currency {
            self.currency = currency;
        }
        self.due_at = fields.due_at;
        self.notes = fields.notes;
        self.metadata = fields.metadata;
        self.set_lines(fields.lines, fields.tax)
    }

    fn set_lines(&mut self, lines: Vec<InvoiceLineFields>, tax: i64) -> Result<(), Rejection> {
        let overflow = |path: String| core::Rejection::AmountOverflow { path };
        let mut subtotal = 0i64;
        let mut priced = Vec::with_capacity(lines.len());
        for (index, line) in lines.into_iter().enumerate() {
            let amount = line
                .quantity
                .checked_mul(line.unit_amount)
                .filter(|amount| is_exact(*amount))
                .ok_or_else(|| overflow(format!("/lines/{index}/amount")))?;
            subtotal = subtotal
                .checked_add(amount)
                .filter(|subtotal| is_exact(*subtotal))
                .ok_or_else(|| overflow("/subtotal".to_owned()))?;
            priced.push(InvoiceLine {
                description: line.description,
                quantity: line.quantity,
                unit_amount: line.unit_amount,
                amount,
                period_start: line.period_start,
                segment_start: line.segment_start,
            });
        }
        self.lines = priced;
        self.subtotal = subtotal;
        self.tax = tax;
        self.total = subtotal
            .checked_add(tax)
            .filter(|total| is_exact(*total))
            .ok_or_else(|| overflow("/total".to_owned()))?;
        self.amount_due = self.total.max(0);
        Ok(())
    }

    fn set_billed_lines(&mut self, lines: Vec<LineOfBilling>) -> Result<(), Rejection> {
        let fields = |line: LineOfBilling| InvoiceLineFields {
            description: line.description,
            quantity: line.quantity,
            unit_amount: line.unit_amount,
            amount: None,
            period_start: Some(line.period_start),
            segment_start: Some(line.segment_start),
        };
        self.set_lines(lines.into_iter().map(fields).collect(), 0)
    }

    fn finalize_for_caller(&mut self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // It is money that the customer gets, as with an adjustment of the balance.
        if self.total < 0 && !ctx.meta.actor.is_admin {
            return Err(Rejection::NegativeTotal);
        }
        self.finalize(ctx)
    }

    fn finalize(&mut self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let last = ctx.state.billing().sequences.get(SERIES).map_or(0, |sequence| sequence.last);
        let number = last
            .checked_add(1)
            .ok_or_else(|| core::Rejection::AmountOverflow { path: "/number".to_owned() })?;
        ctx.state
            .billing_mut()
            .sequences
            .put(SERIES.to_owned(), Sequence { series: SERIES, last: number });
        self.number = Some(format!("{SERIES}-{number:06}"));
        self.finalized_at = Some(ctx.now);
        self.status = Status::Open;
        balance::apply(self, ctx)?;
        self.amount_due = due(self);
        if self.amount_due == 0 {
            self.status = Status::Paid;
            self.paid_at = Some(ctx.now);
        }
        Ok(())
    }

    fn settle(&mut self, ctx: &Context<'_>) -> Result<(), Rejection> {
        let paid: i128 = ctx
            .state
            .billing()
            .payments
            .iter()
            .map(|stored| &stored.payment)
            .filter(|p| p.invoice_id == self.id && p.status == PaymentStatus::Settled)
            .map(|payment| i128::from(payment.amount))
            .sum();
        self.amount_paid = i64::try_from(paid)
            .ok()
            .filter(|paid| is_exact(*paid))
            .ok_or_else(|| core::Rejection::AmountOverflow { path: "/amount_paid".to_owned() })?;
        self.amount_due = due(self);
        if self.amount_due == 0 {
            self.status = Status::Paid;
            self.paid_at = self.paid_at.or(Some(ctx.now));
        } else if self.status == Status::Paid {
            self.status = Status::Open;
            self.paid_at = None;
        }
        Ok(())
    }

    fn change_status(&mut self, to: Status, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        if to == self.status {
            return Ok(());
        }
        if !followers(self.status).contains(&to) {
            return Err(refused_transition(self.status, to).into());
        }
        match to {
            Status::Open => return self.finalize_for_caller(ctx),
            Status::Void if self.amount_paid > 0 => {
                return Err(Rejection::InvoiceHasPayments { amount_paid: self.amount_paid });
            }
            Status::Void => {
                balance::undo(self, ctx)?;
                self.amount_due = due(self);
                self.paid_at = None;
                self.voided_at = Some(ctx.now);
                uncharge(self, ctx);
            }
            _ => {}
        }
        self.status = to;
        Ok(())
    }

    fn refuse_frozen(&self, fields: &InvoiceFields) -> Result<(), Rejection> {
        let lines_differ = self.lines.len() != fields.lines.len()
            || self.lines.iter().zip(&fields.lines).any(|(ours, theirs)| {
                ours.description != theirs.description
                    || ours.quantity != theirs.quantity
                    || ours.unit_amount != theirs.unit_amount
            });
        let frozen = [
            ("workspace_id", self.workspace_id != fields.workspace_id),
            ("subscription_id", self.subscription_id != fields.subscription_id),
            ("currency", fields.currency.as_ref().is_some_and(|c| *c != self.currency)),
            ("lines", lines_differ),
            ("tax", self.tax != fields.tax),
        ];
        let changed: Vec<_> =
            frozen.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        if changed.is_empty() {
            return Ok(());
        }
        Err(Rejection::InvoiceImmutable { fields: changed })
    }
}

/// The statuses that a caller may request next.
fn followers(status: Status) -> &'static [Status] {
    match status {
        Status::Draft => &[Status::Open],
        Status::Open => &[Status::Void, Status::Uncollectible],
        Status::Uncollectible | Status::Paid => &[Status::Void],
        Status::Void | Status::Unknown(_) => &[],
    }
}

/// A rejection for a status that cannot follow the current one.
pub(crate) fn refused_transition(from: Status, to: Status) -> core::Rejection {
    core::Rejection::InvalidTransition {
        from: from.name(),
        to: to.name(),
        allowed: followers(from).iter().map(|status| status.name()).collect(),
    }
}

/// What an invoice leaves to be paid.
fn due(invoice: &Invoice) -> i64 {
    let rest = invoice.total.saturating_sub(invoice.balance_applied);
    rest.saturating_sub(invoice.amount_paid).max(0)
}

/// Takes back what an invoice charged, because it is being voided. It is due again.
///
/// The invoice has still its old status.
fn uncharge(invoice: &Invoice, ctx: &mut Context<'_>) {
    let Some(id) = &invoice.subscription_id else { return };
    if super::charged_until(invoice).is_none() {
        return;
    }
    change_charges(id.as_str(), ctx, |charges| charges.remove(invoice));
    let row = ctx.state.billing().subscriptions.get(id.as_str());
    let mut record = row.expect("the subscription of an invoice is kept").record.clone();
    record.settled_at = None;
    record.settled_anchor = None;
    record.settled_segment = None;
    if record.subscription.status != SubscriptionStatus::Canceled {
        // Not now, which may be later: a run of the past would take that for a date to come.
        let since = record.reached_at;
        record.due_at = Some(record.due_at.map_or(since, |due| due.min(since)));
    }
    keep_internally(record, ctx);
}

/// Remembers that a subscription had a draft that is being taken off it.
fn remember_draft(id: &SubscriptionId, ctx: &mut Context<'_>) {
    let row = ctx.state.billing().subscriptions.get(id.as_str());
    let Some(row) = row.filter(|row| row.deleted.is_none() && !row.record.had_draft) else {
        return;
    };
    let record = SubscriptionRecord { had_draft: true, ..row.record.clone() };
    keep_internally(record, ctx);
}

fn refuse_foreign_subscription(
    id: &SubscriptionId,
    workspace_id: &WorkspaceId,
    ctx: &Context<'_>,
) -> Result<(), Rejection> {
    let path = "/subscription_id";
    let record = referenced::<SubscriptionRecord>(path, id.as_str(), ctx.state)?;
    if record.subscription.workspace_id != *workspace_id {
        return Err(core::Rejection::invalid(path, "belongs to another workspace").into());
    }
    Ok(())
}
