//! Sends CancelRequests, each on a connection of its own: carries out what
//! [`CancelRun`](txpostgres_multiplex::CancelRun) decides.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use txpostgres_multiplex::{
    CancelRun, CancelStart, CancelStep, CancelTarget, Drive, OnGraceExpired,
};
use txpostgres_policy::CancelRoute;
use txpostgres_session::config::Config;
use txpostgres_session::{CancelKey, Error, ErrorKind, Event, Result, Session, Ticket};

use super::Driver;
use crate::io::{Dial, receive_input, send_output};

/// The default grace period, which the server may take to end a cancelled statement: 5 s, as in
/// psycopg's `cancel_safe`. A cancel from far away takes five round trips with TLS; rolling back
/// takes the server no time.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The longest grace period: a year. Beyond some centuries its end would overflow the clock.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is needed to cancel requests of one session.
pub(crate) struct CancelRequester {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) config: Arc<Config>,
    pub(crate) route: CancelRoute,
    pub(crate) grace: Duration,
    /// Runs the tasks that send CancelRequests, so that no caller must wait for them.
    pub(crate) runtime: Handle,
}

impl fmt::Debug for CancelRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRequester")
            .field("endpoint", &self.route.endpoint)
            .finish_non_exhaustive()
    }
}

/// A handle that cancels a call or an interaction: see
/// [`Connection::cancel`](crate::Connection::cancel).
///
/// Clones refer to the same call. It does not keep the connection open, and may outlive the call.
#[derive(Debug, Clone, Default)]
#[doc(alias = "CancelToken")]
pub struct CancelHandle(pub(crate) txpostgres_multiplex::CancelHandle<Driver>);

impl CancelHandle {
    /// See [`Connection::cancel`](crate::Connection::cancel).
    pub fn cancel(&self) -> CancelFuture {
        match self.0.cancel() {
            Some((driver, target)) => driver.cancel(target, OnGraceExpired::RunOn),
            None => CancelFuture::over(Ok(())),
        }
    }
}

/// A cancel in progress: see [`Connection::cancel`](crate::Connection::cancel).
///
/// The cancel goes on whether this is awaited or not. The future completes when the call has ended.
#[must_use = "await it to wait for the end of the call; otherwise `drop` it"]
pub struct CancelFuture(Stage);

enum Stage {
    Over(Option<Error>),
    Telling(JoinHandle<Result<()>>),
}

impl CancelFuture {
    pub(crate) fn over(outcome: Result<()>) -> Self {
        Self(Stage::Over(outcome.err()))
    }
}

impl Future for CancelFuture {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.0 {
            Stage::Over(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
            Stage::Telling(task) => {
                let outcome = ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| {
                    let message = if error.is_panic() {
                        "the dialer panicked during a cancel"
                    } else {
                        "the runtime ended during a cancel"
                    };
                    Err(Error::new(ErrorKind::Closed, message).with_source(error))
                });
                self.0 = Stage::Over(None);
                Poll::Ready(outcome)
            }
        }
    }
}

impl fmt::Debug for CancelFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelFuture").finish_non_exhaustive()
    }
}

impl Driver {
    /// Cancels a request, or all requests of a transaction. A call that waits for one gets
    /// [`ErrorKind::Cancelled`], or its answer if that arrives before the cancel takes effect.
    pub(crate) fn cancel(
        self: &Arc<Self>,
        target: CancelTarget,
        otherwise: OnGraceExpired,
    ) -> CancelFuture {
        let (start, generation) = {
            let mut locked = self.lock();
            let (multiplexer, effects) = locked.parts();
            (multiplexer.cancel(target, otherwise, effects), multiplexer.generation())
        };
        let CancelStart { outcome, running, drives, resumes } = start;
        if resumes {
            self.resume();
        }
        if drives || resumes {
            self.drive(None, true);
        }
        let (Some((ticket, key)), Some(requester)) = (running, self.requester()) else {
            return CancelFuture::over(outcome);
        };
        let task = CancelTask::new(self, generation, &requester, ticket, key);
        CancelFuture(Stage::Telling(requester.runtime.spawn(task.run(requester.clone()))))
    }

    /// Cancels the running request of a session that is being closed, so that the server notices
    /// the end of the session. Nothing waits for that, and nothing else can be hit, since the
    /// session sends no more requests.
    pub(crate) fn cancel_closed(&self, key: CancelKey, limit: Duration) {
        let Some(requester) = self.requester() else {
            return;
        };
        requester.clone().runtime.spawn(async move {
            let mut may_have_left = false;
            // If that fails, the server notices the end at its next write.
            let _ = timeout(limit, requester.tell(key, &mut may_have_left)).await;
        });
    }
}

/// The task of one cancel. If it is dropped before its end, because its runtime ended or the user's
/// dialer panicked, it opens the gate, or closes the connection if a CancelRequest may have left.
struct CancelTask {
    driver: Arc<Driver>,
    /// The number of the session. Another one may follow it before the cancel is over.
    generation: u64,
    run: CancelRun,
    may_have_left: bool,
    is_over: bool,
}

impl CancelTask {
    fn new(
        driver: &Arc<Driver>,
        generation: u64,
        requester: &CancelRequester,
        ticket: Ticket,
        key: Option<CancelKey>,
    ) -> Self {
        // A handle may be used outside of the runtime, whose clock may stand still in a test.
        let _in_runtime = requester.runtime.enter();
        let now = Instant::now().into_std();
        let run = CancelRun::new(ticket, key, now, requester.grace);
        let driver = Arc::clone(driver);
        Self { driver, generation, run, may_have_left: false, is_over: false }
    }

    async fn run(mut self, requester: Arc<CancelRequester>) -> Result<()> {
        let mut step = self.run.begin();
        loop {
            step = match step {
                CancelStep::Tell(key) => self.tell(&requester, key).await,
                CancelStep::WaitUntil(until) => self.wait(until.into()).await,
                CancelStep::Done(outcome) => {
                    self.is_over = true;
                    return outcome;
                }
                CancelStep::GiveUp(reason, outcome) => {
                    self.is_over = true;
                    self.driver.give_up(self.generation, reason);
                    return Err(outcome);
                }
            }
        }
    }

    async fn tell(&mut self, requester: &CancelRequester, key: CancelKey) -> CancelStep {
        self.may_have_left = false;
        let (driver, ticket) = (&self.driver, self.run.ticket());
        let heard = {
            let telling = requester.tell(key, &mut self.may_have_left);
            let mut telling = pin!(timeout_at(self.run.expires().into(), telling));
            let heard = poll_fn(|cx| {
                if let Poll::Ready(heard) = telling.as_mut().poll(cx) {
                    return Poll::Ready(heard.ok());
                }
                let mut waker = Some(cx.waker().clone());
                let mut locked = driver.lock();
                let (multiplexer, effects) = locked.parts();
                // With its session the call ends, however long the server takes to hear of it.
                multiplexer.poll_session_of_cancel(ticket, &mut waker, effects).map(|()| None)
            });
            heard.await
        };
        let now = Instant::now().into_std();
        let may_have_left = std::mem::take(&mut self.may_have_left);
        self.run.told(now, heard, may_have_left, &mut self.driver.lock())
    }

    /// Waits until the request is settled, at most until `until`.
    async fn wait(&mut self, until: Instant) -> CancelStep {
        // The gate may have opened.
        self.driver.drive(None, true);
        let (driver, ticket) = (&self.driver, self.run.ticket());
        let settled = poll_fn(|cx| {
            // Cloned and dropped outside of the lock.
            let mut waker = Some(cx.waker().clone());
            let mut locked = driver.lock();
            let (multiplexer, effects) = locked.parts();
            multiplexer.poll_cancelled(ticket, &mut waker, effects).unwrap_or(Poll::Pending)
        });
        if timeout_at(until, settled).await.is_err() {
            // The task that should drive may be doing something else.
            self.driver.drive(None, true);
        }
        let now = Instant::now().into_std();
        self.run.waited(now, &mut self.driver.lock())
    }
}

impl Drop for CancelTask {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let reason = self.run.abandon(self.may_have_left, &mut self.driver.lock());
        match reason {
            Some(reason) => self.driver.give_up(self.generation, reason),
            None => self.driver.drive(None, true),
        }
    }
}

impl CancelRequester {
    /// Sends a CancelRequest, and waits until the server has closed that connection.
    async fn tell(&self, key: CancelKey, may_have_left: &mut bool) -> Result<()> {
        let mut session = Session::to_cancel(key, self.route.encryption.clone())?;
        let mut stream =
            self.dial.dial(&self.route.endpoint, &self.config).await.map_err(|error| {
                let message = format!("cannot connect to {} for a cancel", self.route.endpoint);
                Error::new(ErrorKind::Connect, message).with_source(error)
            })?;
        let mut outgoing = BytesMut::new();
        let mut received = [0; 1024];
        loop {
            while let Some(event) = session.next_event() {
                if let Event::Closed(error) = event {
                    return error.map_or(Ok(()), Err);
                }
            }
            session.take_output(&mut outgoing);
            *may_have_left |= session.may_have_interrupted();
            send_output(&mut session, &mut *stream, &mut outgoing).await;
            if !session.has_events() {
                receive_input(&mut session, &mut *stream, &mut received).await;
            }
        }
    }
}
