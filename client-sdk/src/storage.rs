//! Where open conflicts are kept beyond the process: a trait, and a directory of files.

use crate::{ConflictId, OpenConflict};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Keeps open conflicts beyond the process.
///
/// The client calls it from a thread that may block, one call at a time. What
/// [`save`](Self::save) has returned from must survive a crash.
///
/// ```
/// use ifmatch::{ConflictId, ConflictStorage, OpenConflict};
/// use std::io;
///
/// struct Table(/* a database connection */);
///
/// impl ConflictStorage for Table {
///     fn load(&self) -> io::Result<Vec<OpenConflict>> { Ok(Vec::new()) }
///     fn save(&self, conflict: &OpenConflict) -> io::Result<()> { Ok(()) }
///     fn remove(&self, id: &ConflictId) -> io::Result<()> { Ok(()) }
/// }
/// ```
pub trait ConflictStorage: Send + Sync + 'static {
    /// Every conflict that was saved and not removed.
    ///
    /// # Errors
    ///
    /// What keeps it from reading them all: a conflict that cannot be read is not skipped.
    fn load(&self) -> io::Result<Vec<OpenConflict>>;

    /// Keeps a conflict, in place of the one with the same id.
    ///
    /// # Errors
    ///
    /// What keeps it from being kept; the one before is still there then.
    fn save(&self, conflict: &OpenConflict) -> io::Result<()>;

    /// Forgets a conflict; one that is not there is forgotten already.
    ///
    /// # Errors
    ///
    /// What keeps it from being forgotten.
    fn remove(&self, id: &ConflictId) -> io::Result<()>;
}

/// Keeps each open conflict as a JSON file in a directory.
///
/// A file is written beside its place, synced and renamed, so that a crash leaves the old one or
/// the new one. The directory belongs to one client at a time.
///
/// ```
/// # fn example(key: String) -> Result<(), Box<dyn std::error::Error>> {
/// let billing = ifmatch::Client::builder("http://127.0.0.1:8080")
///     .key(key)
///     .conflict_storage(ifmatch::FileStore::open("conflicts")?)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Opens the directory, and makes it if there is none.
    ///
    /// ```
    /// # fn example() -> std::io::Result<()> {
    /// let storage = ifmatch::FileStore::open("conflicts")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// What keeps the directory from being made.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    fn place(&self, id: &ConflictId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Makes renames and removals last: they are entries of the directory.
    fn sync(&self) -> io::Result<()> {
        // Windows cannot open a directory, and needs not.
        if cfg!(unix) { File::open(&self.directory)?.sync_all() } else { Ok(()) }
    }
}

impl ConflictStorage for FileStore {
    fn load(&self) -> io::Result<Vec<OpenConflict>> {
        let mut conflicts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                conflicts.push(read(&path)?);
            }
        }
        Ok(conflicts)
    }

    fn save(&self, conflict: &OpenConflict) -> io::Result<()> {
        let place = self.place(&conflict.id);
        let beside = place.with_extension("tmp");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(conflict)?)?;
        file.sync_all()?;
        fs::rename(&beside, &place)?;
        self.sync()
    }

    fn remove(&self, id: &ConflictId) -> io::Result<()> {
        match fs::remove_file(self.place(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        }
    }
}

fn read(path: &Path) -> io::Result<OpenConflict> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    })
}
