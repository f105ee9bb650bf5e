//! Ends a connection from outside of its task.
//!
//! The task of a connection asks for more of an answer only after the socket took what there was. If
//! the client does not read, nothing inside that task can end the answer. So each connection keeps a
//! second handle of its socket.

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use std::{any::Any, net::Shutdown, os::fd::AsFd, sync::Arc};

/// A second handle of a connection's socket.
#[derive(Clone)]
pub struct HangUp(pub(super) Arc<std::net::TcpStream>);

impl HangUp {
    fn of(socket: &TcpStream) -> Option<Self> {
        let duplicate = socket.as_fd().try_clone_to_owned().ok()?;
        Some(Self(Arc::new(duplicate.into())))
    }

    /// Closes the connection. Its task ends with an error.
    pub fn close(&self) {
        // An error only says that it is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Keeps the handle of a new connection among its data.
pub fn remember(connection: &dyn Any, data: &mut Extensions) {
    let plain = connection.downcast_ref::<TcpStream>();
    let over_tls = || {
        let stream = connection.downcast_ref::<TlsStream<TcpStream>>()?;
        Some(stream.get_ref().0)
    };
    if let Some(hang_up) = plain.or_else(over_tls).and_then(HangUp::of) {
        data.insert(hang_up);
    }
}
