//! The client against a server that answers as the wire contract says, and misbehaves on demand.

mod conflicts;
mod fake;
mod parking;
mod sends;
mod surface;
