//! The searches, each with what it must find or not find.

use super::{
    act::Act,
    bounds::{LATE_SENDER, ONE_SERVER, SMALL, Search, TWO_SERVERS, Trouble, WINDOWS},
    clock::TICK_MS,
    promise::{CHARGED_FOR_NOTHING, DELETED_IN_PART, REACHED, SERVER_LOST},
    time::print,
    world::World,
};
use ifmatch_domain::provisioning::Windows;
use stateright::{Checker, HasDiscoveries, Model};
use std::{collections::BTreeSet, collections::HashMap};

/// The first way back to a state where a run has been. Each run without one ends.
fn find_circle(search: &Search) -> Option<Vec<Act>> {
    let acts_of = |world: &World| {
        let mut acts = Vec::new();
        search.actions(world, &mut acts);
        acts
    };
    let first = search.init_states().remove(0);
    let acts = acts_of(&first);
    // Whether each state is on the current path.
    let mut seen = HashMap::from([(print(&first), true)]);
    let mut path = vec![(first, acts, None)];
    while let Some((world, acts, _)) = path.last_mut() {
        let Some(act) = acts.pop() else {
            seen.insert(print(world), false);
            path.pop();
            continue;
        };
        let next = search.next_state(world, act).expect("each act is possible");
        match seen.insert(print(&next), true) {
            Some(true) => {
                let taken = path.iter().filter_map(|(_, _, act)| *act);
                return Some(taken.chain([act]).collect());
            }
            Some(false) => {
                seen.insert(print(&next), false);
            }
            None => {
                let acts = acts_of(&next);
                path.push((next, acts, Some(act)));
            }
        }
    }
    None
}

#[track_caller]
fn nothing_breaks(search: Search, states: usize) {
    let checker = search.checker().threads(2).spawn_bfs().join();
    let mut found = checker.discoveries();
    for (name, _) in REACHED {
        assert!(found.remove(name).is_some(), "{name}: never reached");
    }
    let mut found = found.into_iter().map(|(name, path)| (name, path.into_actions()));
    assert_eq!(found.next(), None);
    assert_eq!(checker.unique_state_count(), states, "the number in the documentation above");
}

/// Finds a violation of a property, and prints the way to it. It is about as short as there is.
#[track_caller]
fn breaks(name: &'static str, search: Search) {
    let first = HasDiscoveries::AllOf(BTreeSet::from([name]));
    let checker = search.checker().threads(1).finish_when(first).spawn_bfs().join();
    let path = checker.discovery(name).expect("a violation").into_actions();
    println!("not {name:?}, after {} steps: {path:?}", path.len());
    assert!(path.len() >= 8, "a way without trouble: {path:?}");
}

#[test]
fn nothing_breaks_for_two_servers_two_workers_and_two_crashes() {
    nothing_breaks(TWO_SERVERS, 203_781);
}

#[test]
fn nothing_breaks_when_everything_happens_to_one_server() {
    nothing_breaks(ONE_SERVER, 582_029);
}

#[test]
fn a_late_create_is_adopted_or_deleted_if_the_panel_takes_nothing_back() {
    nothing_breaks(LATE_SENDER, 314_633);
}

#[test]
fn each_run_ends() {
    let trouble = Trouble { faults: 1, ..ONE_SERVER.trouble };
    assert_eq!(find_circle(&Search { trouble, ..ONE_SERVER }), None);
}

#[test]
fn without_the_settle_window_a_server_is_charged_that_the_panel_takes_back() {
    let windows = Windows { settle_ms: 0, ..WINDOWS };
    breaks(CHARGED_FOR_NOTHING, Search { windows, ..SMALL });
}

#[test]
fn without_the_settle_window_a_server_fails_that_the_panel_still_makes() {
    let windows = Windows { settle_ms: 0, ..WINDOWS };
    breaks(SERVER_LOST, Search { windows, ..SMALL });
}

#[test]
fn without_the_generation_an_old_404_ends_a_server_that_exists() {
    let search = Search { trouble: ONE_SERVER.trouble, checks_generation: false, ..SMALL };
    breaks(DELETED_IN_PART, search);
}

#[test]
fn without_the_second_lookup_one_false_404_loses_a_server() {
    breaks(SERVER_LOST, Search { looks_twice: false, ..SMALL });
}

#[test]
fn a_panel_that_is_slower_than_the_settle_window_takes_back_a_charged_server() {
    let panel_limit = WINDOWS.settle_ms / TICK_MS;
    breaks(CHARGED_FOR_NOTHING, Search { panel_limit, ..SMALL });
}

#[test]
fn a_worker_that_sends_its_create_after_its_lease_gets_a_server_charged_and_taken_back() {
    breaks(CHARGED_FOR_NOTHING, Search { sends_late: true, ..SMALL });
}
