//! Payments: append-only. The provider's reference is unique, so a repeated one counts once.
//!
//! A reversal takes a payment back, and a reinstatement makes it count again: a dispute that was won.

use super::{
    Need, Outcome, Rejection,
    invoice::{InvoiceRules, refused_transition},
};
use crate::core::{self, CodeHolder, Context, Errors, Guarded, Wants, change_internally, living};
use ifmatch_types::{
    INTEGER_MAX, Invoice, InvoiceId, InvoiceStatus, Kind, NewPayment, Payment, PaymentId,
    PaymentStatus, Version,
};
use serde_json::Value;

/// Record a payment of an invoice.
#[derive(Clone, Debug)]
pub struct RecordPayment {
    /// The invoice.
    pub invoice_id: String,
    /// The request's body, a [`NewPayment`].
    pub body: Value,
}

/// Reverse a payment.
#[derive(Clone, Debug)]
pub struct ReversePayment {
    /// The invoice.
    pub invoice_id: String,
    /// The payment.
    pub payment_id: String,
    /// The reason.
    pub reason: String,
}

/// Make a reversed payment count again.
#[derive(Clone, Debug)]
pub struct ReinstatePayment {
    /// The invoice.
    pub invoice_id: String,
    /// The payment.
    pub payment_id: String,
    /// The reason.
    pub reason: String,
}

/// A payment as it is stored, with a field that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPayment {
    /// The payment as the API shows it.
    pub payment: Payment,
    /// 1 at first, and one more with each reversal and reinstatement.
    pub version: Version,
}

impl Guarded for StoredPayment {
    fn guard(&self) -> i64 {
        self.version
    }
}

impl RecordPayment {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        wants.object(Kind::Invoice, &self.invoice_id);
        want_payments(&self.invoice_id, wants);
        if let Some(provider_ref) = self.provider_ref()
            && !wants.state.billing().payment_refs.is_loaded(provider_ref)
        {
            wants.push(Need::PaymentRef(provider_ref.to_owned()));
        }
    }

    /// The provider's reference, if the body has one.
    fn provider_ref(&self) -> Option<&str> {
        self.body.get("provider_ref")?.as_str()
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let invoice = living::<Invoice>(&self.invoice_id, ctx)?.record;
        let new: NewPayment = read(&self.body)?;
        if let Some(first) = known(&new, ctx) {
            return repeat_of(first, &self.invoice_id, &new);
        }
        refuse_amount(new.amount, &invoice)?;
        let payment = Payment {
            id: PaymentId::from_unchecked(ctx.ids.fresh(PaymentId::PREFIX)),
            invoice_id: InvoiceId::from_unchecked(self.invoice_id.clone()),
            amount: new.amount,
            provider_ref: new.provider_ref,
            status: PaymentStatus::Settled,
            created_at: ctx.now,
            created_by: ctx.meta.actor.name.clone(),
            reversed_at: None,
            reversal_reason: None,
            reinstated_at: None,
            reinstatement_reason: None,
        };
        let holder = CodeHolder { id: payment.id.to_string() };
        ctx.state.billing_mut().payment_refs.put(payment.provider_ref.clone(), holder);
        let stored = StoredPayment { payment: payment.clone(), version: 1 };
        store_and_settle(stored, invoice, ctx)?;
        Ok(Outcome::Payment { payment, first: true })
    }
}

/// Requests all payments of an invoice.
fn want_payments(invoice_id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.billing().paid_invoices.contains(invoice_id) {
        wants.push(Need::Payments(invoice_id.to_owned()));
    }
}

impl ReversePayment {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        wants.object(Kind::Invoice, &self.invoice_id);
        want_payments(&self.invoice_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let invoice = living::<Invoice>(&self.invoice_id, ctx)?.record;
        let stored = find(&self.invoice_id, &self.payment_id, &self.reason, ctx)?;
        if stored.payment.status == PaymentStatus::Reversed {
            return Ok(Outcome::PaymentTurned(stored.payment));
        }
        let reversed = Payment {
            status: PaymentStatus::Reversed,
            reversed_at: Some(ctx.now),
            reversal_reason: Some(self.reason.clone()),
            ..stored.payment.clone()
        };
        turn(stored, reversed, invoice, ctx)
    }
}

impl ReinstatePayment {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        wants.object(Kind::Invoice, &self.invoice_id);
        want_payments(&self.invoice_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let invoice = living::<Invoice>(&self.invoice_id, ctx)?.record;
        let stored = find(&self.invoice_id, &self.payment_id, &self.reason, ctx)?;
        if stored.payment.status == PaymentStatus::Settled {
            return Ok(Outcome::PaymentTurned(stored.payment));
        }
        refuse_amount(stored.payment.amount, &invoice)?;
        let reinstated = Payment {
            status: PaymentStatus::Settled,
            reinstated_at: Some(ctx.now),
            reinstatement_reason: Some(self.reason.clone()),
            ..stored.payment.clone()
        };
        turn(stored, reinstated, invoice, ctx)
    }
}

/// The payment of an invoice, and whether the reason to change it is one.
fn find(
    invoice_id: &str,
    payment_id: &str,
    reason: &str,
    ctx: &Context<'_>,
) -> Result<StoredPayment, Rejection> {
    let stored = ctx.state.billing().payments.find(payment_id);
    let of_invoice = stored.filter(|stored| stored.payment.invoice_id.as_str() == invoice_id);
    let id = || payment_id.to_owned();
    let stored =
        of_invoice.ok_or_else(|| core::Rejection::NotFound { what: "payment", id: id() })?;
    let mut errors = Errors::default();
    errors.text("/reason", reason, 1, 500);
    errors.into_result()?;
    Ok(stored.clone())
}

/// Refuses an amount that an invoice cannot take: nothing is due, or less.
fn refuse_amount(amount: i64, invoice: &Invoice) -> Result<(), Rejection> {
    match invoice.status {
        InvoiceStatus::Draft | InvoiceStatus::Void => {
            Err(refused_transition(invoice.status, InvoiceStatus::Paid).into())
        }
        _ if amount > invoice.amount_due => {
            Err(Rejection::ExceedsAmountDue { amount_due: invoice.amount_due, amount })
        }
        _ => Ok(()),
    }
}

/// Stores a payment that was reversed or reinstated.
fn turn(
    stored: StoredPayment,
    payment: Payment,
    invoice: Invoice,
    ctx: &mut Context<'_>,
) -> Result<Outcome, Rejection> {
    let turned =
        StoredPayment { payment: payment.clone(), version: stored.version.saturating_add(1) };
    store_and_settle(turned, invoice, ctx)?;
    Ok(Outcome::PaymentTurned(payment))
}

/// Stores a payment and recomputes its invoice from all payments.
fn store_and_settle(
    stored: StoredPayment,
    invoice: Invoice,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    ctx.state.billing_mut().payments.put(stored.payment.id.to_string(), stored);
    let mut settled = invoice.clone();
    settled.settle(ctx)?;
    change_internally(settled, invoice, ctx);
    Ok(())
}

/// Finds the payment that already has this provider reference.
fn known<'a>(new: &NewPayment, ctx: &'a Context<'_>) -> Option<&'a Payment> {
    let holder = ctx.state.billing().payment_refs.get(&new.provider_ref)?;
    ctx.state.billing().payments.get(&holder.id).map(|stored| &stored.payment)
}

fn repeat_of(first: &Payment, invoice_id: &str, new: &NewPayment) -> Result<Outcome, Rejection> {
    let differing: Vec<String> = [
        ("/invoice_id", first.invoice_id.as_str() != invoice_id),
        ("/amount", first.amount != new.amount),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(path, _)| path.to_owned())
    .collect();
    if differing.is_empty() && first.status == PaymentStatus::Reversed {
        return Err(Rejection::PaymentReversed(Box::new(first.clone())));
    }
    if differing.is_empty() {
        return Ok(Outcome::Payment { payment: first.clone(), first: false });
    }
    Err(core::Rejection::AlreadyExists {
        what: "payment",
        existing_id: first.id.to_string(),
        differing_fields: differing,
    }
    .into())
}

fn read(body: &Value) -> Result<NewPayment, Rejection> {
    let new: NewPayment = core::read(core::object(body)?)?;
    let mut errors = Errors::default();
    errors.range("/amount", new.amount, 1, INTEGER_MAX);
    errors.text("/provider_ref", &new.provider_ref, 1, 255);
    errors.into_result()?;
    Ok(new)
}
