//! How the byte stream to a server is made.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use txpostgres_session::config::{Config, Endpoint, Host};

use super::ByteStream;

/// The future of a [`Dial`]: the connected stream.
pub type DialFuture<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// The future of [`Dial::resolve`]: the endpoints to dial.
pub type ResolveFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<Endpoint>>> + Send + 'a>>;

/// Makes the byte stream to a server. The default, [`Sockets`], opens TCP and Unix sockets;
/// implement this trait for a tunnel or a proxy.
///
/// TLS is not part of it: the session encrypts what is sent over the stream.
///
/// ```
/// use txpostgres::config::{Config, Endpoint};
/// use txpostgres::{Dial, DialFuture, ResolveFuture, Sockets};
///
/// /// Prints each endpoint before dialing it.
/// struct Talkative;
///
/// impl Dial for Talkative {
///     fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
///         println!("dialing {endpoint}");
///         Sockets.dial(endpoint, config)
///     }
///
///     // Each address of a name is an endpoint to dial.
///     fn resolve<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> ResolveFuture<'a> {
///         Sockets.resolve(endpoint, config)
///     }
/// }
/// ```
pub trait Dial: Send + Sync {
    /// Connects to this endpoint. The future is dropped when `connect_timeout` passes, and when
    /// another host has accepted the connection. With several hosts the future should complete
    /// when the server is reached: until then the next host is tried too, after 250 ms.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a>;

    /// The endpoints that a host name stands for, each of which is dialed as a host of its own: at
    /// every connect, and only for a host that is a name. The default does not look it up: the name
    /// itself is dialed, as a tunnel may want it. [`Sockets`] asks the operating system.
    ///
    /// The future is dropped as that of [`dial`](Self::dial) is.
    fn resolve<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> ResolveFuture<'a> {
        let _ = config;
        Box::pin(async move { Ok(vec![endpoint.clone()]) })
    }
}

/// TCP and Unix sockets.
///
/// TCP sockets send without delay (`TCP_NODELAY`) and detect a dead peer by `keepalives_*` and
/// `tcp_user_timeout`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

impl Dial for Sockets {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            match &endpoint.host {
                // By way of a dialer that does not resolve names.
                Host::Tcp(name) => {
                    let mut last = None;
                    let addresses = look_up(name, endpoint.port).await?;
                    let began = Instant::now();
                    for (index, address) in addresses.iter().enumerate() {
                        // An address that does not answer must leave the other addresses their
                        // share of the time.
                        let limit = config.get_connect_timeout().unwrap_or(Duration::MAX);
                        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                        let share = limit.saturating_sub(began.elapsed()) / left;
                        match timeout(share, tcp(*address, config)).await {
                            Ok(Ok(stream)) => return Ok(stream),
                            Ok(Err(error)) => last = Some(error),
                            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
                        }
                    }
                    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
                }
                Host::Addr { addr, .. } => tcp(SocketAddr::new(*addr, endpoint.port), config).await,
                Host::Unix(_) => unix(endpoint).await,
            }
        })
    }

    fn resolve<'a>(&'a self, endpoint: &'a Endpoint, _: &'a Config) -> ResolveFuture<'a> {
        Box::pin(async move {
            let Host::Tcp(name) = &endpoint.host else {
                return Ok(vec![endpoint.clone()]);
            };
            let found = look_up(name, endpoint.port).await?;
            // An address of one link, `fe80::1%eth0`, has a scope, which an endpoint cannot hold.
            let is_of_link =
                |address: &SocketAddr| matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
            if found.iter().any(is_of_link) {
                return Ok(vec![endpoint.clone()]);
            }
            let endpoints = found.into_iter().map(|address| Endpoint {
                host: Host::Addr { name: Some(name.clone()), addr: address.ip() },
                port: address.port(),
            });
            Ok(endpoints.collect())
        })
    }
}

async fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, port)).await?.collect())
}

async fn tcp(address: SocketAddr, config: &Config) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = config.get_keepalives_idle() {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = config.get_keepalives_count() {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout())?;
    #[cfg(unix)]
    let stream = super::socket::Socket::new(stream.into_std()?)?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
async fn unix(endpoint: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
    let path = endpoint
        .unix_socket_path()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a Unix socket"))?;
    // Tokio takes a leading NUL for the abstract namespace; connection strings write `@`.
    let path = if endpoint.is_abstract() {
        let name = path.as_os_str().as_encoded_bytes().get(1..).unwrap_or_default();
        let name = [&[0], name].concat();
        std::os::unix::ffi::OsStringExt::from_vec(name)
    } else {
        path.into_os_string()
    };
    // Tokio's own stream, which is woken for writability as well as for readability. On an idle
    // machine, where the extra wake-up overlaps with waiting, that is faster (docs/decisions/0018).
    Ok(Box::new(UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn unix(_: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}
