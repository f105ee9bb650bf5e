//! An audited override: preview what it overwrites, give a reason, find it in the log.
//!
//! `cargo run --release --example force_override`

mod support;

use ifmatch::SubscriptionStatus;

#[tokio::main]
async fn main() -> support::Result<()> {
    let server = support::Server::find()?;
    let admin = server.client()?;
    let agent = server.builder(&support::make_agent_key(&admin, "support-agent").await?).build()?;
    let plan = support::make_plan(&admin, "Pro", 4900).await?;
    let sub = support::subscribe(&admin, "Acme", &plan).await?;

    // An admin prepares a cancellation after a chargeback, based on the current state.
    let seen = admin.subscriptions().get(&sub.id).await?;
    let edited = seen.edited(|s| {
        s.status = SubscriptionStatus::Canceled;
        s.notes = "chargeback 8812".to_owned();
    });
    // Meanwhile an agent adds a note.
    let promise = "promised a refund until Friday";
    agent.subscriptions().update(&sub.id, |s| s.notes = promise.to_owned()).await?;

    // Both wrote the notes, so a save would be refused or parked. A force is applied in any case,
    // so preview it, which writes nothing.
    let reason = "chargeback 8812, decided by finance";
    let force = || admin.subscriptions().save(&seen, &edited).force(reason);
    let preview = force().preview().await?;
    println!("the admin saw version {}, it is at {} now", seen.version(), preview.current_version);
    println!("a force would overwrite:");
    for change in &preview.would_overwrite {
        println!("  {}: {} → {}", change.path, change.from, change.to);
    }

    // Only an admin may force. Others are refused, and the attempt is audited.
    let denied = agent.subscriptions().save(&seen, &edited).force("I am sure").await;
    let denied = denied.err().ok_or("an agent's key could force a write")?;
    println!("\nthe agent tries to force it: {denied}");

    let forced = force().await?;
    println!("the admin forces it: version {}, forced: {}", forced.version(), forced.forced());

    // The audit record is in the same commit as the write, so no force is unaudited.
    println!("\nthe audit log, newest first:");
    let audit = admin.audit().limit(200).await?.items.into_iter();
    for record in audit.filter(|r| r.resource.as_ref().is_some_and(|of| of.id == sub.id.as_str())) {
        let reason = record.reason.as_deref().unwrap_or("no reason");
        println!("  {} by {}: {reason}", record.audit_type, record.actor);
        for change in &record.changes {
            println!("    {}: {} → {}", change.path, change.from, change.to);
        }
    }
    Ok(())
}
