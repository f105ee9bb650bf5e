//! The metrics of the server, as Prometheus text for `GET /metrics`.
//!
//! Every metric is one row here and one function below, so its name and labels are written once.
//! Labels are bounded: they come from the route table, from enumerations and from the fields of the
//! entities, never from what a caller wrote.

mod fields;

use fields::fields_of;
use ifmatch_types::{Kind, Verdict};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

enum Shape {
    Counter,
    Gauge,
    Histogram,
}

struct Metric {
    name: &'static str,
    shape: Shape,
    unit: Unit,
    help: &'static str,
}

macro_rules! metrics_table {
    ($($id:ident: $shape:ident, $unit:ident, $name:literal, $help:literal;)*) => {
        $(const $id: &str = $name;)*

        const METRICS: &[Metric] = &[$(Metric {
            name: $id, shape: Shape::$shape, unit: Unit::$unit, help: $help,
        },)*];
    };
}

metrics_table! {
    REQUESTS: Counter, Count, "ifmatch_http_requests_total",
        "Requests answered, by route, method and status";
    REQUEST_DURATION: Histogram, Seconds, "ifmatch_http_request_duration_seconds",
        "Time from a request's head to its answer, by route and method";
    BATCH_SIZE: Histogram, Count, "ifmatch_lane_batch_commands",
        "Commands that shared one commit";
    LANE_WAIT: Histogram, Seconds, "ifmatch_lane_wait_seconds",
        "Time a command waited in a lane's queue";
    COMMIT_DURATION: Histogram, Seconds, "ifmatch_lane_commit_duration_seconds",
        "Time from a batch's first read to its commit";
    RERUNS: Counter, Count, "ifmatch_lane_reruns_total",
        "Batches that had to be run again, by reason";
    TURNS: Counter, Count, "ifmatch_turns_total",
        "Turns of stale writes that preferred to wait, by what became of them: given, used or passed";
    QUEUE_DEPTH: Gauge, Count, "ifmatch_lane_queue_commands",
        "Commands waiting in a lane's queue now, by lane";
    EVENT_FOLLOWERS: Gauge, Count, "ifmatch_event_followers",
        "Event streams and waiting reads of events that are open now";
    UNREAD_STREAMS: Gauge, Count, "ifmatch_event_streams_unread",
        "Event streams whose client has read nothing for a second although there is something";
    CONFLICTS: Counter, Count, "ifmatch_conflicts_total",
        "Fields of refused stale writes, by type, field and verdict";
    MERGES: Counter, Count, "ifmatch_merges_total",
        "Stale writes that the server merged, by type";
    FORCED: Counter, Count, "ifmatch_forced_writes_total",
        "Writes that skipped the version check, by type";
    OVERWRITES: Counter, Count, "ifmatch_overwrites_total",
        "Fields replaced by a repeat of a refused write, by type and path";
    REPLAYS: Counter, Count, "ifmatch_idempotent_replays_total",
        "Requests answered from the record of an earlier one";
    USAGE_DECISIONS: Counter, Count, "ifmatch_usage_decisions_total",
        "Usage recorded, held or denied, by outcome";
    RATE_LIMITED: Counter, Count, "ifmatch_rate_limited_total",
        "Requests turned away by the rate limit";
    CONNECTIONS: Gauge, Count, "ifmatch_http_connections",
        "Connections of clients that are open now";
    CONNECTIONS_REFUSED: Counter, Count, "ifmatch_http_connections_refused_total",
        "Connections closed for lack of places, by reason";
    RECONNECTS: Counter, Count, "ifmatch_database_reconnects_total",
        "Connections to the database that had to be made again";
    WORKER_FAILURES: Counter, Count, "ifmatch_worker_failures_total",
        "Failures of background work, by worker";
    WORKER_LAST_SUCCESS: Gauge, Seconds, "ifmatch_worker_last_success_age_seconds",
        "Time since a worker's last round without a failure, or since the start, by worker";
    BOOKING_CONFLICTS: Counter, Count, "ifmatch_booking_conflicts_total",
        "Bookings that found no room, by phase";
    BOOKING_OCCUPANCY: Histogram, Count, "ifmatch_booking_occupancy_ratio",
        "Share of the capacity that is reserved on the fullest day of each accepted booking";
    LOCK_ACQUISITIONS: Counter, Count, "ifmatch_lock_acquisitions_total",
        "Requests for a lock, by outcome: granted, repeated, held or timeout";
    LOCK_WAIT: Histogram, Seconds, "ifmatch_lock_wait_seconds",
        "Time that requests for a lock waited for it, by outcome";
    LOCK_HELD: Histogram, Seconds, "ifmatch_lock_held_seconds",
        "Time that locks were held, by the end: released or forced";
    LOCK_WAITERS: Gauge, Count, "ifmatch_lock_waiters",
        "Callers that wait for a lock now";
    LOCK_EXPIRIES: Counter, Count, "ifmatch_lock_expiries_total",
        "Grants that had expired when the lock was acquired again";
    LOCK_LOSSES: Counter, Count, "ifmatch_lock_losses_total",
        "Owners that were told that their grant had expired or was taken away";
    LOCK_FORCED: Counter, Count, "ifmatch_lock_force_releases_total",
        "Locks that admins released";
    CREDIT_TRANSFERS: Counter, Count, "ifmatch_credit_transfers_total",
        "Transfers of credits, by kind";
    CREDITS_REFUSED: Counter, Count, "ifmatch_credits_refused_total",
        "Requests refused because too few credits were available";
    RESERVATIONS_PENDING: Gauge, Count, "ifmatch_credit_reservations_pending",
        "Reservations of credits that are not resolved yet";
    RESERVATION_AGE: Gauge, Seconds, "ifmatch_credit_reservation_oldest_age_seconds",
        "Age of the oldest reservation of credits that is not resolved yet; 0 if there is none";
    PANEL_CALLS: Counter, Count, "ifmatch_panel_calls_total",
        "Calls of the panel, by call and what it told";
    PANEL_CALL_DURATION: Histogram, Seconds, "ifmatch_panel_call_duration_seconds",
        "Time that calls of the panel took, by call";
    SERVER_VERDICTS: Counter, Count, "ifmatch_server_verdicts_total",
        "Recorded calls of the panel, by what followed for the server";
    SERVERS_UNSETTLED: Gauge, Count, "ifmatch_servers_unsettled",
        "Servers that are neither active nor ended, by status";
    SERVER_AGE: Gauge, Seconds, "ifmatch_server_oldest_unsettled_age_seconds",
        "Time since the oldest unsettled server of a status became so; 0 if there is none";
    LOCK_AUTO_RELEASES: Counter, Count, "ifmatch_lock_auto_releases_total",
        "Grants that the server released because their caller had hung up, by result";
}

/// Buckets from a cached read up to a request that waited for a failover.
const SECONDS: [f64; 15] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0,
];
const RATIOS: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
const BATCH_SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts the metrics. It can be called once in a process.
    ///
    /// # Errors
    /// If metrics were started before.
    pub fn install() -> Result<Self, BuildError> {
        let handle = builder()?.install_recorder()?;
        describe();
        Ok(Self(handle))
    }

    /// All metrics as Prometheus text, for `text/plain; version=0.0.4`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Puts recorded times into their buckets.
    ///
    /// It must be called every few seconds. Until then every recorded time is kept separately, and
    /// [`render`](Self::render) may never be called.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_ratio".to_owned()), &RATIOS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.to_owned()), &BATCH_SIZES)
}

fn describe() {
    for Metric { name, shape, unit, help } in METRICS {
        match shape {
            Shape::Counter => describe_counter!(*name, *unit, *help),
            Shape::Gauge => describe_gauge!(*name, *unit, *help),
            Shape::Histogram => describe_histogram!(*name, *unit, *help),
        }
    }
}

/// A request was answered. `route` is its pattern, or one fixed text if none matched.
pub fn request(route: &'static str, method: &'static str, status: u16, duration: Duration) {
    counter!(REQUESTS, "route" => route, "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(REQUEST_DURATION, "route" => route, "method" => method).record(duration);
}

/// The method as a label: one of the standard ones or `other`.
pub fn method_label(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// A batch of `commands` was committed, `duration` after its first read.
pub fn batch_committed(commands: usize, duration: Duration) {
    histogram!(BATCH_SIZE).record(u32::try_from(commands).unwrap_or(u32::MAX));
    histogram!(COMMIT_DURATION).record(duration);
}

/// A command left the queue after this wait.
pub fn lane_wait(duration: Duration) {
    histogram!(LANE_WAIT).record(duration);
}

/// A batch has to be run again.
pub fn batch_rerun(reason: &'static str) {
    counter!(RERUNS, "reason" => reason).increment(1);
}

/// This many commands wait in the queue of this lane.
pub fn queue_depth(lane: String, commands: usize) {
    let commands = u32::try_from(commands).unwrap_or(u32::MAX);
    gauge!(QUEUE_DEPTH, "lane" => lane).set(commands);
}

/// This many event streams and waiting reads of events are open now.
pub fn event_followers(followers: usize) {
    gauge!(EVENT_FOLLOWERS).set(u32::try_from(followers).unwrap_or(u32::MAX));
}

/// This many event streams hold something that their client has not read for a second.
pub fn unread_streams(streams: usize) {
    gauge!(UNREAD_STREAMS).set(u32::try_from(streams).unwrap_or(u32::MAX));
}

/// A stale write was refused. `paths` are those in conflict with the changes since. If none is,
/// they are the attempted ones. Each field counts once.
pub fn conflict<'a>(kind: Kind, verdict: Verdict, paths: impl IntoIterator<Item = &'a str>) {
    let verdict = verdict.name();
    for field in fields_of(kind, paths) {
        counter!(CONFLICTS, "type" => kind.name(), "field" => field, "verdict" => verdict)
            .increment(1);
    }
}

/// A stale write was merged by the server.
pub fn merged(kind: Kind) {
    counter!(MERGES, "type" => kind.name()).increment(1);
}

/// A write skipped the version check.
pub fn forced(kind: Kind) {
    counter!(FORCED, "type" => kind.name()).increment(1);
}

/// A repeat of a refused write replaced another caller's values at these paths.
pub fn overwrote<'a>(kind: Kind, paths: impl IntoIterator<Item = &'a str>) {
    for field in fields_of(kind, paths) {
        counter!(OVERWRITES, "type" => kind.name(), "path" => field).increment(1);
    }
}

/// A request was answered with a kept answer.
pub fn replayed() {
    counter!(REPLAYS).increment(1);
}

/// Usages were decided with this outcome: `recorded`, `held`, `denied_limit` or
/// `denied_not_included`.
pub fn usage_decided(outcome: &'static str, usages: usize) {
    let usages = u64::try_from(usages).unwrap_or(u64::MAX);
    counter!(USAGE_DECISIONS, "outcome" => outcome).increment(usages);
}

/// A request was turned away by the rate limit.
pub fn rate_limited() {
    counter!(RATE_LIMITED).increment(1);
}

/// This many connections of clients are open now.
pub fn connections(open: usize) {
    gauge!(CONNECTIONS).set(u32::try_from(open).unwrap_or(u32::MAX));
}

/// A connection was closed for lack of places: a new one because its `address` has its share or
/// because `all` are busy, or one that was `idle`.
pub fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

/// A connection to the database was made again.
pub fn reconnected() {
    counter!(RECONNECTS).increment(1);
}

/// Background work failed. `failures` may be 0, so that the metric exists from the start.
pub fn worker_failed(worker: &'static str, failures: usize) {
    let failures = u64::try_from(failures).unwrap_or(u64::MAX);
    counter!(WORKER_FAILURES, "worker" => worker).increment(failures);
}

/// A worker's last round without a failure was this long ago.
pub fn worker_last_success(worker: &'static str, age: Duration) {
    gauge!(WORKER_LAST_SUCCESS, "worker" => worker).set(age);
}

/// A booking found no room.
pub fn booking_conflict(phase: &'static str) {
    counter!(BOOKING_CONFLICTS, "phase" => phase).increment(1);
}

/// A booking was accepted. On its fullest day, this much of the capacity is reserved.
pub fn booking_occupancy(reserved: i64, capacity: i64) {
    let parts = reserved.saturating_mul(10_000).checked_div(capacity).unwrap_or_default();
    let parts = u32::try_from(parts).unwrap_or_default();
    histogram!(BOOKING_OCCUPANCY).record(f64::from(parts) / 10_000.0);
}

/// A turn at an object was given to a waiting write, used by the next write, or passed on unused.
pub fn turn(event: &'static str) {
    counter!(TURNS, "event" => event).increment(1);
}

/// A request for a lock ended with this outcome, after this wait.
pub fn lock_acquisition(outcome: &'static str, waited: Duration) {
    counter!(LOCK_ACQUISITIONS, "outcome" => outcome).increment(1);
    histogram!(LOCK_WAIT, "outcome" => outcome).record(waited);
}

/// A lock was held for so long, until this end.
pub fn lock_held(end: &'static str, duration: Duration) {
    histogram!(LOCK_HELD, "end" => end).record(duration);
}

/// This many callers wait for a lock now.
pub fn lock_waiters(waiters: usize) {
    gauge!(LOCK_WAITERS).set(u32::try_from(waiters).unwrap_or(u32::MAX));
}

/// A grant had expired when its lock was acquired again.
pub fn lock_expired() {
    counter!(LOCK_EXPIRIES).increment(1);
}

/// An owner was told that its grant had ended.
pub fn lock_lost() {
    counter!(LOCK_LOSSES).increment(1);
}

/// An admin released a lock.
pub fn lock_force_released() {
    counter!(LOCK_FORCED).increment(1);
}

/// The server released a grant whose caller had hung up, or failed to.
pub fn lock_auto_release(result: &'static str) {
    counter!(LOCK_AUTO_RELEASES, "result" => result).increment(1);
}

/// Credits were transferred.
pub fn credit_transfer(kind: &'static str) {
    counter!(CREDIT_TRANSFERS, "kind" => kind).increment(1);
}

/// A request needed more credits than were available.
pub fn credits_refused() {
    counter!(CREDITS_REFUSED).increment(1);
}

/// Sets the number of pending reservations and the age of the oldest.
pub fn reservations_pending(count: i64, oldest: Duration) {
    gauge!(RESERVATIONS_PENDING).set(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(RESERVATION_AGE).set(oldest);
}

/// Counts and times a call of the panel.
pub fn panel_called(call: &'static str, observation: &'static str, latency: Duration) {
    counter!(PANEL_CALLS, "call" => call, "observation" => observation).increment(1);
    histogram!(PANEL_CALL_DURATION, "call" => call).record(latency);
}

/// Counts a recorded call of the panel.
pub fn server_verdict(verdict: &'static str) {
    counter!(SERVER_VERDICTS, "verdict" => verdict).increment(1);
}

/// Sets the number of unsettled servers of a status and the age of the oldest.
pub fn servers_unsettled(status: &'static str, count: i64, oldest: Duration) {
    gauge!(SERVERS_UNSETTLED, "status" => status).set(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(SERVER_AGE, "status" => status).set(oldest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(record: impl FnOnce()) -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            record();
        });
        recorder.handle().render()
    }

    #[test]
    fn every_metric_is_recorded_by_a_function_and_described() {
        let text = rendered(|| {
            request("/v1/plans/{id}", "GET", 200, Duration::from_millis(2));
            batch_committed(3, Duration::from_millis(1));
            lane_wait(Duration::from_micros(90));
            batch_rerun("guard");
            turn("given");
            queue_depth("0".to_owned(), 7);
            event_followers(2);
            unread_streams(1);
            conflict(Kind::Plan, Verdict::Overlap, ["/name"]);
            merged(Kind::Plan);
            forced(Kind::Plan);
            overwrote(Kind::Plan, ["/name"]);
            replayed();
            usage_decided("recorded", 3);
            rate_limited();
            connections(4);
            connection_refused("address");
            reconnected();
            worker_failed("bookings", 2);
            worker_last_success("bookings", Duration::from_secs(3));
            booking_conflict("create");
            booking_occupancy(3, 4);
            lock_acquisition("granted", Duration::from_millis(2));
            lock_held("released", Duration::from_secs(2));
            lock_waiters(2);
            lock_expired();
            lock_lost();
            lock_force_released();
            lock_auto_release("failed");
            credit_transfer("reserve");
            credits_refused();
            reservations_pending(2, Duration::from_secs(5));
            panel_called("create", "created", Duration::from_secs(2));
            server_verdict("active");
            servers_unsettled("provisioning", 3, Duration::from_secs(9));
        });
        for metric in METRICS {
            let described = format!("# HELP {} ", metric.name);
            assert!(text.contains(&described), "{} in {text}", metric.name);
            let samples = text.lines().filter(|line| line.starts_with(metric.name)).count();
            assert!(samples > 0, "{} has no samples", metric.name);
        }
        let sample =
            r#"ifmatch_http_requests_total{route="/v1/plans/{id}",method="GET",status="200"} 1"#;
        assert!(text.contains(sample), "{text}");
        assert!(text.contains(r#"ifmatch_lane_batch_commands_bucket{le="4"} 1"#), "{text}");
        assert!(text.contains(
            r#"_duration_seconds_bucket{route="/v1/plans/{id}",method="GET",le="0.0025"} 1"#
        ));
    }

    #[test]
    fn a_method_is_one_of_few() {
        assert_eq!(method_label("PATCH"), "PATCH");
        assert_eq!(method_label("BREW"), "other");
    }
}
