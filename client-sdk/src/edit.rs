//! One conditional write: an edit of one object, sent as a merge patch with the version it was
//! computed from.

use crate::{
    Conflict, Error,
    classify::Classified,
    client::Client,
    error::is_stale,
    reply::Reply,
    request::{Request, Verb},
    scope::path_of,
    send::{SendError, Sending, is_contradiction},
    versioned::to_json,
};
use ifmatch_types::{
    Assignment, Bookable, Booking, Boost, Code, Difference, Feature, Invoice, Kind, Namespace,
    Package, Plan, Problem, Product, Server, Subscription, Version, Workspace, merge,
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
    /// The path of the object, or of something below it.
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
        let request = Request::new(Verb::Patch, &self.path(&[])).body(&self.patch()).key(key);
        match force {
            Some(reason) => request.force(reason),
            None => request,
        }
    }

    /// The request of its preview, which changes nothing and therefore needs no key.
    pub(crate) fn preview(&self, is_forced: bool) -> Request {
        let request = Request::new(Verb::Post, &self.path(&["preview"])).body(&self.patch());
        if is_forced { request.query("force", true) } else { request }
    }
}

/// The server computes the amount of a line and refuses any other. The old amount would
/// contradict an edited quantity.
fn strip_line_amounts(patch: &mut Value) {
    let lines = patch.get_mut("lines").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        if let Value::Object(line) = line {
            line.remove("amount");
        }
    }
}

/// The object without the fields that this version of the crate does not know.
///
/// Bases are typed and have lost such fields already, so they must not look like changes.
/// An object that this version cannot read stays as it is: it can still be shown to a person.
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
        Kind::Product => through::<Product>(&object),
        Kind::Server => through::<Server>(&object),
    };
    known.unwrap_or(object)
}

impl Client {
    /// Sends an edit until it is applied, refused, or its outcome stays unknown.
    ///
    /// A conflict comes back as [`Error::Conflict`], as the server or a fresh fetch tells it.
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
                        // A conflict without a report is treated like a bare one.
                        None => problem.status,
                    }
                }
                SendError::Refused(problem)
                    if problem.code == Code::Deleted && !self.is_sender_of(&sending.request) =>
                {
                    problem.status
                }
                SendError::Bare(status, _) if is_contradiction(status) => {
                    // The proxy that says so may have delivered the edit before.
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
                Ok(Classified::SendAgain) => {}
                Err(error) => return Err(with_edit(error, edit)),
            }
            if let Some(why) = sending.pause(self, Duration::ZERO).await {
                let error = sending.lost(why, format!("a bare {status}"), None);
                return Err(with_edit(error, edit));
            }
        }
    }
}

/// The conflict part of a problem body.
pub(crate) fn report_of(problem: &Problem) -> Option<ifmatch_types::Conflict> {
    serde_json::from_value(Value::Object(problem.extensions.clone())).ok()
}

/// Adds the edit to an unknown outcome, so that a later conflict can be reported in full.
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
