//! Servers under every fault: of the panel, of the process that calls it, and of the network.

mod cells;
mod invariants;
mod kills;
mod matrix;
mod steps;
