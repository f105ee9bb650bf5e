//! Every route of the server, of the core and of each system.
//!
//! `server/routes.txt` shows all of them on one page.

use crate::http::{
    access, billing, booking, core,
    core::{endpoint::Endpoint, openapi, problem},
    entitlement, ledger, lock, provisioning, transactions,
};
use serde_json::Value;

/// The sections of the OpenAPI document, in reading order. A section that is not listed comes last.
pub const SECTIONS: &[&str] = &[
    "Operations",
    "Plans",
    "Workspaces",
    "Namespaces",
    "Subscriptions",
    "Invoices",
    "Features",
    "Packages",
    "Entitlements",
    "Payments",
    "Billing",
    "Changes",
    "API keys",
    "Bookables",
    "Bookings",
    "Locks",
    "Credits",
    "Products",
    "Servers",
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
