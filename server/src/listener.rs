//! The open port: connections are counted, watched while they wait, and handed to the HTTP library.
//!
//! actix-web's own server offers no place for this: it hands a socket to the library at once. The
//! library's HTTP/1.1 service takes any socket, so ours is one that knows when it was idle too long.

mod expect;
mod line;
mod places;
mod socket;

pub use line::{Line, Patience};
pub use places::Places;

use crate::{app::App, http::core::limit::Limiter, network::Networks};
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Server},
    rt::net::TcpStream,
    web,
};
use expect::Expect;
use rustls::ServerConfig;
use socket::Socket;
use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// How long a client may still send after an answer that closes the connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How to listen.
#[derive(Clone)]
pub struct Listening {
    /// Number of threads that serve requests.
    pub threads: usize,
    /// How long a connection is kept open without a request.
    pub keep_alive: Duration,
    /// Maximum time for running requests to end when the server stops, in seconds.
    pub shutdown_timeout_s: u64,
    /// Counts and limits connections.
    pub places: Arc<Places>,
    /// Judges who may send a body.
    pub door: Door,
}

/// What decides whether a client that asks first may send its body.
#[derive(Clone)]
pub struct Door {
    /// The accepted keys.
    pub app: web::Data<App>,
    /// The rate limit.
    pub limiter: web::Data<Limiter>,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: web::Data<Networks>,
}

/// Begins to serve an application on a port.
///
/// # Errors
///
/// If the port cannot be used.
pub fn serve<F, I, S, B>(
    listening: &Listening,
    port: TcpListener,
    tls: Option<ServerConfig>,
    app: F,
) -> std::io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let builder = ServerBuilder::new()
        .workers(listening.threads)
        .max_concurrent_connections(listening.places.most())
        .shutdown_timeout(listening.shutdown_timeout_s)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let listening = listening.clone();
    let builder = match tls {
        None => builder.listen("http", port, move || {
            let requests = requests(&listening, &stopping, app(), Socket::line);
            accepted(&listening)
                .map(|socket: Socket| {
                    let peer = socket.peer();
                    (socket, Some(peer))
                })
                .and_then(requests)
        })?,
        Some(tls) => builder.listen("https", port, move || {
            let line = |stream: &TlsStream<Socket>| stream.get_ref().0.line();
            let requests = requests(&listening, &stopping, app(), line);
            accepted(&listening)
                .and_then(Acceptor::new(tls.clone()).map_err(|_| Closed))
                .map(|stream: TlsStream<Socket>| {
                    let peer = stream.get_ref().0.peer();
                    (stream, Some(peer))
                })
                .and_then(requests)
        })?,
    };
    Ok(builder.run())
}

/// The end of a connection. Clients hang up all the time, so it has no reason.
#[derive(Debug)]
struct Closed;

/// Gives each new connection a place, or closes it.
fn accepted(
    listening: &Listening,
) -> impl ServiceFactory<TcpStream, Config = (), Response = Socket, Error = Closed, InitError = ()> + use<>
{
    let places = Arc::clone(&listening.places);
    let patience = Patience::new(listening.keep_alive);
    fn_service(move |stream: TcpStream| {
        let socket = stream.peer_addr().ok().and_then(|peer| {
            let (place, line) = places.take(peer.ip(), patience)?;
            Some(Socket::new(stream, peer, line, place))
        });
        std::future::ready(socket.ok_or(Closed))
    })
}

/// Serves the requests of a connection.
fn requests<T, I, S, B>(
    listening: &Listening,
    stopping: &GracefulShutdownSignal,
    app: I,
    line: fn(&T) -> Arc<Line>,
) -> impl ServiceFactory<
    (T, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = Closed,
    InitError = (),
> + use<T, I, S, B>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let stopping = stopping.clone();
    let app = app.into_factory().map_err(|error: Error| error.error_response());
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KeepAlive::Timeout(listening.keep_alive))
        // The library would answer 408 to a connection that a pool has opened ahead, just when the pool
        // may send its first request. The line ends it in silence, as any other idle one.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that has closed its side is gone. Its handler is dropped, even while it waits.
        .h1_allow_half_closed(false)
        .on_connect_ext(move |io: &T, data| {
            data.insert(line(io));
        })
        .expect(Expect::new(&listening.door))
        .h1::<_, B>(map_config(app, |()| AppConfig::default()))
        .map_err(|_| Closed)
}
