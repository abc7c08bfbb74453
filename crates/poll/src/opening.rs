//! A connection that is being opened: carries out what [`Hosts`] decides about hosts and what
//! [`Attempt`] decides about each.
//!
//! ```text
//!              ┌───────── poll ─────────┐
//!              ▼                        │
//!   Hosts: begin an attempt, or wait ───┴──▶ descriptor and state of the attempt that is
//!              ▲                             furthest, and a deadline
//!              └── reached, failed, set aside ── attempts, each on its socket
//! ```
//!
//! A caller who heeds the deadline has several hosts tried beside each other, as on Tokio. One who
//! waits for the descriptor only has them tried one after the other, as with libpq.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use txpostgres_policy::{
    Attempt, AttemptId, AttemptStep, CancelRoute, Fitness, HostStep, Hosts, PollState, too_slow,
};
use txpostgres_session::config::Endpoint;
use txpostgres_session::{Error, ErrorKind, KeyDerivation, Result, Session};

use crate::connector::Connector;
use crate::dialing::Dialing;
use crate::socket;
use crate::transport::Transport;

/// Iterations of SCRAM's key derivation that one poll does at most: 4,096, PostgreSQL's default,
/// which take about a millisecond. Of more, each poll does its part, and the socket, which is
/// writable, has the event loop poll again.
pub(crate) const ITERATIONS_A_POLL: u32 = 4_096;

/// Steps of an attempt that one poll takes at most, however much the server says: 64.
const STEPS_A_POLL: u32 = 64;

/// How often attempts are looked at whose descriptor is not the one that is waited for: 50 ms.
const GLANCE: Duration = Duration::from_millis(50);

/// See the module's text.
pub(crate) struct Opening {
    connector: Connector,
    hosts: Hosts,
    running: Vec<Running>,
    second_choice: Option<Box<Opened>>,
    deadline: Option<Instant>,
}

/// An open session and what belongs to it.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) transport: Transport,
    pub(crate) route: CancelRoute,
}

/// What became of a poll.
pub(crate) enum Progress {
    Waits(PollState),
    Opened(Box<Opened>),
}

/// An attempt in progress. Dropping it closes its socket.
struct Running {
    id: AttemptId,
    attempt: Attempt,
    /// Its socket, once there is one.
    dialing: Option<Dialing>,
    deriving: Option<Box<KeyDerivation>>,
    /// There is a connection to the server.
    is_reached: bool,
    /// What it waits for.
    state: PollState,
    /// When it has taken too long.
    expires: Option<Instant>,
}

impl Opening {
    pub(crate) fn new(connector: &Connector) -> Result<Self> {
        let (connector, hosts) = (connector.clone(), connector.hosts()?);
        Ok(Self { connector, hosts, running: Vec::new(), second_choice: None, deadline: None })
    }

    /// Goes on with every attempt, and begins those whose turn it is.
    pub(crate) fn poll(&mut self, now: Instant) -> Result<Progress> {
        let ids: Vec<_> = self.running.iter().map(|attempt| attempt.id).collect();
        for id in ids {
            if let Some(opened) = self.advance(id, now) {
                return Ok(Progress::Opened(opened));
            }
        }
        loop {
            let until = match self.hosts.next(now) {
                HostStep::Resolve(id, name) => {
                    match self.connector.addresses(&name) {
                        Ok(found) => self.hosts.resolved(id, found),
                        Err(error) => self.failed(id, &name, error),
                    }
                    continue;
                }
                HostStep::Connect(id, endpoint) => {
                    match Running::new(&self.connector, id, endpoint.clone(), now) {
                        Ok(begun) => self.running.push(begun),
                        Err(error) => self.failed(id, &endpoint, error),
                    }
                    if let Some(opened) = self.advance(id, now) {
                        return Ok(Progress::Opened(opened));
                    }
                    continue;
                }
                HostStep::UseSecondChoice => match self.second_choice.take() {
                    Some(opened) => return Ok(Progress::Opened(opened)),
                    None => return Err(Error::new(ErrorKind::Connect, "no host is left")),
                },
                HostStep::GiveUp(error) => return Err(error),
                HostStep::Wait(until) => until,
            };
            self.set_deadline(until, now);
            let state = self.furthest().map_or(PollState::Read, |attempt| attempt.state);
            return Ok(Progress::Waits(state));
        }
    }

    /// Goes on with one attempt. Returns the session if it is the one that is used.
    fn advance(&mut self, id: AttemptId, now: Instant) -> Option<Box<Opened>> {
        let place = self.running.iter().position(|attempt| attempt.id == id)?;
        let attempt = self.running.get_mut(place)?;
        let was_reached = attempt.is_reached;
        let outcome = attempt.advance(&self.connector, now);
        if !was_reached && attempt.is_reached {
            self.hosts.connected(id, now);
        }
        match outcome {
            Ok(None) => return None,
            Ok(Some(fitness)) => {
                let opened = self.running.remove(place).into_opened()?;
                if fitness == Fitness::Wanted {
                    return Some(opened);
                }
                if self.hosts.set_aside(id) {
                    self.second_choice = Some(opened);
                } else {
                    opened.leave();
                }
            }
            Err(error) => {
                let attempt = self.running.remove(place);
                self.failed(id, attempt.attempt.endpoint(), error);
            }
        }
        None
    }

    fn failed(&mut self, id: AttemptId, endpoint: &Endpoint, error: Error) {
        if self.hosts.is_several() {
            tracing::debug!(target: "txpostgres", %endpoint, %error, "not connected");
        }
        self.hosts.failed(id, error);
        self.running.retain(|attempt| self.hosts.is_running(attempt.id));
    }

    /// When to poll at the latest.
    fn set_deadline(&mut self, until: Option<Instant>, now: Instant) {
        let glance = (self.running.len() > 1).then(|| now + GLANCE);
        let expires = self.running.iter().filter_map(|attempt| attempt.expires);
        self.deadline = expires.chain(until).chain(glance).min();
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn fileno(&self) -> Option<BorrowedFd<'_>> {
        Some(self.furthest()?.dialing.as_ref()?.fileno())
    }

    /// The attempt whose descriptor is waited for: the oldest that has reached its server, or else
    /// the oldest.
    fn furthest(&self) -> Option<&Running> {
        let connected = self.running.iter().find(|attempt| attempt.is_reached);
        connected.or_else(|| self.running.first())
    }

    /// Ends it: a server that was reached is told.
    pub(crate) fn close(mut self) {
        if let Some(opened) = self.second_choice.take() {
            opened.leave();
        }
    }
}

impl Opened {
    /// Sends Terminate to a server whose session is not used, without waiting for anything.
    fn leave(mut self: Box<Self>) {
        self.session.close();
        self.transport.say_goodbye(&mut self.session);
    }
}

impl Running {
    fn new(connector: &Connector, id: AttemptId, endpoint: Endpoint, now: Instant) -> Result<Self> {
        let limit = connector.config().get_connect_timeout();
        Ok(Self {
            id,
            attempt: Attempt::new(connector.settings.clone(), endpoint)?,
            dialing: None,
            deriving: None,
            is_reached: false,
            state: PollState::Write,
            expires: limit.and_then(|limit| now.checked_add(limit)),
        })
    }

    /// Does what can be done without waiting. `Some`: its session is open.
    fn advance(&mut self, connector: &Connector, now: Instant) -> Result<Option<Fitness>> {
        if self.expires.is_some_and(|expires| expires <= now) {
            let limit = connector.config().get_connect_timeout().unwrap_or_default();
            return Err(too_slow(self.attempt.endpoint(), limit));
        }
        if !self.derive() {
            return Ok(None);
        }
        for _ in 0..STEPS_A_POLL {
            match self.attempt.next_step() {
                AttemptStep::Dial => {
                    // The socket that there may be is closed first.
                    self.dialing = None;
                    let begun = Dialing::begin(self.attempt.endpoint(), connector.config())?;
                    self.dialing = Some(begun);
                }
                AttemptStep::Exchange => {
                    if !self.exchange()? {
                        return Ok(None);
                    }
                }
                AttemptStep::Derive(derivation) => {
                    self.deriving = Some(derivation);
                    if !self.derive() {
                        return Ok(None);
                    }
                }
                AttemptStep::Warn(text) => {
                    let endpoint = self.attempt.endpoint();
                    tracing::warn!(target: "txpostgres", %endpoint, "{text}");
                }
                AttemptStep::TryAgain { refusal, without_tls } => {
                    self.log_refusal(&refusal, without_tls);
                }
                AttemptStep::Opened(fitness) => return Ok(Some(fitness)),
                AttemptStep::Failed(error) => {
                    if let Some(dialing) = self.dialing.take() {
                        dialing.say_goodbye(self.attempt.session());
                    }
                    return Err(error);
                }
            }
        }
        // The socket has room, so the event loop polls again.
        self.state = PollState::Write;
        Ok(None)
    }

    /// Does a part of the key derivation, if there is one. `false`: there is more of it.
    fn derive(&mut self) -> bool {
        if let Some(derivation) = &mut self.deriving {
            let Some(key) = derivation.go_on(ITERATIONS_A_POLL) else {
                self.state = PollState::Write;
                return false;
            };
            self.deriving = None;
            self.attempt.session().supply_key(key);
        }
        true
    }

    /// Moves bytes until the session has events. `false`: it must wait.
    fn exchange(&mut self) -> Result<bool> {
        // The first step is to dial.
        let Some(dialing) = &mut self.dialing else { return Ok(true) };
        let endpoint = self.attempt.endpoint().clone();
        let waits_for = dialing.exchange(self.attempt.session(), &endpoint)?;
        self.is_reached |= dialing.is_reached();
        self.state = waits_for.unwrap_or(self.state);
        Ok(waits_for.is_none())
    }

    /// What follows a refusal without TLS, a password among it, can be read on the way: never in
    /// silence.
    fn log_refusal(&self, refusal: &Error, without_tls: bool) {
        let endpoint = self.attempt.endpoint();
        if without_tls {
            tracing::warn!(
                target: "txpostgres", %endpoint, error = %refusal,
                "TLS failed, and sslmode=prefer goes on without encryption; \
                 sslmode=require does not"
            );
        } else {
            tracing::debug!(
                target: "txpostgres", %endpoint, error = %refusal, "trying another way"
            );
        }
    }

    /// The session, which is open.
    fn into_opened(self) -> Option<Box<Opened>> {
        let transport = self.dialing?.into_transport();
        let route = self.attempt.cancel_route(socket::peer(&transport.socket));
        Some(Box::new(Opened { session: self.attempt.into_session(), transport, route }))
    }
}
