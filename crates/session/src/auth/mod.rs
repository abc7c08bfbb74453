//! One login: what the server asks for, what we are ready to give, and how it ends.

mod key;
mod method;
mod password;
mod saslprep;
mod scram;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;

use crate::config::{AuthenticationMethod as Method, ChannelBinding, Password, RequireAuth};
use crate::limits;
use crate::{Error, ErrorKind, Result};

pub use key::{DerivedKey, KeyCache, KeyDerivation};
pub use scram::NONCE_BYTES;

use method::{Asked, Mechanisms};
use scram::{Binding, Challenge, ClientFirst, Expected};

/// What the bytes travel through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// They can be read on the way.
    Plain,
    /// TLS.
    Tls {
        /// The hash of the server's certificate that a login can be bound to
        /// (`tls-server-end-point`, RFC 5929). `None` when the certificate is signed in a way that
        /// names no hash, such as Ed25519.
        server_end_point: Option<Vec<u8>>,
    },
}

/// Who logs in, and what the server may ask for.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The name in the startup message.
    pub user: String,
    /// The password, if there is one. An empty one counts as none, as in libpq.
    pub password: Option<Password>,
    /// Which methods are accepted.
    pub require_auth: RequireAuth,
    /// Whether SCRAM must be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Keys of earlier logins.
    pub keys: KeyCache,
    /// The fewest iterations of SCRAM that are accepted.
    pub min_scram_iterations: u32,
    /// Whether a network lies between us and the server: not with a Unix socket.
    pub over_network: bool,
    /// Whether TLS, if the session uses it, verifies the server's certificate.
    pub verifies_server: bool,
}

/// What is to be done after a message from the server.
#[derive(Debug)]
pub enum Step {
    /// Nothing to send; more messages follow.
    Wait,
    /// The body of one `p` message, without tag and length.
    Send(Vec<u8>),
    /// Run this where it may take time, then call [`Authentication::derived`].
    Derive(Box<KeyDerivation>),
    /// `AuthenticationOk`, and everything that was demanded has been done.
    Authenticated,
}

/// One login, step by step.
///
/// Everything that the caller demands is checked before anything is sent that depends on the
/// password. After an error every further call is an error.
pub struct Authentication {
    login: Login,
    nonce: [u8; NONCE_BYTES],
    stage: Stage,
    warnings: Vec<String>,
}

/// Where the login is. Any other message than those drawn is an error, and leads to `Failed`.
///
/// ```text
///   Begun ──(Ok)────────────────────────────────────────────────────────────────────────────▶ Done
///     ├─(CleartextPassword, MD5Password)─▶ PasswordSent ──(Ok)──────────────────────────────▶ Done
///     └─(SASL)─▶ ScramBegun ─(SASLContinue)─┬─▶ Deriving ─(derived)─┬─▶ ProofSent
///                                           └── key is remembered ──┘       │
///                                                                     (SASLFinal)
///                                                                           ▼
///                                                                         Proved ──(Ok)─────▶ Done
/// ```
enum Stage {
    Begun,
    PasswordSent,
    ScramBegun(ClientFirst),
    Deriving(Challenge, [u8; 32]),
    ProofSent(Expected, DerivedKey),
    /// The server has shown that it knows the password.
    Proved {
        bound: bool,
    },
    Done,
    Failed,
}

impl Authentication {
    /// A login that has not begun. The nonce must never have been used before: 18 bytes from the
    /// system's randomness.
    pub fn new(login: Login, nonce: [u8; NONCE_BYTES]) -> Self {
        Self { login, nonce, stage: Stage::Begun, warnings: Vec::new() }
    }

    /// What the user should know about what has been sent, one sentence each; each is told once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        mem::take(&mut self.warnings)
    }

    /// Takes the body of an `R` message, that is what follows the length word.
    pub fn receive(&mut self, body: &[u8], channel: &Channel) -> Result<Step> {
        let stage = mem::replace(&mut self.stage, Stage::Failed);
        let (stage, step) = self.after(stage, Asked::read(body)?, channel)?;
        self.stage = stage;
        Ok(step)
    }

    /// Takes the key that [`Step::Derive`] asked for. A key that was not asked for is an error.
    pub fn derived(&mut self, key: DerivedKey) -> Result<Step> {
        match mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Deriving(challenge, name) if key.name() == name => {
                Ok(self.prove(challenge, key))
            }
            _ => Err(out_of_turn("a key was supplied that was not requested")),
        }
    }

    /// The whole table of the automaton: the stage after a message, and what is to be done.
    fn after(
        &mut self,
        stage: Stage,
        asked: Asked<'_>,
        channel: &Channel,
    ) -> Result<(Stage, Step)> {
        match (stage, asked) {
            (Stage::Begun, Asked::Nothing) => {
                self.accept(&Asked::Nothing)?;
                Ok((Stage::Done, Step::Authenticated))
            }
            (Stage::Begun, asked @ Asked::Cleartext) => {
                self.accept(&asked)?;
                let body = password::cleartext(self.password()?)?;
                self.warn_if_readable(channel, "the password in clear text", Method::Password);
                Ok((Stage::PasswordSent, Step::Send(body)))
            }
            (Stage::Begun, asked @ Asked::Md5(salt)) => {
                self.accept(&asked)?;
                let body = password::md5(&self.login.user, self.password()?, salt);
                let what = "an MD5 hash, from which the password can be guessed,";
                self.warn_if_readable(channel, what, Method::Md5);
                Ok((Stage::PasswordSent, Step::Send(body)))
            }
            (Stage::Begun, Asked::Sasl(offered)) => {
                self.accept(&Asked::Sasl(offered))?;
                let first = self.begin_scram(offered, channel)?;
                self.password()?;
                let body = initial_response(&first)?;
                Ok((Stage::ScramBegun(first), Step::Send(body)))
            }
            (Stage::Begun, asked @ Asked::Unsupported(_)) => {
                self.accept(&asked)?;
                Err(asked.unsupported())
            }
            (Stage::ScramBegun(first), Asked::SaslContinue(message)) => {
                let challenge = first.challenge(message)?;
                self.judge_iterations(challenge.iterations, channel)?;
                self.answer(challenge)
            }
            (Stage::ProofSent(expected, key), Asked::SaslFinal(message)) => {
                expected.check(message)?;
                self.login.keys.remember(key);
                let bound = expected.is_bound();
                Ok((Stage::Proved { bound }, Step::Wait))
            }
            (Stage::PasswordSent, Asked::Nothing) => Ok((Stage::Done, Step::Authenticated)),
            (Stage::Proved { bound }, Asked::Nothing) => {
                // `begin_scram` has refused before; this is the lock on the second door.
                if self.must_bind() && !bound {
                    return Err(unbound("the login was not bound to it"));
                }
                Ok((Stage::Done, Step::Authenticated))
            }
            (Stage::ScramBegun(_) | Stage::Deriving(..) | Stage::ProofSent(..), Asked::Nothing) => {
                Err(refused("the server let us in without proving that it knows the password")
                    .with_hint("it may not be the server it claims to be"))
            }
            (Stage::Done, _) => {
                Err(out_of_turn("the server asked for authentication again after it let us in"))
            }
            (Stage::Failed, _) => Err(out_of_turn("the login has failed before")),
            _ => Err(out_of_turn("the server's authentication messages are out of turn")),
        }
    }

    /// Whether we were told to answer such a question at all.
    fn accept(&self, asked: &Asked<'_>) -> Result<()> {
        if let Some(method) = asked.method()
            && !self.login.require_auth.allows(method)
        {
            return Err(refused(format!(
                "{}, which require_auth does not allow",
                asked.sentence()
            ))
            .with_hint(format!("require_auth calls this method \"{}\"", method.as_str())));
        }
        if self.must_bind() && !matches!(asked, Asked::Sasl(_)) {
            return Err(unbound(&asked.sentence()));
        }
        Ok(())
    }

    /// Notes that this left over a network without TLS.
    fn warn_if_readable(&mut self, channel: &Channel, what: &str, method: Method) {
        if self.login.over_network && *channel == Channel::Plain {
            self.warnings.push(format!(
                "{what} was sent over an unencrypted connection, as the server asked for it \
                 (sslmode=require encrypts, require_auth=!{} refuses)",
                method.as_str()
            ));
        }
    }

    /// Whether a key of so few iterations may be used. The proof is sent before the server has
    /// proved anything, so that a server that is another one may guess the password from it, the
    /// faster the fewer iterations it asked for.
    fn judge_iterations(&mut self, iterations: u32, channel: &Channel) -> Result<()> {
        let least = self.login.min_scram_iterations;
        if iterations < least {
            return Err(refused(format!(
                "the server asks for {iterations} SCRAM iterations, and min_scram_iterations for {least} at least"
            ))
            .with_hint(
                "set the password again with a larger scram_iterations on the server",
            ));
        }
        let is_verified = matches!(channel, Channel::Tls { .. }) && self.login.verifies_server;
        if iterations < limits::USUAL_SCRAM_ITERATIONS && self.login.over_network && !is_verified {
            self.warnings.push(format!(
                "the server, which is not verified, asked for {iterations} SCRAM iterations: fewer than {} \
                 make it easy to guess the password from what was sent (sslmode=verify-full verifies, \
                 min_scram_iterations={0} refuses)",
                limits::USUAL_SCRAM_ITERATIONS
            ));
        }
        Ok(())
    }

    fn must_bind(&self) -> bool {
        self.login.channel_binding == ChannelBinding::Require
    }

    /// The password, unless there is none.
    fn password(&self) -> Result<&Password> {
        match &self.login.password {
            Some(password) if !password.is_empty() => Ok(password),
            _ => Err(refused("the server asks for a password and none was given")
                .with_hint("give one by password=, PGPASSWORD or ~/.pgpass")),
        }
    }

    /// Chooses the mechanism and the `gs2-cbind-flag`.
    fn begin_scram(&self, offered: Mechanisms, channel: &Channel) -> Result<ClientFirst> {
        let wanted = self.login.channel_binding != ChannelBinding::Disable;
        let binding = match channel {
            // libpq refuses this as well: a server without TLS has nothing to bind to.
            Channel::Plain if offered.plus => {
                return Err(refused(
                    "the server offers SCRAM-SHA-256-PLUS on a connection without TLS",
                )
                .with_hint("something between may have taken TLS away"));
            }
            Channel::Plain if self.must_bind() => {
                return Err(unbound("the connection does not use TLS"));
            }
            Channel::Tls { server_end_point: Some(hash) } if wanted && offered.plus => {
                Binding::EndPoint(hash.clone())
            }
            Channel::Tls { server_end_point: None } if self.must_bind() => {
                return Err(unbound(
                    "the server's certificate is signed in a way that names no hash to bind to",
                ));
            }
            _ if self.must_bind() => {
                return Err(unbound("the server does not offer SCRAM-SHA-256-PLUS"));
            }
            Channel::Tls { server_end_point: Some(_) } if wanted => Binding::NotOffered,
            _ => Binding::None,
        };
        if !offered.plain && !matches!(binding, Binding::EndPoint(_)) {
            return Err(refused("the server offers no SASL mechanism that can be used here")
                .with_hint(
                    "SCRAM-SHA-256 can, and SCRAM-SHA-256-PLUS unless channel_binding=disable",
                ));
        }
        Ok(ClientFirst::new(binding, self.nonce))
    }

    /// Proves at once if the key is remembered, else asks for it.
    fn answer(&self, challenge: Challenge) -> Result<(Stage, Step)> {
        let password = password::prepared(self.password()?);
        let derivation = KeyDerivation::new(&password, &challenge.salt, challenge.iterations);
        let name = derivation.name();
        Ok(match self.login.keys.find(name) {
            Some(key) => {
                let (message, expected) = challenge.prove(&key);
                let stage = Stage::ProofSent(expected, key);
                (stage, Step::Send(message.into_bytes()))
            }
            None => (Stage::Deriving(challenge, name), Step::Derive(Box::new(derivation))),
        })
    }

    fn prove(&mut self, challenge: Challenge, key: DerivedKey) -> Step {
        let (message, expected) = challenge.prove(&key);
        self.stage = Stage::ProofSent(expected, key);
        Step::Send(message.into_bytes())
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Begun => "Begun",
            Stage::PasswordSent => "PasswordSent",
            Stage::ScramBegun(_) => "ScramBegun",
            Stage::Deriving(..) => "Deriving",
            Stage::ProofSent(..) => "ProofSent",
            Stage::Proved { .. } => "Proved",
            Stage::Done => "Done",
            Stage::Failed => "Failed",
        };
        write!(f, "Authentication({stage})")
    }
}

/// `SASLInitialResponse`: the mechanism, the length of the message, the message.
fn initial_response(first: &ClientFirst) -> Result<Vec<u8>> {
    let mechanism = if first.is_bound() { method::SCRAM_PLUS } else { method::SCRAM };
    let message = first.message();
    let length = u32::try_from(message.len()).map_err(|_| refused("the nonce is too long"))?;
    Ok([mechanism, b"\0", &length.to_be_bytes(), message.as_bytes()].concat())
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Authentication, message)
}

fn unbound(why: &str) -> Error {
    refused(format!(
        "channel_binding=require cannot be kept: {why}"
    ))
    .with_hint("it needs TLS, a server of version 11 or later, and the method scram-sha-256 in pg_hba.conf")
}

fn out_of_turn(message: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, message)
}
