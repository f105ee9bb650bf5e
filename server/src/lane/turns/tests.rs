use super::*;
use crate::lane::Subject;
use ifmatch_domain::{
    Command, Rejection,
    core::{Actor, Change, Guard, Meta, UpdateObject},
};
use ifmatch_types::{Kind, MergeReport, ResourceRef, Source, WorkspaceId};
use serde_json::Map;
use tokio::sync::mpsc;
use uuid::Uuid;

const OBJECT: &str = "sub_1";

/// The lane of these tests: what it gets is answered by hand.
struct Lane {
    turns: Arc<Turns>,
    arrived: mpsc::Receiver<Job>,
}

fn lane_of(capacity: usize) -> Lane {
    let (sender, arrived) = mpsc::channel(capacity);
    Lane {
        turns: Turns::new(Arc::new(Entrances { lanes: vec![sender], background: None })),
        arrived,
    }
}

fn command(names: Version) -> Command {
    Command {
        meta: Meta {
            actor: Actor::without_key("test"),
            on_behalf_of: None,
            source: Source::Api,
            request_id: String::new(),
            key_digest: None,
        },
        seed: Uuid::nil(),
        idempotency: None,
        guard: Guard::default(),
        action: Action::Core(core::Action::Update(UpdateObject {
            kind: Kind::Subscription,
            id: OBJECT.to_owned(),
            change: Change::Patch(Map::new()),
            precondition: Precondition::Version(names),
            mode: Mode::Strict,
            refused_at: None,
        })),
    }
}

fn stale(current_version: Version) -> Conflict {
    Conflict {
        conflict_id: "cfl_1".to_owned(),
        resource: ResourceRef { resource_type: "subscription".into(), id: OBJECT.to_owned() },
        expected_version: Some(1),
        current_version,
        current: serde_json::Value::Null,
        changes: Vec::new(),
        attempted: Vec::new(),
        merge: MergeReport::unknown_base(),
    }
}

fn refusal(current_version: Version) -> Answer {
    let conflict = core::Rejection::Conflict(Box::new(stale(current_version)));
    Err(Refusal::Rejected(Rejection::Core(conflict)))
}

fn contender(names: Version, turn: Option<&str>) -> Box<Contender> {
    let turn = turn.map(str::to_owned);
    let has_ended = Box::new(|| false);
    Box::new(Contender { command: command(names), bytes: 100, turn, has_ended })
}

impl Lane {
    /// A writer whose command was refused at this version.
    fn enter(&self, names: Version, current: Version) -> Entered {
        self.turns.enter(&stale(current), contender(names, None))
    }

    /// Whether a writer waits that was not decided yet.
    fn waits(&self, names: Version, turn: Option<&str>) -> Option<Place> {
        self.turns.enter_undecided(contender(names, turn)).ok()
    }

    fn wait(&self, names: Version, current: Version) -> Place {
        match self.enter(names, current) {
            Entered::Waiting(place) => place,
            Entered::First | Entered::Full => panic!("it should wait"),
        }
    }

    fn begin(&self, current: Version) {
        assert!(matches!(self.enter(1, current), Entered::First), "nobody waits");
    }

    /// The version that the command names that the lane got now.
    fn next(&mut self) -> Option<(Option<Version>, Job)> {
        let job = self.arrived.try_recv().ok()?;
        let names = Written::of(&job.command.action).and_then(|written| written.names);
        Some((names, job))
    }

    fn named(&mut self) -> Option<Version> {
        self.next().and_then(|(names, _)| names)
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn waiters_follow_the_writes_first_in_first_out() {
    let mut lane = lane_of(10);
    lane.begin(5);
    let first = lane.wait(2, 5);
    let second = lane.wait(3, 5);
    assert!(lane.next().is_none(), "it is another one's turn");

    lane.turns.follow(OBJECT, Some(4));
    assert!(lane.next().is_none(), "a stale write changes nothing");
    lane.turns.follow(OBJECT, Some(5));
    let (names, job) = lane.next().unwrap();
    assert_eq!(names, Some(2));
    lane.turns.follow(OBJECT, Some(6));
    assert!(lane.next().is_none(), "the first waiter was not told the object yet");

    assert!(job.answer.send(refusal(6)).is_ok());
    let (answer, had_turn) = first.answered(soon()).await;
    assert!(had_turn);
    assert_eq!(conflict(&answer).unwrap().current_version, 6);
    lane.turns.follow(OBJECT, Some(6));
    assert_eq!(lane.named(), Some(3));
    drop(second);
    assert!(!lane.turns.are_given(), "nobody contends for it any more");
}

#[tokio::test]
async fn a_turn_that_is_not_used_passes_on() {
    let mut lane = lane_of(10);
    lane.begin(5);
    let _first = lane.wait(2, 5);
    assert!(lane.next().is_none());
    let passed = tokio::time::timeout(Duration::from_secs(5), lane.arrived.recv()).await;
    assert!(matches!(passed, Ok(Some(_))), "the slot is over");
    lane.turns.follow(OBJECT, Some(5));
    assert!(lane.turns.are_given(), "its answer is awaited, however long that takes");
}

#[tokio::test]
async fn the_turn_of_a_waiter_that_is_gone_passes_on() {
    let mut lane = lane_of(10);
    lane.begin(5);
    let (first, second, third) = (lane.wait(2, 5), lane.wait(3, 5), lane.wait(4, 5));
    drop(second);
    lane.turns.follow(OBJECT, Some(5));
    let (names, job) = lane.next().unwrap();
    assert_eq!(names, Some(2));
    drop((first, job));
    assert_eq!(lane.named(), Some(4), "also if its command is in the lane already");
    drop(third);
    assert!(!lane.turns.are_given());
    assert!(lane.turns.waiting.reserve(None, WAITING_BYTES_MAX).is_some(), "nothing is left");
}

#[tokio::test]
async fn a_wait_that_runs_out_is_decided_then() {
    let mut lane = lane_of(10);
    lane.begin(5);
    // The turn is of a caller whose answer is on its way, so it has no slot.
    let turn = Turn { number: 0, is_told: false, names_turns: false, token: None };
    let _ = lane.turns.lock().by_id.get_mut(OBJECT).map(|contended| contended.turn = turn);
    let answered = tokio::spawn(lane.wait(2, 5).answered(Instant::now()));
    let job = lane.arrived.recv().await.unwrap();
    assert!(job.answer.send(refusal(5)).is_ok());
    assert!(!answered.await.unwrap().1, "it had no turn");
}

#[tokio::test]
async fn a_write_that_is_known_to_be_stale_waits_undecided() {
    let lane = lane_of(10);
    assert!(lane.waits(4, None).is_none(), "nobody contends for it");
    lane.begin(5);
    assert!(lane.waits(5, None).is_none(), "it may well be written");
    assert!(lane.waits(4, None).is_some());
    let mut merge = contender(4, None);
    let Action::Core(core::Action::Update(update)) = &mut merge.command.action else {
        panic!("an update")
    };
    update.mode = Mode::Merge;
    assert!(lane.turns.enter_undecided(merge).is_err(), "it may be merged at once");
    let mut scoped = contender(4, None);
    scoped.command.meta.actor.workspace_id = Some(WorkspaceId::from_unchecked("wsp_1"));
    assert!(lane.turns.enter_undecided(scoped).is_err(), "the object may be a foreign one");
}

#[tokio::test]
async fn a_caller_that_names_its_turn_is_not_overtaken() {
    let mut lane = lane_of(10);
    assert!(matches!(lane.turns.enter(&stale(5), contender(1, Some(""))), Entered::First));
    assert!(lane.waits(5, Some("cfl_1")).is_none(), "it is its turn");
    assert!(lane.waits(5, None).is_none(), "this one may not know how to name it");
    let next = lane.waits(5, Some("")).expect("it is another one's turn");
    let other = lane.waits(5, Some("cfl_0")).expect("its turn is over");
    lane.turns.follow(OBJECT, Some(5));
    let (_, job) = lane.next().unwrap();
    assert!(lane.waits(6, Some("cfl_1")).is_some(), "used");
    let mut told = stale(6);
    told.conflict_id = "cfl_2".to_owned();
    let told = core::Rejection::Conflict(Box::new(told));
    assert!(job.answer.send(Err(Refusal::Rejected(Rejection::Core(told)))).is_ok());
    assert!(next.answered(soon()).await.1);
    assert!(lane.waits(6, Some("cfl_2")).is_none());
    assert!(lane.waits(6, Some("cfl_1")).is_some());
    // A write that passed nothing on came first. The turn is used by the one that finds out.
    let again = lane.waits(5, Some("cfl_2")).expect("it is stale");
    assert_eq!(lane.named(), Some(5), "the next one has the turn, and not its own again");
    drop((again, other));
}

#[tokio::test]
async fn a_waiter_whose_key_has_ended_has_no_turn() {
    let mut lane = lane_of(10);
    lane.begin(5);
    let mut ended = contender(2, None);
    ended.has_ended = Box::new(|| true);
    let Entered::Waiting(ended) = lane.turns.enter(&stale(5), ended) else { panic!("it waits") };
    let _second = lane.wait(3, 5);
    lane.turns.follow(OBJECT, Some(5));
    assert_eq!(lane.named(), Some(3));
    assert!(matches!(ended.answered(soon()).await, (Err(Refusal::KeyEnded), false)));
}

#[tokio::test]
async fn who_waits_is_bounded() {
    let lane = lane_of(10);
    lane.begin(5);
    let all = lane.turns.waiting.reserve(None, WAITING_BYTES_MAX).unwrap();
    assert!(matches!(lane.enter(2, 5), Entered::Full));
    drop(all);
    let _place = lane.wait(2, 5);
}

#[tokio::test]
async fn if_the_lane_is_full_the_waiters_keep_their_places() {
    let mut lane = lane_of(1);
    lane.begin(5);
    let (first, second) = (lane.wait(2, 5), lane.wait(3, 5));
    let fills = Job::new(command(9), lane.turns.waiting.reserve(None, 1).unwrap()).0;
    assert!(lane.turns.entrances.enter(fills).is_ok());
    lane.turns.follow(OBJECT, Some(5));
    assert_eq!(lane.named(), Some(9));
    let passed = tokio::time::timeout(Duration::from_secs(5), lane.arrived.recv()).await;
    let job = passed.unwrap().unwrap();
    assert_eq!(Written::of(&job.command.action).unwrap().names, Some(2));
    drop((first, job));
    assert_eq!(lane.named(), Some(3));
    drop(second);
    assert!(!lane.turns.are_given());
}

#[tokio::test]
async fn when_the_server_stops_everybody_is_decided_and_nobody_waits() {
    let mut lane = lane_of(10);
    lane.begin(5);
    let _places = [lane.wait(2, 5), lane.wait(3, 5)];
    lane.turns.close();
    assert_eq!((lane.named(), lane.named()), (Some(2), Some(3)));
    lane.begin(5);
    assert!(matches!(lane.enter(2, 5), Entered::Full));
}

#[test]
fn a_slot_lasts_as_long_as_callers_need() {
    let mut pace = Pace { slot: SLOT_MIN, told: VecDeque::new() };
    let ago = |ms| Instant::now().checked_sub(Duration::from_millis(ms)).unwrap();
    pace.told.push_back((5, ago(40)));
    pace.used(4);
    assert_eq!(pace.slot, SLOT_MIN, "nobody was told that version");
    pace.used(5);
    assert!(pace.slot >= Duration::from_millis(80), "{:?}", pace.slot);
    pace.told.push_back((6, ago(1)));
    pace.used(6);
    assert!(pace.slot >= Duration::from_millis(70), "it shrinks slowly: {:?}", pace.slot);
    pace.told.push_back((7, ago(60_000)));
    pace.used(7);
    assert_eq!(pace.slot, SLOT_MAX);
    for version in 0..100 {
        pace.told(version);
    }
    assert_eq!(pace.told.len(), TOLD_MAX);
}

#[test]
fn a_write_and_the_turn_behind_it_share_a_lane() {
    let weight = || Budget::new(10, 10).reserve(None, 1).unwrap();
    let (a, b) = (Job::new(command(1), weight()).0, Job::new(command(2), weight()).0);
    assert_eq!(a.subject, b.subject);
    assert_eq!(a.subject, Subject::of(&a.command));
}
