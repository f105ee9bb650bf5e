//! Database URLs. They never show a password.

use super::{file::SqliteFile, postgres::PostgresTarget};
use std::{fmt, path::Path, str::FromStr};

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of the embedded SQLite.
    Sqlite(SqliteFile),
    /// A PostgreSQL connection string.
    Postgres(PostgresTarget),
}

/// Why a text is not a database URL, or not one that can be used.
///
/// No message repeats a part of the URL that may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It begins with another scheme, or with none.
    #[error("it is neither sqlite://FILE nor postgres://…")]
    Scheme,
    /// A user or password has a `@` or `/`, which ends it. The rest would be taken for the host, and
    /// be printed.
    #[error("the user or the password has a @ or /, which must be written as %40 or %2F")]
    Credentials,
    /// A parameter that PostgreSQL's client does not know.
    #[error("PostgreSQL knows no parameter `{name}`; {way_out}")]
    Parameter {
        /// The parameter.
        name: String,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The program was built without TLS to PostgreSQL.
    #[error("`{name}={value}` needs TLS to PostgreSQL: {}", Self::WITHOUT_TLS)]
    NoTls {
        /// The parameter.
        name: &'static str,
        /// What it asks for.
        value: String,
    },
    /// A name of a schema that PostgreSQL would change or refuse.
    #[error(
        "a schema is named with 1 to 63 of a-z, 0-9 and _, not beginning with a digit, with `pg_` \
         or as `information_schema`"
    )]
    SchemaName,
    /// A schema within SQLite.
    #[error("SQLite has no schemas; use one file for each installation")]
    SchemaOfSqlite,
}

impl UrlError {
    /// What to do without TLS.
    pub(crate) const WITHOUT_TLS: &str = "this program was built without it; use the package, or \
         build with `--features postgres-tls`";
}

impl DatabaseUrl {
    /// The same database, with its tables in this schema.
    ///
    /// # Errors
    ///
    /// [`UrlError::SchemaName`] and [`UrlError::SchemaOfSqlite`].
    pub fn in_schema(self, schema: &str) -> Result<Self, UrlError> {
        match self {
            Self::Sqlite(_) => Err(UrlError::SchemaOfSqlite),
            Self::Postgres(target) => Ok(Self::Postgres(target.in_schema(schema)?)),
        }
    }

    /// Whether a pool was found between this program and the database. Known after a connection.
    pub fn is_pooled(&self) -> bool {
        matches!(self, Self::Postgres(target) if target.is_pooled())
    }

    /// Whether it names a file that is not there.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Sqlite(file) if !Path::new(file.path()).exists())
    }

    /// Checks what would only fail at the first connection, with a worse message.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn check(&self) -> Result<(), UrlError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(target) => target.check(),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(SqliteFile::new(path)));
        }
        PostgresTarget::new(text).map(Self::Postgres).ok_or(UrlError::Scheme)
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Never shows a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.path()),
            Self::Postgres(target) => write!(f, "postgres://…{}", target.place()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_never_shows_its_password() {
        for url in ["postgres://me:s3cret@db/billing", "postgres://me@db/billing?password=s3cret"] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(format!("{url:?}"), "postgres://…db/billing");
        }
        for other in ["mysql://me:s3cret@db", "host=db password=s3cret"] {
            let error = other.parse::<DatabaseUrl>().unwrap_err();
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn sqlite_has_no_schemas() {
        let url: DatabaseUrl = "sqlite://a.db".parse().unwrap();
        assert_eq!(url.in_schema("shop").unwrap_err(), UrlError::SchemaOfSqlite);
    }
}
