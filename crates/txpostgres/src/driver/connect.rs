//! Connecting: from a configuration to an open session. Each host is tried in turn, each in the
//! ways that the settings allow.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::time::timeout;
use txpostgres_policy::{Approach, Approaches, Tls};
use txpostgres_session::config::{
    Config, Endpoint, Host, LoadBalanceHosts, SslCertMode, SslMode, TargetSessionAttrs,
};
use txpostgres_session::{
    Encryption, Error, ErrorKind, Event, KeyCache, KeyDerivation, Login, Result, Session,
    SessionConfig, TlsSettings,
};

use super::CancelRequester;
use crate::io::{ByteStream, Dial, receive_input, send_output};

/// An open session, its stream, and what is needed to cancel its requests.
pub(crate) type Connected = (Session, Box<dyn ByteStream>, CancelRequester);

/// What is needed to open a session.
pub(crate) struct Connector {
    pub(crate) config: Config,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) keys: KeyCache,
    /// The grace period of cancels.
    pub(crate) grace: Duration,
}

impl Connector {
    /// Opens a session with the first host that accepts the login.
    pub(crate) async fn open(&self) -> Result<Connected> {
        for warning in self.config.warnings() {
            tracing::warn!(target: "txpostgres", "{warning}");
        }
        refuse_unsupported(&self.config)?;
        let tls = TlsSettings::from_config(&self.config)?;
        let mut endpoints = self.config.endpoints()?;
        let several = endpoints.len() > 1;
        let last = endpoints.pop();
        for endpoint in endpoints {
            match self.open_endpoint(&endpoint, &tls).await {
                Ok(connected) => return Ok(connected),
                // A refusal that concerns the client ends the attempt (manual, section 34.1.1.3):
                // the password is not sent to the next host.
                Err(error) if concerns_the_client(&error) => return Err(error),
                Err(error) => {
                    tracing::info!(target: "txpostgres", %endpoint, %error, "trying the next host");
                }
            }
        }
        match last {
            Some(endpoint) => self.open_endpoint(&endpoint, &tls).await.map_err(|error| {
                if several {
                    error.with_hint(
                        "no host accepted the connection; this is the error of the last one",
                    )
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
            let refusal = match self.try_once(endpoint, &mut session).await {
                Ok(stream) => {
                    let requester = self.requester(endpoint, tls, &session, &*stream);
                    return Ok((session, stream, requester));
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
    ) -> Result<Box<dyn ByteStream>> {
        let mut stream = self.dial.dial(endpoint, &self.config).await.map_err(|error| {
            Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}"))
                .with_source(error)
        })?;
        log_in(endpoint, session, &mut *stream).await?;
        Ok(stream)
    }
}

/// Refuses what would change whom we talk to, and is not implemented: to ignore it would lead to a
/// server that was not asked for.
fn refuse_unsupported(config: &Config) -> Result<()> {
    let refused = |what: String, hint: &'static str| {
        Err(Error::new(ErrorKind::Config, format!("{what} is not supported")).with_hint(hint))
    };
    if config.get_requirepeer().is_some() {
        return refused(
            "requirepeer".to_owned(),
            "leave it out, or reach the server by TLS and sslmode=verify-full",
        );
    }
    let role = config.get_target_session_attrs();
    if role != TargetSessionAttrs::Any {
        return refused(
            format!("target_session_attrs={} (or PGTARGETSESSIONATTRS)", role.as_str()),
            "leave it out and name the server with this role: the first host that accepts the login is taken, \
             whatever its role",
        );
    }
    let order = config.get_load_balance_hosts();
    if order != LoadBalanceHosts::Disable {
        return refused(
            format!("load_balance_hosts={} (or PGLOADBALANCEHOSTS)", order.as_str()),
            "leave it out, and shuffle the hosts yourself: they are tried in the order in which they are written",
        );
    }
    Ok(())
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

/// Whether a server was reached that refuses this client.
fn concerns_the_client(error: &Error) -> bool {
    error.kind() == ErrorKind::Authentication
        || error.sqlstate().is_some_and(|code| code.class() == "28")
}

/// Moves bytes until the session is open.
async fn log_in(
    endpoint: &Endpoint,
    session: &mut Session,
    stream: &mut dyn ByteStream,
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
