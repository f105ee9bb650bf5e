//! A first tour: create some objects, edit them, and see a conflict resolve itself.
//!
//! `cargo run --release --example quickstart`

mod support;

use ifmatch::{ChangeKind, PlanFields, PlanStatus, SubscriptionFields, WorkspaceFields};

#[tokio::main]
async fn main() -> support::Result<()> {
    let server = support::Server::find()?;
    let billing = server.client()?;

    // A plan to sell, a customer, and a subscription.
    let plan = PlanFields {
        code: support::unique("pro"),
        name: "Pro".to_owned(),
        currency: "USD".to_owned(),
        amount: 4900, // in cents
        status: Some(PlanStatus::Active),
        ..Default::default()
    };
    let plan = billing.plans().create(plan).await?;
    let acme = WorkspaceFields { name: "Acme".to_owned(), ..Default::default() };
    let acme = billing.workspaces().create(acme).await?;
    let sub = SubscriptionFields {
        workspace_id: acme.id.clone(),
        plan_id: plan.id.clone(),
        quantity: 5,
        ..Default::default()
    };
    let subs = billing.subscriptions();
    let sub = subs.create(sub).await?;
    println!(
        "{} has {} seats of {}, version {}",
        acme.name,
        sub.quantity,
        plan.name,
        sub.version()
    );

    // An edit is a closure. It names the version that it was computed from. If another writer was
    // first, the closure runs again on the new state.
    let sub = subs.update(&sub.id, |s| s.quantity += 3).await?;
    println!("three more: {} seats, version {}", sub.quantity, sub.version());

    // Ann opens a form and thinks about it.
    let shown = subs.get(&sub.id).await?;
    let form = shown.edited(|s| s.notes = "prefers e-mail".to_owned());

    // Meanwhile Ben adds two seats, so Ann's version is outdated.
    let sub =
        billing.acting_for("ben").subscriptions().update(&sub.id, |s| s.quantity += 2).await?;
    println!("Ben made it {} seats, version {}", sub.quantity, sub.version());

    // Elsewhere her save would fail, or remove Ben's seats. Here the server refuses the old
    // version, and the client applies her note to Ben's state.
    println!("Ann saves what she saw at version {}", shown.version());
    let saved = billing.acting_for("ann").subscriptions().save(shown, form).await?;
    println!(
        "saved as version {} after {} conflict: {} seats, notes {:?}",
        saved.version(),
        saved.conflicts(),
        saved.quantity,
        saved.notes
    );

    println!("\nnothing was lost, and everything is on record:");
    for entry in subs.history(&saved.id).await?.items.iter().rev() {
        let (version, who) = (entry.version, support::who(&entry.by));
        match entry.kind {
            ChangeKind::Created => println!("  version {version}  {who} created it"),
            _ => {
                for change in &entry.changes {
                    let (path, from, to) = (&change.path, &change.from, &change.to);
                    println!("  version {version}  {who} changed {path} from {from} to {to}");
                }
            }
        }
    }
    Ok(())
}
