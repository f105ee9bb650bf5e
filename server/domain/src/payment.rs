//! Payments: append-only, known by the provider's reference, so that one delivered twice counts once.

use crate::{
    Outcome, Rejection, Scope, edit,
    fields::Errors,
    invoice::{InvoiceRules, refused_transition},
    state::{CodeHolder, StoredPayment},
    versioned::{self, living},
};
use ifmatch_types::{
    Invoice, InvoiceId, InvoiceStatus, NewPayment, Payment, PaymentId, PaymentStatus,
};
use serde_json::Value;

/// Record money received for an invoice.
#[derive(Clone, Debug)]
pub struct RecordPayment {
    /// The invoice.
    pub invoice_id: String,
    /// The request's body: a [`NewPayment`].
    pub body: Value,
}

/// Take a payment back.
#[derive(Clone, Debug)]
pub struct ReversePayment {
    /// The invoice.
    pub invoice_id: String,
    /// The payment.
    pub payment_id: String,
    /// Why.
    pub reason: String,
}

impl RecordPayment {
    /// The provider's reference, if the body has one.
    pub(crate) fn provider_ref(&self) -> Option<&str> {
        self.body.get("provider_ref")?.as_str()
    }

    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let invoice = living::<Invoice>(&self.invoice_id, scope)?.record;
        let new: NewPayment = read(&self.body)?;
        if let Some(first) = known(&new, scope) {
            return repeat_of(first, &self.invoice_id, &new);
        }
        match invoice.status {
            InvoiceStatus::Draft | InvoiceStatus::Void => {
                return Err(refused_transition(invoice.status, InvoiceStatus::Paid));
            }
            _ if new.amount > invoice.amount_due => {
                return Err(Rejection::ExceedsAmountDue {
                    amount_due: invoice.amount_due,
                    amount: new.amount,
                });
            }
            _ => {}
        }
        let payment = Payment {
            id: PaymentId::from_unchecked(scope.ids.fresh(PaymentId::PREFIX)),
            invoice_id: InvoiceId::from_unchecked(self.invoice_id.clone()),
            amount: new.amount,
            provider_ref: new.provider_ref,
            status: PaymentStatus::Settled,
            created_at: scope.now,
            created_by: scope.meta.actor.name.clone(),
            reversed_at: None,
            reversal_reason: None,
        };
        let holder = CodeHolder { id: payment.id.to_string() };
        scope.state.payment_refs.put(payment.provider_ref.clone(), holder);
        store_and_settle(payment.clone(), invoice, scope)?;
        Ok(Outcome::Payment { payment, first: true })
    }
}

impl ReversePayment {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let invoice = living::<Invoice>(&self.invoice_id, scope)?.record;
        let stored = scope.state.payments.find(&self.payment_id);
        let payment = stored
            .map(|stored| &stored.0)
            .filter(|payment| payment.invoice_id.as_str() == self.invoice_id)
            .ok_or_else(|| Rejection::NotFound { what: "payment", id: self.payment_id.clone() })?;
        let mut errors = Errors::default();
        errors.text("/reason", &self.reason, 1, 500);
        errors.into_result()?;
        if payment.status == PaymentStatus::Reversed {
            return Ok(Outcome::PaymentReversed(payment.clone()));
        }
        let reversed = Payment {
            status: PaymentStatus::Reversed,
            reversed_at: Some(scope.now),
            reversal_reason: Some(self.reason.clone()),
            ..payment.clone()
        };
        store_and_settle(reversed.clone(), invoice, scope)?;
        Ok(Outcome::PaymentReversed(reversed))
    }
}

/// Stores a payment and recomputes its invoice from all of them.
fn store_and_settle(
    payment: Payment,
    invoice: Invoice,
    scope: &mut Scope<'_>,
) -> Result<(), Rejection> {
    scope.state.payments.put(payment.id.to_string(), StoredPayment(payment));
    let mut settled = invoice.clone();
    settled.settle(scope)?;
    versioned::change_internally(settled, invoice, scope);
    Ok(())
}

/// The payment that already has this reference.
fn known<'a>(new: &NewPayment, scope: &'a Scope<'_>) -> Option<&'a Payment> {
    let holder = scope.state.payment_refs.get(&new.provider_ref)?;
    scope.state.payments.get(&holder.id).map(|stored| &stored.0)
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
    if differing.is_empty() {
        return Ok(Outcome::Payment { payment: first.clone(), first: false });
    }
    Err(Rejection::AlreadyExists {
        what: "payment",
        existing_id: first.id.to_string(),
        differing_fields: differing,
    })
}

fn read(body: &Value) -> Result<NewPayment, Rejection> {
    let new: NewPayment = edit::read(edit::object(body)?)?;
    let mut errors = Errors::default();
    errors.range("/amount", new.amount, 1, i64::MAX);
    errors.text("/provider_ref", &new.provider_ref, 1, 255);
    errors.into_result()?;
    Ok(new)
}
