//! A proxy before PostgreSQL that loses commits: the request, so that nothing was committed, or its
//! answer, so that everything was. Either way the server only sees a connection that ended.

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

/// The messages by which the server commits: simple queries.
const COMMITS: [&[u8]; 2] = [b"Q\0\0\0\x0bCOMMIT\0", b"Q\0\0\0\x15COMMIT AND CHAIN\0"];

#[derive(Default)]
struct Losses {
    /// Every so many commits one is lost; none at 0.
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
    /// A proxy before the database at `postgres://user@host:port/name`, which loses nothing at first.
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

    /// What `--database-url` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on, loses one of so many commits, by turns the request and the answer; 0: none.
    pub fn lose_one_of(&self, commits: usize) {
        self.losses.every.store(commits, Ordering::SeqCst);
    }

    /// How many commits were lost.
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
    // Whichever ends first ends both.
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
    /// A commit was delivered whose answer nobody may see.
    AnswerLost,
}

async fn requests(
    client: &mut OwnedReadHalf,
    database: &mut OwnedWriteHalf,
    losses: &Losses,
) -> io::Result<Ended> {
    let mut chunk = vec![0; 1 << 16];
    loop {
        let length = client.read(&mut chunk).await?;
        if length == 0 {
            return Ok(Ended::Closed);
        }
        let message = &chunk[..length];
        let every = losses.every.load(Ordering::SeqCst);
        if every > 0 && COMMITS.contains(&message) {
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
