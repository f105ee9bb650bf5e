//! The meaning of a refused edit: a conflict, a proxy's refusal, or an earlier send that was applied.

use crate::{
    Conflict, Error, GaveUp, WriteInfo,
    client::Client,
    edit::{Edit, with_edit},
    pace::Deadline,
    reply::{Reply, version_of},
    request::{Request, Verb},
    send::Sending,
    versioned::to_json,
};
use ifmatch_types::{ChangeKind, Code, Deleted, HistoryEntry, Page};
use serde_json::Value;

/// The meaning of a bare 409 or 412.
pub(crate) enum Classified {
    /// The object is still at the base. A proxy refused, not the server.
    StillAtBase,
    /// The object has moved on, and not by this edit.
    Moved(Value),
    /// The object has moved on by this very edit: an earlier send was applied.
    Applied(Reply),
}

impl Client {
    /// Handles a conflict that the server reports. The object may have moved on by this very edit,
    /// if another API key sent it: the server keeps answers per key.
    pub(crate) async fn stale(
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

    /// The result of an earlier send without an answer, found in the history. Editing the object
    /// again would apply the edit twice.
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

    /// Fetches the object to find the meaning of a 409 or 412 without a problem body.
    pub(crate) async fn classify(
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

    /// The object as this request made it, if it was applied.
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

/// The answer to a deletion, made from the history.
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
