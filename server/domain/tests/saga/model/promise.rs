//! What must hold in every state, and what a search must reach.

use super::{
    bounds::Search,
    world::{Broken, Row, Server, World},
};
use ifmatch_types::ServerStatus as Status;

pub type Holds = fn(&Search, &World) -> bool;

pub const CHARGED_FOR_NOTHING: &str = "a charged server exists and stays";
pub const SERVER_LOST: &str = "a server that fails does not exist and will not";
pub const DELETED_IN_PART: &str = "a deleted server does not exist";
pub const CREATED_TWICE: &str = "nothing is created twice";
pub const STATUS_LEFT: &str = "a status that ends the saga stays";
pub const CREDITS: &str = "credits follow the status";
pub const SLOT: &str = "the slot is freed once, when the server has ended";
pub const END: &str = "at the end everything is kept or everything is undone";

pub const PROPERTIES: [(&str, Holds); 8] = [
    (CHARGED_FOR_NOTHING, |_, world| world.broken != Some(Broken::ChargedWithoutServer)),
    (SERVER_LOST, |_, world| world.broken != Some(Broken::ServerLost)),
    (DELETED_IN_PART, |_, world| world.broken != Some(Broken::DeletedInPart)),
    (CREATED_TWICE, |_, world| world.broken != Some(Broken::TwoServers)),
    (STATUS_LEFT, |_, world| world.broken != Some(Broken::StatusLeft)),
    (CREDITS, |_, world| world.servers.iter().all(credits_follow)),
    (SLOT, |_, world| world.servers.iter().all(slot_follows)),
    (END, |search, world| {
        let ends_well = || world.servers.iter().all(ends_well);
        world.broken.is_some() || !world.is_over(search) || ends_well()
    }),
];

/// What a search must reach, so that its properties say something.
pub const REACHED: [(&str, Holds); 3] = [
    ("both are kept", |_, world| world.servers.iter().all(|server| server.charged == 1)),
    ("both are undone", |_, world| world.servers.iter().all(|server| server.given_back == 1)),
    ("a create is late", |_, world| {
        let is_late = |server: &Server| {
            server.saga.status == Status::PendingReconciliation && server.request.is_some()
        };
        world.servers.iter().any(is_late)
    }),
];

pub fn credits_follow(server: &Server) -> bool {
    let expected = match server.saga.status {
        Status::Active | Status::Deprovisioning | Status::Deleted => (1, 0),
        Status::Failed => (0, 1),
        _ => (0, 0),
    };
    (server.charged, server.given_back) == expected
}

pub fn slot_follows(server: &Server) -> bool {
    let has_ended = matches!(server.saga.status, Status::Failed | Status::Deleted);
    server.freed == u8::from(has_ended)
}

pub fn ends_well(server: &Server) -> bool {
    let row = match server.saga.status {
        Status::Active => Some(Row::Settled),
        Status::Failed | Status::Deleted => None,
        _ => return false,
    };
    server.row == row && server.unrecorded <= 0
}
