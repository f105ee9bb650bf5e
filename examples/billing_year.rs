//! A year of one customer in a second: bills, a void, a credit, an upgrade, and the statement.
//!
//! `cargo run --release --example billing_year`
//!
//! The subscription began almost a year ago, and a billing run is made for each month since, as of
//! the day it was due. Exit code 1 unless every period was charged exactly what its terms cost. If
//! `IFMATCH_KEY` names a server of your own, these runs bill what is due there, too.

mod support;

use futures::TryStreamExt;
use ifmatch::{
    BalanceTransaction, BillingPeriod, Client, Invoice, InvoiceStatus, NewPayment, Plan,
    Subscription, SubscriptionFields, Timestamp, Versioned, WorkspaceFields,
};
use jiff::{ToSpan, civil::Date as Day, tz::TimeZone};
use std::process::ExitCode;
use support::{Result, make_plan, unique};

const MONTHS: i64 = 12;
/// The month whose invoice is voided, because somebody billed it to the wrong address.
const VOIDED: i64 = 4;
/// The month in which the customer gets money back for an hour of downtime.
const CREDITED: i64 = 7;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let server = support::Server::find()?;
    let billing = server.client()?;
    let basic = make_plan(&billing, "Basic", 3100).await?;
    let pro = make_plan(&billing, "Pro", 6200).await?;
    let workspace = WorkspaceFields { name: "Acme".to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(workspace).await?;
    // Half a month ago, the last of twelve months began.
    let today = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date();
    let began = today.checked_sub(15.days())?.checked_sub((MONTHS - 1).months())?;
    let fields = SubscriptionFields {
        workspace_id: workspace.id.clone(),
        plan_id: basic.id.clone(),
        quantity: 2,
        start_at: Some(midnight(began)?),
        ..Default::default()
    };
    let subscriptions = billing.subscriptions();
    let subscription = subscriptions.create(fields).await?;
    let id = &subscription.id;

    for month in 0..MONTHS {
        billing.run_billing(midnight(began.checked_add(month.months())?)?).await?;
        if month == VOIDED {
            for invoice in open_invoices(&billing, &subscription).await? {
                billing.invoices().update(&invoice.id, |i| i.status = InvoiceStatus::Void).await?;
            }
        }
        if month == CREDITED {
            billing.balance(&workspace.id).adjust("USD", 500, "an hour of downtime").await?;
        }
        pay(&billing, &subscription).await?;
    }

    // Today, in the middle of the last month.
    let upgraded = subscriptions.update(id, |s| {
        s.plan_id = pro.id.clone();
        s.quantity = 5;
    });
    let upgraded = upgraded.await?;
    subscriptions.settle(id, upgraded.version()).await?;
    pay(&billing, &subscription).await?;
    let next = began.checked_add(MONTHS.months())?;
    let preview = subscriptions.preview_invoices(id, midnight(next)?).await?;
    subscriptions.update(id, |s| s.cancel_at_period_end = true).await?;

    let statement = Statement {
        periods: subscriptions.periods(id).limit(50).await?.items,
        invoices: invoices(&billing, &subscription).await?,
        balance: billing.balance(&workspace.id).transactions().await?.items,
    };
    statement.print(&[&basic, &pro]);
    for invoice in preview.invoices {
        println!(
            "\nWithout the cancellation, {next} would bring an invoice over {}.",
            money(invoice.total)
        );
    }
    let is_exact = statement.is_exact();
    println!(
        "VERDICT: {}",
        if is_exact { "every period was charged what it costs" } else { "WRONG" }
    );
    Ok(if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The subscription's invoices, oldest first.
async fn invoices(billing: &Client, subscription: &Subscription) -> Result<Vec<Invoice>> {
    let list = billing.invoices().list().filter("subscription_id", subscription.id.as_str());
    let mut invoices: Vec<Invoice> =
        list.stream().map_ok(Versioned::into_inner).try_collect().await?;
    invoices.sort_by(|one, other| one.number.cmp(&other.number));
    Ok(invoices)
}

async fn open_invoices(billing: &Client, subscription: &Subscription) -> Result<Vec<Invoice>> {
    let mut invoices = invoices(billing, subscription).await?;
    invoices.retain(|invoice| invoice.status == InvoiceStatus::Open);
    Ok(invoices)
}

/// Pays what is due.
async fn pay(billing: &Client, subscription: &Subscription) -> Result<()> {
    for invoice in open_invoices(billing, subscription).await? {
        let payment = NewPayment { amount: invoice.amount_due, provider_ref: unique("ch") };
        billing.invoices().record_payment(&invoice.id, payment).await?;
    }
    Ok(())
}

fn midnight(day: Day) -> Result<Timestamp> {
    Ok(day.to_zoned(TimeZone::UTC)?.timestamp().into())
}

/// An amount of cents as dollars.
fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// What happened in the year.
struct Statement {
    periods: Vec<BillingPeriod>,
    invoices: Vec<Invoice>,
    balance: Vec<BalanceTransaction>,
}

impl Statement {
    fn print(&self, plans: &[&Plan]) {
        let name = |period: &BillingPeriod| {
            let used = period.segments.iter().map(|segment| {
                let plan = plans.iter().find(|plan| plan.id == segment.plan_id);
                format!("{} × {}", plan.map_or("?", |plan| plan.name.as_str()), segment.quantity)
            });
            used.collect::<Vec<_>>().join(", then ")
        };
        println!("PERIODS                        costs    charged");
        for period in self.periods.iter().rev() {
            let (cost, charged) = (money(period.cost), money(period.charged));
            let (start, end) = (day(period.start), day(period.end));
            println!("{start} – {end} {cost:>12} {charged:>10}  {}", name(period));
        }
        println!("\nINVOICES                       total  from balance       paid");
        for invoice in &self.invoices {
            let number = invoice.number.as_deref().unwrap_or("draft");
            let [total, applied, paid] =
                [invoice.total, invoice.balance_applied, invoice.amount_paid].map(money);
            println!(
                "{number:<24} {total:>11} {applied:>13} {paid:>10}  {}",
                invoice.status.name()
            );
            for line in &invoice.lines {
                let period = line.period_start.map(day).unwrap_or_default();
                let named = plans.iter().fold(line.description.clone(), |text, plan| {
                    text.replace(&plan.code, &plan.name)
                });
                println!("    {period} {named:<30} {:>9}", money(line.amount));
            }
        }
        println!("\nBALANCE");
        for transaction in self.balance.iter().rev() {
            println!("{:<24} {:>11}", transaction.kind.name(), money(transaction.amount));
        }
    }

    /// Whether every period was charged what it costs, and everything that was charged is paid.
    fn is_exact(&self) -> bool {
        let living = || self.invoices.iter().filter(|i| i.status != InvoiceStatus::Void);
        let costs: i64 = self.periods.iter().map(|period| period.cost).sum();
        let totals: i64 = living().map(|invoice| invoice.total).sum();
        let settled: i64 = living().map(|i| i.amount_paid + i.balance_applied).sum();
        self.periods.iter().all(|period| period.cost == period.charged)
            && [totals, settled] == [costs; 2]
            && self.invoices.iter().any(|invoice| invoice.status == InvoiceStatus::Void)
    }
}
