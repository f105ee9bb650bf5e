//! Every interleaving of two workers that call a panel which fails, is late and takes back.
//!
//! The search is exhaustive within its bounds. Each judgement is the real `step`, and the workers
//! commit as `calls.rs` does: claim, start, (call the panel), record. A worker may die or stand
//! still between any two of these, and a worker that stands still may go on at any later time.
//!
//! The panel ends each create within `Search::panel_limit` ticks after it was sent. Until then it
//! may commit the row, call the node, and keep the row or delete it again, whether or not somebody
//! still waits for the answer. It answers 201, garbage, an error before or after the commit, 422
//! for the fields, 422 for a duplicate (a proxy sent the request twice), or 429, or the connection
//! never opens. It does not reject a second create by itself: that there is none is a property. A
//! lookup may fail, and one may be answered with 404 although the server exists. A deletion may
//! fail, and its answer may be lost.
//!
//! **Bounds.** Time is counted in ticks of a second: call timeout 1, settle window 3, gap between two
//! absences 1, first back-off 1, so a lease of 3; the panel ends a create within 2. States are
//! compared relative to their present. Time passes only when each worker that stands not still has
//! nothing to do. Creates take their time; other calls do only if their worker stands still. A
//! failed server is watched for as long as it can still appear. Suspensions are in `table.rs`.
//!
//! | search | servers | crashes | pauses | faults | false 404s | deletions | resolutions | states |
//! |---|---|---|---|---|---|---|---|---|
//! | `TWO_SERVERS` | 2 | 2 | 1 | 1 | 0 | 0 | 0 | 203,781 |
//! | `ONE_SERVER` | 1 | 2 | 1 | 2 | 1 | 1 | 1 | 582,029 |
//! | `LATE_SENDER` | 1 | 2 | 1 | 2 | 0 | 1 | 1 | 314,633 |
//!
//! **Assumptions**, each with a search that finds the violation without it:
//!
//! - The settle window is longer than the panel's longest create, from its sending to the deletion
//!   of its row. A panel that takes longer may take back a server that was adopted and charged.
//! - A worker sends a create at most one call timeout after the commit that says so. It looks at its
//!   own clock before it sends. The lease does not help: nothing fences the panel. A create that is
//!   sent later can be adopted by a lookup before the panel takes it back. If the panel takes
//!   nothing back, a late create does no harm (`LATE_SENDER`): it is adopted, or its server is
//!   deleted as an orphan.
//! - A lookup that answers 404 for a server that exists does so less than twice. That is all that
//!   the second lookup protects from: after the settle window a true 404 stays true. Such a 404
//!   comes from a replica of the panel's database that is behind, or from a proxy.

mod act;
mod bounds;
mod clock;
mod panel;
mod promise;
mod searches;
mod time;
mod worker;
mod world;
