//! The texts of the rejections by provisioning.

use crate::http::{
    core::problem::{HttpProblem, rejection},
    ledger,
};
use ifmatch_domain::provisioning::Rejection;
use ifmatch_types::Code;

/// The problem of a rejection by provisioning.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::Ledger(rejection) => ledger::problem::problem(rejection),
        Rejection::NoPanel => HttpProblem::new(
            Code::PanelNotConfigured,
            "no servers can be made: set IFMATCH_PANEL_URL and IFMATCH_PANEL_KEY",
        ),
        Rejection::ProductUnavailable { product_id, status } => HttpProblem::new(
            Code::ProductUnavailable,
            format!("product {product_id} is {status}; no new servers are made of it"),
        )
        .with("product_id", product_id)
        .with("product_status", status),
        Rejection::WrongPanel { product_id, field } => HttpProblem::new(
            Code::ProductUnavailable,
            format!(
                "product {product_id} is for another panel: this one does not know deploy.{field}"
            ),
        )
        .with("product_id", product_id),
        Rejection::ProductInUse => {
            HttpProblem::new(Code::ProductInUse, "the product had a server; archive it instead")
        }
        Rejection::LimitReached { product_id, limit, used } => HttpProblem::new(
            Code::ServerLimitReached,
            format!("the workspace has {used} servers of this product and may have {limit}"),
        )
        .with("product_id", product_id)
        .with("limit", limit)
        .with("used", used),
    }
}
