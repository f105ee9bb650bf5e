//! What each panel leaves behind when the node fails.

use super::{
    Kind, Remote,
    answers::{self, NodeFailure},
    http::Answer,
    jobs::{self, Job},
    routes::Route,
    rows::{Rows, SUSPENDED},
};

/// What the panel still does, once it knows of the failure.
#[derive(Debug)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// It deletes this row.
    Delete(i64),
    /// It sets this row's status back to what it takes for the earlier one.
    SetStatus(i64, Option<&'static str>),
}

impl Then {
    /// Does it.
    pub fn apply(self, rows: &mut Rows) {
        match self {
            Self::Nothing => {}
            Self::Delete(id) => {
                rows.remove(id);
            }
            Self::SetStatus(id, status) => rows.set_status(id, status),
        }
    }
}

/// Does the part of a call that precedes the call of the node. Returns what follows, and the answer.
pub fn begin(kind: Kind, rows: &mut Rows, job: &Job, failure: NodeFailure) -> (Then, Answer) {
    let failed = answers::node_failed(kind, failure);
    let route = match job {
        Job::Create(draft) => return create(kind, rows, draft, failure),
        Job::Other(route) => route,
    };
    let Some(row) = jobs::row_of(rows, route) else { return (Then::Nothing, answers::not_found()) };
    let (id, is_suspended) = (row.id, row.suspended());
    match route {
        // A lookup does not call the node.
        Route::Create | Route::Find(_) | Route::Show(_) => {
            (Then::Nothing, answers::server(kind, row))
        }
        Route::Suspend(_) if !is_suspended => {
            rows.set_status(id, Some(SUSPENDED));
            (Then::SetStatus(id, None), failed)
        }
        Route::Unsuspend(_) if is_suspended => {
            rows.set_status(id, None);
            (Then::SetStatus(id, Some(SUSPENDED)), failed)
        }
        Route::Suspend(_) | Route::Unsuspend(_) => (Then::Nothing, answers::no_content()),
        Route::Delete { force, .. } => {
            let is_deleted = match (kind, failure) {
                (Kind::Pterodactyl, NodeFailure::Status(404)) => true,
                (Kind::Pelican, NodeFailure::Status(_)) => true,
                _ => *force,
            };
            if is_deleted {
                (Then::Delete(id), answers::no_content())
            } else {
                (Then::Nothing, failed)
            }
        }
    }
}

/// A create: its row is committed before the node is called.
fn create(kind: Kind, rows: &mut Rows, draft: &Remote, failure: NodeFailure) -> (Then, Answer) {
    let Ok(row) = rows.insert(draft.clone()) else {
        return (Then::Nothing, answers::unique_key_broken());
    };
    let then = match (kind, failure) {
        // Pelican catches a connection that failed, but not an answer with an error.
        (Kind::Pelican, NodeFailure::Status(_)) => Then::Nothing,
        _ => Then::Delete(row.id),
    };
    (then, answers::node_failed(kind, failure))
}
