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

/// Makes the byte stream to a server. The default, [`Sockets`], opens TCP and Unix sockets;
/// implement this trait for a tunnel or a proxy.
///
/// TLS is not part of it: the session encrypts what is sent over the stream.
///
/// ```
/// use txpostgres::config::{Config, Endpoint};
/// use txpostgres::{Dial, DialFuture, Sockets};
///
/// /// Prints each endpoint before dialing it.
/// struct Talkative;
///
/// impl Dial for Talkative {
///     fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
///         println!("dialing {endpoint}");
///         Sockets.dial(endpoint, config)
///     }
/// }
/// ```
pub trait Dial: Send + Sync {
    /// Connects to this endpoint. The future is dropped when `connect_timeout` passes.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a>;
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
                Host::Tcp(name) => {
                    let mut last = None;
                    let found = tokio::net::lookup_host((name.as_str(), endpoint.port)).await?;
                    let addresses: Vec<SocketAddr> = found.collect();
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
