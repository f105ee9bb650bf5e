//! The meaning of a refused edit: a conflict, a proxy's refusal, or an earlier send that was applied.

use crate::{
    Conflict, Error, GaveUp, WriteInfo,
    client::Client,
    edit::{Edit, with_edit},
    reply::{Reply, version_of},
    request::{Request, Verb},
    send::Sending,
    versioned::to_json,
};
use ifmatch_types::{ChangeKind, Code, Deleted, HistoryEntry, Page, Source, merge::touches};
use serde_json::Value;

/// The meaning of a bare 409 or 412.
pub(crate) enum Classified {
    /// Nothing is known that keeps the same send from being made again.
    SendAgain,
    /// The object has moved on, and not by this edit.
    Moved(Value),
    /// The object has moved on by this very edit: an earlier send was applied.
    Applied(Reply),
}

/// Whose change an object's history shows after the base of an edit.
enum Author {
    /// This edit's: an earlier send was applied.
    Own(Box<HistoryEntry>),
    /// Another one's: this edit was not applied.
    Other,
    /// It may be this edit's. The entry has no digest of a key, or it is not kept any more.
    Unknown,
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
        let conflict = Conflict::reported(edit, report)?;
        Err(Error::Conflict(Box::new(Conflict { in_turn: sending.had_turn, ..conflict })))
    }

    /// The result of an earlier send without an answer, found in the history. Editing the object
    /// again would apply the edit twice.
    ///
    /// Fails with an unknown outcome if the history does not tell.
    async fn applied_after_all(
        &self,
        sending: &Sending,
        edit: &Edit,
    ) -> Result<Option<Reply>, Error> {
        if !sending.in_doubt {
            return Ok(None);
        }
        let lost = |cause: String| sending.lost(GaveUp::Refused, cause, None);
        let author = self.author(sending, edit).await.map_err(|error| lost(error.to_string()))?;
        match author {
            Author::Own(entry) => {
                let made = self.made_by(&entry, sending, edit).await;
                made.map(Some).map_err(|error| lost(error.to_string()))
            }
            Author::Other => Ok(None),
            Author::Unknown => Err(lost("the history does not say whose change it has".to_owned())),
        }
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
            return Ok(Classified::SendAgain);
        }
        match self.applied_after_all(sending, edit).await {
            Ok(Some(made)) => Ok(Classified::Applied(made)),
            // No version guards a forced edit. Only its key keeps it from being applied twice, so
            // it must not be made again with another one.
            _ if sending.request.is_forced() => Ok(Classified::SendAgain),
            Ok(None) => Ok(Classified::Moved(now.body)),
            Err(error) => Err(error),
        }
    }

    /// Whose change the history shows after the edit's base.
    async fn author(&self, sending: &Sending, edit: &Edit) -> Result<Author, Error> {
        let digest = sending.request.key_digest();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = Request::new(Verb::Get, &edit.path(&["history"]))
                .query("sort", "-version")
                .query("limit", 200);
            if let Some(cursor) = &cursor {
                page = page.query("cursor", cursor);
            }
            let page: Page<HistoryEntry> = self.call(page, sending.deadline).await?.decode()?;
            let mut first = None;
            for entry in page.items.into_iter().filter(|one| one.version > edit.base_version) {
                if entry.key_digest.is_some() && entry.key_digest == digest {
                    return Ok(Author::Own(Box::new(entry)));
                }
                if entry.version == edit.base_version + 1 {
                    first = Some(entry);
                }
            }
            // An edit of a named version can have made only the version after it.
            match first {
                Some(entry) if is_of_another(&entry, &sending.request, edit) => {
                    return Ok(Author::Other);
                }
                Some(_) => return Ok(Author::Unknown),
                None => {}
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Author::Unknown);
            }
        }
    }

    /// The answer to an edit, as it was when its entry was made.
    async fn made_by(
        &self,
        entry: &HistoryEntry,
        sending: &Sending,
        edit: &Edit,
    ) -> Result<Reply, Error> {
        if entry.kind == ChangeKind::Deleted {
            return tombstone(edit, entry);
        }
        let made = entry.version.to_string();
        let snapshot = Request::new(Verb::Get, &edit.path(&["versions", &made]));
        let mut reply = self.call(snapshot, sending.deadline).await?;
        reply.info.replayed = true;
        Ok(reply)
    }
}

/// Whether a request, sent with another key than this entry's, cannot have made it.
///
/// An entry without a digest may have been made by an older server. Then it is another one's only
/// if it did something else.
fn is_of_another(entry: &HistoryEntry, request: &Request, edit: &Edit) -> bool {
    if entry.key_digest.is_some() || entry.by.source != Source::Api {
        return true;
    }
    if (entry.kind == ChangeKind::Deleted) != (request.verb == Verb::Delete) {
        return true;
    }
    let attempted = edit.attempted();
    let is_attempted = |path: &str| attempted.iter().any(|one| touches(&one.path, path));
    request.verb != Verb::Delete && !entry.changes.iter().any(|made| is_attempted(&made.path))
}

/// The answer to a deletion, made from the history.
fn tombstone(edit: &Edit, entry: &HistoryEntry) -> Result<Reply, Error> {
    let deleted = Deleted {
        id: edit.id.clone(),
        deleted_at: entry.at,
        deleted_by: entry.by.actor.clone(),
        last_version: entry.version - 1,
    };
    let info = WriteInfo { replayed: true, ..WriteInfo::default() };
    Ok(Reply { body: to_json(&deleted)?, info })
}
