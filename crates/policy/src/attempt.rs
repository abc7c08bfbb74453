//! One attempt to open a session with a server: the login, in the ways that the settings allow one
//! after another, and the server's role. Both faces carry it out.
//!
//! ```text
//!   Dialing ── stream made ──▶ LoggingIn ─┬─ open, its role is known ──────▶ Over
//!      ▲                                  ├─ open, its role is asked for ──▶ AskingRole ──▶ Over
//!      └───────── another way may do ─────┴─ refused ──────────────────────▶ Over, with an error
//! ```

use core::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use txpostgres_session::config::TargetSessionAttrs;
use txpostgres_session::config::{Config, Endpoint, Host, SslCertMode, SslMode};
use txpostgres_session::{
    Encryption, Error, ErrorKind, Event, KeyCache, KeyDerivation, Login, NONCE_BYTES, Request,
    Result, Session, SessionConfig, Ticket, TlsSettings,
};

use crate::encryption::{Approach, Approaches, Tls};
use crate::role::{RoleQuery, RoleVerdict};

/// Random bytes for the login.
pub type Nonce = [u8; NONCE_BYTES];

/// What every attempt of a connect has in common.
#[derive(Clone)]
pub struct LoginSettings {
    /// The configuration.
    pub config: Arc<Config>,
    /// How servers are checked.
    pub tls: TlsSettings,
    /// Keys of earlier logins.
    pub keys: KeyCache,
    /// Whether the server must have the role that the configuration asks for.
    pub checks_role: bool,
    /// Where random bytes come from.
    pub nonce: fn() -> Result<Nonce>,
}

/// See the module's text.
pub struct Attempt {
    settings: LoginSettings,
    endpoint: Endpoint,
    approaches: Approaches,
    session: Session,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The next step is to dial.
    Dialing,
    LoggingIn,
    AskingRole(RoleQuery, Ticket),
    Over,
}

/// What to do next for an attempt.
#[derive(Debug)]
pub enum AttemptStep {
    /// Make a stream to the endpoint, in place of the one that there may be. If that fails, the
    /// attempt is over.
    Dial,
    /// Send what the [session](Attempt::session) gives, and give it what arrives, until it has
    /// events.
    Exchange,
    /// Run this where it may take a while, and supply the session with the key.
    Derive(Box<KeyDerivation>),
    /// Something to be logged as a warning.
    Warn(String),
    /// The server refused, and another way follows.
    TryAgain {
        /// How it refused.
        refusal: Error,
        /// What follows is not encrypted, and this was tried with TLS: never in silence.
        without_tls: bool,
    },
    /// The session is open.
    Opened(Fitness),
    /// It cannot be opened. What the session has to send still, which is a good-bye, may be sent.
    Failed(Error),
}

/// How an open session serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// The server has the wanted role.
    Wanted,
    /// It is used if no other server has the wanted role.
    SecondChoice,
}

/// What is needed to cancel requests of a session: the address of its server, and TLS if it uses
/// TLS.
#[derive(Debug, Clone)]
pub struct CancelRoute {
    /// The address of the session's own peer.
    pub endpoint: Endpoint,
    /// As for the session itself.
    pub encryption: Encryption,
}

impl LoginSettings {
    /// The settings of this configuration. Reads the files of certificates and keys.
    ///
    /// # Errors
    ///
    /// The configuration asks for what is not supported, or a file cannot be used.
    pub fn new(config: Arc<Config>, keys: KeyCache, nonce: fn() -> Result<Nonce>) -> Result<Self> {
        // What changes whom we talk to: to ignore it would lead to a server that was not asked for.
        if config.get_requirepeer().is_some() {
            let hint = "leave it out, or reach the server by TLS and sslmode=verify-full";
            let error = Error::new(ErrorKind::Config, "requirepeer is not supported");
            return Err(error.with_hint(hint));
        }
        let tls = TlsSettings::from_config(&config)?;
        Ok(Self { config, tls, keys, checks_role: true, nonce })
    }
}

impl Attempt {
    /// An attempt at this endpoint.
    ///
    /// # Errors
    ///
    /// The configuration cannot be carried out at this endpoint.
    pub fn new(settings: LoginSettings, endpoint: Endpoint) -> Result<Self> {
        let config = &settings.config;
        let encryptable = !matches!(endpoint.host, Host::Unix(_)) && settings.tls.offers_tls();
        let mode = match (config.get_sslmode(), config.get_sslcertmode()) {
            (_, SslCertMode::Require) if !encryptable => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("sslcertmode=require needs TLS, and {endpoint} is reached without it"),
                ));
            }
            // Without TLS no certificate can be sent.
            (SslMode::Allow | SslMode::Prefer, SslCertMode::Require) => SslMode::Require,
            (mode, _) => mode,
        };
        let (oldest, newest) =
            (config.get_min_protocol_version(), config.get_max_protocol_version());
        let approaches = Approaches::new(mode, encryptable, oldest, newest);
        let session = begin(&settings, &endpoint, approaches.current())?;
        Ok(Self { settings, endpoint, approaches, session, state: State::Dialing })
    }

    /// Where it goes to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The session that is being opened: to move its bytes.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The session, which is open.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// What to do next.
    pub fn next_step(&mut self) -> AttemptStep {
        if matches!(self.state, State::Dialing) {
            self.state = State::LoggingIn;
            return AttemptStep::Dial;
        }
        while let Some(event) = self.session.next_event() {
            match (event, self.state) {
                (Event::Opened, State::LoggingIn) => {
                    if let Some(step) = self.check_role() {
                        return step;
                    }
                }
                (Event::Settled { ticket, outcome, .. }, State::AskingRole(query, asked))
                    if ticket == asked =>
                {
                    let rows = outcome.map(|mut answer| answer.take_rows());
                    let verdict = rows.and_then(|rows| {
                        let value = rows.first().and_then(|row| row.raw(0).ok().flatten());
                        self.role_by(query, value.unwrap_or_default())
                    });
                    return self.judge(verdict);
                }
                (Event::Warning(text), _) => return AttemptStep::Warn(text),
                (Event::DeriveKey(derivation), _) => return AttemptStep::Derive(derivation),
                (Event::Closed(error), State::LoggingIn) => {
                    let error = error.unwrap_or_else(|| closed(ErrorKind::Connect));
                    return self.refused(error);
                }
                (Event::Closed(error), State::AskingRole(..)) => {
                    return self.judge(Err(error.unwrap_or_else(|| closed(ErrorKind::Lost))));
                }
                _ => {}
            }
        }
        AttemptStep::Exchange
    }

    /// How to cancel requests of the session, whose peer has this address if it is a TCP socket: a
    /// name may stand for another one by then.
    pub fn cancel_route(&self, peer: Option<SocketAddr>) -> CancelRoute {
        let wanted = if self.session.is_encrypted() { Tls::Yes } else { Tls::No };
        let encryption = encryption(&self.settings, &self.endpoint, wanted);
        let endpoint = match (peer, &self.endpoint.host) {
            (Some(peer), Host::Tcp(name)) => {
                let host = Host::Addr { name: Some(name.clone()), addr: peer.ip() };
                Endpoint { host, port: peer.port() }
            }
            _ => self.endpoint.clone(),
        };
        CancelRoute { endpoint, encryption }
    }

    /// The server has refused the login.
    fn refused(&mut self, refusal: Error) -> AttemptStep {
        let last = self.approaches.current();
        let Some(next) = self.approaches.after(&refusal, self.session.is_encrypted()) else {
            return self.fail(refusal);
        };
        match begin(&self.settings, &self.endpoint, next) {
            Ok(session) => self.session = session,
            Err(error) => return self.fail(error),
        }
        self.state = State::Dialing;
        AttemptStep::TryAgain { refusal, without_tls: last.tls != Tls::No && next.tls == Tls::No }
    }

    fn fail(&mut self, error: Error) -> AttemptStep {
        self.state = State::Over;
        AttemptStep::Failed(error)
    }

    /// Looks at the role of the server, by what it reported, or else by a query that is sent now.
    fn check_role(&mut self) -> Option<AttemptStep> {
        if !self.settings.checks_role {
            return Some(self.judge(Ok(RoleVerdict::Accept)));
        }
        let verdict =
            RoleVerdict::from_reported(self.wanted(), |name| self.session.parameter(name));
        let RoleVerdict::Ask(query) = verdict else {
            return Some(self.judge(Ok(verdict)));
        };
        match self.session.submit(Request::Script { sql: query.sql() }) {
            Ok(ticket) => {
                self.state = State::AskingRole(query, ticket);
                None
            }
            Err(error) => Some(self.judge(Err(error))),
        }
    }

    fn role_by(&self, query: RoleQuery, answer: &[u8]) -> Result<RoleVerdict> {
        query.answered(self.wanted(), &String::from_utf8_lossy(answer)).ok_or_else(|| {
            Error::new(ErrorKind::Connect, format!("the answer to {} is no role", query.sql()))
        })
    }

    /// The server's role is known, or cannot be known. That concerns this host only, whatever the
    /// SQLSTATE is: the next one is tried, as libpq does.
    fn judge(&mut self, verdict: Result<RoleVerdict>) -> AttemptStep {
        let wanted = self.wanted().as_str();
        let endpoint = &self.endpoint;
        let connect = |text| Error::new(ErrorKind::Connect, text);
        let asked = format!("target_session_attrs={wanted} was asked for");
        let error = match verdict {
            Ok(RoleVerdict::Accept) => {
                self.state = State::Over;
                return AttemptStep::Opened(Fitness::Wanted);
            }
            Ok(RoleVerdict::SecondChoice) => {
                self.state = State::Over;
                return AttemptStep::Opened(Fitness::SecondChoice);
            }
            Ok(RoleVerdict::Refuse(role)) => connect(format!("{endpoint} is {role}, and {asked}")),
            Ok(RoleVerdict::Ask(_)) => connect(format!("{endpoint} has not told its role")),
            Err(error) => {
                connect(format!("{endpoint} has not told its role, and {asked}")).with_source(error)
            }
        };
        self.session.close();
        self.fail(error)
    }

    fn wanted(&self) -> TargetSessionAttrs {
        self.settings.config.get_target_session_attrs()
    }
}

/// A session that has sent nothing yet.
fn begin(settings: &LoginSettings, endpoint: &Endpoint, approach: Approach) -> Result<Session> {
    let config = &settings.config;
    Session::new(SessionConfig {
        parameters: config.startup_parameters()?,
        encryption: encryption(settings, endpoint, approach.tls),
        login: Login {
            user: config.get_user().unwrap_or_default().to_owned(),
            password: config.password_for(endpoint),
            require_auth: config.get_require_auth(),
            channel_binding: config.get_channel_binding(),
            keys: settings.keys.clone(),
            min_scram_iterations: config.get_min_scram_iterations(),
            over_network: !matches!(endpoint.host, Host::Unix(_)),
            verifies_server: verifies_server(config),
        },
        nonce: (settings.nonce)()?,
        versions: config.get_min_protocol_version()..=approach.version,
        statement_cache: config.get_statement_cache_size(),
        pipelining: config.get_pipelining(),
        max_answer_bytes: config.get_max_answer_bytes(),
    })
}

fn encryption(settings: &LoginSettings, endpoint: &Endpoint, wanted: Tls) -> Encryption {
    match wanted {
        Tls::No => Encryption::Plain,
        Tls::IfOffered | Tls::Yes => Encryption::Tls {
            settings: settings.tls.clone(),
            server_name: endpoint.tls_name().unwrap_or_default().to_owned(),
            negotiation: settings.config.get_sslnegotiation(),
            optional: wanted == Tls::IfOffered,
        },
    }
}

/// Whether a session with TLS has verified the server: `require` does if there is a root
/// certificate.
fn verifies_server(config: &Config) -> bool {
    match config.get_sslmode() {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Require => config.get_sslrootcert().is_some(),
        _ => false,
    }
}

/// No stream to this endpoint could be made.
pub fn unreachable(endpoint: &Endpoint, error: io::Error) -> Error {
    Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}")).with_source(error)
}

/// An attempt at this endpoint was given up after this time.
pub fn too_slow(endpoint: &Endpoint, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("connecting to {endpoint} took longer than connect_timeout ({limit:?})"),
    )
}

fn closed(kind: ErrorKind) -> Error {
    Error::new(kind, "the connection was closed during the login")
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, state, .. } = self;
        f.debug_struct("Attempt")
            .field("endpoint", endpoint)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginSettings").finish_non_exhaustive()
    }
}
