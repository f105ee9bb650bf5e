//! Each behaviour of the panel, seen by a client that speaks HTTP by hand.

mod client;
mod life;
mod network;
mod troubles;
