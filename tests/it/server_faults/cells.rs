//! Servers that are brought to a step of their saga, where their call meets a fault.

use super::steps::{Fault, Step};
use crate::{
    harness::{
        Api, eventually, id, in_ms,
        panel::{On, Panel, Trouble},
        together, unique, version, with,
    },
    servers::{Shop, timeline},
};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// A server that meets one fault at one step.
pub struct Cell {
    pub step: Step,
    pub fault: Fault,
    pub id: String,
}

/// Orders the servers of cells whose step is not one of a new server.
pub async fn prepare(
    api: &Api,
    panel: &Panel,
    shop: &Shop,
    planned: Vec<(Step, Fault)>,
) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        planned.into_iter().map(|(step, fault)| Cell { step, fault, id: String::new() }).collect();
    for (status, steps) in [
        ("failed", [Step::LookUpFailed, Step::DeleteOrphan].as_slice()),
        ("active", &[Step::Suspend, Step::Unsuspend, Step::Delete, Step::LookUpDeleted]),
    ] {
        let meant: Vec<usize> =
            (0..cells.len()).filter(|&n| steps.contains(&cells[n].step)).collect();
        let refused = (status == "failed").then_some(Trouble::Refuse422);
        panel.always(On::Create, refused);
        let suspended = meant.iter().map(|&n| cells[n].step == Step::Unsuspend).collect::<Vec<_>>();
        let made = order(api, shop, &suspended).await;
        for (id, &n) in made.into_iter().zip(&meant) {
            cells[n].id = id;
        }
        eventually(&format!("the servers are {status}"), async || {
            let now = by_id(api.list("/v1/servers").await);
            let is_ready = |&n: &usize| {
                let now = &now[&cells[n].id];
                now["status"] == status
                    && (status == "failed" || now["suspended"] == now["suspended_on_panel"])
            };
            meant.iter().all(is_ready).then_some(())
        })
        .await;
        panel.always(On::Create, None);
    }
    cells
}

/// Brings each server to its step at once, and waits until each call has met its fault.
pub async fn set_off(api: &Api, panel: &Panel, shop: &Shop, cells: &mut [Cell]) {
    // Nothing is called until each server's troubles are queued.
    panel.go_down().await;
    let new: Vec<usize> = (0..cells.len()).filter(|&n| cells[n].step.way().is_some()).collect();
    let made = order(api, shop, &vec![false; new.len()]).await;
    for (id, n) in made.into_iter().zip(new) {
        cells[n].id = id;
    }
    let sample = panel.servers().into_iter().next().expect("a server is there");
    for cell in cells.iter() {
        let server = json!({"id": cell.id});
        match cell.step {
            Step::Suspend | Step::Unsuspend => {
                let suspended = json!({"suspended": cell.step == Step::Suspend});
                api.change("servers", &server, suspended).await;
            }
            Step::Delete | Step::LookUpDeleted => {
                let version = version(&api.read("servers", &server).await);
                api.delete(&format!("/v1/servers/{}?version={version}", cell.id)).await.ok(202);
            }
            Step::LookUpFailed | Step::DeleteOrphan => {
                let mut late = sample.clone();
                late.external_id = Some(cell.id.clone());
                panel.plant(late);
            }
            _ => {}
        }
        for (on, trouble) in cell.step.way().unwrap_or_default() {
            panel.script_for(&cell.id, on, trouble);
        }
        panel.script_for(&cell.id, cell.step.call(), cell.fault.trouble);
    }
    // A failed server is looked up again only after a while: all calls shall be in flight at once.
    eventually("each server is due soon", async || {
        let now = by_id(api.list("/v1/servers").await);
        let soon = in_ms(500);
        let is_due = |cell: &Cell| {
            now[&cell.id]["next_check_at"].as_str().is_none_or(|at| at < soon.as_str())
        };
        cells.iter().all(is_due).then_some(())
    })
    .await;
    panel.come_up().await;
    meet_faults(api, panel).await;
}

/// Waits until each queued trouble has met its call, as long as there is progress.
async fn meet_faults(api: &Api, panel: &Panel) {
    let mut since = Instant::now();
    while panel.scripted() > 0 {
        let before = panel.scripted();
        eventually("another call has met its fault", async || {
            if since.elapsed() > Duration::from_secs(28) {
                let queued = panel.queued();
                let mut now = Vec::new();
                for (_, whose, _) in queued.iter().take(3) {
                    now.push(timeline(api, &json!({ "id": whose })).await);
                }
                panic!("no call has met {queued:#?} {now:#?}");
            }
            (panel.scripted() < before).then_some(())
        })
        .await;
        since = Instant::now();
    }
}

/// Orders servers, suspended or not, and returns their ids.
async fn order(api: &Api, shop: &Shop, suspended: &[bool]) -> Vec<String> {
    let orders: Vec<Value> = suspended
        .iter()
        .map(|suspended| with(shop.order(), &json!({ "suspended": suspended })))
        .collect();
    let made = together(orders.len(), |n| {
        let (api, body) = (api.clone(), orders[n].clone());
        async move { api.post("/v1/servers", &body).key(&unique("cell")).await.ok(202) }
    })
    .await;
    made.iter().map(|server| id(server).to_owned()).collect()
}

pub fn by_id(servers: Vec<Value>) -> HashMap<String, Value> {
    servers.into_iter().map(|server| (id(&server).to_owned(), server)).collect()
}
