//! A proxy before PostgreSQL that loses commits.
//!
//! It loses either the request, so that nothing is committed, or the answer, so that everything is.
//! In both cases the server only sees a closed connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::AbortHandle,
};

/// The message with which the server commits a transaction: a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// A text in each statement that commits itself.
const UNLOCKED: &[u8] = b"is not as it was read";
/// The end of what is sent at once to run a prepared statement.
const SYNC: &[u8] = b"S\0\0\0\x04";

#[derive(Default)]
struct Losses {
    /// One of this many commits is lost; 0 loses none.
    every: AtomicUsize,
    commits: AtomicUsize,
    lost: AtomicUsize,
}

/// A proxy before one PostgreSQL; ends when dropped.
pub struct Wire {
    url: String,
    losses: Arc<Losses>,
    accepting: AbortHandle,
}

impl Wire {
    /// A proxy before `postgres://user@host:port/name`. At first it loses nothing.
    pub async fn before(database_url: &str) -> Self {
        let (user, place) = database_url.split_once('@').expect("a URL with a user");
        let (upstream, name) = place.split_once('/').expect("a URL with a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let url = format!("{user}@{address}/{name}");
        let (losses, upstream) = (Arc::<Losses>::default(), upstream.to_owned());
        let shared = Arc::clone(&losses);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (losses, upstream) = (Arc::clone(&shared), upstream.clone());
                tokio::spawn(async move { carry(client, &upstream, &losses).await });
            }
        });
        Self { url, losses, accepting: accepting.abort_handle() }
    }

    /// Its `--database-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on loses one of `commits` commits, alternating request and answer; 0 loses none.
    pub fn lose_one_of(&self, commits: usize) {
        self.losses.every.store(commits, Ordering::SeqCst);
    }

    /// The number of lost commits.
    pub fn lost(&self) -> usize {
        self.losses.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, upstream: &str, losses: &Losses) -> io::Result<()> {
    let database = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    database.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_database, mut to_database) = database.into_split();
    // The end of one direction closes both.
    tokio::select! {
        ended = requests(&mut from_client, &mut to_database, losses) => match ended? {
            Ended::AnswerLost => { from_database.read_u8().await?; }
            Ended::Closed => {}
        },
        ended = tokio::io::copy(&mut from_database, &mut to_client) => { ended?; }
    }
    Ok(())
}

enum Ended {
    Closed,
    /// A commit was delivered and its answer must be dropped.
    AnswerLost,
}

async fn requests(
    client: &mut OwnedReadHalf,
    database: &mut OwnedWriteHalf,
    losses: &Losses,
) -> io::Result<Ended> {
    let mut chunk = vec![0; 1 << 16];
    let mut unlocked = Vec::new();
    loop {
        let length = client.read(&mut chunk).await?;
        if length == 0 {
            return Ok(Ended::Closed);
        }
        let message = &chunk[..length];
        let every = losses.every.load(Ordering::SeqCst);
        unlocked.extend(prepared_unlocked(message));
        if every > 0 && (message == COMMIT || runs_one_of(message, &unlocked)) {
            let commits = losses.commits.fetch_add(1, Ordering::SeqCst);
            if commits % every == every - 1 {
                let lost = losses.lost.fetch_add(1, Ordering::SeqCst);
                if lost.is_multiple_of(2) {
                    return Ok(Ended::Closed);
                }
                database.write_all(message).await?;
                return Ok(Ended::AnswerLost);
            }
        }
        database.write_all(message).await?;
    }
}

/// The name of the statement that a message prepares, if this statement commits itself.
fn prepared_unlocked(message: &[u8]) -> Option<Vec<u8>> {
    let is_unlocked = message.windows(UNLOCKED.len()).any(|text| text == UNLOCKED);
    // `P`, four bytes of length, the name, and a zero.
    let named = message.strip_prefix(b"P")?.get(4..)?;
    let name = named.split(|byte| *byte == 0).next()?;
    is_unlocked.then(|| name.to_vec())
}

/// Whether a message runs one of these statements.
fn runs_one_of(message: &[u8], statements: &[Vec<u8>]) -> bool {
    // `B`, four bytes of length, no name of a portal, the statement's name, and a zero.
    let named = message.strip_prefix(b"B").and_then(|rest| rest.get(5..));
    let name = named.and_then(|named| named.split(|byte| *byte == 0).next());
    let is_known = name.is_some_and(|name| statements.iter().any(|known| known == name));
    is_known && message.ends_with(SYNC)
}
