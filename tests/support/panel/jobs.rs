//! What the panel does for a call while all is well: validate on arrival, then do it.

use super::{
    Kind, Remote,
    answers::{self, invalid},
    fields,
    http::Answer,
    routes::Route,
    rows::{Rows, SUSPENDED},
};
use serde_json::Value;

/// A call that passed the validation.
#[derive(Clone, Debug)]
pub enum Job {
    /// Commit this row.
    Create(Box<Remote>),
    /// Everything else is decided when it is done.
    Other(Route),
}

/// Validates a call, as the panel does on its arrival.
///
/// The unique key of the external id is checked again by the table. Two creates at one moment both
/// pass this, and the second one becomes a 500.
pub fn validate(kind: Kind, rows: &Rows, route: &Route, body: &str) -> Result<Job, Answer> {
    if *route != Route::Create {
        return Ok(Job::Other(route.clone()));
    }
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let draft = fields::check(kind, &body).map_err(|broken| invalid(&broken))?;
    match &draft.external_id {
        Some(external_id) if rows.find(external_id).is_some() => Err(answers::taken()),
        _ => Ok(Job::Create(Box::new(draft))),
    }
}

/// Does what was asked for, in one moment.
pub fn perform(kind: Kind, rows: &mut Rows, job: &Job) -> Answer {
    let route = match job {
        Job::Create(draft) => {
            return rows
                .insert((**draft).clone())
                .map_or_else(|_| answers::unique_key_broken(), |row| answers::created(kind, &row));
        }
        Job::Other(route) => route,
    };
    let Some(row) = row_of(rows, route) else { return answers::not_found() };
    let (id, is_suspended) = (row.id, row.suspended());
    match route {
        Route::Create | Route::Find(_) | Route::Show(_) => answers::server(kind, row),
        Route::Suspend(_) => {
            rows.set_status(id, Some(SUSPENDED));
            answers::no_content()
        }
        // The panel forgets which status the server had before.
        Route::Unsuspend(_) => {
            if is_suspended {
                rows.set_status(id, None);
            }
            answers::no_content()
        }
        Route::Delete { .. } => {
            rows.remove(id);
            answers::no_content()
        }
    }
}

/// The row that a route names.
pub fn row_of<'a>(rows: &'a Rows, route: &Route) -> Option<&'a Remote> {
    match route {
        Route::Find(external_id) => rows.find(external_id),
        route => rows.get(route.id()?),
    }
}
