//! Synchronous standbys: a commit counts only once they have it.
//!
//! PostgreSQL commits on the primary first and then waits for its standbys. If that wait is cancelled
//! or its session ended, the commit stays on the primary alone, with a warning that Diesel does not
//! pass on; after a failover it is lost. So a commit is looked at again before it is acknowledged: a
//! round trip, where standbys are configured.

use super::{error::StoreError, postgres::PostgresDb, sql::Sql};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Bool, Text},
};
use ifmatch_domain::Mutant;
use std::time::{Duration, Instant};

/// How often a connection asks whether there are synchronous standbys.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// How long a commit may take to reach the standbys after PostgreSQL said that it did.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// What a connection knows about synchronous standbys, and whether its server is a standby itself.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    asked_at: Option<Instant>,
    are_configured: bool,
    is_one: bool,
}

impl PostgresDb {
    /// Learns whether commits wait for standbys, once a second.
    ///
    /// Refuses a role that cannot see how far they are.
    pub(super) fn learn_standbys(&mut self) -> Result<(), StoreError> {
        if self.standbys.asked_at.is_some_and(|asked| asked.elapsed() < ASKED_EVERY) {
            return Ok(());
        }
        let asked = "SELECT current_setting('synchronous_standby_names'), pg_is_in_recovery()";
        let asked = Sql::new(asked).returning::<(Text, Bool)>();
        let (names, is_one): (String, bool) = asked.get_result(self.connection())?;
        self.standbys.is_one = is_one;
        self.standbys.are_configured = !names.trim().is_empty();
        if self.standbys.are_configured {
            let sees = Sql::new("SELECT pg_has_role('pg_read_all_stats', 'USAGE')");
            if !sees.returning::<Bool>().get_result(self.connection())? {
                let what = "it has synchronous standbys, and this role cannot see whether they have a \
                     commit: GRANT pg_read_all_stats TO the role";
                return Err(StoreError::Impaired(what.into()));
            }
        }
        self.standbys.asked_at = Some(Instant::now());
        Ok(())
    }

    /// Refuses to decide anything on a standby: it may lag behind, and what is decided there without a
    /// lock would be answered from the past.
    pub(super) fn refuse_standby(&mut self) -> Result<(), StoreError> {
        self.learn_standbys()?;
        if self.standbys.is_one {
            return Err(StoreError::Impaired("this is a standby, which takes no writes".into()));
        }
        Ok(())
    }

    /// Makes sure that the synchronous standbys have what was committed here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Gone`] if they do not have it in time: the commit may be lost in a failover.
    pub(super) fn confirm_commit(&mut self) -> Result<(), StoreError> {
        if !self.standbys.are_configured || Mutant::TrustPrimary.is_planted() {
            return Ok(());
        }
        let place = Sql::new("SELECT pg_current_wal_flush_lsn()::text").returning::<Text>();
        let place: String = place.get_result(self.connection())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sql = Sql::new(
                "SELECT current_setting('synchronous_standby_names'), count(*) FILTER (WHERE \
                 sync_state IN ('sync', 'quorum') AND flush_lsn >= ",
            );
            let sql = sql.bind(place.as_str()).text("::pg_lsn) FROM pg_stat_replication");
            let (names, arrived): (String, i64) =
                sql.returning::<(Text, BigInt)>().get_result(self.connection())?;
            if arrived >= needed(&names) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = "the synchronous standbys do not have a commit that PostgreSQL reported";
                return Err(StoreError::Gone(what.into()));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// How many standbys must have a commit, by the value of `synchronous_standby_names`: `FIRST 2 (a, b)`,
/// `ANY 2 (a, b)`, `2 (a, b)`, or a list, of which one is enough.
fn needed(names: &str) -> i64 {
    let names = names.trim();
    if names.is_empty() {
        return 0;
    }
    let Some((before, _)) = names.split_once('(') else { return 1 };
    let number = before.split_whitespace().next_back().and_then(|word| word.parse().ok());
    number.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn as_many_standbys_are_needed_as_the_setting_says() {
        for (names, number) in [
            ("", 0),
            ("*", 1),
            ("a, b", 1),
            ("2 (a, b, c)", 2),
            ("FIRST 1 (a, b)", 1),
            ("ANY 2 (\"a\", b, c)", 2),
            ("any 3(*)", 3),
        ] {
            assert_eq!(needed(names), number, "{names}");
        }
    }
}
