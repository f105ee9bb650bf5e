//! The kinds of versioned objects, and what the wire calls them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of versioned object: one collection of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A price that workspaces can subscribe to.
    Plan,
    /// The paying customer.
    Workspace,
    /// A part of a workspace.
    Namespace,
    /// A workspace's running plan.
    Subscription,
    /// A bill to a workspace.
    Invoice,
    /// Something that can be granted and counted.
    Feature,
    /// A bundle of grants.
    Package,
    /// A package that a workspace or a namespace has.
    Assignment,
    /// Something given to a workspace or a namespace on top of its packages.
    Boost,
    /// Something that can be booked by the day.
    Bookable,
    /// A quantity of a bookable on a range of days.
    Booking,
    /// Something that can be provisioned.
    Product,
    /// A server of a workspace.
    Server,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 13] = [
        Self::Plan,
        Self::Workspace,
        Self::Namespace,
        Self::Subscription,
        Self::Invoice,
        Self::Feature,
        Self::Package,
        Self::Assignment,
        Self::Boost,
        Self::Bookable,
        Self::Booking,
        Self::Product,
        Self::Server,
    ];

    /// The name used in `resource.type`, events and transactions: `subscription`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Workspace => "workspace",
            Self::Namespace => "namespace",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::Feature => "feature",
            Self::Package => "package",
            Self::Assignment => "assignment",
            Self::Boost => "boost",
            Self::Bookable => "bookable",
            Self::Booking => "booking",
            Self::Product => "product",
            Self::Server => "server",
        }
    }

    /// The path segment of the collection: `subscriptions`.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Plan => "plans",
            Self::Workspace => "workspaces",
            Self::Namespace => "namespaces",
            Self::Subscription => "subscriptions",
            Self::Invoice => "invoices",
            Self::Feature => "features",
            Self::Package => "packages",
            Self::Assignment => "assignments",
            Self::Boost => "boosts",
            Self::Bookable => "bookables",
            Self::Booking => "bookings",
            Self::Product => "products",
            Self::Server => "servers",
        }
    }

    /// The prefix of every id of this kind, underscore included: `sub_`.
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::Plan => "pln_",
            Self::Workspace => "wsp_",
            Self::Namespace => "nsp_",
            Self::Subscription => "sub_",
            Self::Invoice => "inv_",
            Self::Feature => "ftr_",
            Self::Package => "pkg_",
            Self::Assignment => "asg_",
            Self::Boost => "bst_",
            Self::Bookable => "bkb_",
            Self::Booking => "bkg_",
            Self::Product => "prd_",
            Self::Server => "srv_",
        }
    }

    /// Whether a repeated creation costs money, so that it needs an `Idempotency-Key`.
    pub const fn creation_needs_key(self) -> bool {
        match self {
            Self::Subscription | Self::Invoice | Self::Booking | Self::Server => true,
            Self::Plan
            | Self::Workspace
            | Self::Namespace
            | Self::Feature
            | Self::Package
            | Self::Assignment
            | Self::Boost
            | Self::Bookable
            | Self::Product => false,
        }
    }

    /// The kind with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of a well-formed id, by its prefix.
    pub fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| crate::id::is_well_formed(id, kind.id_prefix()))
    }

    /// Fields that only make sense together, as JSON Pointers.
    ///
    /// Two edits that change different members of one group are not merged by a machine.
    pub const fn merge_groups(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Plan => {
                &[&["/amount", "/currency"], &["/interval", "/interval_count", "/trial_days"]]
            }
            Self::Workspace | Self::Namespace | Self::Boost => &[],
            Self::Subscription => &[
                &["/status", "/cancel_at_period_end", "/canceled_at"],
                &["/current_period_start", "/current_period_end"],
            ],
            Self::Invoice => &[&["/lines", "/tax", "/currency"]],
            Self::Feature => &[&["/type", "/reset", "/rolling_days", "/parent_code"]],
            Self::Package => &[&["/is_base", "/is_stackable"]],
            Self::Assignment => &[&["/status", "/cancel_at", "/ended_at"]],
            Self::Bookable => &[&["/range_mode", "/min_days", "/max_days"]],
            Self::Booking => &[
                &["/start_date", "/end_date", "/quantity"],
                &["/status", "/hold_expires_at", "/confirmed_at", "/cancelled_at", "/ended_at"],
            ],
            Self::Product => &[&["/egg", "/docker_image", "/startup", "/environment"]],
            Self::Server => &[&["/status", "/suspended"]],
        }
    }

    /// The fields that a change of `status` freezes, as JSON Pointers.
    ///
    /// Such a change is not merged over changes of them: a caller must have seen the price it
    /// activates, or the lines it finalizes. (The other way round, the freeze itself refuses.)
    pub const fn frozen_by_status(self) -> &'static [&'static str] {
        match self {
            Self::Plan => &["/amount", "/currency", "/interval", "/interval_count", "/trial_days"],
            Self::Invoice => &["/workspace_id", "/subscription_id", "/lines", "/tax", "/currency"],
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
