//! A socket that never blocks, on its way to a server.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use txpostgres_session::config::{Config, Endpoint, Host};

/// Begins to connect to an endpoint that is an address. Whether it is [connected](is_connected)
/// shows when it is writable.
pub(crate) fn connect(endpoint: &Endpoint, config: &Config) -> io::Result<Socket> {
    match &endpoint.host {
        Host::Addr { addr, .. } => tcp(SocketAddr::new(*addr, endpoint.port), config),
        Host::Unix(_) => unix(endpoint),
        Host::Tcp(name) => {
            let what = format!("the name {name} was not looked up");
            Err(io::Error::new(io::ErrorKind::InvalidInput, what))
        }
    }
}

fn tcp(address: SocketAddr, config: &Config) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
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
    begin(socket, &address.into())
}

fn unix(endpoint: &Endpoint) -> io::Result<Socket> {
    let path = endpoint.unix_socket_path().unwrap_or_default().into_os_string();
    let mut path = path.into_vec();
    // The system takes a leading NUL for the abstract namespace; connection strings write `@`.
    if let Some(first) = path.first_mut().filter(|_| endpoint.is_abstract()) {
        *first = 0;
    }
    let address = SockAddr::unix(std::ffi::OsString::from_vec(path))?;
    begin(Socket::new(Domain::UNIX, Type::STREAM, None)?, &address)
}

fn begin(socket: Socket, address: &SockAddr) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Ok(()) => Ok(socket),
        // `EINPROGRESS`. A Unix socket says `EAGAIN` if the server's queue is full, and then it is
        // not on its way.
        Err(error) if is_in_progress(&error) && address.is_ipv4() | address.is_ipv6() => Ok(socket),
        Err(error) => Err(error),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.kind() == io::ErrorKind::Interrupted
        || error.raw_os_error() == Some(IN_PROGRESS)
}

/// `EINPROGRESS`, for which the standard library has no stable name.
const IN_PROGRESS: i32 =
    if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };

/// Whether a socket has reached its peer.
///
/// # Errors
///
/// It will not.
pub(crate) fn is_connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // If the peer has reset it since, reading says so.
    let peer = socket.peer_addr().map_err(|error| error.kind());
    Ok(peer.err() != Some(io::ErrorKind::NotConnected))
}

/// The address of the peer of a TCP socket.
pub(crate) fn peer(socket: &Socket) -> Option<SocketAddr> {
    socket.peer_addr().ok()?.as_socket()
}
