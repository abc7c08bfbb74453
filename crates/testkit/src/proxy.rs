//! A TCP proxy between a client and its server that cuts, resets, stalls and delays on request.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// How soon a thread that waits for bytes notices that it must stop.
const POLL: Duration = Duration::from_millis(5);

/// The direction in which bytes are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A TCP proxy on a free port of 127.0.0.1. Its settings hold for present and future connections.
///
/// Everything ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    gauge: Mutex<Gauge>,
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
struct Gauge {
    closed: bool,
    refusing: bool,
    /// Connections that come from now on are deaf once this many bytes were passed to the client.
    deaf_after: Option<usize>,
    to_server: Flow,
    to_client: Flow,
    links: Vec<Arc<Link>>,
    accepted: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    stalled: bool,
    delay: Duration,
    /// The largest number of bytes that is passed on at once.
    piece: Option<usize>,
    /// How many more bytes pass before everything is cut.
    allowance: Option<usize>,
    passed: usize,
}

/// One client's connection and the one made for it.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    over: AtomicBool,
    /// What arrives is read and thrown away.
    deaf: AtomicBool,
    /// So is what comes after this many bytes to the client.
    deaf_after: AtomicUsize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Flow {
    /// How many of `n` bytes may be passed on now; they are counted as passed.
    fn take(&mut self, wanted: usize) -> usize {
        let room = wanted.min(self.piece.unwrap_or(wanted)).min(self.allowance.unwrap_or(wanted));
        self.allowance = self.allowance.map(|left| left - room);
        self.passed += room;
        room
    }

    fn give_back(&mut self, count: usize) {
        self.allowance = self.allowance.map(|left| left + count);
        self.passed -= count;
    }
}

impl Link {
    /// The source and the destination of bytes.
    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }

    /// How many of these bytes the client is to get.
    fn hear(&self, count: usize) -> usize {
        let left = self.deaf_after.load(Ordering::Acquire);
        let heard = count.min(left);
        if left < usize::MAX {
            self.deaf_after.store(left - heard, Ordering::Release);
            self.deaf.store(left == heard, Ordering::Release);
        }
        heard
    }

    fn cut(&self) {
        self.client.shutdown(Shutdown::Both).ok();
        self.server.shutdown(Shutdown::Both).ok();
        self.over.store(true, Ordering::Release);
    }

    /// One side was reset, and the other must be reset as well.
    fn break_off(&self, other: &TcpStream) {
        SockRef::from(other).set_linger(Some(Duration::ZERO)).ok();
        self.over.store(true, Ordering::Release);
    }
}

impl Gauge {
    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

impl State {
    fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Listens, and connects to this server for every client.
    pub fn to(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { upstream, gauge: Mutex::default(), changed: Condvar::new() });
        serve(listener, &state)?;
        Ok(Self { address, state })
    }

    /// Listens, and connects to a port of 127.0.0.1, such as a cluster's.
    pub fn to_port(port: u16) -> io::Result<Self> {
        Self::to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of connections now.
    pub fn connections(&self) -> usize {
        self.state.gauge().links.len()
    }

    /// The number of connections so far.
    pub fn accepted(&self) -> usize {
        self.state.gauge().accepted
    }

    /// The number of bytes that were passed on in this direction.
    pub fn passed(&self, direction: Direction) -> usize {
        self.state.gauge().flow(direction).passed
    }

    /// Ends all connections properly (FIN) towards both sides. New ones may come.
    pub fn cut(&self) {
        self.end(Link::cut);
    }

    /// Breaks all connections (RST) towards both sides. New ones may come.
    pub fn reset(&self) {
        self.end(|link| {
            SockRef::from(&link.client).set_linger(Some(Duration::ZERO)).ok();
            SockRef::from(&link.server).set_linger(Some(Duration::ZERO)).ok();
        });
    }

    /// Cuts all connections once this many more bytes were passed on in this direction: in the
    /// middle of a message, for instance.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        self.change(direction, |flow| flow.allowance = Some(bytes));
    }

    /// Passes nothing on in this direction; connections stay, and bytes wait in the system's
    /// buffers.
    pub fn stall(&self, direction: Direction) {
        self.change(direction, |flow| flow.stalled = true);
    }

    /// Ends a [`stall`](Self::stall).
    pub fn flow(&self, direction: Direction) {
        self.change(direction, |flow| flow.stalled = false);
    }

    /// Makes all connections deaf for ever, towards both sides: what arrives is read, acknowledged
    /// and thrown away, and nothing is said any more. New ones work, unless they are
    /// [to be deaf](Self::deafen_new) too.
    pub fn deafen(&self) {
        for link in &self.state.gauge().links {
            link.deaf.store(true, Ordering::Release);
        }
    }

    /// Makes connections that come from now on deaf once this many bytes were passed on to the
    /// client: in the middle of a login, for instance. `None`: not any more.
    pub fn deafen_new(&self, after: Option<usize>) {
        self.state.gauge().deaf_after = after;
    }

    /// Delays everything by this time.
    pub fn delay(&self, direction: Direction, time: Duration) {
        self.change(direction, |flow| flow.delay = time);
    }

    /// Passes on at most this many bytes at once.
    pub fn split(&self, direction: Direction, bytes: usize) {
        self.change(direction, |flow| flow.piece = Some(bytes.max(1)));
    }

    /// Stops listening: new connections are refused, existing ones stay.
    pub fn refuse(&self) {
        self.state.gauge().refusing = true;
        // Wakes the thread that accepts; it closes the port before this connection ends.
        if let Ok(mut knock) = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)) {
            knock.set_read_timeout(Some(Duration::from_secs(1))).ok();
            io::copy(&mut knock, &mut io::sink()).ok();
        }
    }

    /// Listens again after [`refuse`](Self::refuse), on the same port.
    pub fn accept_again(&self) -> io::Result<()> {
        self.state.gauge().refusing = false;
        serve(TcpListener::bind(self.address)?, &self.state)
    }

    fn change(&self, direction: Direction, change: impl FnOnce(&mut Flow)) {
        change(self.state.gauge().flow(direction));
        self.state.changed.notify_all();
    }

    /// Ends all connections, and waits until they are gone.
    fn end(&self, how: impl Fn(&Link)) {
        let mut gauge = self.state.gauge();
        let links = std::mem::take(&mut gauge.links);
        drop(gauge);
        for link in &links {
            how(link);
            link.over.store(true, Ordering::Release);
        }
        self.state.changed.notify_all();
        // The last owner closes the sockets.
        let patience = Instant::now() + Duration::from_secs(2);
        while links.iter().any(|link| Arc::strong_count(link) > 1) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let refusing = {
            let mut gauge = self.state.gauge();
            gauge.closed = true;
            gauge.refusing
        };
        if !refusing {
            self.refuse();
        }
        self.cut();
    }
}

fn serve(listener: TcpListener, state: &Arc<State>) -> io::Result<()> {
    let state = Arc::clone(state);
    thread::Builder::new().name("testkit proxy".to_owned()).spawn(move || {
        for client in listener.incoming() {
            if state.gauge().refusing {
                // Close the port before the connection that woke us.
                drop(listener);
                return;
            }
            if let Ok(client) = client {
                // If the server refuses the connection, the client's is closed.
                let state = Arc::clone(&state);
                thread::spawn(move || connect(client, &state));
            }
        }
    })?;
    Ok(())
}

fn connect(client: TcpStream, state: &Arc<State>) {
    let Ok(server) = TcpStream::connect_timeout(&state.upstream, Duration::from_secs(10)) else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
        stream.set_read_timeout(Some(POLL)).ok();
        stream.set_write_timeout(Some(POLL)).ok();
    }
    let deaf_after = state.gauge().deaf_after;
    let (over, deaf) = (AtomicBool::new(false), AtomicBool::new(deaf_after == Some(0)));
    let deaf_after = AtomicUsize::new(deaf_after.unwrap_or(usize::MAX));
    let link = Arc::new(Link { client, server, over, deaf, deaf_after });
    {
        let mut gauge = state.gauge();
        if gauge.closed {
            return;
        }
        gauge.accepted += 1;
        gauge.links.push(Arc::clone(&link));
    }
    let other = (Arc::clone(&link), Arc::clone(state));
    let pumping = thread::spawn(move || pump(&other.0, &other.1, Direction::ToClient));
    pump(&link, state, Direction::ToServer);
    pumping.join().ok();
    state.gauge().links.retain(|kept| !Arc::ptr_eq(kept, &link));
}

/// Passes bytes on in one direction until either side is closed.
fn pump(link: &Link, state: &State, direction: Direction) {
    let (mut from, to) = link.ends(direction);
    let mut buffer = vec![0; 64 * 1024];
    while permission(link, state, direction).is_some() {
        match from.read(&mut buffer) {
            // Nobody is told of the end of a deaf connection, either.
            Ok(0) if link.deaf.load(Ordering::Acquire) => return,
            Ok(0) => {
                // The other direction may go on.
                to.shutdown(Shutdown::Write).ok();
                return;
            }
            Ok(_) if link.deaf.load(Ordering::Acquire) => {}
            Ok(count) => {
                let count = if direction == Direction::ToClient { link.hear(count) } else { count };
                if !pass_on(link, state, direction, buffer.get(..count).unwrap_or_default()) {
                    return;
                }
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => return link.break_off(to),
        }
    }
}

/// Waits while this direction is stalled; `None` when the connection is over.
fn permission(link: &Link, state: &State, direction: Direction) -> Option<Flow> {
    let mut gauge = state.gauge();
    loop {
        if link.over.load(Ordering::Acquire) {
            return None;
        }
        let flow = *gauge.flow(direction);
        if !flow.stalled {
            return Some(flow);
        }
        let waited = state.changed.wait_timeout(gauge, POLL);
        gauge = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Writes the bytes that were read, as far as allowed. Returns whether the connection goes on.
fn pass_on(link: &Link, state: &State, direction: Direction, bytes: &[u8]) -> bool {
    let (from, mut to) = link.ends(direction);
    thread::sleep(state.gauge().flow(direction).delay);
    let mut rest = bytes;
    while !rest.is_empty() {
        if permission(link, state, direction).is_none() {
            return false;
        }
        // Counted before they are written, so that a byte which was received is counted.
        let room = state.gauge().flow(direction).take(rest.len());
        let written = match to.write(rest.get(..room).unwrap_or_default()) {
            Ok(count) => count,
            Err(error) if is_timeout(&error) => 0,
            Err(_) => {
                link.break_off(from);
                return false;
            }
        };
        rest = rest.get(written..).unwrap_or_default();
        let mut gauge = state.gauge();
        let flow = gauge.flow(direction);
        flow.give_back(room - written);
        if flow.allowance == Some(0) {
            flow.allowance = None;
            let links = std::mem::take(&mut gauge.links);
            drop(gauge);
            for link in links {
                link.cut();
            }
            return false;
        }
    }
    true
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
