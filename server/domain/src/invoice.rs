//! Invoices: drafts to edit, numbers without gaps, and what freezes when one is finalized.

use crate::{
    Rejection, Resource, Scope,
    fields::Errors,
    resource::usual_parts,
    state::Sequence,
    versioned,
    workspace::{self, refuse_other_type},
};
use ifmatch_types::{
    Invoice, InvoiceFields, InvoiceId, InvoiceLine, InvoiceLineFields, InvoiceStatus as Status,
    Kind, PaymentStatus, SubscriptionId, WorkspaceId,
};

/// The series of invoice numbers, and the row that counts it.
pub const SERIES: &str = "INV";

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

    usual_parts!(invoices, |record| *record);

    fn check(fields: &mut InvoiceFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        if let Some(currency) = &fields.currency {
            errors.currency("/currency", currency);
        }
        if fields.lines.len() > 200 {
            errors
                .push("/lines", format!("must have at most 200 lines, has {}", fields.lines.len()));
        }
        for (index, line) in fields.lines.iter_mut().enumerate() {
            check_line(index, line, errors);
        }
        errors.range("/tax", fields.tax, 0, i64::MAX);
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
    }

    fn create(fields: InvoiceFields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let workspace = workspace::referenced(&fields.workspace_id, scope)?;
        let currency = fields.currency.clone().or(workspace.currency).ok_or_else(|| {
            Rejection::invalid("/currency", "is required: the workspace has no currency of its own")
        })?;
        let status = fields.status;
        let mut invoice = draft(id, fields.workspace_id.clone(), currency, scope);
        invoice.edit(fields, scope)?;
        match status.unwrap_or(Status::Draft) {
            Status::Draft => {}
            Status::Open => invoice.finalize(scope)?,
            _ => return Err(Rejection::invalid("/status", "a new invoice is a draft or open")),
        }
        Ok(invoice)
    }

    fn change(&self, fields: InvoiceFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let status = fields.status.unwrap_or(self.status);
        let mut after = self.clone();
        if self.status == Status::Draft {
            after.edit(fields, scope)?;
        } else {
            self.refuse_frozen(&fields)?;
            after.due_at = fields.due_at;
            after.notes = fields.notes;
            after.metadata = fields.metadata;
        }
        after.change_status(status, scope)?;
        Ok(after)
    }

    fn delete(&self, _scope: &mut Scope<'_>) -> Result<(), Rejection> {
        if self.status == Status::Draft {
            return Ok(());
        }
        Err(Rejection::InvoiceImmutable { fields: Vec::new() })
    }
}

/// A new, empty draft.
pub(crate) fn draft(
    id: String,
    workspace_id: WorkspaceId,
    currency: String,
    scope: &Scope<'_>,
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
        amount_due: 0,
        period_start: None,
        period_end: None,
        due_at: None,
        notes: String::new(),
        finalized_at: None,
        paid_at: None,
        voided_at: None,
        metadata: Default::default(),
        created_at: scope.now,
        updated_at: scope.now,
        updated_by: scope.meta.actor.name.clone(),
    }
}

fn check_line(index: usize, line: &mut InvoiceLineFields, errors: &mut Errors) {
    let path = format!("/lines/{index}");
    errors.text(&format!("{path}/description"), &line.description, 1, 500);
    errors.range(&format!("{path}/quantity"), line.quantity, 1, i64::MAX);
    // An overflow is told by the sum, with its own code.
    let product = line.quantity.checked_mul(line.unit_amount);
    if line.amount.is_some() && product.is_some() && line.amount != product {
        errors.push(format!("{path}/amount"), "is read-only: quantity × unit_amount");
    }
    line.amount = product;
}

pub(crate) trait InvoiceRules {
    /// Sets everything a draft's owner may set, but not the status.
    fn edit(&mut self, fields: InvoiceFields, scope: &Scope<'_>) -> Result<(), Rejection>;
    /// Replaces the lines and recomputes the sums.
    fn set_lines(&mut self, lines: Vec<InvoiceLineFields>, tax: i64) -> Result<(), Rejection>;
    /// Gives the invoice its number and freezes it.
    fn finalize(&mut self, scope: &mut Scope<'_>) -> Result<(), Rejection>;
    /// Recomputes what is due from the payments there are.
    fn settle(&mut self, scope: &Scope<'_>) -> Result<(), Rejection>;
    fn change_status(&mut self, to: Status, scope: &mut Scope<'_>) -> Result<(), Rejection>;
    fn refuse_frozen(&self, fields: &InvoiceFields) -> Result<(), Rejection>;
}

impl InvoiceRules for Invoice {
    fn edit(&mut self, fields: InvoiceFields, scope: &Scope<'_>) -> Result<(), Rejection> {
        if fields.workspace_id != self.workspace_id {
            workspace::referenced(&fields.workspace_id, scope)?;
        }
        if let Some(subscription_id) = &fields.subscription_id
            && (fields.subscription_id != self.subscription_id
                || fields.workspace_id != self.workspace_id)
        {
            refuse_foreign_subscription(subscription_id, &fields.workspace_id, scope)?;
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
        let overflow = |path: String| Rejection::AmountOverflow { path };
        let mut subtotal = 0i64;
        let mut priced = Vec::with_capacity(lines.len());
        for (index, line) in lines.into_iter().enumerate() {
            let amount = line
                .quantity
                .checked_mul(line.unit_amount)
                .ok_or_else(|| overflow(format!("/lines/{index}/amount")))?;
            subtotal =
                subtotal.checked_add(amount).ok_or_else(|| overflow("/subtotal".to_owned()))?;
            priced.push(InvoiceLine {
                description: line.description,
                quantity: line.quantity,
                unit_amount: line.unit_amount,
                amount,
            });
        }
        self.lines = priced;
        self.subtotal = subtotal;
        self.tax = tax;
        self.total = subtotal.checked_add(tax).ok_or_else(|| overflow("/total".to_owned()))?;
        self.amount_due = self.total.max(0);
        Ok(())
    }

    fn finalize(&mut self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        let last = scope.state.sequences.get(SERIES).map_or(0, |sequence| sequence.last);
        let number = last
            .checked_add(1)
            .ok_or_else(|| Rejection::AmountOverflow { path: "/number".to_owned() })?;
        scope.state.sequences.put(SERIES.to_owned(), Sequence { series: SERIES, last: number });
        self.number = Some(format!("{SERIES}-{number:06}"));
        self.finalized_at = Some(scope.now);
        self.status = Status::Open;
        self.amount_due = self.total.max(0);
        if self.amount_due == 0 {
            self.status = Status::Paid;
            self.paid_at = Some(scope.now);
        }
        Ok(())
    }

    fn settle(&mut self, scope: &Scope<'_>) -> Result<(), Rejection> {
        let paid: i128 = scope
            .state
            .payments
            .iter()
            .map(|stored| &stored.0)
            .filter(|p| p.invoice_id == self.id && p.status == PaymentStatus::Settled)
            .map(|payment| i128::from(payment.amount))
            .sum();
        self.amount_paid = i64::try_from(paid)
            .map_err(|_| Rejection::AmountOverflow { path: "/amount_paid".to_owned() })?;
        self.amount_due = self.total.saturating_sub(self.amount_paid).max(0);
        if self.amount_due == 0 {
            self.status = Status::Paid;
            self.paid_at = self.paid_at.or(Some(scope.now));
        } else if self.status == Status::Paid {
            self.status = Status::Open;
            self.paid_at = None;
        }
        Ok(())
    }

    fn change_status(&mut self, to: Status, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        if to == self.status {
            return Ok(());
        }
        if !followers(self.status).contains(&to) {
            return Err(refused_transition(self.status, to));
        }
        match to {
            Status::Open => return self.finalize(scope),
            Status::Void if self.amount_paid > 0 => {
                return Err(Rejection::InvoiceHasPayments { amount_paid: self.amount_paid });
            }
            Status::Void => {
                self.voided_at = Some(scope.now);
                free_period(self, scope);
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

/// What a caller may ask for next.
fn followers(status: Status) -> &'static [Status] {
    match status {
        Status::Draft => &[Status::Open],
        Status::Open => &[Status::Void, Status::Uncollectible],
        Status::Uncollectible => &[Status::Void],
        Status::Paid | Status::Void | Status::Unknown(_) => &[],
    }
}

/// A status that cannot follow the invoice's own.
pub(crate) fn refused_transition(from: Status, to: Status) -> Rejection {
    Rejection::InvalidTransition {
        from: from.name(),
        to: to.name(),
        allowed: followers(from).iter().map(|status| status.name()).collect(),
    }
}

/// A void invoice no longer stands for its period: the next billing run may make another. What it
/// settled is for the next invoice to settle, be it that other one or a later period's.
fn free_period(invoice: &Invoice, scope: &mut Scope<'_>) {
    let (Some(subscription_id), Some(start)) = (&invoice.subscription_id, invoice.period_start)
    else {
        return;
    };
    let id = subscription_id.as_str();
    if scope.state.billed.is_loaded(id)
        && let Some(mut billed) = scope.state.billed.get(id).cloned()
    {
        billed.0.remove(&start);
        scope.state.billed.put(id.to_owned(), billed);
    }
    let row = scope.state.subscriptions.get(id);
    let mut record = row.expect("the subscription of an invoice is kept").record.clone();
    let settled_here = record.plan_changes.iter_mut().filter(|c| c.settled_in == Some(start));
    let mut is_changed = settled_here.map(|change| change.settled_in = None).count() > 0;
    if record.subscription.current_period_start == start {
        is_changed |= record.billed_quantity.take().is_some();
    }
    if is_changed {
        versioned::keep_internally(record, scope);
    }
}

fn refuse_foreign_subscription(
    id: &SubscriptionId,
    workspace_id: &WorkspaceId,
    scope: &Scope<'_>,
) -> Result<(), Rejection> {
    refuse_other_type(Kind::Subscription, "/subscription_id", id.as_str())?;
    let row = scope.state.subscriptions.get(id.as_str());
    match row.filter(|row| row.deleted.is_none()) {
        None => Err(Rejection::invalid("/subscription_id", "no such subscription")),
        Some(row) if row.record.subscription.workspace_id != *workspace_id => {
            Err(Rejection::invalid("/subscription_id", "belongs to another workspace"))
        }
        Some(_) => Ok(()),
    }
}
