//! Every route of the server, of the core and of each system.
//!
//! `server/routes.txt` shows all of them on one page.

use crate::http::{
    access, billing, booking, core,
    core::{endpoint::Endpoint, openapi, problem},
    entitlement, ledger, lock, provisioning, transactions,
};
use serde_json::Value;

/// The sections of the OpenAPI document, in reading order, with what each is about. A section that is
/// not listed comes last.
pub const SECTIONS: &[(&str, &str)] = &[
    ("Operations", "Health, metrics and the API's own description."),
    ("Plans", "What can be subscribed to, and what it costs."),
    ("Workspaces", "The paying customers."),
    ("Namespaces", "Parts of a workspace with entitlements of their own."),
    ("Subscriptions", "Who pays for which plan, how many, and in which periods."),
    ("Invoices", "What was charged. Finalized invoices are frozen."),
    ("Features", "What can be granted and metered."),
    ("Packages", "Sets of grants that are assigned to a workspace or namespace."),
    ("Entitlements", "What a workspace or namespace may use, has used and holds."),
    ("Payments", "Money received for an invoice. Append-only."),
    ("Billing", "Runs that make the invoices that are due, and previews of them."),
    ("Balance", "Money that is owed to a customer, which later invoices take from."),
    ("Changes", "Transactions, and the log of all changes as pages and as a stream."),
    ("API keys", "Who may call the API, and the audit log."),
    ("Bookables", "What can be booked by the day, and how much of it."),
    ("Bookings", "Held, confirmed and past bookings."),
    ("Locks", "Named locks with fences that writes can carry."),
    ("Credits", "A prepaid account with reservations."),
    ("Products", "Kinds of servers that can be ordered."),
    ("Servers", "Servers on the panel, from order to deletion."),
];

/// The OpenAPI document.
///
/// `public_url` is where clients reach the server, if that is known.
pub fn document(public_url: Option<&str>) -> Value {
    openapi::document(&endpoints(), SECTIONS, problem::status_of, public_url)
}

/// Every endpoint of the server.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();
    all.extend(core::routes::operations());
    all.extend(core::routes::changes());
    all.extend(billing::routes::routes());
    all.extend(entitlement::routes::routes());
    all.extend(booking::routes::routes());
    all.extend(access::routes::routes());
    all.extend(lock::routes::routes());
    all.extend(ledger::routes::routes());
    all.extend(provisioning::routes::routes());
    all.extend(transactions::routes(&all));
    all
}

#[cfg(test)]
mod tests {
    use crate::http::core::openapi::tests::assert_sound;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/routes.txt");

    #[test]
    fn the_document_is_sound_and_says_every_route() {
        let endpoints = super::endpoints();
        assert_sound(&endpoints, &super::document(None));
    }

    #[test]
    fn every_route_is_on_the_page() {
        let mut lines: Vec<String> = super::endpoints().iter().map(ToString::to_string).collect();
        lines.sort_by_key(|line| line.split_whitespace().nth(1).map(str::to_owned));
        let page = format!("{}\n", lines.join("\n"));
        if std::env::var_os("IFMATCH_TEST_WRITE").is_some() {
            std::fs::write(PAGE, &page).unwrap();
        }
        let written = std::fs::read_to_string(PAGE).unwrap();
        assert!(written == page, "IFMATCH_TEST_WRITE=1 cargo test -p ifmatch-server on_the_page");
    }
}
