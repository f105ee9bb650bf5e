use super::*;
use crate::reads::{in_the_name_of, tests::Database};
use ifmatch_store::on_backend;
use ifmatch_types::{ApiKeyId, Kind};
use std::sync::{
    atomic::{AtomicUsize, Ordering},
    mpsc,
};
use tokio::time::Instant as TokioInstant;

impl Pool {
    /// Makes this the only idle connection.
    pub fn replace_idle(&self, db: Db) {
        *self.idle() = vec![db];
    }
}

fn find(db: &mut Db) -> Result<usize, StoreError> {
    db.find(Kind::Plan, vec!["pln_0".to_owned()]).map(|found| found.len())
}

fn pool(database: &Database, change: impl FnOnce(&mut Pool)) -> Arc<Pool> {
    let mut pool = Pool::new(&database.url, 8);
    change(Arc::get_mut(&mut pool).unwrap());
    pool
}

#[actix_web::test]
async fn a_read_is_repeated_on_a_new_connection_and_the_old_one_is_gone() {
    let database = Database::create();
    let pool = pool(&database, |_| ());
    pool.replace_idle(Database::create_empty().connect());
    assert_eq!(pool.run(find).await.unwrap(), 0);
    assert_eq!(pool.run_inline(find), Some(0));
}

#[actix_web::test]
async fn connections_that_lie_idle_are_dropped_when_the_database_was_away() {
    let database = Database::create();
    let pool = pool(&database, |_| ());
    pool.idle().extend((0..4).map(|_| database.connect()));
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let outcome = pool.run(move |db| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Err(StoreError::Gone("terminating connection".into())),
        _ => find(db),
    });
    assert_eq!(outcome.await.unwrap(), 0);
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    assert_eq!(pool.idle().len(), 1, "only the new one is left");
}

#[actix_web::test]
async fn a_read_waits_for_a_connection_for_a_limited_time_behind_a_limited_number() {
    let database = Database::create();
    let pool = pool(&database, |pool| {
        pool.read_timeout = Duration::from_millis(50);
        pool.permits = Arc::new(Semaphore::new(1));
        pool.waiting = Semaphore::new(1);
    });
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let slow = pool.run(move |_| {
        let _ = ended.lock().unwrap().recv();
        Ok(())
    });
    let mut slow = Box::pin(slow);
    assert!(futures::poll!(&mut slow).is_pending());
    let mut waiting = Box::pin(pool.run(find));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert!(matches!(pool.run(find).await, Err(StoreError::Raced(_))), "one waits already");
    assert!(matches!(waiting.await, Err(StoreError::Raced(_))), "nothing became free in time");
    // The caller goes away. Its read continues and keeps its place until it ends.
    drop(slow);
    assert!(matches!(pool.run(find).await, Err(StoreError::Raced(_))));
    end.send(()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.run(find).await.is_err() {
        assert!(Instant::now() < deadline, "the place is free again");
    }
}

#[actix_web::test]
async fn a_locked_file_is_waited_for_without_stopping_the_thread_of_the_caller() {
    let database = Database::create();
    let pool = pool(&database, |_| ());
    let mut owner = database.connect();
    // No other connection can even read the file until this one ends.
    let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT";
    on_backend!(&mut owner, c => diesel::connection::SimpleConnection::batch_execute(c, lock))
        .unwrap();
    let began_at = TokioInstant::now();
    let mut read = Box::pin(pool.run(find));
    assert!(futures::poll!(&mut read).is_pending());
    assert!(began_at.elapsed() < Duration::from_secs(1), "the caller's thread was kept waiting");
    drop(owner);
    assert_eq!(read.await.unwrap(), 0);
}

#[actix_web::test]
async fn a_key_leaves_connections_for_other_keys() {
    let database = Database::create();
    let pool = pool(&database, |_| ());
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let slow = |_| {
        let (pool, ended) = (Arc::clone(&pool), Arc::clone(&ended));
        let read = async move {
            let wait = move |_: &mut Db| {
                let _ = ended.lock().unwrap_or_else(PoisonError::into_inner).recv();
                Ok(())
            };
            pool.run(wait).await
        };
        Box::pin(in_the_name_of(ApiKeyId::from_unchecked("greedy"), read))
    };
    let mut all: Vec<_> = (0..20).map(slow).collect();
    for read in &mut all {
        assert!(futures::poll!(read).is_pending());
    }
    let other = in_the_name_of(ApiKeyId::from_unchecked("other"), pool.run(find));
    assert_eq!(other.await.unwrap(), 0);
    drop(end);
    for read in all {
        read.await.unwrap();
    }
}
