//! `restored`: after a restore of the database, followers of the old event log are told so.

use super::{CommandError, open, say};
use crate::config::Config;
use std::process::ExitCode;
use uuid::Uuid;

/// Number of hexadecimal digits that name an epoch of the event log.
const EPOCH_LENGTH: usize = 12;

/// `restored`
///
/// Like `migrate`, it writes without a lane: the epoch is about the database and about no object.
pub fn restored(config: &Config) -> Result<ExitCode, CommandError> {
    let mut db = open(config)?;
    db.migrate()?;
    // The random part of a fresh id. A backup may be restored twice, so no counter will do.
    let id = Uuid::now_v7().simple().to_string();
    let epoch = id.chars().skip(id.len().saturating_sub(EPOCH_LENGTH)).collect::<String>();
    db.begin_epoch(&epoch)?;
    say(format_args!(
        "the event log has a new epoch, {epoch}; followers are told to read the objects anew"
    ))?;
    Ok(ExitCode::SUCCESS)
}
