//! The circuit breaker: how many calls the panel gets after it refused all of us.

use ifmatch_domain::provisioning::{Observation, Windows};
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

/// Whether the panel takes calls.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Until when no call is made; after that, one call finds out.
    open_until: Option<Instant>,
    /// Whether that one call is under way.
    is_probed: Rc<Cell<bool>>,
}

/// A call that is under way until this is dropped, whether or not the panel was reached.
///
/// Its task may panic: a call that never ended would keep the circuit open for ever.
#[derive(Debug)]
pub struct Underway {
    probe: Option<Rc<Cell<bool>>>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(is_probed) = &self.probe {
            is_probed.set(false);
        }
    }
}

impl Circuit {
    /// How many calls may begin now.
    pub fn allows(&self, now: Instant) -> usize {
        match self.open_until {
            None => usize::MAX,
            Some(until) if now < until => 0,
            Some(_) => usize::from(!self.is_probed.get()),
        }
    }

    /// Takes note that a call begins.
    pub fn begin(&self) -> Underway {
        let probe = self.open_until.is_some().then(|| Rc::clone(&self.is_probed));
        if let Some(is_probed) = &probe {
            is_probed.set(true);
        }
        Underway { probe }
    }

    /// Takes note of what a call told.
    ///
    /// A refused key, too many requests and a connection that never opened concern all servers.
    pub fn note(&mut self, observation: &Observation, windows: &Windows, now: Instant) {
        let pause_ms = match observation {
            Observation::Unauthorized | Observation::NotConnected => windows.reconcile_ms,
            Observation::Throttled { retry_after_ms } => *retry_after_ms,
            _ => {
                if self.open_until.take().is_some() {
                    tracing::info!(event = "panel.circuit_closed", "the panel takes calls again");
                }
                return;
            }
        };
        let pause = Duration::from_millis(u64::try_from(pause_ms).unwrap_or_default());
        let until = now.checked_add(pause).unwrap_or(now);
        if self.open_until.replace(until).is_none() {
            tracing::warn!(
                event = "panel.circuit_opened",
                observation = observation.name().name(),
                pause_ms,
                "the panel is called again after a pause; nobody is charged or failed meanwhile"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::rt::spawn;

    const WINDOWS: Windows =
        Windows { timeout_ms: 10, settle_ms: 10, absent_gap_ms: 10, reconcile_ms: 1_000 };

    #[test]
    fn a_refused_key_stops_all_calls_and_then_one_call_finds_out() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut circuit = Circuit::default();
        assert_eq!(circuit.allows(start), usize::MAX);
        circuit.note(&Observation::Unauthorized, &WINDOWS, start);
        assert_eq!((circuit.allows(at(999)), circuit.allows(at(1_000))), (0, 1));
        let probe = circuit.begin();
        assert_eq!(circuit.allows(at(1_001)), 0, "the one call is under way");
        circuit.note(&Observation::NotConnected, &WINDOWS, at(1_000));
        drop(probe);
        assert_eq!((circuit.allows(at(1_999)), circuit.allows(at(2_000))), (0, 1));
        circuit.note(&Observation::Unclear, &WINDOWS, at(2_000));
        assert_eq!(circuit.allows(at(2_000)), usize::MAX);
    }

    #[test]
    fn a_task_that_panics_lets_another_call_find_out() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        // It began before the panel refused the key, and ends while another one finds out.
        let earlier = circuit.begin();
        circuit.note(&Observation::Unauthorized, &WINDOWS, start);
        let at = start + Duration::from_millis(1_000);
        let probe = circuit.begin();
        drop(earlier);
        assert_eq!(circuit.allows(at), 0, "the one call is under way");
        let task = async move {
            let _probe = probe;
            panic!("a bug");
        };
        let ended = actix_web::rt::System::new().block_on(async { spawn(task).await });
        assert!(ended.expect_err("it panicked").is_panic());
        assert_eq!(circuit.allows(at), 1);
    }

    #[test]
    fn a_panel_that_was_asked_too_often_says_how_long_to_wait() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        circuit.note(&Observation::Throttled { retry_after_ms: 7_000 }, &WINDOWS, start);
        assert_eq!(circuit.allows(start + Duration::from_millis(6_999)), 0);
        assert_eq!(circuit.allows(start + Duration::from_millis(7_000)), 1);
    }
}
