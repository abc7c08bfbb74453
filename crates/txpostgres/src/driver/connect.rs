//! Connecting: from a configuration to an open session. Carries out what
//! [`Hosts`](txpostgres_policy::Hosts) decides: which host is tried, and when.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use txpostgres_policy::{
    AttemptId, HostStep, Hosts, LOGIN_DELAY, LoginSettings, too_slow, unreachable,
};
use txpostgres_session::config::{Config, Endpoint, LoadBalanceHosts};
use txpostgres_session::{Error, ErrorKind, KeyCache, Result, Session};

use super::CancelRequester;
use super::login::{Attempted, say_goodbye};
use crate::io::{ByteStream, Dial};

/// The [`LOGIN_DELAY`] of a detector, and of a pool with callers, 250 ms: they are in a hurry, and
/// do not prefer a host.
const RETRIED_LOGIN_DELAY: Duration = Duration::from_millis(250);

/// How long an attempt of a detector is waited for alone, besides [`RETRIED_LOGIN_DELAY`] for each
/// further host, before another one begins beside it; and how often that one begins anew: 500 ms.
const ANEW: Duration = Duration::from_millis(500);

/// An open session, its stream, and what is needed to cancel its requests. Boxed, since a session
/// is large, and the future of a connect would hold several.
pub(crate) type Connected = Box<(Session, Box<dyn ByteStream>, CancelRequester)>;

/// What is needed to open a session.
pub(crate) struct Connector {
    pub(crate) config: Arc<Config>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) keys: KeyCache,
    /// The grace period of cancels.
    pub(crate) grace: Duration,
    /// Called when a server has sent its first bytes, and when it is left.
    pub(crate) on_heard: Option<OnHeard>,
}

/// What is called while a connection is being opened: with `true` when a server has sent its first
/// bytes, with `false` when that server is left for another one.
pub(crate) type OnHeard = Arc<dyn Fn(bool) + Send + Sync>;

/// Why a session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The user has asked for it.
    User,
    /// A detector opens it anew: what is to be said of the settings was said.
    Detector,
    /// A pool opens it for its callers. It begins other attempts beside this one itself.
    Pool,
}

/// An attempt in progress. Dropping it closes its socket.
struct Running<'a> {
    id: AttemptId,
    endpoint: Endpoint,
    /// Whether there is a stream to the server: set by the attempt.
    is_reached: Arc<AtomicBool>,
    is_reported: bool,
    future: Pin<Box<dyn Future<Output = Result<Ended>> + Send + 'a>>,
}

/// How an attempt, or the lookup of a name, has ended well.
enum Ended {
    Resolved(Vec<Endpoint>),
    Attempted(Attempted),
}

/// What a running attempt tells.
enum Told {
    /// There is a stream to the server.
    Reached(AttemptId),
    Ended(AttemptId, Endpoint, Result<Ended>),
}

impl Connector {
    /// Opens a session with the first host that accepts the login and has the wanted role.
    ///
    /// The attempts run in the calling task: if the future is dropped, so are they.
    pub(crate) async fn open(&self, occasion: Occasion) -> Result<Connected> {
        match occasion {
            Occasion::User => {}
            Occasion::Detector => return Box::pin(self.open_impatiently()).await,
            Occasion::Pool => return Box::pin(self.open_once(RETRIED_LOGIN_DELAY)).await,
        }
        for warning in self.config.warnings() {
            tracing::warn!(target: "txpostgres", "{warning}");
        }
        // In a box, so that the futures of connects are small.
        Box::pin(self.open_once(LOGIN_DELAY)).await
    }

    /// Opens a session, and beside that tries once more from the beginning, again and again: an
    /// attempt that began while the network swallowed everything is answered by
    /// nobody when the network is well again, and would be waited for until its time limit.
    async fn open_impatiently(&self) -> Result<Connected> {
        let hosts = u32::try_from(self.config.endpoints()?.len()).unwrap_or(u32::MAX);
        let others = RETRIED_LOGIN_DELAY.saturating_mul(hosts.saturating_sub(1));
        let period = ANEW.saturating_add(others);
        let mut patient = pin!(self.open_once(RETRIED_LOGIN_DELAY));
        let mut begins = Instant::now() + period;
        if let Ok(opened) = timeout_at(begins, &mut patient).await {
            return opened;
        }
        loop {
            begins += period;
            let mut other = pin!(timeout_at(begins, self.open_once(RETRIED_LOGIN_DELAY)));
            let opened = poll_fn(|cx| match patient.as_mut().poll(cx) {
                Poll::Ready(opened) => Poll::Ready(Some(opened)),
                // The patient attempt says why it fails.
                Poll::Pending => other.as_mut().poll(cx).map(|opened| opened.ok()?.ok().map(Ok)),
            });
            if let Some(opened) = opened.await {
                return opened;
            }
            if let Ok(opened) = timeout_at(begins, &mut patient).await {
                return opened;
            }
        }
    }

    async fn open_once(&self, login_delay: Duration) -> Result<Connected> {
        let settings = self.login_settings()?;
        let is_shuffled = self.config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        let shuffle = is_shuffled.then(random_seed).transpose()?;
        let mut hosts = Hosts::new(self.config.endpoints()?, shuffle, login_delay);
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut second_choice: Option<Connected> = None;
        loop {
            let until = match hosts.next(Instant::now().into_std()) {
                HostStep::Resolve(id, endpoint) => {
                    running.push(self.resolve(id, endpoint));
                    continue;
                }
                HostStep::Connect(id, endpoint) => {
                    running.push(self.connect(id, endpoint, settings.clone()));
                    continue;
                }
                HostStep::UseSecondChoice => match second_choice.take() {
                    Some(connected) => return Ok(connected),
                    None => return Err(Error::new(ErrorKind::Connect, "no host is left")),
                },
                HostStep::GiveUp(error) => return Err(error),
                HostStep::Wait(until) => until,
            };
            let told = match until {
                Some(until) => timeout_at(until.into(), next_told(&mut running)).await.ok(),
                None => Some(next_told(&mut running).await),
            };
            let (id, endpoint, outcome) = match told {
                None => continue,
                Some(Told::Reached(id)) => {
                    hosts.connected(id, Instant::now().into_std());
                    continue;
                }
                Some(Told::Ended(id, endpoint, outcome)) => (id, endpoint, outcome),
            };
            match outcome {
                Ok(Ended::Resolved(found)) => hosts.resolved(id, found),
                Ok(Ended::Attempted(attempted)) => match attempted {
                    Attempted::Wanted(connected) => {
                        if let Some(unused) = second_choice {
                            say_goodbye(unused).await;
                        }
                        return Ok(connected);
                    }
                    Attempted::SecondChoice(found) if hosts.set_aside(id) => {
                        second_choice = Some(found);
                    }
                    Attempted::SecondChoice(unused) => say_goodbye(unused).await,
                },
                Err(error) => {
                    if hosts.is_several() {
                        tracing::debug!(target: "txpostgres", %endpoint, %error, "not connected");
                    }
                    hosts.failed(id, error);
                    running.retain(|attempt| hosts.is_running(attempt.id));
                }
            }
        }
    }

    /// Begins to look up the addresses of a name.
    fn resolve(&self, id: AttemptId, endpoint: Endpoint) -> Running<'_> {
        let name = endpoint.clone();
        let future = Box::pin(async move {
            let found = self.limited(&name, async {
                let found = self.dial.resolve(&name, &self.config).await;
                found.map_err(|error| unreachable(&name, error))
            });
            found.await.map(Ended::Resolved)
        });
        Running { id, endpoint, is_reached: Arc::default(), is_reported: false, future }
    }

    /// Begins to connect to an endpoint.
    fn connect(&self, id: AttemptId, endpoint: Endpoint, settings: LoginSettings) -> Running<'_> {
        let (target, is_reached) = (endpoint.clone(), Arc::<AtomicBool>::default());
        let reached = Arc::clone(&is_reached);
        let future = Box::pin(async move {
            let attempt = self.attempt(target.clone(), settings, &reached);
            self.limited(&target, attempt).await.map(Ended::Attempted)
        });
        Running { id, endpoint, is_reached, is_reported: false, future }
    }

    /// The outcome of this future, within the time for one host.
    async fn limited<T>(
        &self,
        endpoint: &Endpoint,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let limit = self.config.get_connect_timeout().unwrap_or(Duration::MAX);
        match timeout(limit, future).await {
            Ok(result) => result,
            Err(_) => Err(too_slow(endpoint, limit)),
        }
    }
}

/// What one of the attempts tells next.
async fn next_told(running: &mut Vec<Running<'_>>) -> Told {
    poll_fn(|cx| {
        for (place, attempt) in running.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = attempt.future.as_mut().poll(cx) {
                let Running { id, endpoint, .. } = running.remove(place);
                return Poll::Ready(Told::Ended(id, endpoint, outcome));
            }
            if !attempt.is_reported && attempt.is_reached.load(Ordering::Relaxed) {
                attempt.is_reported = true;
                return Poll::Ready(Told::Reached(attempt.id));
            }
        }
        Poll::Pending
    })
    .await
}

fn random_seed() -> Result<u64> {
    getrandom::u64().map_err(|error| {
        Error::new(ErrorKind::Connect, "could not obtain random bytes from the system")
            .with_source(error)
    })
}
