//! What a change would do: it is decided by the rules of the change itself, and then undone.

use super::{
    conflict::net_changes,
    context::Context,
    edit::{Edit, settable},
    outcome::Outcome,
    precondition::{Mode, Precondition, UpdateObject},
    reach,
    rejection::Rejection,
    resource::Resource,
    versioned::{Read, update},
};
use ifmatch_types::{
    Difference, Verdict, Version,
    merge::{self, touches},
};
use serde_json::Value;

/// What a change would do to the current object.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The version of the object.
    pub current_version: Version,
    /// How the change relates to what happened since the version it names.
    pub verdict: Verdict,
    /// The values that it would change. If it is refused: those that it asks for.
    pub would_change: Vec<Difference>,
    /// Those of them that replace a value the caller has not seen.
    pub would_overwrite: Vec<Difference>,
}

/// Decides a change and undoes it. A refusal of the change is a part of the answer.
///
/// The preview itself is refused if there is nothing to decide: the object does not exist, no
/// version is named, or a field is invalid.
pub(crate) fn preview<R: Resource>(
    command: &UpdateObject,
    ctx: &mut Context<'_>,
) -> Result<(Preview, Option<R::Rejection>), R::Rejection> {
    reach::update::<R>(&command.id, command.change.body(), ctx)?;
    let read = Read::<R>::of(command, ctx)?;
    if command.precondition == Precondition::Missing && !matches!(command.mode, Mode::Force(_)) {
        return Err(Rejection::PreconditionRequired.into());
    }
    let checkpoint = ctx.state.checkpoint();
    let decided = update::<R>(command, ctx);
    ctx.state.rollback(&checkpoint);
    let (would_change, refusal) = match decided {
        Ok(Outcome::Object(answer)) => (merge::diff(&read.found.body, &answer.body), None),
        Ok(_) => (Vec::new(), None),
        Err(rejection) => (asked_for(command, &read), Some(rejection)),
    };
    let base = base_of(command, &read, ctx);
    let since = base.as_ref().map(|base| {
        let named = command.precondition.named(read.found.version()).unwrap_or_default();
        let entries = ctx.state.changes_since(&command.id, named).unwrap_or_default();
        net_changes(base, &read.found.body, &entries)
    });
    let is_unseen = |change: &&Difference| match &since {
        Some(since) => since.iter().any(|other| touches(&other.path, &change.path)),
        None => true,
    };
    let preview = Preview {
        current_version: read.found.version(),
        verdict: verdict::<R>(command, base.as_ref(), since.as_deref()),
        would_overwrite: would_change.iter().filter(is_unseen).cloned().collect(),
        would_change,
    };
    Ok((preview, refusal))
}

/// The object as the caller saw it, if the version it names is still known.
fn base_of<R: Resource>(
    command: &UpdateObject,
    read: &Read<R>,
    ctx: &Context<'_>,
) -> Option<Value> {
    let named = command.precondition.named(read.found.version())?;
    if named == read.found.version() {
        return Some(read.found.body.clone());
    }
    ctx.state.snapshot::<R>(&command.id, named)
}

fn verdict<R: Resource>(
    command: &UpdateObject,
    base: Option<&Value>,
    since: Option<&[Difference]>,
) -> Verdict {
    let Some((base, since)) = base.zip(since) else { return Verdict::UnknownBase };
    // A forced write is read against the current object. It need not be valid on its base.
    let Ok(edit) = Edit::<R>::read(command, base, true) else { return Verdict::UnknownBase };
    merge::judge(R::KIND, &edit.attempted(&command.change, base), since).verdict
}

/// The values that a refused change asks for, against the current ones.
fn asked_for<R: Resource>(command: &UpdateObject, read: &Read<R>) -> Vec<Difference> {
    let body = &read.found.body;
    let Some(base) = &read.old_base else {
        return read.edit.attempted(&command.change, body);
    };
    // Fields that the caller only echoed from an old version are not asked for.
    let now = settable::<R>(body);
    let mut wanted = now.clone();
    merge::apply(&mut wanted, &read.edit.attempted(&command.change, base));
    merge::diff(&now, &wanted)
}
