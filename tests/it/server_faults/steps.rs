//! The steps of a server's saga that call the panel, and the faults that each can meet.

use crate::harness::panel::{Kind, On, Told, Trouble};
use std::time::Duration;

/// Soon enough for the client's timeout and for the pause before a call is repeated.
const SOON: Duration = Duration::from_millis(20);
/// After the client's timeout, and before the end of the settle window.
const LATE: Duration = Duration::from_millis(4_500);

/// After the settle window and the first absence, and before the second one.
const BETWEEN_ABSENCES: Duration = Duration::from_millis(7_000);

/// The windows of the matrix: a call can be seen in flight, and [`LATE`] is within them.
pub const WINDOWS: [(&str, &str); 4] = [
    ("IFMATCH_PANEL_TIMEOUT_MS", "3000"),
    ("IFMATCH_SETTLE_MS", "3000"),
    ("IFMATCH_ABSENT_GAP_MS", "2000"),
    ("IFMATCH_RECONCILE_MS", "100"),
];

/// A call of the saga, in the state of a server that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The create.
    Create,
    /// The lookup that confirms a refused create.
    ConfirmRefusal,
    /// The lookup of a server that was made, and whose create is in doubt.
    LookUpMade,
    /// The first lookup of one that was not made.
    LookUpUnmade,
    /// The second one.
    LookUpAgain,
    /// A suspension.
    Suspend,
    /// The end of a suspension.
    Unsuspend,
    /// The deletion.
    Delete,
    /// The lookup after the deletion.
    LookUpDeleted,
    /// The lookup of a failed server that has appeared on the panel.
    LookUpFailed,
    /// The deletion of such a server.
    DeleteOrphan,
}

/// What a call meets.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What the panel does.
    pub trouble: Trouble,
    /// Whether the process is killed while it waits for the answer.
    pub is_killed: bool,
}

impl Step {
    /// Those whose call follows within a moment after the server was ordered or changed.
    pub const PROMPT: [Self; 8] = [
        Self::Create,
        Self::ConfirmRefusal,
        Self::Suspend,
        Self::Unsuspend,
        Self::Delete,
        Self::LookUpDeleted,
        Self::LookUpFailed,
        Self::DeleteOrphan,
    ];
    /// Those whose call waits for the settle window.
    pub const SETTLED: [Self; 3] = [Self::LookUpMade, Self::LookUpUnmade, Self::LookUpAgain];

    /// The sort of its call.
    pub const fn call(self) -> On {
        match self {
            Self::Create => On::Create,
            Self::Suspend => On::Suspend,
            Self::Unsuspend => On::Unsuspend,
            Self::Delete | Self::DeleteOrphan => On::Delete,
            Self::ConfirmRefusal
            | Self::LookUpMade
            | Self::LookUpUnmade
            | Self::LookUpAgain
            | Self::LookUpDeleted
            | Self::LookUpFailed => On::LookUp,
        }
    }

    /// The name of its call in a timeline.
    pub const fn call_name(self) -> &'static str {
        match self.call() {
            On::Create => "create",
            On::LookUp => "look_up",
            On::Suspend => "suspend",
            On::Unsuspend => "unsuspend",
            On::Delete => "delete",
            On::Any => "any",
        }
    }

    /// The troubles that lead a new server here; `None` if it is not a new one.
    pub fn way(self) -> Option<Vec<(On, Trouble)>> {
        match self {
            Self::Create => Some(vec![]),
            Self::ConfirmRefusal => Some(vec![(On::Create, Trouble::Refuse422)]),
            Self::LookUpMade => Some(vec![(On::Create, Trouble::LoseAnswer)]),
            Self::LookUpUnmade => Some(vec![(On::Create, Trouble::LoseRequest)]),
            // A row that does not exist has no status to lose: the first lookup is answered 404.
            Self::LookUpAgain => {
                Some(vec![(On::Create, Trouble::LoseRequest), (On::LookUp, Trouble::NullStatus)])
            }
            _ => None,
        }
    }

    /// The status that a server must have in the end.
    pub const fn end(self, kind: Kind, trouble: Trouble) -> &'static str {
        match self {
            Self::Create if is_made(kind, trouble) => "active",
            Self::LookUpMade | Self::Suspend | Self::Unsuspend => "active",
            Self::Delete | Self::LookUpDeleted => "deleted",
            Self::Create
            | Self::ConfirmRefusal
            | Self::LookUpUnmade
            | Self::LookUpAgain
            | Self::LookUpFailed
            | Self::DeleteOrphan => "failed",
        }
    }

    /// The faults of its call, without those that cannot be.
    pub fn faults(self) -> Vec<Fault> {
        let mut troubles = GENERAL.to_vec();
        match self.call() {
            // Only a create has fields to refuse.
            On::Create => {
                troubles.extend(NODE);
                troubles.extend(LATE_NODE);
                troubles.extend(BODY);
                troubles.extend([Trouble::Refuse422, Trouble::Refuse400]);
                troubles.push(Trouble::LateSuccess { after: BETWEEN_ABSENCES });
            }
            // The panel answers a lookup without its node.
            On::LookUp => troubles.extend(BODY),
            // An answer without a body cannot have a wrong one.
            On::Suspend | On::Unsuspend => {
                troubles.extend(NODE);
                troubles.extend(LATE_NODE);
            }
            On::Delete => {
                troubles.extend(NODE);
                troubles.extend(LATE_NODE);
                troubles.push(Trouble::SlowDelete { after: LATE });
            }
            On::Any => {}
        }
        troubles.into_iter().map(|trouble| Fault { trouble, is_killed: false }).collect()
    }

    /// The kills during its call: before the panel does it, after it did, and before it does it
    /// after all.
    ///
    /// A kill between a claim and its call cannot be aimed at from outside. It is left to chance in
    /// `a_thousand_servers_outlive_their_processes`. For the next process it is a claim that ran
    /// out without a call.
    pub fn kills() -> [Fault; 3] {
        let done = Trouble::LateSuccess { after: Duration::ZERO };
        let done_late = Trouble::LateSuccess { after: LATE };
        [Trouble::Hang, done, done_late].map(|trouble| Fault { trouble, is_killed: true })
    }
}

/// What any call can meet: an error, a delay, a duplicate.
const GENERAL: [Trouble; 16] = [
    Trouble::LoseRequest,
    Trouble::LoseAnswer,
    Trouble::Gateway { status: 502, done: true },
    Trouble::Gateway { status: 503, done: false },
    Trouble::Gateway { status: 404, done: false },
    Trouble::Status(409, "ConflictHttpException"),
    Trouble::Status(500, "QueryException"),
    Trouble::Throttle { retry_after_s: 1 },
    Trouble::Unauthorized,
    Trouble::Forbidden,
    Trouble::Redirect,
    Trouble::Hang,
    Trouble::LateSuccess { after: SOON },
    Trouble::LateSuccess { after: LATE },
    Trouble::Twice,
    Trouble::TwiceAtOnce,
];

/// A node that is away, or answers with an error.
const NODE: [Trouble; 6] = [
    Trouble::NodeAway { after: SOON, told: Told::After },
    Trouble::NodeAway { after: SOON, told: Told::Before },
    Trouble::NodeAway { after: SOON, told: Told::Never },
    Trouble::NodeError { status: 404, after: SOON },
    Trouble::NodeError { status: 422, after: SOON },
    Trouble::NodeError { status: 500, after: SOON },
];

/// A node whose failure is known after the client has gone.
const LATE_NODE: [Trouble; 4] = [
    Trouble::NodeAway { after: LATE, told: Told::After },
    Trouble::NodeAway { after: LATE, told: Told::Before },
    Trouble::NodeAway { after: LATE, told: Told::Never },
    Trouble::NodeError { status: 500, after: LATE },
];

/// An answer with a body that tells nothing, or something wrong.
const BODY: [Trouble; 6] = [
    Trouble::Malformed,
    Trouble::MissingFields,
    Trouble::OtherId,
    Trouble::NullStatus,
    Trouble::Huge,
    Trouble::Slow { per_chunk: Duration::from_millis(300) },
];

/// Whether the server exists in the end if its create meets this trouble.
const fn is_made(kind: Kind, trouble: Trouble) -> bool {
    match trouble {
        // The panel deletes its row again.
        Trouble::NodeAway { .. } => false,
        Trouble::NodeError { .. } => matches!(kind, Kind::Pelican),
        Trouble::Hang
        | Trouble::LoseRequest
        | Trouble::Gateway { done: false, .. }
        | Trouble::Refuse422
        | Trouble::Refuse400
        | Trouble::Status(..)
        | Trouble::Redirect => false,
        // The panel did not look at it, and it is sent again.
        Trouble::Throttle { .. } | Trouble::Unauthorized | Trouble::Forbidden => true,
        Trouble::LateSuccess { .. }
        | Trouble::LoseAnswer
        | Trouble::Twice
        | Trouble::TwiceAtOnce
        | Trouble::Malformed
        | Trouble::MissingFields
        | Trouble::OtherId
        | Trouble::NullStatus
        | Trouble::Huge
        | Trouble::Slow { .. }
        | Trouble::SlowDelete { .. }
        | Trouble::Gateway { done: true, .. } => true,
    }
}
