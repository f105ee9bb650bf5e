//! The client against a server that answers as the wire contract says, and misbehaves on demand.

mod assignments;
mod conflicts;
mod fake;
mod future;
mod meter;
mod parking;
mod sends;
mod strangers;
mod surface;
mod usage;
