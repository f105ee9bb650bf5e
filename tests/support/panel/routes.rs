//! The paths of the Application API that the panel has.

use super::On;

/// What a request is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A new server.
    Create,
    /// The server with this external id.
    Find(String),
    /// The server with this id.
    Show(i64),
    /// The suspension of this server.
    Suspend(i64),
    /// The end of its suspension.
    Unsuspend(i64),
    /// The deletion of this server, in spite of its node if `force`.
    Delete { id: i64, force: bool },
}

impl Route {
    /// The route of a request, if it is one of the API.
    pub fn of(method: &str, path: &str) -> Option<Self> {
        let path = path.split('?').next()?;
        let rest = path.strip_prefix("/api/application/servers")?;
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        Some(match (method, parts.as_slice()) {
            ("POST", []) => Self::Create,
            ("GET", ["external", external_id]) => Self::Find((*external_id).to_owned()),
            ("GET", [id]) => Self::Show(id.parse().ok()?),
            ("POST", [id, "suspend"]) => Self::Suspend(id.parse().ok()?),
            ("POST", [id, "unsuspend"]) => Self::Unsuspend(id.parse().ok()?),
            ("DELETE", [id]) => Self::Delete { id: id.parse().ok()?, force: false },
            ("DELETE", [id, "force"]) => Self::Delete { id: id.parse().ok()?, force: true },
            _ => return None,
        })
    }

    /// The sort of call.
    pub const fn on(&self) -> On {
        match self {
            Self::Create => On::Create,
            Self::Find(_) | Self::Show(_) => On::LookUp,
            Self::Suspend(_) => On::Suspend,
            Self::Unsuspend(_) => On::Unsuspend,
            Self::Delete { .. } => On::Delete,
        }
    }

    /// The numeric id in the path.
    pub const fn id(&self) -> Option<i64> {
        match self {
            Self::Create | Self::Find(_) => None,
            Self::Show(id) | Self::Suspend(id) | Self::Unsuspend(id) => Some(*id),
            Self::Delete { id, .. } => Some(*id),
        }
    }
}
