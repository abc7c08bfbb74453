//! Which host is tried next, and when: the attempts of one connect at several hosts, and at the
//! several addresses of their names.

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, Instant};

use fastrand::Rng;
use txpostgres_session::config::{Endpoint, Host};
use txpostgres_session::{Error, ErrorKind, FailedAttempt};

/// How long an attempt may be without a TCP connection before the next one begins as well: 250 ms,
/// the Connection Attempt Delay that RFC 8305 recommends (section 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long an attempt that has a TCP connection may take to log in before the next host is tried
/// as well: 1 s. Its kernel answers, however busy the server is; but something between may accept
/// every connection and then say nothing.
pub const LOGIN_DELAY: Duration = Duration::from_secs(1);

/// The attempts of one connect, in the order of preference. A host that is a name is looked up, and
/// its addresses take its place.
///
/// ```text
///                begins            addresses
///   a name ───────────▶ Resolving ───────────▶ Waiting, one for each address
///                          │
///              begins      │        TCP connection         login and role
///   Waiting ──────────▶ Dialing ───────────────▶ LoggingIn ──────────────▶ (the session is used)
///                          │                       │    └── second choice ──▶ SetAside
///                          └──────── failed ───────┴─────────────────────────▶ Failed
/// ```
///
/// An attempt begins when none has been in `LoggingIn` for less than the login delay
/// ([`LOGIN_DELAY`]), and none has been in `Resolving` or `Dialing` for less than
/// [`ATTEMPT_DELAY`]. So a dead host delays the next one by that time, and a host that is reachable
/// is not forsaken for the next one because it is a little slow. The first session with the wanted
/// role is used. A second choice is used when no attempt is left that may begin.
///
/// An error that other hosts would repeat, such as a wrong password, ends all attempts that have no
/// TCP connection yet, and no other begins: see [`is_permanent`].
#[derive(Debug)]
pub struct Hosts {
    /// In the order of preference.
    attempts: Vec<Attempt>,
    /// The number that the next attempt gets.
    next_id: usize,
    /// Whether more than one host was given.
    several: bool,
    /// The attempt whose error is told of first: the permanent one, or the last one that failed.
    decisive: Option<AttemptId>,
    may_begin: bool,
    login_delay: Duration,
    /// Shuffles the addresses of a name, if hosts are tried in random order.
    rng: Option<Rng>,
}

/// One attempt, at a host or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptId(usize);

#[derive(Debug)]
struct Attempt {
    id: AttemptId,
    endpoint: Endpoint,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has not begun, and a name must be looked up first.
    Unresolved,
    /// It has not begun.
    Waiting,
    Resolving(Instant),
    Dialing(Instant),
    LoggingIn(Instant),
    SetAside,
    Failed(Error),
}

/// What to do next.
#[derive(Debug)]
pub enum HostStep {
    /// Look up the addresses of this host, and call [`Hosts::resolved`] or [`Hosts::failed`].
    Resolve(AttemptId, Endpoint),
    /// Connect to this endpoint. Call [`Hosts::connected`] once there is a TCP connection, and
    /// [`Hosts::failed`] or [`Hosts::set_aside`] at the end.
    Connect(AttemptId, Endpoint),
    /// Wait until a running attempt tells something, or until this time.
    Wait(Option<Instant>),
    /// Use the session that was set aside.
    UseSecondChoice,
    /// No host has accepted the connection.
    GiveUp(Error),
}

impl Hosts {
    /// The hosts in the given order, or shuffled with this seed.
    pub fn new(endpoints: Vec<Endpoint>, shuffle: Option<u64>, login_delay: Duration) -> Self {
        let mut rng = shuffle.map(Rng::with_seed);
        let mut this = Self {
            attempts: Vec::with_capacity(endpoints.len()),
            next_id: 0,
            several: endpoints.len() > 1,
            decisive: None,
            may_begin: true,
            login_delay,
            rng: None,
        };
        for endpoint in endpoints {
            let state = match endpoint.host {
                Host::Tcp(_) => State::Unresolved,
                Host::Addr { .. } | Host::Unix(_) => State::Waiting,
            };
            let attempt = this.attempt(endpoint, state);
            this.attempts.push(attempt);
        }
        if let Some(rng) = &mut rng {
            rng.shuffle(&mut this.attempts);
        }
        this.rng = rng;
        this
    }

    fn attempt(&mut self, endpoint: Endpoint, state: State) -> Attempt {
        let id = AttemptId(self.next_id);
        self.next_id += 1;
        Attempt { id, endpoint, state }
    }

    /// What to do at this time.
    pub fn next(&mut self, now: Instant) -> HostStep {
        let is_logging_in = |attempt: &Attempt| matches!(attempt.state, State::LoggingIn(_));
        if !self.may_begin {
            let goes_on = self.attempts.iter().any(is_logging_in);
            return if goes_on { HostStep::Wait(None) } else { self.give_up() };
        }
        // The clock may be at its end.
        let turn = self.attempts.iter().filter_map(|attempt| match attempt.state {
            State::Resolving(since) | State::Dialing(since) => since.checked_add(ATTEMPT_DELAY),
            State::LoggingIn(since) => since.checked_add(self.login_delay),
            _ => None,
        });
        let turn = turn.max();
        let is_free = turn.is_none_or(|turn| turn <= now);
        let waiting =
            |attempt: &&mut Attempt| matches!(attempt.state, State::Unresolved | State::Waiting);
        if let Some(next) = self.attempts.iter_mut().find(waiting) {
            if !is_free {
                return HostStep::Wait(turn);
            }
            let (id, endpoint) = (next.id, next.endpoint.clone());
            if matches!(next.state, State::Unresolved) {
                next.state = State::Resolving(now);
                return HostStep::Resolve(id, endpoint);
            }
            next.state = State::Dialing(now);
            return HostStep::Connect(id, endpoint);
        }
        let is_aside = self.attempts.iter().any(|one| matches!(one.state, State::SetAside));
        match (is_aside, is_free, self.attempts.iter().any(Attempt::is_running)) {
            (true, true, _) => HostStep::UseSecondChoice,
            (true, false, _) => HostStep::Wait(turn),
            (false, _, true) => HostStep::Wait(None),
            (false, _, false) => self.give_up(),
        }
    }

    /// A name has these addresses.
    pub fn resolved(&mut self, id: AttemptId, endpoints: Vec<Endpoint>) {
        let is_resolving = |one: &Attempt| one.id == id && matches!(one.state, State::Resolving(_));
        let Some(place) = self.attempts.iter().position(is_resolving) else {
            return;
        };
        let mut endpoints = endpoints;
        let mut known = HashSet::new();
        endpoints.retain(|endpoint| known.insert(endpoint.clone()));
        if endpoints.is_empty() {
            self.failed(id, Error::new(ErrorKind::Connect, "the name has no address"));
            return;
        }
        if let Some(rng) = &mut self.rng {
            rng.shuffle(&mut endpoints);
        }
        let addresses: Vec<_> =
            endpoints.into_iter().map(|endpoint| self.attempt(endpoint, State::Waiting)).collect();
        self.attempts.splice(place..=place, addresses);
    }

    /// An attempt has a TCP connection, or the like.
    pub fn connected(&mut self, id: AttemptId, now: Instant) {
        if let Some(attempt) = self.running(id)
            && matches!(attempt.state, State::Dialing(_))
        {
            attempt.state = State::LoggingIn(now);
        }
    }

    /// An attempt has failed, or led to a server without the wanted role.
    pub fn failed(&mut self, id: AttemptId, error: Error) {
        let is_permanent = is_permanent(&error);
        let Some(attempt) = self.running(id) else {
            return;
        };
        attempt.state = State::Failed(error);
        if !self.may_begin {
            return;
        }
        self.decisive = Some(id);
        if is_permanent {
            self.may_begin = false;
            for attempt in &mut self.attempts {
                let why = match attempt.state {
                    State::Resolving(_) | State::Dialing(_) => {
                        Error::new(ErrorKind::Connect, "it had not answered yet")
                    }
                    State::SetAside => only_second_choice(),
                    _ => continue,
                };
                attempt.state = State::Failed(why);
            }
        }
    }

    /// An attempt led to a session that is used if no other host gives a better one. Returns
    /// whether it is kept: one is enough, and none after a permanent error.
    pub fn set_aside(&mut self, id: AttemptId) -> bool {
        if !self.may_begin {
            self.failed(id, only_second_choice());
            return false;
        }
        let is_aside = |attempt: &Attempt| matches!(attempt.state, State::SetAside);
        let is_first = !self.attempts.iter().any(is_aside);
        if let Some(attempt) = self.running(id) {
            attempt.state = State::SetAside;
        }
        is_first
    }

    /// Whether this attempt goes on; one that does not must be dropped.
    pub fn is_running(&self, id: AttemptId) -> bool {
        self.attempts.iter().any(|attempt| attempt.id == id && attempt.is_running())
    }

    /// Whether more than one host or address is known.
    pub fn is_several(&self) -> bool {
        self.several || self.attempts.len() > 1
    }

    fn running(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.id == id && attempt.is_running())
    }

    /// The error of a single attempt at a single host is its own; otherwise each host is named.
    fn give_up(&mut self) -> HostStep {
        let decisive = self.decisive;
        let mut failed = Vec::new();
        let mut first = 0;
        for attempt in mem::take(&mut self.attempts) {
            if let State::Failed(error) = attempt.state {
                if decisive == Some(attempt.id) {
                    first = failed.len();
                }
                failed.push((attempt.endpoint, error));
            }
        }
        if !self.several
            && failed.len() == 1
            && let Some((_, error)) = failed.pop()
        {
            return HostStep::GiveUp(error);
        }
        let failed = failed
            .into_iter()
            .map(|(endpoint, error)| FailedAttempt::new(endpoint.to_string(), error))
            .collect();
        HostStep::GiveUp(Error::no_host_accepted(failed, first))
    }
}

impl Attempt {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Resolving(_) | State::Dialing(_) | State::LoggingIn(_))
    }
}

fn only_second_choice() -> Error {
    Error::new(ErrorKind::Connect, "it does not have the role that is preferred")
}

/// Whether other hosts would say the same, so that they are not tried: what concerns the client or
/// what it asks for, and a server that is not the one that was asked for.
///
/// | error | libpq | here |
/// |---|---|---|
/// | no TCP connection; the time limit; another role than the wanted one | next | next |
/// | `57P03`: starting up, shutting down, in recovery | next | next |
/// | the connection ends during the login, or right after it | stop | next |
/// | other conditions of the host: classes 08, 53, 57, 58, XX | stop | next |
/// | class 28 (password, `pg_hba.conf`), `3D000`, any other SQLSTATE | stop | stop |
/// | TLS, the certificate; a method of authentication that is ruled out; no PostgreSQL | stop | stop |
pub fn is_permanent(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connect | ErrorKind::Lost | ErrorKind::ConnectionDead | ErrorKind::Timeout => {
            false
        }
        ErrorKind::Server => !error
            .sqlstate()
            .is_some_and(|code| matches!(code.class(), "08" | "53" | "57" | "58" | "XX")),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
