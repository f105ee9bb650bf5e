//! The panel's table of servers.

use super::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The status of a server that is being installed.
pub const INSTALLING: &str = "installing";
/// The status of a suspended server.
pub const SUSPENDED: &str = "suspended";

/// The panel gives no times that anybody reads.
const MADE_AT: &str = "2026-01-01T00:00:00+00:00";

/// A server in the panel's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// The numeric id, from 1. The panel sets it.
    pub id: i64,
    /// The UUID. The panel sets it.
    pub uuid: String,
    /// The unique id that its creator gave it.
    pub external_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its owner's id.
    pub user: i64,
    /// Its egg's id.
    pub egg: i64,
    /// `{memory, swap, disk, io, cpu}`
    pub limits: Value,
    /// `{databases, allocations, backups}`
    pub feature_limits: Value,
    /// `docker_image`; empty if the egg decides.
    pub image: String,
    /// `startup`; empty if the egg decides.
    pub startup: String,
    /// Its variables.
    pub environment: Value,
    /// Where it was to be put, without the fields that the panel dropped.
    pub deploy: Value,
    /// `installing`, `suspended`, …, or nothing.
    pub status: Option<String>,
}

impl Remote {
    /// An installed server without limits, to plant.
    pub fn new(external_id: &str, user: i64, egg: i64) -> Self {
        Self {
            id: 0,
            uuid: String::new(),
            external_id: Some(external_id.to_owned()),
            name: "by hand".to_owned(),
            user,
            egg,
            limits: json!({"memory": 0, "swap": 0, "disk": 0, "io": 500, "cpu": 0}),
            feature_limits: json!({"databases": 0, "allocations": 0, "backups": 0}),
            image: String::new(),
            startup: String::new(),
            environment: json!({}),
            deploy: Value::Null,
            status: None,
        }
    }

    /// Whether it is suspended.
    pub fn suspended(&self) -> bool {
        self.status.as_deref() == Some(SUSPENDED)
    }

    /// The resource `server`, as this panel shows it.
    pub fn resource(&self, kind: Kind) -> Value {
        let is_uninstalled = matches!(self.status.as_deref(), Some(INSTALLING | "install_failed"));
        let mut limits = self.limits.clone();
        insert(&mut limits, "threads", Value::Null);
        insert(&mut limits, "oom_disabled", json!(true));
        if kind == Kind::Pelican {
            insert(&mut limits, "oom_killer", json!(false));
        }
        // The panel mixes variables of its own in.
        let mut environment = self.environment.clone();
        insert(&mut environment, "STARTUP", json!(self.startup));
        insert(&mut environment, "P_SERVER_UUID", json!(self.uuid));
        let mut attributes = json!({
            "id": self.id,
            "external_id": self.external_id,
            "uuid": self.uuid,
            "identifier": self.uuid.split('-').next(),
            "name": self.name,
            "description": "",
            "status": self.status,
            "suspended": self.suspended(),
            "limits": limits,
            "feature_limits": self.feature_limits,
            "user": self.user,
            "node": 1,
            "allocation": self.id,
            "egg": self.egg,
            "container": {
                "startup_command": self.startup,
                "image": self.image,
                "installed": i32::from(!is_uninstalled),
                "environment": environment,
            },
            "updated_at": MADE_AT,
            "created_at": MADE_AT,
        });
        if kind == Kind::Pterodactyl {
            insert(&mut attributes, "nest", json!(1));
        }
        json!({"object": "server", "attributes": attributes})
    }
}

/// Sets a member of an object. Anything else stays as it is.
fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Another row has this external id.
pub struct Taken;

/// The rows, with the unique key that the real table has.
#[derive(Default)]
pub struct Rows {
    rows: BTreeMap<i64, Remote>,
    by_external_id: HashMap<String, i64>,
    last_id: i64,
    /// How many rows were ever committed for each external id.
    made: HashMap<String, usize>,
}

impl Rows {
    /// Commits a row, under a new id and UUID.
    pub fn insert(&mut self, mut row: Remote) -> Result<Remote, Taken> {
        if row.external_id.as_ref().is_some_and(|id| self.by_external_id.contains_key(id)) {
            return Err(Taken);
        }
        self.last_id += 1;
        row.id = self.last_id;
        row.uuid = uuid();
        if let Some(external_id) = &row.external_id {
            self.by_external_id.insert(external_id.clone(), row.id);
            *self.made.entry(external_id.clone()).or_default() += 1;
        }
        self.rows.insert(row.id, row.clone());
        Ok(row)
    }

    /// Deletes a row, if it is there.
    pub fn remove(&mut self, id: i64) -> Option<Remote> {
        let row = self.rows.remove(&id)?;
        if let Some(external_id) = &row.external_id {
            self.by_external_id.remove(external_id);
        }
        Some(row)
    }

    /// The row with this id.
    pub fn get(&self, id: i64) -> Option<&Remote> {
        self.rows.get(&id)
    }

    /// The row with this external id.
    pub fn find(&self, external_id: &str) -> Option<&Remote> {
        self.rows.get(self.by_external_id.get(external_id)?)
    }

    /// Sets a row's status, if it is there.
    pub fn set_status(&mut self, id: i64, status: Option<&str>) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.status = status.map(str::to_owned);
        }
    }

    /// Every row, by id.
    pub fn all(&self) -> Vec<Remote> {
        self.rows.values().cloned().collect()
    }

    /// How many rows were ever committed for this external id.
    pub fn made_of(&self, external_id: &str) -> usize {
        self.made.get(external_id).copied().unwrap_or_default()
    }

    /// The most rows that were ever committed for one external id.
    pub fn most_made(&self) -> usize {
        self.made.values().copied().max().unwrap_or_default()
    }
}

/// A random UUID of version 4.
fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) | 4 << 76;
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let mut parts = Vec::new();
    let mut rest = hex.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at(length);
        parts.push(part);
        rest = after;
    }
    parts.join("-")
}
