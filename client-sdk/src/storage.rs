//! Where open conflicts are kept beyond the process: a trait, and a directory of files.

use crate::{ConflictId, OpenConflict};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Keeps open conflicts beyond the process.
///
/// The client calls it from a thread that may block, one call at a time. A conflict must survive a
/// crash once [`save`](Self::save) has returned.
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
    /// The cause, if a conflict cannot be read. None is skipped.
    fn load(&self) -> io::Result<Vec<OpenConflict>>;

    /// Keeps a conflict, in place of the one with the same id.
    ///
    /// # Errors
    ///
    /// The cause. The previous conflict with this id is then still there.
    fn save(&self, conflict: &OpenConflict) -> io::Result<()>;

    /// Removes a conflict. It is no error if there is none.
    ///
    /// # Errors
    ///
    /// The cause.
    fn remove(&self, id: &ConflictId) -> io::Result<()>;
}

/// Keeps each open conflict as a JSON file in a directory.
///
/// A file is written under another name, synced and renamed, so that a crash leaves the old or the
/// new one. The directory belongs to one client at a time.
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
    /// Opens the directory and creates it if needed.
    ///
    /// ```
    /// # fn example() -> std::io::Result<()> {
    /// let storage = ifmatch::FileStore::open("conflicts")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The cause, if the directory cannot be created.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    fn path_of(&self, id: &ConflictId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Syncs the directory, so that renames and removals are durable.
    fn sync(&self) -> io::Result<()> {
        // Windows cannot open a directory and does not need to.
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
        let path = self.path_of(&conflict.id);
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(conflict)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        self.sync()
    }

    fn remove(&self, id: &ConflictId) -> io::Result<()> {
        match fs::remove_file(self.path_of(id)) {
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
