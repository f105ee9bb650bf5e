use super::*;
use tempfile::TempDir;

/// A migrated SQLite database for one test.
pub struct Database {
    pub url: DatabaseUrl,
    _dir: TempDir,
}

impl Database {
    pub fn create() -> Self {
        let database = Self::create_empty();
        database.connect().migrate().unwrap();
        database
    }

    /// A database without tables, so that every read of it fails.
    pub fn create_empty() -> Self {
        let dir = tempfile::Builder::new().prefix("ifmatch-reads-").tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("test.db").display());
        Self { url: url.parse().unwrap(), _dir: dir }
    }

    pub fn connect(&self) -> Db {
        Db::create(&self.url, Use::Read).unwrap()
    }
}

const ABSENT: &str = "pln_00000000000000000000000000000000";

#[actix_web::test]
async fn a_point_read_replaces_a_connection_that_failed() {
    let database = Database::create();
    let reads = Reads::start(&database.url).unwrap();
    let Points::Inline(pool) = &reads.points else { panic!("it is SQLite") };
    assert_eq!(reads.find(Kind::Plan, ABSENT).await.unwrap(), None);
    pool.replace_idle(Database::create_empty().connect());
    for _ in 0..2 {
        assert_eq!(reads.find(Kind::Plan, ABSENT).await.unwrap(), None);
    }
    assert!(pool.run_inline(|db| db.find(Kind::Plan, vec![ABSENT.to_owned()])).is_some());
}

#[test]
fn a_thread_that_reads_for_others_goes_on_after_a_failure_and_after_a_panic() {
    let database = Database::create();
    let mut connection = Connection::new(&database.url);
    connection.db = Some(Database::create_empty().connect());
    let find = |db: &mut Db| db.find(Kind::Plan, vec![ABSENT.to_owned()]);
    assert_eq!(connection.read(find).unwrap(), []);
    connection.serve(|connection| connection.read(|_| panic!("as planned")).unwrap());
    assert_eq!(connection.read(find).unwrap(), []);
}
