//! What only Pterodactyl is told.

use super::wire::NewServer;
use ifmatch_domain::provisioning::ServerRecord;
use ifmatch_types::Deploy;
use serde::Serialize;

/// The media type of its answers.
pub const ACCEPT: &str = "Application/vnd.pterodactyl.v1+json";

#[derive(Serialize)]
struct Fields<'a> {
    /// As the panel does by itself, and as Pelican is told.
    oom_disabled: bool,
    deploy: Place<'a>,
}

/// Where a server may be put. The panel wants all three, even if they are empty.
#[derive(Serialize)]
struct Place<'a> {
    locations: &'a [i64],
    dedicated_ip: bool,
    port_range: &'a [String],
}

/// The body that creates this server.
pub fn create(record: &ServerRecord) -> Vec<u8> {
    let Deploy { locations, tags: _, dedicated_ip, port_range } = &record.spec.deploy;
    let deploy = Place { locations, dedicated_ip: *dedicated_ip, port_range };
    NewServer::new(record, Fields { oom_disabled: true, deploy }).to_body()
}
