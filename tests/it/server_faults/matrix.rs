//! Each step of the saga × each fault of its call × each kind of panel.

use super::{
    cells::{Cell, by_id, prepare, set_off},
    invariants::{CREDITS, PRICE, assert_all_is_right},
    steps::{Fault, Step, WINDOWS},
};
use crate::{
    harness::{
        Api, Database, Server, both_databases, instant,
        panel::{Kind, Panel},
    },
    servers::{Shop, settings_with, timeline},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

both_databases![the_matrix_of_steps_and_faults_leaves_nobody_wronged];

/// Maximum number of kills until each planned one has hit its call.
const KILLS_MAX: usize = 6;

async fn the_matrix_of_steps_and_faults_leaves_nobody_wronged(server: Server) {
    let backend = server.database().backend();
    drop(server);
    // Each kind has a database of its own: a process works on all servers that it finds.
    let walk = |kind| walk(Arc::new(Database::create(backend)), kind);
    tokio::join!(walk(Kind::Pterodactyl), walk(Kind::Pelican));
}

/// Walks through all cells of one kind, many of them at the same time.
async fn walk(database: Arc<Database>, kind: Kind) {
    let panel = Panel::start(kind).await;
    panel.set_calls_per_minute(None);
    let mut server = Server::start_with(database, settings_with(&panel, WINDOWS)).await;
    let shop = Shop::open(&server.api(), &panel, CREDITS, PRICE).await;
    let mut cells = Vec::new();
    // One kill for many calls in flight: those that wait for the settle window need their own.
    for steps in [Step::PROMPT.as_slice(), &Step::SETTLED] {
        cells.extend(kill(&mut server, &panel, &shop, steps).await);
    }
    // After the kills: a create that was refused with 401, 403 or 429 is sent again, and a kill
    // would leave that one in doubt.
    let every = [Step::PROMPT.as_slice(), &Step::SETTLED].concat();
    let mut troubled = prepare(&server.api(), &panel, &shop, plan(&every, Step::faults)).await;
    set_off(&server.api(), &panel, &shop, &mut troubled).await;
    cells.extend(troubled);
    panel.heal();
    panel.set_calls_per_minute(None);
    let servers = assert_all_is_right(&server, &panel, &[shop]).await;
    assert_each_ended_as_it_must(&server.api(), &panel, &cells, &servers).await;
}

/// Each of these steps with each of its faults.
fn plan(steps: &[Step], faults: fn(Step) -> Vec<Fault>) -> Vec<(Step, Fault)> {
    let cells = steps.iter().map(|&step| faults(step).into_iter().map(move |it| (step, it)));
    cells.flatten().collect()
}

/// Kills the server during the calls of these steps, until each planned kill has hit its call.
///
/// On a slow machine the first calls time out before the last ones have begun. Their cells are
/// ordinary ones, and their kills are planned again.
async fn kill(server: &mut Server, panel: &Panel, shop: &Shop, steps: &[Step]) -> Vec<Cell> {
    let mut planned = plan(steps, |_| Step::kills().to_vec());
    let mut cells = Vec::new();
    for _ in 0..KILLS_MAX {
        let mut aimed_at = prepare(&server.api(), panel, shop, planned).await;
        set_off(&server.api(), panel, shop, &mut aimed_at).await;
        server.kill9().await;
        server.restart().await;
        planned = Vec::new();
        for mut cell in aimed_at {
            if !was_in_flight(&server.api(), panel, &cell).await {
                planned.push((cell.step, cell.fault));
                cell.fault.is_killed = false;
            }
            cells.push(cell);
        }
        if planned.is_empty() {
            return cells;
        }
        println!("{:?}: {} calls were over before the kill", panel.kind(), planned.len());
    }
    panic!("{:?}: after {KILLS_MAX} kills, none has hit {planned:#?}", panel.kind());
}

/// Whether the call that met the cell's fault was in flight when its process was killed.
async fn was_in_flight(api: &Api, panel: &Panel, cell: &Cell) -> bool {
    let calls = panel.calls_of(cell.step.call());
    let met = calls.iter().find(|call| {
        call.external_id.as_ref() == Some(&cell.id) && call.trouble == Some(cell.fault.trouble)
    });
    let ago = met.expect("its fault was met").at.elapsed();
    let met_at = Timestamp::now() - ago;
    let told = timeline(api, &json!({"id": cell.id})).await;
    let is_before = |entry: &Value| entry["step"] == "called" && instant(&entry["at"]) <= met_at;
    let began = told.iter().rposition(is_before);
    let began = began.expect("a call is noted before it is made");
    assert_eq!(told[began]["call"], cell.step.call_name(), "{told:#?}");
    // Its process would have recorded what it told. The next one records that it is lost.
    told.get(began + 1).is_none_or(|next| next["observation"] == "lost")
}

/// Asserts what is true of single cells.
async fn assert_each_ended_as_it_must(api: &Api, panel: &Panel, cells: &[Cell], servers: &[Value]) {
    let now = by_id(servers.to_vec());
    let orphans = api.list("/v1/audit?type=orphan_deleted").await;
    for Cell { step, fault, id } in cells {
        let what = format!("{:?}: {step:?} × {fault:?}: {id}", panel.kind());
        let told = timeline(api, &json!({"id": id})).await;
        let end = step.end(panel.kind(), fault.trouble);
        assert_eq!(now[id]["status"], end, "{what} {told:#?}");
        let is_suspended = panel.server(id).is_some_and(|row| row.suspended());
        assert_eq!(is_suspended, *step == Step::Suspend, "{what} {told:#?}");
        if [Step::LookUpFailed, Step::DeleteOrphan].contains(step) {
            let is_told = orphans.iter().any(|record| record["resource"]["id"] == **id);
            assert!(is_told, "{what} is audited");
        }
        let is_lost =
            |entry: &Value| entry["call"] == step.call_name() && entry["observation"] == "lost";
        let is_as_planned = !fault.is_killed || told.iter().any(is_lost);
        assert!(is_as_planned, "{what} was in flight at the kill: {told:#?}");
    }
}
