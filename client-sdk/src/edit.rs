//! One conditional write: an edit of one object, sent as a merge patch with the version it was
//! computed from.

use crate::{
    Conflict, Error, GaveUp, WriteInfo,
    client::Client,
    error::is_stale,
    pace::Deadline,
    reply::{Reply, version_of},
    request::{Request, Verb},
    scope::path_of,
    send::{SendError, Sending, is_contradiction},
    versioned::to_json,
};
use ifmatch_types::{
    Assignment, Bookable, Booking, Boost, ChangeKind, Code, Deleted, Difference, Feature,
    HistoryEntry, Invoice, Kind, Namespace, Package, Page, Plan, Problem, Subscription, Version,
    Workspace, merge,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

/// An object before and after an edit, of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) base: Value,
    pub(crate) base_version: Version,
    pub(crate) local: Value,
}

impl Edit {
    /// Where the object is, with whatever lies below it.
    pub(crate) fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        let scope = self.base.get("scope").and_then(Value::as_str);
        path_of(self.kind, scope, &[&[self.id.as_str()], below].concat())
    }

    pub(crate) fn attempted(&self) -> Vec<Difference> {
        merge::diff(&self.base, &self.local)
    }

    /// The merge patch of what the edit changed.
    pub(crate) fn fields(&self) -> Value {
        let mut patch = merge::merge_patch_of(&self.attempted());
        if self.kind == Kind::Invoice {
            strip_line_amounts(&mut patch);
        }
        patch
    }

    /// The merge patch, with the version in the body: a header may be changed on the way.
    fn patch(&self) -> Value {
        let mut patch = self.fields();
        if let Value::Object(fields) = &mut patch {
            fields.insert("version".to_owned(), self.base_version.into());
        }
        patch
    }

    /// The request of this edit; `force` is the reason for skipping the version check.
    pub(crate) fn request(&self, key: Option<String>, force: Option<&str>) -> Request {
        let request = self.unkeyed().key(key);
        match force {
            Some(reason) => request.force(reason),
            None => request,
        }
    }

    /// The request of a dry run, which changes nothing and therefore needs no key.
    pub(crate) fn dry_run(&self, reason: &str) -> Request {
        self.unkeyed().force(reason).query("dry_run", true)
    }

    fn unkeyed(&self) -> Request {
        Request::new(Verb::Patch, &self.path(&[])).body(&self.patch())
    }
}

/// A line's amount is computed by the server, which refuses one that is not what it would be: the
/// old amount would contradict an edited quantity.
fn strip_line_amounts(patch: &mut Value) {
    let lines = patch.get_mut("lines").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        if let Value::Object(line) = line {
            line.remove("amount");
        }
    }
}

/// The object without what this version of the crate does not know.
///
/// Bases are typed and have lost such fields already; they must not look like changes.
/// One that this version cannot read at all stays as it is: it can still be shown to a person.
pub(crate) fn without_unknown_fields(kind: Kind, object: Value) -> Value {
    fn through<T: Serialize + DeserializeOwned>(object: &Value) -> Option<Value> {
        to_json(&T::deserialize(object).ok()?).ok()
    }
    let known = match kind {
        Kind::Plan => through::<Plan>(&object),
        Kind::Workspace => through::<Workspace>(&object),
        Kind::Namespace => through::<Namespace>(&object),
        Kind::Subscription => through::<Subscription>(&object),
        Kind::Invoice => through::<Invoice>(&object),
        Kind::Feature => through::<Feature>(&object),
        Kind::Package => through::<Package>(&object),
        Kind::Assignment => through::<Assignment>(&object),
        Kind::Boost => through::<Boost>(&object),
        Kind::Bookable => through::<Bookable>(&object),
        Kind::Booking => through::<Booking>(&object),
    };
    known.unwrap_or(object)
}

/// What a bare 409 or 412 turned out to mean.
enum Classified {
    /// The object is still at the base: nobody was faster, somebody in between just said no.
    StillAtBase,
    /// The object has moved on, and not by this edit.
    Moved(Value),
    /// The object has moved on by this very edit: an earlier send was applied.
    Applied(Reply),
}

impl Client {
    /// Sends an edit until it is applied, or refused, or nobody knows.
    ///
    /// A conflict comes back as [`Error::Conflict`], with what the server or a look tells.
    pub(crate) async fn send_edit(
        &self,
        sending: &mut Sending,
        edit: &Edit,
    ) -> Result<Reply, Error> {
        loop {
            let error = match self.send(sending).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let status = match error {
                SendError::Refused(problem) if is_stale(&problem) => {
                    match report_of(&problem) {
                        Some(report) => return self.stale(sending, edit, report).await,
                        // A conflict that does not say with what is as good as a bare one.
                        None => problem.status,
                    }
                }
                SendError::Refused(problem)
                    if problem.code == Code::Deleted && !self.is_sender_of(&sending.request) =>
                {
                    problem.status
                }
                SendError::Bare(status, _) if is_contradiction(status) => {
                    // Whoever says so may have delivered the edit before.
                    sending.in_doubt = true;
                    status
                }
                other => return Err(with_edit(sending.settle(other), edit)),
            };
            match self.classify(sending, edit, status).await {
                Ok(Classified::Applied(reply)) => return Ok(reply),
                Ok(Classified::Moved(remote)) => {
                    let conflict = Conflict::between(edit, remote)?;
                    return Err(Error::Conflict(Box::new(conflict)));
                }
                Ok(Classified::StillAtBase) => {}
                Err(error) => return Err(with_edit(error, edit)),
            }
            if let Some(why) = sending.pause(self, Duration::ZERO).await {
                let error = sending.lost(why, format!("a bare {status}"), None);
                return Err(with_edit(error, edit));
            }
        }
    }
}

impl Client {
    /// The object has moved on from the edit's base, as the server says: by this very edit, if
    /// it was sent with another API key, for which alone the server kept the answer.
    async fn stale(
        &self,
        sending: &Sending,
        edit: &Edit,
        report: ifmatch_types::Conflict,
    ) -> Result<Reply, Error> {
        if !self.is_sender_of(&sending.request) {
            let made = self.applied_after_all(sending, edit).await;
            if let Some(made) = made.map_err(|error| with_edit(error, edit))? {
                return Ok(made);
            }
        }
        Err(Error::Conflict(Box::new(Conflict::reported(edit, report)?)))
    }

    /// What an earlier send without an answer made: to edit the object again would apply the edit
    /// twice. The history knows who made the version after the base.
    async fn applied_after_all(
        &self,
        sending: &Sending,
        edit: &Edit,
    ) -> Result<Option<Reply>, Error> {
        if !sending.in_doubt {
            return Ok(None);
        }
        let made = self.made_by(&sending.request, edit, sending.deadline).await;
        made.map_err(|error| sending.lost(GaveUp::Refused, error.to_string(), None))
    }

    /// What a 409 or 412 without the server's words means: looks, and tells.
    async fn classify(
        &self,
        sending: &Sending,
        edit: &Edit,
        status: u16,
    ) -> Result<Classified, Error> {
        let look = Request::new(Verb::Get, &edit.path(&[]));
        let now = match self.call(look, sending.deadline).await {
            Ok(now) => now,
            Err(Error::Refused(problem)) if problem.code == Code::Deleted => {
                match self.applied_after_all(sending, edit).await? {
                    Some(made) => return Ok(Classified::Applied(made)),
                    None => return Err(Error::Refused(problem)),
                }
            }
            Err(error) if sending.in_doubt => {
                return Err(sending.lost(GaveUp::Refused, error.to_string(), None));
            }
            Err(error) => return Err(error),
        };
        let version = version_of(&now.body)?;
        tracing::debug!(
            path = sending.request.path(),
            status,
            base = edit.base_version,
            version,
            "looked, after a refusal without a reason"
        );
        if version == edit.base_version {
            return Ok(Classified::StillAtBase);
        }
        Ok(match self.applied_after_all(sending, edit).await? {
            Some(made) => Classified::Applied(made),
            None => Classified::Moved(now.body),
        })
    }

    /// The object as this request made it, if it did.
    async fn made_by(
        &self,
        request: &Request,
        edit: &Edit,
        deadline: Deadline,
    ) -> Result<Option<Reply>, Error> {
        let made = edit.base_version + 1;
        let mut cursor: Option<String> = None;
        loop {
            let mut page = Request::new(Verb::Get, &edit.path(&["history"]));
            if let Some(cursor) = &cursor {
                page = page.query("cursor", cursor);
            }
            let page: Page<HistoryEntry> = self.call(page, deadline).await?.decode()?;
            if let Some(entry) = page.items.iter().find(|entry| entry.version == made) {
                if entry.request_id != request.request_id {
                    return Ok(None);
                }
                if entry.kind == ChangeKind::Deleted {
                    return Ok(Some(tombstone(edit, entry)?));
                }
                let made = made.to_string();
                let snapshot = Request::new(Verb::Get, &edit.path(&["versions", &made]));
                let mut reply = self.call(snapshot, deadline).await?;
                reply.info.replayed = true;
                return Ok(Some(reply));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }
}

/// What a deletion is answered, out of the history.
fn tombstone(edit: &Edit, entry: &HistoryEntry) -> Result<Reply, Error> {
    let deleted = Deleted {
        id: edit.id.clone(),
        deleted_at: entry.at,
        deleted_by: entry.by.actor.clone(),
        last_version: edit.base_version,
    };
    let info = WriteInfo { replayed: true, ..WriteInfo::default() };
    Ok(Reply { body: to_json(&deleted)?, info })
}

/// The conflict part of a problem body.
pub(crate) fn report_of(problem: &Problem) -> Option<ifmatch_types::Conflict> {
    serde_json::from_value(Value::Object(problem.extensions.clone())).ok()
}

/// An unknown outcome keeps the edit, so that a conflict found later can be told in full.
pub(crate) fn with_edit(error: Error, edit: &Edit) -> Error {
    match error {
        Error::OutcomeUnknown(unknown) => Error::OutcomeUnknown(Box::new(unknown.of_edit(edit))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_edited_invoice_line_leaves_its_amount_to_the_server() {
        let line = |quantity| {
            json!([{"description": "seat", "quantity": quantity,
            "unit_amount": 5, "amount": 5}])
        };
        let edit = Edit {
            kind: Kind::Invoice,
            id: "inv_1".into(),
            base: json!({"version": 3, "lines": line(1), "notes": ""}),
            base_version: 3,
            local: json!({"version": 3, "lines": line(2), "notes": ""}),
        };
        assert_eq!(
            edit.patch(),
            json!({"version": 3,
                "lines": [{"description": "seat", "quantity": 2, "unit_amount": 5}]})
        );
    }
}
