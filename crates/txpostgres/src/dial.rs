//! How the byte stream to a server is made.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use txpostgres_session::config::{Config, Endpoint, Host};

/// Bytes in both directions: what a session needs of a connection.
///
/// `impl ByteStream for MyStream {}` is enough. The methods spare the way through the executor where a stream knows better.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes at once, if that can be done without waiting; else `WouldBlock`, and `poll_write` is asked.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Whether a read may find something. If not, the task is woken when it may; if so, `poll_read` is asked.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Who is at the other end, if that is a TCP socket. A cancel goes there and nowhere else, whatever else the host's name
    /// may mean by then; if this is not known, the same endpoint is dialed again.
    fn peer_address(&self) -> Option<SocketAddr> {
        None
    }
}

impl ByteStream for tokio::io::DuplexStream {}

impl ByteStream for TcpStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }

    fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

#[cfg(unix)]
impl ByteStream for UnixStream {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        UnixStream::try_write(self, bytes)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}

/// The stream, when it is there.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Makes the byte stream to a server. The default, [`Sockets`], makes TCP and Unix sockets; a tunnel or a proxy is one more.
///
/// TLS is none of its business: the session brings its own.
///
/// ```
/// use txpostgres::config::{Config, Endpoint};
/// use txpostgres::{Dial, Dialing, Sockets};
///
/// /// Says where it dials.
/// struct Talkative;
///
/// impl Dial for Talkative {
///     fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> Dialing<'a> {
///         println!("dialing {endpoint}");
///         Sockets.dial(endpoint, config)
///     }
/// }
/// ```
pub trait Dial: Send + Sync {
    /// Connects to this endpoint. Dropped when `connect_timeout` passes.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> Dialing<'a>;
}

/// TCP and Unix sockets.
///
/// TCP sockets send at once (`TCP_NODELAY`) and find out a dead peer by `keepalives_*` and `tcp_user_timeout`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

impl Dial for Sockets {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> Dialing<'a> {
        Box::pin(async move {
            match &endpoint.host {
                Host::Tcp(name) => {
                    let mut last = None;
                    let found = tokio::net::lookup_host((name.as_str(), endpoint.port)).await?;
                    let addresses: Vec<SocketAddr> = found.collect();
                    let began = Instant::now();
                    for (index, address) in addresses.iter().enumerate() {
                        // An address behind which nobody answers must leave the others their share of the time.
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
    let stream = crate::socket::Socket::new(stream.into_std()?)?;
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
    let stream = UnixStream::connect(path).await?.into_std()?;
    Ok(Box::new(crate::socket::Socket::new(stream)?))
}

#[cfg(not(unix))]
async fn unix(_: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}
