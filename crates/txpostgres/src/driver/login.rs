//! One attempt to connect, from the stream to the open session: carries out what
//! [`Attempt`](txpostgres_policy::Attempt) decides.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::BytesMut;
use tokio::runtime::Handle;
use txpostgres_policy::{Attempt, AttemptStep, Fitness, LoginSettings, Nonce, unreachable};
use txpostgres_session::config::Endpoint;
use txpostgres_session::{DerivedKey, Error, ErrorKind, KeyDerivation, Result, Session};

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
struct Heard<'a> {
    on_heard: Option<&'a OnHeard>,
    is_heard: bool,
}

impl Heard<'_> {
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
    /// Reads the files of certificates and keys anew.
    pub(super) fn login_settings(&self) -> Result<LoginSettings> {
        LoginSettings::new(Arc::clone(&self.config), self.keys.clone(), random_nonce)
    }

    /// Connects and logs in, in the ways that the settings allow, and looks at the server's role.
    /// `is_reached` is set once there is a stream to the server.
    pub(super) async fn attempt(
        &self,
        endpoint: Endpoint,
        settings: LoginSettings,
        is_reached: &AtomicBool,
    ) -> Result<Attempted> {
        let mut heard = Heard { on_heard: self.on_heard.as_ref(), is_heard: false };
        let mut attempt = Attempt::new(settings, endpoint)?;
        let (stream, fitness) = self.carry_out(&mut attempt, is_reached, &mut heard).await?;
        let connected = self.connected(attempt, stream);
        Ok(match fitness {
            Fitness::Wanted => {
                heard.keep();
                Attempted::Wanted(connected)
            }
            Fitness::SecondChoice => Attempted::SecondChoice(connected),
        })
    }

    /// A session with this server, whatever its role.
    pub(super) async fn open_at(&self, endpoint: Endpoint) -> Result<Connected> {
        let settings = LoginSettings { checks_role: false, ..self.login_settings()? };
        let mut heard = Heard { on_heard: None, is_heard: false };
        let mut attempt = Attempt::new(settings, endpoint)?;
        let reached = AtomicBool::new(false);
        let (stream, _) = self.carry_out(&mut attempt, &reached, &mut heard).await?;
        Ok(self.connected(attempt, stream))
    }

    fn connected(&self, attempt: Attempt, stream: Box<dyn ByteStream>) -> Connected {
        let requester = CancelRequester {
            dial: Arc::clone(&self.dial),
            config: Arc::clone(&self.config),
            route: attempt.cancel_route(stream.peer_address()),
            grace: self.grace,
            runtime: Handle::current(),
        };
        Box::new((attempt.into_session(), stream, requester))
    }

    async fn carry_out(
        &self,
        attempt: &mut Attempt,
        is_reached: &AtomicBool,
        heard: &mut Heard<'_>,
    ) -> Result<(Box<dyn ByteStream>, Fitness)> {
        let mut dialed: Option<Box<dyn ByteStream>> = None;
        let mut outgoing = BytesMut::new();
        let mut received = vec![0; 8 * 1024];
        loop {
            let (step, stream) = match (attempt.next_step(), &mut dialed) {
                (AttemptStep::Dial, _) => {
                    drop(dialed.take());
                    dialed = Some(self.dial_for(attempt).await?);
                    is_reached.store(true, Ordering::Relaxed);
                    continue;
                }
                (step, Some(stream)) => (step, stream),
                // The first step is to dial.
                (_, None) => return Err(Error::new(ErrorKind::Connect, "nothing was dialed")),
            };
            match step {
                AttemptStep::Dial => {}
                AttemptStep::Exchange => {
                    let session = attempt.session();
                    send_output(session, &mut **stream, &mut outgoing).await;
                    if !session.has_events() {
                        receive_input(session, &mut **stream, &mut received).await;
                        if session.has_begun() {
                            heard.note();
                        }
                    }
                }
                AttemptStep::Derive(derivation) => {
                    let key = derive(*derivation).await?;
                    attempt.session().supply_key(key);
                }
                AttemptStep::Warn(text) => {
                    let endpoint = attempt.endpoint();
                    tracing::warn!(target: "txpostgres", %endpoint, "{text}");
                }
                AttemptStep::TryAgain { refusal, without_tls } => {
                    log_refusal(attempt.endpoint(), &refusal, without_tls);
                }
                AttemptStep::Opened(fitness) => match dialed {
                    Some(stream) => return Ok((stream, fitness)),
                    None => return Err(Error::new(ErrorKind::Connect, "nothing was dialed")),
                },
                AttemptStep::Failed(error) => {
                    send_at_once(attempt.session(), &mut **stream).await;
                    return Err(error);
                }
            }
        }
    }

    async fn dial_for(&self, attempt: &Attempt) -> Result<Box<dyn ByteStream>> {
        let endpoint = attempt.endpoint();
        let dialed = self.dial.dial(endpoint, &self.config).await;
        dialed.map_err(|error| unreachable(endpoint, error))
    }
}

fn random_nonce() -> Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|error| {
        Error::new(ErrorKind::Connect, "could not obtain random bytes from the system")
            .with_source(error)
    })?;
    Ok(nonce)
}

fn log_refusal(endpoint: &Endpoint, refusal: &Error, without_tls: bool) {
    if without_tls {
        // What follows, a password among it, can be read on the way: never in silence.
        tracing::warn!(
            target: "txpostgres", %endpoint, error = %refusal,
            "TLS failed, and sslmode=prefer goes on without encryption; \
             sslmode=require does not"
        );
    } else {
        tracing::debug!(target: "txpostgres", %endpoint, error = %refusal, "trying another way");
    }
}

/// Derives the key on a blocking thread: 4,096 iterations take a millisecond, and a server may
/// request 25 times as many.
async fn derive(derivation: KeyDerivation) -> Result<DerivedKey> {
    tokio::task::spawn_blocking(move || derivation.run()).await.map_err(|error| {
        Error::new(ErrorKind::Connect, "the runtime ended during the login").with_source(error)
    })
}

/// Sends Terminate to a server whose session is not used, without waiting for anything.
pub(super) async fn say_goodbye(mut unused: Connected) {
    let (session, stream, _) = &mut *unused;
    session.close();
    send_at_once(session, &mut **stream).await;
}

/// Sends what the session has to send, as far as that is possible without waiting.
async fn send_at_once(session: &mut Session, stream: &mut dyn ByteStream) {
    let mut outgoing = BytesMut::new();
    let mut sending = pin!(send_output(session, stream, &mut outgoing));
    poll_fn(|cx| {
        let _ = sending.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}
