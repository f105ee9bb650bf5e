//! Log lines of provisioning.

use ifmatch_domain::provisioning::Outcome;
use ifmatch_types::ServerVerdict;

/// Observes an accepted command.
pub fn outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Recorded(Some(recorded)) => {
            crate::metrics::server_verdict(recorded.verdict.name());
            if recorded.verdict == ServerVerdict::Mismatch {
                tracing::warn!(
                    event = "server.mismatch",
                    status = recorded.status.name(),
                    "the panel has a server with this id and another user, egg or limits; an admin \
                     must resolve it"
                );
            }
        }
        Outcome::Core(_) | Outcome::Claimed(_) | Outcome::Called(_) | Outcome::Recorded(None) => {}
    }
}
