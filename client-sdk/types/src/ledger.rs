//! The ledger: credits of workspaces, the transfers that move them, and reservations.

use crate::{By, ServerId, Timestamp, TransferId, Version, WorkspaceId};

names! {
    /// What a transfer does to an account.
    TransferKind {
        /// Adds credits that were bought or given.
        Topup = "topup",
        /// Corrects what is available, up or down.
        Adjust = "adjust",
        /// Sets credits aside for something whose outcome is not known yet.
        Reserve = "reserve",
        /// Charges reserved credits; the rest of the reservation is available again.
        Post = "post",
        /// Makes reserved credits available again.
        Void = "void",
        /// Charges credits without a reservation.
        Charge = "charge",
        /// Gives charged credits back.
        Refund = "refund",
    }

    /// The life cycle of a reservation. It is resolved at most once, and never by itself.
    ReservationStatus {
        /// Its credits are set aside.
        Pending = "pending",
        /// Its credits, or a part of them, were charged.
        Posted = "posted",
        /// Its credits are available again.
        Voided = "voided",
    }
}

wire! {
    /// The credits of a workspace as they are now.
    pub struct Credits {
        /// Credits that can be reserved, ≥ 0.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        pub available: i64,
        /// Credits that pending reservations set aside, ≥ 0.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        pub reserved: i64,
        /// The number of transfers so far.
        pub version: Version,
    }

    /// Credits to add to a workspace's account.
    #[serde(deny_unknown_fields)]
    pub struct NewTopup {
        /// A number of credits, ≥ 1.
        #[cfg_attr(feature = "openapi", schema(minimum = 1))]
        pub amount: i64,
        /// Why, 1–500 characters.
        pub reason: String,
    }

    /// A correction of a workspace's account.
    #[serde(deny_unknown_fields)]
    pub struct NewAdjustment {
        /// A number of credits, not 0; below 0 to take away.
        pub amount: i64,
        /// Why, 1–500 characters.
        pub reason: String,
    }

    /// Credits to set aside.
    #[serde(deny_unknown_fields)]
    pub struct NewReservation {
        /// A number of credits, ≥ 1.
        #[cfg_attr(feature = "openapi", schema(minimum = 1))]
        pub amount: i64,
        /// What it is for, in the caller's own words; ≤ 200 characters, need not be unique.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        pub reference: Option<String>,
    }

    /// How much of a reservation to charge.
    #[serde(deny_unknown_fields)]
    pub struct NewPosting {
        /// A number of credits, ≥ 1 and at most the reserved ones. Default: all of them.
        #[cfg_attr(feature = "openapi", schema(minimum = 1))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub amount: Option<i64>,
    }

    /// One transfer. It never changes.
    pub struct Transfer {
        /// `trf_…`. The id of a `reserve` is the id of its reservation.
        pub id: TransferId,
        /// What it did.
        pub kind: TransferKind,
        /// A number of credits; below 0 only for an adjustment.
        pub amount: i64,
        /// The number of this transfer in its account, from 1, without a gap.
        pub version: Version,
        /// What was available after it, ≥ 0.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        pub available: i64,
        /// What was reserved after it, ≥ 0.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        pub reserved: i64,
        /// The reservation that it made or resolved.
        pub reservation_id: Option<TransferId>,
        /// What the reservation is for.
        #[serde(rename = "ref")]
        pub reference: Option<String>,
        /// The reason of a top-up or an adjustment.
        pub reason: Option<String>,
        /// Its author.
        pub by: By,
        /// When it was made.
        pub at: Timestamp,
    }

    /// A reservation as it is now.
    pub struct Reservation {
        /// `trf_…`, the id of the transfer that made it.
        pub id: TransferId,
        /// The workspace whose credits are set aside.
        pub workspace_id: WorkspaceId,
        /// The number of reserved credits, ≥ 1.
        #[cfg_attr(feature = "openapi", schema(minimum = 1))]
        pub amount: i64,
        /// What it is for.
        #[serde(rename = "ref")]
        pub reference: Option<String>,
        /// The server that made it, and alone resolves it; `null` if a caller made it.
        pub server_id: Option<ServerId>,
        /// Its status.
        pub status: ReservationStatus,
        /// The number of credits that were charged, ≥ 0; `null` while it is pending.
        #[cfg_attr(feature = "openapi", schema(minimum = 0))]
        pub posted: Option<i64>,
        /// The transfer that resolved it, `trf_…`.
        pub resolved_by: Option<TransferId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was resolved.
        pub resolved_at: Option<Timestamp>,
    }
}
