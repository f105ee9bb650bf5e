//! A client's socket. It ends when its line is closed, or if the client does not read.

use super::{line::Line, places::Place};
use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Maximum time in which a client takes nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client's socket, and its place among all connections.
pub struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    line: Arc<Line>,
    /// Wakes when the line may have to be closed. It is often early, because it is not moved for
    /// each request.
    closing: Option<Pin<Box<Sleep>>>,
    /// Wakes when the client took nothing for too long. It exists while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Socket {
    pub fn new(stream: TcpStream, peer: SocketAddr, line: Arc<Line>, place: Place) -> Self {
        Self { stream, peer, line, closing: None, stalled: None, _place: place }
    }

    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the connection is over, whatever the client still sends.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(due) = self.line.close_due(cx.waker()) else { return false };
            let due = Instant::from_std(due);
            if due <= Instant::now() {
                return true;
            }
            let closing = self.closing.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if closing.deadline() > due || closing.is_elapsed() {
                closing.as_mut().reset(due);
            }
            if closing.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
    }

    /// Passes on what a write came to, unless the client takes nothing for too long.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            if self.stalled.take().is_some() {
                self.line.set_stalled(false);
            }
            return wrote;
        }
        if self.line.is_hung_up() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        self.line.set_stalled(true);
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.is_over(cx) {
            // The same as if the client had closed its side.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut socket.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let wrote = Pin::new(&mut socket.stream).poll_write(cx, bytes);
        socket.watched(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let wrote = Pin::new(&mut socket.stream).poll_write_vectored(cx, slices);
        socket.watched(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl ActixStream for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
