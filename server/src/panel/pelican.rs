//! What only Pelican is told. It drops Pterodactyl's names in silence.

use super::wire::NewServer;
use ifmatch_domain::provisioning::ServerRecord;
use ifmatch_types::Deploy;
use serde::Serialize;

/// The media type of its answers.
pub const ACCEPT: &str = "application/json";

#[derive(Serialize)]
struct Fields<'a> {
    /// As the panel does by itself, and as Pterodactyl is told.
    oom_killer: bool,
    deploy: Place<'a>,
}

/// Where a server may be put. The panel wants all three, even if they are empty.
#[derive(Serialize)]
struct Place<'a> {
    tags: &'a [String],
    dedicated_ip: bool,
    port_range: &'a [String],
}

/// The body that creates this server.
pub fn create(record: &ServerRecord) -> Vec<u8> {
    let Deploy { locations: _, tags, dedicated_ip, port_range } = &record.spec.deploy;
    let deploy = Place { tags, dedicated_ip: *dedicated_ip, port_range };
    NewServer::new(record, Fields { oom_killer: false, deploy }).to_body()
}
