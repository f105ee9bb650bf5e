//! Database URLs. They never show a password.

use super::file::SqliteFile;
use std::{fmt, str::FromStr};

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of the embedded SQLite.
    Sqlite(SqliteFile),
    /// A PostgreSQL connection string.
    Postgres(String),
}

/// Why a text is not a database URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither sqlite://FILE nor postgres://…")]
pub struct UrlError(String);

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(SqliteFile::new(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let scheme = text.split("://").next().unwrap_or_default();
        Err(UrlError(format!("{scheme}…")))
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Never shows a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.path()),
            Self::Postgres(url) => {
                // Parameters may hold a password too.
                let address = url.split('?').next().unwrap_or_default();
                let place = address.rsplit_once('@').map_or("", |(_, place)| place);
                write!(f, "postgres://…{place}")
            }
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
        let error = "mysql://me:s3cret@db".parse::<DatabaseUrl>().unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }
}
