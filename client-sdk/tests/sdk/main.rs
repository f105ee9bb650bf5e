//! The client against a fake server that follows the wire contract and injects faults.

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
