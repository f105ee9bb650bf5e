//! Compares the server, its ledger and the panel.

use super::{PRICE, panel::Panel, tables::sum};
use ifmatch::{Credits, Server, ServerStatus, Transfer, TransferKind, Versioned};
use std::collections::BTreeSet;

/// Prints what must hold and whether it does. Returns whether all of it does.
pub fn print(
    servers: &[Versioned<Server>],
    transfers: &[Transfer],
    left: &Credits,
    panel: &Panel,
) -> bool {
    let active = servers.iter().filter(|server| server.status == ServerStatus::Active);
    let paid: BTreeSet<String> = active.map(|server| server.external_id.clone()).collect();
    let remote = panel.servers();
    let there: BTreeSet<String> =
        remote.iter().filter_map(|server| server.external_id.clone()).collect();
    let price_of = |count: usize| i64::try_from(count).ok().and_then(|n| n.checked_mul(PRICE));
    let (charged, back) = (sum(transfers, TransferKind::Post), sum(transfers, TransferKind::Void));
    let bought = sum(transfers, TransferKind::Topup);
    let checks = [
        ("charged: the price of each active server", Some(charged) == price_of(paid.len())),
        ("given back: the price of each failed server", {
            Some(back) == price_of(servers.len().saturating_sub(paid.len()))
        }),
        ("left: what was bought and not charged", {
            (left.available, left.reserved) == (bought - charged, 0)
        }),
        ("the panel has exactly the active servers", {
            paid == there && there.len() == remote.len()
        }),
        ("the panel made no server twice", panel.most_rows_made() <= 1),
    ];
    println!();
    for (what, holds) in checks {
        println!("  {:<7} {what}", if holds { "yes" } else { "NO" });
    }
    let is_exact = checks.iter().all(|(_, holds)| *holds);
    let verdict =
        if is_exact { "each server that exists is paid for, and no other" } else { "WRONG" };
    println!("\nVERDICT: {} active, {} failed; {verdict}", paid.len(), servers.len() - paid.len());
    is_exact
}
