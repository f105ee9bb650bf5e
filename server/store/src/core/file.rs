//! The file of a SQLite database, which may be deleted or replaced while it is open.
//!
//! An open file goes on after its name is gone: commits succeed, and everything is lost when the
//! process ends. So the open file is compared with the one at its path before each commit.

use super::error::StoreError;
use diesel::{ConnectionError, SqliteConnection};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A disk that has no space for so many bytes counts as full.
const PROBE_BYTES: usize = 1 << 20;

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self(metadata.dev(), metadata.ino()))
    }
}

/// A SQLite file. All clones know which file the first connection opened.
#[derive(Clone)]
pub struct SqliteFile {
    path: String,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// The file that the first connection of this process opened.
    first: OnceLock<Identity>,
    /// Whether the write-ahead log was taken away.
    ///
    /// That cannot be mended while the process runs: other connections still use the old log, and
    /// the index of the log that they share fits no new one.
    is_log_lost: AtomicBool,
}

impl PartialEq for SqliteFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for SqliteFile {}

impl SqliteFile {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), known: Arc::default() }
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes an empty file, which is an empty database, if there is none.
    ///
    /// Only its owner can read it, because it holds what customers wrote. SQLite gives its log the
    /// same mode.
    pub(crate) fn create(&self) -> Result<(), StoreError> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(self.impaired("cannot be created", &error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The file's name for SQLite, which then never creates it.
    pub(crate) fn uri(&self) -> String {
        let path = self.path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let begin = if path.starts_with('/') { "file://" } else { "file:" };
        format!("{begin}{path}?mode=rw")
    }

    /// Which file is at the path now.
    pub(crate) fn identity(&self) -> Result<Identity, StoreError> {
        if self.known.is_log_lost.load(Ordering::Relaxed) {
            return Err(self.log_lost());
        }
        Identity::of(Path::new(&self.path))
            .map_err(|error| self.impaired("cannot be found", &error))
    }

    /// Whether a file is the one that this process opened first.
    fn is_first(&self, found: Identity) -> bool {
        *self.known.first.get_or_init(|| found) == found
    }

    fn impaired(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Impaired(format!("{} {what}: {error}", self.path).into())
    }

    /// The error of a file that SQLite cannot open. SQLite says neither which nor why.
    pub(crate) fn unopened(&self, error: &ConnectionError) -> StoreError {
        let path = &self.path;
        let text = if Path::new(path).is_dir() {
            format!("{path} is a directory; name a file in it")
        } else {
            format!("{path} cannot be opened: {error}; may this user read and write it?")
        };
        StoreError::Impaired(text.into())
    }

    fn replaced(&self) -> StoreError {
        let text = format!("{} is another file than the one that was opened", self.path);
        StoreError::Impaired(format!("{text}; put it back, or restart the server").into())
    }

    fn log_lost(&self) -> StoreError {
        let text = format!("the write-ahead log of {} was deleted or replaced", self.path);
        StoreError::Impaired(format!("{text}; restart the server").into())
    }
}

/// A connection to a SQLite file.
pub struct SqliteDb {
    connection: SqliteConnection,
    file: SqliteFile,
    opened: Identity,
    log_path: PathBuf,
    /// The write-ahead log. It stays while a connection is open.
    log: Option<Identity>,
}

impl SqliteDb {
    /// A connection to the file that was at the path before it was opened.
    pub(crate) fn new(
        connection: SqliteConnection,
        file: &SqliteFile,
        before: Identity,
    ) -> Result<Self, StoreError> {
        if !file.is_first(before) || file.identity()? != before {
            return Err(file.replaced());
        }
        // SQLite names the log after the file, not after a link to it.
        let path = fs::canonicalize(&file.path).unwrap_or_else(|_| PathBuf::from(&file.path));
        let mut log_path = path.into_os_string();
        log_path.push("-wal");
        let log_path = PathBuf::from(log_path);
        let log = Identity::of(&log_path).ok();
        Ok(Self { connection, file: file.clone(), opened: before, log_path, log })
    }

    /// The connection itself.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Checks that the disk has space for more commits.
    ///
    /// A small commit alone would find room in the log where a larger one failed before.
    pub(crate) fn probe_space(&self) -> Result<(), StoreError> {
        let path = format!("{}-probe", self.file.path);
        let written = fs::write(&path, vec![0; PROBE_BYTES]);
        let removed = fs::remove_file(&path);
        written.and(removed).map_err(|error| self.file.impaired("has no space", &error))
    }

    /// Checks that the open file and its log are those at their paths.
    pub(crate) fn is_in_place(&mut self) -> Result<(), StoreError> {
        if self.file.identity()? != self.opened {
            return Err(self.file.replaced());
        }
        let log = Identity::of(&self.log_path).ok();
        match self.log {
            Some(_) if self.log != log => {
                self.file.known.is_log_lost.store(true, Ordering::Relaxed);
                Err(self.file.log_lost())
            }
            Some(_) => Ok(()),
            None => {
                self.log = log;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_in_its_uri() {
        let uri = |path| SqliteFile::new(path).uri();
        assert_eq!(uri("ifmatch.db"), "file:ifmatch.db?mode=rw");
        assert_eq!(uri("/var/a b/x.db"), "file:///var/a b/x.db?mode=rw");
        assert_eq!(uri("50%?#.db"), "file:50%25%3f%23.db?mode=rw");
    }
}
