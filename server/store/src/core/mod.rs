//! The code that all systems share. Nothing here knows a system by name; `systems.rs` lists them.

pub(crate) mod answers;
pub(crate) mod bulk;
pub(crate) mod column;
pub(crate) mod db;
pub(crate) mod error;
pub(crate) mod event_log;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod history;
pub(crate) mod journal;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod migrate;
pub(crate) mod mistimed;
pub(crate) mod object;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod save;
pub(crate) mod select;
pub(crate) mod sql;
pub(crate) mod table;
pub(crate) mod url;
pub(crate) mod verify;
