//! The tables that a person reads: a server's timeline, and the ledger.

use ifmatch::{Credits, Server, ServerEntry, Transfer, TransferKind};

/// Prints what happened to a server, with the time since its order.
pub fn print_timeline(server: &Server, trouble: &str, timeline: &[ServerEntry]) {
    println!("\n{}: {trouble}", server.name);
    println!("        ms  step       call     observation    verdict         status");
    let ordered_at = server.created_at.as_micros();
    for entry in timeline {
        println!(
            "  {:>8}  {:<9}  {:<7}  {:<13}  {:<14}  {}",
            (entry.at.as_micros() - ordered_at) / 1_000,
            entry.step.name(),
            entry.call.map_or("", |call| call.name()),
            entry.observation.map_or("", |observation| observation.name()),
            entry.verdict.map_or("", |verdict| verdict.name()),
            entry.status.name(),
        );
    }
}

/// The credits of all transfers of a kind.
pub fn sum(transfers: &[Transfer], kind: TransferKind) -> i64 {
    let of_kind = transfers.iter().filter(|transfer| transfer.kind == kind);
    of_kind.map(|transfer| transfer.amount).sum()
}

/// Prints what became of the credits.
pub fn print_ledger(transfers: &[Transfer], left: &Credits) {
    println!("\nledger");
    for (kind, what) in [
        (TransferKind::Topup, "bought"),
        (TransferKind::Reserve, "reserved"),
        (TransferKind::Post, "charged"),
        (TransferKind::Void, "given back"),
    ] {
        let count = transfers.iter().filter(|transfer| transfer.kind == kind).count();
        println!("  {what:<12} {count:4} transfers {:6} credits", sum(transfers, kind));
    }
    println!("  {:<12} {:>21} credits, {} reserved", "left", left.available, left.reserved);
}
