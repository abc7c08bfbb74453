//! One attempt to connect: the stream to a server, the login in the ways that the settings allow,
//! and the server's role.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::BytesMut;
use tokio::runtime::Handle;
use txpostgres_policy::{Approach, Approaches, RoleVerdict, Tls};
use txpostgres_session::config::{
    Config, Endpoint, Host, SslCertMode, SslMode, TargetSessionAttrs,
};
use txpostgres_session::{
    Encryption, Error, ErrorKind, Event, KeyDerivation, Login, Request, Result, Session,
    SessionConfig, TlsSettings,
};

use super::CancelRequester;
use super::connect::{Connected, Connector, OnHeard};
use crate::io::{ByteStream, receive_input, send_output};

/// An attempt that has led to a session.
pub(super) enum Attempted {
    /// The server has the wanted role.
    Wanted(Connected),
    /// It is used if no other server has the wanted role.
    SecondChoice(Connected),
}

/// Tells that a server has sent its first bytes; dropped, that it is left.
pub(super) struct Heard<'a> {
    on_heard: Option<&'a OnHeard>,
    is_heard: bool,
}

impl<'a> Heard<'a> {
    pub(super) fn by(on_heard: Option<&'a OnHeard>) -> Self {
        Self { on_heard, is_heard: false }
    }

    fn note(&mut self) {
        if let Some(on_heard) = self.on_heard.filter(|_| !self.is_heard) {
            self.is_heard = true;
            on_heard(true);
        }
    }

    /// The server is not left.
    fn keep(mut self) {
        self.is_heard = false;
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        if let Some(on_heard) = self.on_heard.filter(|_| self.is_heard) {
            on_heard(false);
        }
    }
}

impl Connector {
    /// Connects and logs in, in the ways that the settings allow, and looks at the server's role.
    /// `is_reached` is set once there is a stream to the server.
    pub(super) async fn attempt(
        &self,
        endpoint: &Endpoint,
        tls: &TlsSettings,
        is_reached: &AtomicBool,
    ) -> Result<Attempted> {
        let mut heard = Heard::by(self.on_heard.as_ref());
        let mut connected = self.approach(endpoint, tls, is_reached, &mut heard).await?;
        let wanted = self.config.get_target_session_attrs();
        let (session, stream, _) = &mut *connected;
        match check_role(wanted, session, &mut **stream).await {
            Ok(RoleVerdict::Accept) => {
                heard.keep();
                Ok(Attempted::Wanted(connected))
            }
            Ok(RoleVerdict::SecondChoice) => Ok(Attempted::SecondChoice(connected)),
            refused => {
                say_goodbye(connected).await;
                Err(wrong_role(endpoint, wanted, refused))
            }
        }
    }

    pub(super) async fn approach(
        &self,
        endpoint: &Endpoint,
        tls: &TlsSettings,
        is_reached: &AtomicBool,
        heard: &mut Heard<'_>,
    ) -> Result<Connected> {
        let config = &self.config;
        let encryptable = !matches!(endpoint.host, Host::Unix(_)) && tls.offers_tls();
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
        let mut approaches = Approaches::new(
            mode,
            encryptable,
            config.get_min_protocol_version(),
            config.get_max_protocol_version(),
        );
        loop {
            let approach = approaches.current();
            let mut session = self.begin(endpoint, tls, approach)?;
            let refusal = match self.try_once(endpoint, &mut session, is_reached, heard).await {
                Ok(stream) => {
                    let requester = self.requester(endpoint, tls, &session, &*stream);
                    return Ok(Box::new((session, stream, requester)));
                }
                Err(refusal) => refusal,
            };
            let Some(next) = approaches.after(&refusal, session.is_encrypted()) else {
                return Err(refusal);
            };
            if approach.tls != Tls::No && next.tls == Tls::No {
                // What follows, a password among it, can be read on the way: never in silence.
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
    }

    /// A session that has sent nothing yet.
    fn begin(&self, endpoint: &Endpoint, tls: &TlsSettings, approach: Approach) -> Result<Session> {
        let config = &self.config;
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Connect, "could not obtain random bytes from the system")
                .with_source(error)
        })?;
        Session::new(SessionConfig {
            parameters: config.startup_parameters()?,
            encryption: self.encryption(endpoint, tls, approach.tls),
            login: Login {
                user: config.get_user().unwrap_or_default().to_owned(),
                password: config.password_for(endpoint),
                require_auth: config.get_require_auth(),
                channel_binding: config.get_channel_binding(),
                keys: self.keys.clone(),
                min_scram_iterations: config.get_min_scram_iterations(),
                over_network: !matches!(endpoint.host, Host::Unix(_)),
                verifies_server: verifies_server(config),
            },
            nonce,
            versions: config.get_min_protocol_version()..=approach.version,
            statement_cache: config.get_statement_cache_size(),
            pipelining: config.get_pipelining(),
            max_answer_bytes: config.get_max_answer_bytes(),
        })
    }

    fn encryption(&self, endpoint: &Endpoint, tls: &TlsSettings, wanted: Tls) -> Encryption {
        match wanted {
            Tls::No => Encryption::Plain,
            Tls::IfOffered | Tls::Yes => Encryption::Tls {
                settings: tls.clone(),
                server_name: endpoint.tls_name().unwrap_or_default().to_owned(),
                negotiation: self.config.get_sslnegotiation(),
                optional: wanted == Tls::IfOffered,
            },
        }
    }

    /// What is needed to cancel requests of this session: the same address, and TLS if the session
    /// uses it.
    fn requester(
        &self,
        endpoint: &Endpoint,
        tls: &TlsSettings,
        session: &Session,
        stream: &dyn ByteStream,
    ) -> CancelRequester {
        let wanted = if session.is_encrypted() { Tls::Yes } else { Tls::No };
        let encryption = self.encryption(endpoint, tls, wanted);
        let endpoint = match (stream.peer_address(), &endpoint.host) {
            (Some(peer), Host::Tcp(name)) => {
                let host = Host::Addr { name: Some(name.clone()), addr: peer.ip() };
                Endpoint { host, port: peer.port() }
            }
            _ => endpoint.clone(),
        };
        CancelRequester {
            dial: Arc::clone(&self.dial),
            config: self.config.clone(),
            endpoint,
            encryption,
            grace: self.grace,
            runtime: Handle::current(),
        }
    }

    async fn try_once(
        &self,
        endpoint: &Endpoint,
        session: &mut Session,
        is_reached: &AtomicBool,
        heard: &mut Heard<'_>,
    ) -> Result<Box<dyn ByteStream>> {
        let dialed = self.dial.dial(endpoint, &self.config).await;
        let mut stream = dialed.map_err(|error| unreachable(endpoint, error))?;
        is_reached.store(true, Ordering::Relaxed);
        log_in(endpoint, session, &mut *stream, heard).await?;
        Ok(stream)
    }
}

/// No stream to this endpoint could be made.
pub(super) fn unreachable(endpoint: &Endpoint, error: io::Error) -> Error {
    Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}")).with_source(error)
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

/// Moves bytes until the session is open.
async fn log_in(
    endpoint: &Endpoint,
    session: &mut Session,
    stream: &mut dyn ByteStream,
    heard: &mut Heard<'_>,
) -> Result<()> {
    let mut outgoing = BytesMut::new();
    let mut received = vec![0; 8 * 1024];
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Event::Opened => return Ok(()),
                Event::Warning(text) => {
                    tracing::warn!(target: "txpostgres", %endpoint, "{text}");
                }
                Event::DeriveKey(derivation) => session.supply_key(derive(*derivation).await?),
                Event::Closed(error) => {
                    return Err(error.unwrap_or_else(|| {
                        Error::new(ErrorKind::Connect, "the connection was closed during the login")
                    }));
                }
                _ => {}
            }
        }
        send_output(session, stream, &mut outgoing).await;
        if !session.has_events() {
            receive_input(session, stream, &mut received).await;
            if session.has_begun() {
                heard.note();
            }
        }
    }
}

/// Derives the key on a blocking thread: 4,096 iterations take a millisecond, and a server may
/// request 25 times as many.
async fn derive(derivation: KeyDerivation) -> Result<txpostgres_session::DerivedKey> {
    tokio::task::spawn_blocking(move || derivation.run()).await.map_err(|error| {
        Error::new(ErrorKind::Connect, "the runtime ended during the login").with_source(error)
    })
}

/// Whether the server has the wanted role: by what it reported, or else by a query.
async fn check_role(
    wanted: TargetSessionAttrs,
    session: &mut Session,
    stream: &mut dyn ByteStream,
) -> Result<RoleVerdict> {
    match RoleVerdict::from_reported(wanted, |name| session.parameter(name)) {
        RoleVerdict::Ask(query) => {
            let answer = ask(query.sql(), session, stream).await?;
            query.answered(wanted, &answer).ok_or_else(|| {
                Error::new(ErrorKind::Connect, format!("the answer to {} is no role", query.sql()))
            })
        }
        verdict => Ok(verdict),
    }
}

/// The server's answer to this question, as text; empty if it has no row.
pub(super) async fn ask(
    sql: &str,
    session: &mut Session,
    stream: &mut dyn ByteStream,
) -> Result<String> {
    let asked = session.submit(Request::Script { sql })?;
    let mut outgoing = BytesMut::new();
    let mut received = vec![0; 1024];
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Event::Settled { ticket, outcome, .. } if ticket == asked => {
                    let rows = outcome?.take_rows();
                    let value = rows.first().and_then(|row| row.raw(0).ok().flatten());
                    return Ok(String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
                }
                Event::Closed(error) => {
                    return Err(error.unwrap_or_else(|| {
                        Error::new(ErrorKind::Lost, "the connection was closed during the login")
                    }));
                }
                _ => {}
            }
        }
        send_output(session, stream, &mut outgoing).await;
        if !session.has_events() {
            receive_input(session, stream, &mut received).await;
        }
    }
}

/// The server cannot be used for its role, or has not told its role. That concerns this host only,
/// whatever the SQLSTATE is: the next one is tried, as libpq does.
fn wrong_role(
    endpoint: &Endpoint,
    wanted: TargetSessionAttrs,
    verdict: Result<RoleVerdict>,
) -> Error {
    let wanted = wanted.as_str();
    match verdict {
        Ok(RoleVerdict::Refuse(role)) => Error::new(
            ErrorKind::Connect,
            format!("{endpoint} is {role}, and target_session_attrs={wanted} was asked for"),
        ),
        Ok(_) => Error::new(ErrorKind::Connect, format!("{endpoint} has not told its role")),
        Err(error) => Error::new(
            ErrorKind::Connect,
            format!(
                "{endpoint} has not told its role, and target_session_attrs={wanted} was asked for"
            ),
        )
        .with_source(error),
    }
}

/// Sends Terminate to a server whose session is not used, without waiting for anything.
pub(super) async fn say_goodbye(mut unused: Connected) {
    let (session, stream, _) = &mut *unused;
    session.close();
    let mut outgoing = BytesMut::new();
    let mut sending = pin!(send_output(session, &mut **stream, &mut outgoing));
    poll_fn(|cx| {
        let _ = sending.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}
