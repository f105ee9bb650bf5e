//! Where open conflicts are kept beyond the process: a trait, and a directory of files.

use crate::{ConflictId, OpenConflict};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
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
    /// The cause. Then the previous conflict with this id is still there, or none if there was none.
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
/// new one. The directory belongs to one client at a time. On Unix, only the user can read the files
/// and the directories that are made.
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
        make(&directory, &sync)?;
        Ok(Self { directory })
    }

    fn path_of(&self, id: &ConflictId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Saves a conflict. Tests bring their own way to sync a directory.
    fn keep(
        &self,
        conflict: &OpenConflict,
        sync: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.path_of(&conflict.id);
        let previous = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read?),
        };
        replace(&path, &serde_json::to_vec_pretty(conflict)?)?;
        let Err(error) = sync(&self.directory) else { return Ok(()) };
        // The caller learns that it was not kept. A later run must not find it all the same.
        let undone = match previous {
            Some(previous) => replace(&path, &previous),
            None => remove(&path),
        };
        if let Err(error) = undone {
            tracing::error!(conflict = %conflict.id, %error, "not kept, and its file is still there");
        }
        Err(error)
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
        self.keep(conflict, sync)
    }

    fn remove(&self, id: &ConflictId) -> io::Result<()> {
        remove(&self.path_of(id))?;
        sync(&self.directory)
    }
}

/// Syncs a directory, so that what was made, renamed or removed in it is durable.
fn sync(directory: &Path) -> io::Result<()> {
    // Windows cannot open a directory and does not need to.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Makes a directory and those above it, as far as they are missing.
fn make(directory: &Path, sync: &impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    // The parent of a single name is empty.
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make(parent, sync)?;
    match private_directory().create(directory) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    sync(parent)
}

/// Puts a file with these bytes in the place of another, or of none.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    // One that a crash left behind may be readable by others.
    remove(&temporary)?;
    let mut file = private_file().open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder
}

/// Options for a new file.
fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

fn read(path: &Path) -> io::Result<OpenConflict> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        let root = tempfile::tempdir().expect("a directory");
        let outer = root.path().join("state");
        let directory = outer.join("conflicts");
        let store = FileStore::open(&directory).expect("a store");
        assert_eq!((mode(&outer), mode(&directory)), (0o700, 0o700));
        // A crash of an older version left this behind.
        let left = directory.join("open_1.tmp");
        fs::write(&left, "{").expect("a file");
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).expect("its mode");
        store.save(&conflict(1)).expect("kept");
        assert_eq!(mode(&directory.join("open_1.json")), 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn each_directory_that_is_made_is_synced_in_its_parent() {
        let root = tempfile::tempdir().expect("a directory");
        let synced = RefCell::new(Vec::new());
        let sync = |directory: &Path| {
            synced.borrow_mut().push(directory.to_owned());
            Ok(())
        };
        let (outer, inner) = (root.path().join("a"), root.path().join("a/b"));
        make(&inner, &sync).expect("made");
        assert!(inner.is_dir());
        let expected = vec![root.path().to_owned(), outer];
        assert_eq!(*synced.borrow(), expected);
        make(&inner, &sync).expect("made before");
        assert_eq!(*synced.borrow(), expected);
    }

    #[test]
    fn what_is_not_kept_leaves_the_previous_one_or_none() {
        let root = tempfile::tempdir().expect("a directory");
        let store = FileStore::open(root.path()).expect("a store");
        let failing = |_: &Path| Err(io::ErrorKind::StorageFull.into());
        store.keep(&conflict(1), failing).expect_err("not synced");
        assert!(store.load().expect("readable").is_empty());
        store.save(&conflict(1)).expect("kept");
        store.keep(&conflict(2), failing).expect_err("not synced");
        assert_eq!(store.load().expect("readable"), [conflict(1)]);
        assert_eq!(fs::read_dir(root.path()).expect("a directory").count(), 1);
    }

    fn conflict(revision: u32) -> OpenConflict {
        let side = serde_json::json!({"id": "nsp_1", "version": 1});
        let conflict = serde_json::json!({"conflict_id": null, "kind": "namespace",
            "resource_id": "nsp_1", "base": side, "local": side, "remote": side,
            "base_version": 1, "remote_version": 1, "changes": [], "attempted": [],
            "verdict": "overlap", "overlap": [], "groups_split": [], "attempts": 1});
        let open = serde_json::json!({"id": "open_1", "parked_at": "2026-11-22T01:06:00Z",
            "revision": revision, "conflict": conflict});
        serde_json::from_value(open).expect("an open conflict")
    }
}
