//! The parts that all systems share: commands, versions, conflicts, history and batch state.
//!
//! The core knows no system. Each system has its own `Action`, `Need`, `Outcome`, `Rejection` and
//! tables. `systems.rs` wraps them.

mod audit;
mod calendar;
mod command;
mod commit;
mod conflict;
mod context;
mod edit;
mod fields;
mod guard;
mod id;
mod journal;
mod mutant;
mod need;
mod outcome;
mod past;
mod precondition;
mod preview;
mod reach;
mod recent;
mod redact;
mod redaction;
mod rejection;
mod resource;
mod row;
mod state;
mod strict;
mod table;
mod tables;
mod versioned;
mod wants;

pub(crate) use audit::{plain_audit, record_denied};
pub(crate) use calendar::{Step, days_between};
pub use command::{Action, Actor, Command, IdempotencyKey, Meta, Operation, RecordDenied};
pub use context::Context;
pub(crate) use edit::{json, object};
pub use fields::Errors;
pub(crate) use fields::referenced;
pub(crate) use guard::check_claim;
pub use guard::{Claim, Fence, Guard, Tags};
pub(crate) use id::Ids;
pub use journal::{Audit, History, NewEvent};
pub use mutant::Mutant;
pub use need::{LockClass, Need, SystemNeed, Turn, Unlocked};
pub use outcome::{Document, How, KeptAnswer, ObjectAnswer, Outcome};
pub use precondition::{
    Change, CreateObject, DeleteObject, Force, Mode, Precondition, UpdateObject,
};
pub use preview::Preview;
pub(crate) use preview::preview;
pub use reach::{HangsOn, ScopedWrites};
pub(crate) use reach::{allow, see};
pub use recent::Recent;
pub use redact::RedactObject;
pub(crate) use redact::redact;
pub(crate) use redaction::redactable;
pub use redaction::{Redactable, Redaction};
pub use rejection::Rejection;
pub use resource::Resource;
pub(crate) use resource::usual_parts;
pub use row::{Objects, Row, Rows, Tombstone};
pub use state::{CodeHolder, State, Tables, Use};
pub use strict::{read, read_value};
pub use table::{Change as RowChange, Guarded, Reversible, Table};
pub(crate) use tables::tables;
pub(crate) use versioned::{
    alive, change_internally, check, create, create_internally, delete, keep_internally, living,
    stale_claim, update,
};
pub use wants::{Asked, Wanted, Wants};
