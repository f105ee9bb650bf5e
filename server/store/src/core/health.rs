//! Whether a database answers, works, and is one that can be served from.

use super::{db::Db, error::StoreError, sql::Sql};
use crate::on_backend;
use diesel::{
    RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Bool},
};

impl Db {
    /// Checks that the database answers and is not read-only.
    ///
    /// On SQLite, also that the open file still is the one at its path.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn ping(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(db) => {
                db.connection().batch_execute("SELECT 1")?;
                db.is_in_place()
            }
            Self::Postgres(db) => {
                let sql = "SELECT current_setting('transaction_read_only') = 'on'";
                match Sql::new(sql).returning::<Bool>().get_result(db.connection())? {
                    true => Err(StoreError::Impaired("it is read-only".into())),
                    false => Ok(()),
                }
            }
        }
    }

    /// Checks that a small commit succeeds and, on SQLite, that its disk has space for more.
    ///
    /// It changes nothing that is read.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn probe_write(&mut self) -> Result<(), StoreError> {
        if let Self::Sqlite(db) = self {
            db.probe_space()?;
        }
        self.begin()?;
        let written = self.write_nothing().and_then(|()| self.commit());
        if written.is_err() {
            // The connection is not used again if this fails, too.
            let _ = self.rollback();
        }
        written
    }

    fn write_nothing(&mut self) -> Result<(), StoreError> {
        let sql = Sql::new(match self {
            Self::Sqlite(_) => "SELECT user_version FROM pragma_user_version",
            // A transaction with a number has a commit record.
            Self::Postgres(_) => "SELECT txid_current()",
        });
        let number: i64 = on_backend!(self, c => sql.returning::<BigInt>().get_result(c))?;
        if let Self::Sqlite(db) = self {
            // The page is written again, also with the same number.
            db.connection().batch_execute(&format!("PRAGMA user_version = {number}"))?;
        }
        Ok(())
    }

    /// The encoding of PostgreSQL's texts. `None` on SQLite, which can store every character.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn encoding(&mut self) -> Result<Option<String>, StoreError> {
        let Self::Postgres(db) = self else { return Ok(None) };
        db.text("server_encoding")
    }
}
