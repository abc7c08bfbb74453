//! From the first byte to the first ReadyForQuery.

use std::ops::RangeInclusive;

use crate::auth::{Authentication, Channel, DerivedKey, KeyDerivation, Login, NONCE_BYTES, Step};
use crate::cancel::CancelKey;
use crate::config::{ProtocolVersion, SslNegotiation};
use crate::error::server_error::ServerError;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::protocol::wire::{Message, Reader, violation};
use crate::tls::TlsSettings;

/// Everything that a session needs to begin.
#[derive(Debug)]
pub struct SessionConfig {
    /// Name and value of each startup parameter, `user` among them.
    pub parameters: Vec<(String, String)>,
    /// Whether to encrypt, and how.
    pub encryption: Encryption,
    /// Who we are and how we may be asked.
    pub login: Login,
    /// Random bytes for SCRAM.
    pub nonce: [u8; NONCE_BYTES],
    /// The versions of the protocol to agree on.
    pub versions: RangeInclusive<ProtocolVersion>,
    /// Statements kept prepared; 0 for none.
    pub statement_cache: usize,
    /// Whether a request may be sent before the one before it is answered.
    pub pipelining: bool,
    /// Bytes that an answer may have which is kept as a whole; 0 for no limit.
    pub max_answer_bytes: u64,
}

/// Whether a session encrypts.
#[derive(Debug, Clone)]
pub enum Encryption {
    /// It does not.
    Plain,
    /// By TLS.
    Tls {
        /// How the server is to be checked.
        settings: TlsSettings,
        /// The name its certificate is checked against.
        server_name: String,
        /// How TLS begins.
        negotiation: SslNegotiation,
        /// Whether to go on in plain text when the server has no TLS.
        optional: bool,
    },
}

/// ```text
///              ┌──'N', TLS optional──────────────────────────┐
///   Encryption ┤                                             ▼
///              └──'S'──▶ Handshake ──finished──▶ Greeting ──'R' Ok──▶ Settling ──'Z'──▶ (Open)
///                           ▲                     │    ▲
///   direct TLS ─────────────┘             'R' SASL│    │the key
///   plain ──────────────────────▶ Greeting        ▼    │
///                                               Deriving
/// ```
///
/// A session that is only to cancel another one goes to `Interrupting` instead of `Greeting`, and
/// the server hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// SSLRequest was sent; one byte is owed.
    Encryption,
    /// TLS is being agreed on.
    Handshake,
    /// StartupMessage was sent; the server authenticates us.
    Greeting,
    /// A key is being derived elsewhere; the server waits for us.
    Deriving,
    /// CancelRequest was sent; the server says nothing and hangs up.
    Interrupting,
    /// We are in; parameters and the cancel key follow.
    Settling,
}

/// A session that is not open yet.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) stage: Stage,
    pub(crate) encryption: Encryption,
    parameters: Vec<(String, String)>,
    authentication: Authentication,
    versions: RangeInclusive<ProtocolVersion>,
    /// What was agreed on.
    version: ProtocolVersion,
    /// The session that is to be cancelled, if that is all there is to be said.
    pub(crate) victim: Option<CancelKey>,
}

/// What a message of the greeting asks the session to do.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nothing.
    Wait,
    /// Send the body of a `p` message.
    Send(Vec<u8>),
    /// Have a key derived.
    Derive(Box<KeyDerivation>),
    /// Remember how to cancel.
    CancelKey(Option<CancelKey>),
}

impl Startup {
    pub(crate) fn new(config: SessionConfig) -> Self {
        let stage = match &config.encryption {
            Encryption::Plain => Stage::Greeting,
            Encryption::Tls { negotiation: SslNegotiation::Direct, .. } => Stage::Handshake,
            Encryption::Tls { .. } => Stage::Encryption,
        };
        Self {
            stage,
            encryption: config.encryption,
            parameters: config.parameters,
            authentication: Authentication::new(config.login, config.nonce),
            version: *config.versions.end(),
            versions: config.versions,
            victim: None,
        }
    }

    /// A session that is only to cancel this one.
    pub(crate) fn to_cancel(victim: CancelKey, encryption: Encryption) -> Self {
        let config = SessionConfig {
            parameters: Vec::new(),
            encryption,
            login: Login::default(),
            nonce: [0; NONCE_BYTES],
            versions: ProtocolVersion::V3_0..=ProtocolVersion::V3_0,
            statement_cache: 0,
            pipelining: true,
            max_answer_bytes: 0,
        };
        Self { victim: Some(victim), ..Self::new(config) }
    }

    pub(crate) fn is_interrupting(&self) -> bool {
        self.stage == Stage::Interrupting
    }

    /// The version number of the StartupMessage.
    pub(crate) fn version_number(&self) -> u32 {
        number_of(self.version)
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads the one byte that answers an SSLRequest: whether TLS begins.
    pub(crate) fn ssl_answer(&mut self, byte: u8, followed: bool) -> Result<bool> {
        let optional = matches!(self.encryption, Encryption::Tls { optional: true, .. });
        match byte {
            // Bytes that an attacker puts before the handshake would be taken for the server's,
            // under TLS (CVE-2021-23222). `Protocol`, so that `prefer` does not go on in plain
            // text: a server without TLS says so, and an attack that was noticed is an error.
            b'S' if followed => Err(violation(
                "bytes arrived before the TLS handshake that could have been put there by anyone",
            )),
            b'S' => {
                self.stage = Stage::Handshake;
                Ok(true)
            }
            b'N' if optional => {
                self.stage = Stage::Greeting;
                Ok(false)
            }
            b'N' => Err(Error::new(ErrorKind::Tls, "the server does not offer TLS, and sslmode requires it")
                .with_hint("switch TLS on in the server (`ssl = on`), or choose a weaker sslmode")),
            // Its text is not shown: without TLS anyone could have written it (CVE-2024-10977).
            b'E' => Err(Error::new(
                ErrorKind::Tls,
                "the server answered the request for TLS with an error",
            )),
            other => Err(violation(format!(
                "what answers there is not a PostgreSQL server: it answered the request for TLS with {:?}",
                char::from(other)
            ))
            .with_hint("check host and port")),
        }
    }

    /// The connection ended before TLS had begun.
    pub(crate) fn ended_in_handshake(&self) -> Error {
        let error =
            Error::new(ErrorKind::Tls, "the server closed the connection during the TLS handshake");
        match self.encryption {
            Encryption::Tls { negotiation: SslNegotiation::Direct, .. } => error.with_hint(
                "sslnegotiation=direct needs PostgreSQL 17 or later with TLS; sslnegotiation=postgres works with all",
            ),
            _ => error.with_hint("its log may say why"),
        }
    }

    /// Takes a message of the greeting.
    pub(crate) fn receive(&mut self, message: Message<'_>, channel: &Channel) -> Result<Reply> {
        let Message { tag, body } = message;
        match (self.stage, tag) {
            // A pooler may say why it does not cancel.
            (Stage::Interrupting, b'E') => {
                Err(Error::new(ErrorKind::Connect, "the server refused to cancel")
                    .with_server(ServerError::parse(body)))
            }
            (_, b'E') => {
                let error = ServerError::parse(body);
                Err(Error::from_server(error).with_delivery(Delivery::NotSent))
            }
            (Stage::Greeting, b'R') => {
                let step = self.authentication.receive(body, channel)?;
                Ok(self.follow(step))
            }
            (Stage::Greeting, b'v') => self.negotiate(body).map(|()| Reply::Wait),
            (Stage::Settling, b'K') => Ok(Reply::CancelKey(CancelKey::read(body)?)),
            (stage, tag) => Err(violation(format!(
                "the server sent {:?} during {}",
                char::from(tag),
                match stage {
                    Stage::Settling => "the end of the login",
                    Stage::Interrupting => "a cancel, which it does not answer",
                    _ => "the login",
                }
            ))),
        }
    }

    /// Takes the key that was asked for.
    pub(crate) fn supply_key(&mut self, key: DerivedKey) -> Result<Reply> {
        if self.stage != Stage::Deriving {
            return Ok(Reply::Wait);
        }
        let step = self.authentication.derived(key)?;
        self.stage = Stage::Greeting;
        Ok(self.follow(step))
    }

    /// What the user should know about the login, one sentence each; each is told once.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        self.authentication.take_warnings()
    }

    fn follow(&mut self, step: Step) -> Reply {
        match step {
            Step::Wait => Reply::Wait,
            Step::Send(body) => Reply::Send(body),
            Step::Derive(derivation) => {
                self.stage = Stage::Deriving;
                Reply::Derive(derivation)
            }
            Step::Authenticated => {
                self.stage = Stage::Settling;
                Reply::Wait
            }
        }
    }

    /// Reads a NegotiateProtocolVersion: the server knows an older version only.
    fn negotiate(&mut self, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body, "NegotiateProtocolVersion");
        let offered = reader.u32()?;
        let unknown = reader.u32()?;
        // The manual says "newest minor version"; servers send the whole number.
        let offered = if offered < 1 << 16 { (3 << 16) | offered } else { offered };
        let version = match offered {
            0x0003_0000 | 0x0003_0001 => ProtocolVersion::V3_0,
            0x0003_0002 => ProtocolVersion::V3_2,
            _ => {
                return Err(violation(format!(
                    "the server offers the protocol version {offered:#x}"
                )));
            }
        };
        if number_of(version) > number_of(self.version) {
            return Err(violation("the server offers a newer protocol version than was asked for"));
        }
        if number_of(version) < number_of(*self.versions.start()) {
            return Err(Error::new(
                ErrorKind::Connect,
                format!(
                    "the server speaks protocol {} only, and min_protocol_version asks for {}",
                    version.as_str(),
                    self.versions.start().as_str()
                ),
            ));
        }
        if unknown > 0 {
            return Err(violation("the server refuses protocol options that were not asked for"));
        }
        reader.end()?;
        self.version = version;
        Ok(())
    }
}

fn number_of(version: ProtocolVersion) -> u32 {
    match version {
        ProtocolVersion::V3_0 => 3 << 16,
        ProtocolVersion::V3_2 => (3 << 16) | 2,
    }
}
