//! Cuts a connection that a thread of this process is stuck in.
//!
//! PostgreSQL's client waits for an answer without a limit, and a server that is frozen or cut off
//! sends none. No other thread can reach its socket: Diesel does not show it, and the client has no
//! time limit of its own. But a connection can be marked when it is made, by the value of a socket
//! option that is unique among the connections of the process, and found by that mark later.

use std::io;

/// Ends the TCP connection of this process whose `TCP_USER_TIMEOUT` is this many milliseconds, in both
/// directions. Its reader then finds the end of it. Returns whether there was one.
///
/// Linux only. Elsewhere, no connection is found.
///
/// # Errors
///
/// If the files of the process cannot be listed.
pub fn cut_marked(user_timeout_ms: u32) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    return linux::cut_marked(user_timeout_ms);
    #[cfg(not(target_os = "linux"))]
    return Ok(user_timeout_ms == 0 && false);
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::net::{Shutdown, shutdown, sockopt::tcp_user_timeout};
    use std::{fs, io, os::fd::BorrowedFd};

    pub(super) fn cut_marked(user_timeout_ms: u32) -> io::Result<bool> {
        for entry in fs::read_dir("/proc/self/fd")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            let Some(number) = number.filter(|number| *number >= 0) else { continue };
            // SAFETY: the number was a file of this process a moment ago and is not -1. Another thread
            // may close it, or close it and open another file, before or between the two calls. They
            // take the number only to ask and to shut down. They fail on a closed one and on one that
            // is no TCP socket; they own nothing and close nothing. At worst, a connection that has
            // just been made with the same number is shut down, which every peer of a connection may
            // do at any time.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            if tcp_user_timeout(file) == Ok(user_timeout_ms) {
                return Ok(shutdown(file, Shutdown::Both).is_ok());
            }
        }
        Ok(false)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::cut_marked;
    use rustix::net::sockopt::set_tcp_user_timeout;
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    #[test]
    fn the_marked_connection_ends_and_no_other() -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let connect = || TcpStream::connect(listener.local_addr()?);
        let (mut marked, other) = (connect()?, connect()?);
        let _accepted = (listener.accept()?, listener.accept()?);
        set_tcp_user_timeout(&marked, 15_123)?;
        set_tcp_user_timeout(&other, 15_124)?;
        let reader = std::thread::spawn(move || marked.read(&mut [0]));
        assert!(cut_marked(15_123)?);
        assert!(matches!(reader.join(), Ok(Ok(0))), "its reader finds the end");
        other.set_nonblocking(true)?;
        let waits = (&other)
            .read(&mut [0])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(waits, "the other one is as it was");
        assert!(!cut_marked(15_999)?);
        Ok(())
    }
}
