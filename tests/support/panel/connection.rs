//! The panel's port: it accepts connections, keeps them alive, and can be closed and opened again.

use super::{
    desk::{self, Reply},
    http,
    state::Shared,
};
use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

/// The panel's port.
pub enum Port {
    /// It accepts connections, in one task that ends with this.
    Open(JoinSet<()>),
    /// It refuses connections. The socket is bound, so that no other process takes the port.
    Closed(TcpSocket),
    /// It is being opened or closed.
    Between,
}

impl Port {
    /// Takes a free port, and refuses connections. Returns its address, too.
    pub fn take() -> io::Result<(Self, SocketAddr)> {
        let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let at = socket.local_addr()?;
        Ok((Self::Closed(socket), at))
    }

    /// Accepts connections, if it does not yet.
    pub fn open(&mut self, shared: &Arc<Shared>) -> io::Result<()> {
        *self = match mem::replace(self, Self::Between) {
            Self::Closed(socket) => {
                let listener = socket.listen(1024)?;
                let mut accepting = JoinSet::new();
                accepting.spawn(accept(listener, shared.clone()));
                Self::Open(accepting)
            }
            other => other,
        };
        Ok(())
    }

    /// Ends every connection and refuses new ones.
    ///
    /// The panel's work on the calls that have arrived goes on.
    pub async fn close(&mut self, at: SocketAddr) -> io::Result<()> {
        if let Self::Open(accepting) = self {
            accepting.shutdown().await;
            *self = Self::Closed(bind_again(at).await?);
        }
        Ok(())
    }
}

/// Binds a port that was just left. A connection of another test may have taken it for a moment.
async fn bind_again(at: SocketAddr) -> io::Result<TcpSocket> {
    for _ in 0..100 {
        match bind(at) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
    bind(at)
}

fn bind(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that have just ended would keep the port for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(converse(client, shared.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request after the other, until either side ends the connection.
async fn converse(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(request) = http::read(&mut client, &mut received).await? {
        let is_last =
            request.header("Connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        // Its own task: the panel does not stop its work when a client has gone.
        let work = tokio::spawn(desk::serve(shared.clone(), request));
        match work.await.unwrap_or(Reply::Reset) {
            Reply::Answer(answer) => answer.send(&mut client).await?,
            Reply::Drip(answer, pause) => answer.drip(&mut client, pause).await?,
            Reply::Endless(answer) => answer.send_endlessly(&mut client).await?,
            Reply::Silence => {
                while http::read(&mut client, &mut received).await?.is_some() {}
                return Ok(());
            }
            Reply::Reset => return client.set_zero_linger(),
        }
        if is_last {
            break;
        }
    }
    Ok(())
}
