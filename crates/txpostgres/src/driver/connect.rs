//! From a configuration to a session that answers: each host in turn, each in the ways its settings allow.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::time::timeout;
use txpostgres_policy::{Approach, Approaches, Tls};
use txpostgres_session::config::{Config, Endpoint, Host, SslCertMode, SslMode};
use txpostgres_session::{
    Encryption, Error, ErrorKind, Event, KeyCache, KeyDerivation, Login, Result, Session,
    SessionConfig, TlsSettings,
};

use super::CancelRequester;
use crate::io::{ByteStream, Dial, receive_input, send_output};

/// A session that is open, its stream, and how it is cancelled.
pub(crate) type Connected = (Session, Box<dyn ByteStream>, CancelRequester);

/// What it takes to open a session.
pub(crate) struct Connector {
    pub(crate) config: Config,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) keys: KeyCache,
    /// How long the server may take to end what it was told to cancel.
    pub(crate) grace: Duration,
}

impl Connector {
    /// Opens a session with the first host that lets us in.
    pub(crate) async fn open(&self) -> Result<Connected> {
        for warning in self.config.warnings() {
            tracing::warn!(target: "txpostgres", "{warning}");
        }
        if self.config.get_requirepeer().is_some() {
            return Err(Error::new(ErrorKind::Config, "requirepeer is not supported")
                .with_hint("leave it out, or reach the server by TLS and sslmode=verify-full"));
        }
        let tls = TlsSettings::from_config(&self.config)?;
        let mut endpoints = self.config.endpoints()?;
        let several = endpoints.len() > 1;
        let last = endpoints.pop();
        for endpoint in endpoints {
            match self.open_endpoint(&endpoint, &tls).await {
                Ok(connected) => return Ok(connected),
                // A server that knows us and refuses is the answer (manual, section 34.1.1.3): the password is not carried on
                // to the next one.
                Err(error) if is_about_who_we_are(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(target: "txpostgres", %endpoint, %error, "trying the next host");
                }
            }
        }
        match last {
            Some(endpoint) => self.open_endpoint(&endpoint, &tls).await.map_err(|error| {
                if several {
                    error.with_hint("none of the hosts let us in; this is the last one's answer")
                } else {
                    error
                }
            }),
            None => Err(Error::new(ErrorKind::Config, "no host to connect to was given")),
        }
    }

    async fn open_endpoint(&self, endpoint: &Endpoint, tls: &TlsSettings) -> Result<Connected> {
        let limit = self.config.get_connect_timeout().unwrap_or(Duration::MAX);
        match timeout(limit, self.approach(endpoint, tls)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("connecting to {endpoint} took longer than connect_timeout ({limit:?})"),
            )),
        }
    }

    async fn approach(&self, endpoint: &Endpoint, tls: &TlsSettings) -> Result<Connected> {
        let config = &self.config;
        let encryptable = !matches!(endpoint.host, Host::Unix(_)) && tls.offers_tls();
        let mode = match (config.get_sslmode(), config.get_sslcertmode()) {
            (_, SslCertMode::Require) if !encryptable => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("sslcertmode=require needs TLS, and {endpoint} is reached without it"),
                ));
            }
            // In plain text no certificate can be shown.
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
            let refusal = match self.try_once(endpoint, &mut session).await {
                Ok(stream) => {
                    let requester = self.requester(endpoint, tls, &session, &*stream);
                    return Ok((session, stream, requester));
                }
                Err(refusal) => refusal,
            };
            if approaches.after(&refusal, session.is_encrypted()).is_none() {
                return Err(refusal);
            }
            tracing::debug!(target: "txpostgres", %endpoint, error = %refusal, "trying another way");
        }
    }

    /// A session that has not said anything yet.
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
            },
            nonce,
            versions: config.get_min_protocol_version()..=approach.version,
            statement_cache: config.get_statement_cache_size(),
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

    /// How this session can be cancelled: at the same address, and with TLS if it has it.
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
    ) -> Result<Box<dyn ByteStream>> {
        let mut stream = self.dial.dial(endpoint, &self.config).await.map_err(|error| {
            Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}"))
                .with_source(error)
        })?;
        log_in(session, &mut *stream).await?;
        Ok(stream)
    }
}

/// Whether a server was reached that would have nothing of us.
fn is_about_who_we_are(error: &Error) -> bool {
    error.kind() == ErrorKind::Authentication
        || error.sqlstate().is_some_and(|code| code.class() == "28")
}

/// Moves bytes until the session is open.
async fn log_in(session: &mut Session, stream: &mut dyn ByteStream) -> Result<()> {
    let mut outgoing = BytesMut::new();
    let mut received = vec![0; 8 * 1024];
    loop {
        while let Some(event) = session.next_event() {
            match event {
                Event::Opened => return Ok(()),
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
        }
    }
}

/// Derives the key on a thread where that may take its time: 4,096 iterations are a millisecond, and a server may ask for
/// 25 times as many.
async fn derive(derivation: KeyDerivation) -> Result<txpostgres_session::DerivedKey> {
    tokio::task::spawn_blocking(move || derivation.run()).await.map_err(|error| {
        Error::new(ErrorKind::Connect, "the runtime ended during the login").with_source(error)
    })
}
