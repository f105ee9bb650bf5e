//! What a test can ask of the panel: its kind, the sort of call, and the trouble that it meets.

use std::time::Duration;

/// Which panel is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pterodactyl 1.11.
    Pterodactyl,
    /// Pelican 1.0.0-beta38.
    Pelican,
}

impl Kind {
    /// The calls that one user may make in a minute, unless configured otherwise.
    pub const fn calls_per_minute(self) -> usize {
        match self {
            Self::Pterodactyl => 240,
            Self::Pelican => 256,
        }
    }
}

/// A sort of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// `POST /api/application/servers`
    Create,
    /// `GET …/servers/external/{external_id}` and `GET …/servers/{id}`
    LookUp,
    /// `POST …/servers/{id}/suspend`
    Suspend,
    /// `POST …/servers/{id}/unsuspend`
    Unsuspend,
    /// `DELETE …/servers/{id}` and `DELETE …/servers/{id}/force`
    Delete,
    /// Every call above.
    Any,
}

impl On {
    /// Whether a call of the sort `call` is meant.
    pub fn covers(self, call: Self) -> bool {
        self == Self::Any || self == call
    }
}

/// When the client is told that the node failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the panel, when all is over.
    After,
    /// Before: a gateway in front of the panel gives up at once and answers 504 in HTML.
    Before,
    /// Never: the connection is reset at once.
    Never,
}

/// A trouble that one call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The node does not answer. `after` is how long the panel waits for it.
    ///
    /// | call | Pterodactyl | Pelican |
    /// |---|---|---|
    /// | create | row committed, deleted after `after`; 504 `DaemonConnectionException` | the same; 500 `ConnectionException` |
    /// | suspend, unsuspend | status `null`, or `suspended` again; 504 | the same; 500 |
    /// | delete | row kept; 504 | row kept; 500 |
    /// | delete with `/force` | row deleted; 204 | the same |
    ///
    /// A lookup does not need the node.
    NodeAway {
        /// How long it takes.
        after: Duration,
        /// When the client is told.
        told: Told,
    },
    /// The node answers with this error status.
    ///
    /// | call | Pterodactyl | Pelican |
    /// |---|---|---|
    /// | create | row committed, deleted after `after`; `status` with `DaemonConnectionException` | **row stays `installing`**; 500 `RequestException` |
    /// | suspend, unsuspend | status `null`, or `suspended` again; `status` | the same; 500 |
    /// | delete | row kept, `status`; 404: row deleted, 204 | **row deleted; 204** |
    NodeError {
        /// The node's status, ≥ 400.
        status: u16,
        /// How long it takes.
        after: Duration,
    },
    /// Done only after this time, also if the client has gone, and never answered.
    LateSuccess {
        /// How long it takes.
        after: Duration,
    },
    /// Not done and never answered. The connection stays open.
    Hang,
    /// Not done; the connection is reset.
    LoseRequest,
    /// Done; the connection is reset before the answer.
    LoseAnswer,
    /// The call arrives twice, and the second answer is returned: 422 `unique` for a create.
    Twice,
    /// The call arrives twice at the same moment: one row, and a 500 for a create.
    TwiceAtOnce,
    /// Done; the answer is cut off in the middle of its JSON.
    Malformed,
    /// Done; the answer has a server without most of its fields.
    MissingFields,
    /// Done; the answer shows the external id of another server.
    OtherId,
    /// Done; the row's status is `null`, as after a failed install and an unsuspension. A suspended
    /// row stays so.
    NullStatus,
    /// Done; the answer's body never ends.
    Huge,
    /// Done; the answer comes in chunks of 16 bytes, with this pause after each.
    Slow {
        /// The pause.
        per_chunk: Duration,
    },
    /// Answered 204 at once; the row is deleted this much later. Only for deletes.
    SlowDelete {
        /// How much later.
        after: Duration,
    },
    /// Answered in HTML by a gateway in front of the panel.
    Gateway {
        /// The gateway's status.
        status: u16,
        /// Whether the panel did what it was asked for.
        done: bool,
    },
    /// Not done; 422 with the rule `exists` for `user`.
    Refuse422,
    /// Not done; 400 `NoViableNodeException`: no node has room.
    Refuse400,
    /// Not done; an error of the panel with this status and code.
    Status(u16, &'static str),
    /// Not done; 429 with a `Retry-After`.
    Throttle {
        /// The seconds in `Retry-After`.
        retry_after_s: u64,
    },
    /// Not done; 401.
    Unauthorized,
    /// Not done; 403.
    Forbidden,
    /// Not done; 302 to `/elsewhere`. A client that follows it shows up in the calls.
    Redirect,
}
