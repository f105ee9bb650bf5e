//! Meters, usage records, holds, and the log of a scope.

use crate::{By, HoldId, Metadata, RecordId, Timestamp};

names! {
    /// The life cycle of a usage hold.
    HoldStatus {
        /// Its units are set aside.
        Active = "active",
        /// The work was done and recorded.
        Settled = "settled",
        /// Its units were given back.
        Released = "released",
        /// It was not settled in time; its units were given back.
        Expired = "expired",
    }
}

wire! {
    /// A pool of units as it is now.
    pub struct Meter {
        /// Units used in this window.
        pub used: i64,
        /// Further units that holds set aside.
        pub held: i64,
        /// Units granted by packages and boosts in this window, burnt consumables included;
        /// `null`: no limit.
        pub limit: Option<i64>,
        /// `limit − used − held`, never below 0; `null`: no limit.
        pub remaining: Option<i64>,
        /// Whether there is no limit.
        pub unlimited: bool,
        /// When units come back; `null`: never, or no units are used.
        pub resets_at: Option<Timestamp>,
        /// The scope whose counter is charged: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub charged_scope: String,
    }

    /// A scope's entitlement to a feature. Advice only, computed at `as_of`.
    pub struct Entitlement {
        /// The feature's code.
        pub feature: String,
        /// Whether one more unit would be admitted. For a switch: whether it is on.
        pub allowed: bool,
        /// The pool of units it draws from.
        #[serde(flatten)]
        pub meter: Meter,
        /// When this was true.
        pub as_of: Timestamp,
    }

    /// Units to use if there is room for all of them.
    #[serde(deny_unknown_fields)]
    pub struct NewUsage {
        /// The feature's code.
        pub feature: String,
        /// The number of units, 1–10¹².
        pub quantity: i64,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// Several usages, all or nothing.
    #[serde(deny_unknown_fields)]
    pub struct NewUsageBatch {
        /// 1–100 of them, in order.
        pub items: Vec<NewUsage>,
    }

    /// Usage that was admitted and recorded.
    pub struct Recorded {
        /// `usg_…`
        pub id: RecordId,
        /// The feature's code.
        pub feature: String,
        /// A number of units.
        pub quantity: i64,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// The answer to a [`NewUsageBatch`].
    pub struct RecordedBatch {
        /// One for each usage, in order.
        pub items: Vec<Recorded>,
    }

    /// Recorded usage, as it is stored.
    pub struct UsageRecord {
        /// `usg_…`
        pub id: RecordId,
        /// The scope it is for: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The scope whose counter was charged.
        pub charged_scope: String,
        /// The feature's code.
        pub feature: String,
        /// A number of units.
        pub quantity: i64,
        /// How many of them were given back since.
        pub reversed: i64,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it happened.
        pub at: Timestamp,
        /// Its author.
        pub by: By,
        /// The request that recorded it.
        pub request_id: String,
    }

    /// Units to give back.
    #[serde(deny_unknown_fields)]
    pub struct NewReversal {
        /// The number of units, ≥ 1. At most the recorded ones.
        pub quantity: i64,
    }

    /// The answer to a [`NewReversal`].
    pub struct Reversed {
        /// The record, `usg_…`.
        pub id: RecordId,
        /// The feature's code.
        pub feature: String,
        /// The number of recorded units.
        pub quantity: i64,
        /// How many of them are given back by now.
        pub reversed: i64,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// Units to set aside for work of unknown cost.
    #[serde(deny_unknown_fields)]
    pub struct NewHold {
        /// The feature's code.
        pub feature: String,
        /// The number of units, 1–10¹².
        pub quantity: i64,
        /// How long, in milliseconds; at most 24 hours.
        pub ttl_ms: i64,
    }

    /// The cost of the work.
    #[serde(deny_unknown_fields)]
    pub struct Settlement {
        /// The number of units, 1–10¹². The rest of the hold is given back. More than held needs
        /// room.
        pub quantity: i64,
    }

    /// Units set aside.
    pub struct Hold {
        /// `hld_…`
        pub id: HoldId,
        /// The scope it is for: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The feature's code.
        pub feature: String,
        /// A number of units.
        pub quantity: i64,
        /// Its status.
        pub status: HoldStatus,
        /// When its units are given back unless it is settled.
        pub expires_at: Timestamp,
        /// The number of units recorded when it was settled.
        pub settled_quantity: Option<i64>,
        /// The record of them, `usg_…`.
        pub record_id: Option<RecordId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
    }

    /// A hold with the pool after it.
    pub struct HoldAnswer {
        /// The hold.
        #[serde(flatten)]
        pub hold: Hold,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// One line of a scope's log: something it was given, lost, or was denied.
    pub struct EntitlementLogEntry {
        /// `elg_…`
        pub id: String,
        /// What happened: `package.assigned`, `package.changed`, `boost.granted`, `usage.denied`,
        /// `usage.reversed`, `hold.settled`, `hold.released`, `hold.expired`.
        #[serde(rename = "type")]
        pub log_type: String,
        /// When it happened.
        pub at: Timestamp,
        /// Its author.
        pub by: By,
        /// The request that did it.
        pub request_id: String,
        /// Details, by the names of the API.
        pub details: serde_json::Value,
    }
}

impl Hold {
    /// Whether its units are set aside at an instant.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.status == HoldStatus::Active && now < self.expires_at
    }
}
