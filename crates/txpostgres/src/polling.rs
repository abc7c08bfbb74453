//! Awaits something that is polled: psycopg2's contract of `fileno()` and `poll()`, on Tokio.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::runtime::Handle;
use tokio::time::sleep_until;
use txpostgres_policy::{PollState, Pollable};
use txpostgres_session::{Error, ErrorKind, Result};

use crate::io::register;

/// Awaits a [`Pollable`]: a connection of another library that has a descriptor and is polled, such
/// as libpq's or that of the crate `txpostgres-poll`.
///
/// ```text
///              poll()                  Ok, or an error
///   no cycle ─────────▶ in a cycle ──────────────────────▶ no cycle
///                        │      ▲
///                        ▼      │ the descriptor is ready, the deadline has passed,
///                     continue_polling             or it is called elsewhere
/// ```
///
/// Clones refer to the same pollable. One cycle at a time.
///
/// ```
/// use std::io::Read;
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
///
/// use txpostgres::{Error, ErrorKind, PollState, Pollable, Polling, Result};
///
/// /// Done when its peer has sent a byte.
/// struct Bell(UnixStream);
///
/// impl Pollable for Bell {
///     fn fileno(&self) -> Option<BorrowedFd<'_>> {
///         Some(self.0.as_fd())
///     }
///
///     fn poll(&mut self) -> Result<PollState> {
///         match self.0.read(&mut [0]) {
///             Ok(_) => Ok(PollState::Ok),
///             Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(PollState::Read),
///             Err(error) => Err(Error::new(ErrorKind::Lost, "the bell broke").with_source(error)),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let (bell, mut button) = UnixStream::pair()?;
/// bell.set_nonblocking(true)?;
/// let bell = Polling::new(Bell(bell));
/// let waiting = tokio::spawn(bell.poll());
/// std::io::Write::write_all(&mut button, b"!")?;
/// waiting.await??;
/// # Ok(())
/// # }
/// ```
pub struct Polling<P> {
    shared: Arc<Mutex<Shared<P>>>,
    reactor: Handle,
    prefix: Arc<str>,
}

struct Shared<P> {
    /// Taken out while it is used, so that none of the user's code runs under the lock.
    pollable: Option<P>,
    cycle: Option<Cycle>,
}

struct Cycle {
    progress: Progress,
    /// Wakes the cycle's future.
    waker: Option<Waker>,
}

enum Progress {
    /// Polled, and not waited for yet.
    Polled(PollState),
    /// Its future waits for the descriptor.
    Waiting,
    Over(Result<()>),
}

impl<P: Pollable> Polling<P> {
    /// Wraps a pollable, to be awaited on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime; take [`on`](Self::on) there.
    pub fn new(pollable: P) -> Self {
        Self::on(Handle::current(), pollable)
    }

    /// Wraps a pollable, to be awaited on this runtime.
    pub fn on(reactor: Handle, pollable: P) -> Self {
        let shared = Shared { pollable: Some(pollable), cycle: None };
        Self { shared: Arc::new(Mutex::new(shared)), reactor, prefix: "pollable".into() }
    }

    /// Sets the prefix by which log entries name it; `pollable` unless set.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// The runtime on which it waits.
    pub fn reactor(&self) -> &Handle {
        &self.reactor
    }

    /// The prefix of its log entries.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Calls `f` with the pollable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyPolling`] if it is in use at this moment: polled by another thread, or
    /// from within `f`.
    pub fn pollable<R>(&self, f: impl FnOnce(&mut P) -> R) -> Result<R> {
        let mut taken = Taken::new(&self.shared)?;
        // Always there until it is given back.
        taken.pollable.as_mut().map(f).ok_or_else(in_use)
    }

    /// Runs a cycle: polls, and waits for the descriptor as long as the pollable says so, until it
    /// says [`PollState::Ok`].
    ///
    /// The cycle begins when the future is first polled. Dropping the future ends it; the pollable
    /// stays as it is, and another cycle may follow.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyPolling`] if a cycle is in progress; otherwise the pollable's own error,
    /// [`ErrorKind::UnexpectedPollResult`] among them. If its descriptor is gone while it waits,
    /// the connection was lost ([`ErrorKind::Lost`]).
    pub fn poll(&self) -> impl Future<Output = Result<()>> + Send + use<P>
    where
        P: Send + 'static,
    {
        let this = self.clone();
        async move {
            let _cycle = Running::begin(&this.shared)?;
            let mut is_moved = false;
            loop {
                if !is_moved && this.continue_polling(true).is_err() {
                    // Another thread uses it at this moment.
                    tokio::task::yield_now().await;
                    continue;
                }
                is_moved = match this.progress() {
                    Progress::Over(outcome) => return outcome,
                    Progress::Polled(state) => this.wait(state).await?,
                    Progress::Waiting => false,
                };
            }
        }
    }

    /// Moves forward in the cycle: polls the pollable once, and ends the cycle if that says `Ok` or
    /// fails. For an event loop of its own that waits for the descriptor.
    ///
    /// Without a cycle there is no future to report an error to: it is returned, or with
    /// `swallow_errors` logged and ignored.
    ///
    /// # Errors
    ///
    /// See above; and [`ErrorKind::AlreadyPolling`] if another thread polls at this moment.
    pub fn continue_polling(&self, swallow_errors: bool) -> Result<()> {
        let polled = self.pollable(P::poll)?;
        let (waker, unreported) = {
            let mut shared = self.shared.lock();
            let Some(cycle) = &mut shared.cycle else {
                drop(shared);
                return match polled {
                    Err(error) if swallow_errors => {
                        let prefix = self.prefix();
                        tracing::debug!(target: "txpostgres", prefix, %error, "polled without a cycle");
                        Ok(())
                    }
                    polled => polled.map(drop),
                };
            };
            let before = std::mem::replace(
                &mut cycle.progress,
                match polled {
                    Ok(PollState::Ok) => Progress::Over(Ok(())),
                    Ok(state) => Progress::Polled(state),
                    Err(error) => Progress::Over(Err(error)),
                },
            );
            (cycle.waker.take(), before)
        };
        // Outside of the lock, as an error may hold a value of the user's.
        drop(unreported);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Ends the cycle in progress, if there is one, with this reason: the connection was lost.
    pub fn connection_lost(&self, reason: Error) {
        let waker = self.shared.lock().cycle.as_mut().and_then(|cycle| {
            cycle.progress = Progress::Over(Err(reason));
            cycle.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How far the cycle is; it waits from now on.
    fn progress(&self) -> Progress {
        let mut shared = self.shared.lock();
        let cycle = shared.cycle.as_mut();
        cycle.map_or_else(
            || Progress::Over(Ok(())),
            |cycle| std::mem::replace(&mut cycle.progress, Progress::Waiting),
        )
    }

    /// Waits until the descriptor is ready or the deadline passes, or until the cycle was moved
    /// elsewhere: then it returns `true`.
    async fn wait(&self, state: PollState) -> Result<bool> {
        let found = self.pollable(|pollable| {
            let fileno = pollable.fileno().map(|fileno| fileno.try_clone_to_owned());
            (fileno, pollable.deadline())
        });
        // Another thread uses it at this moment.
        let Ok((fileno, deadline)) = found else { return Ok(false) };
        let lost = |error| Error::new(ErrorKind::Lost, "cannot wait for it").with_source(error);
        let Some(fileno) = fileno.transpose().map_err(lost)? else {
            return Err(Error::new(ErrorKind::Lost, "the connection was lost while it was polled"));
        };
        // A registration of its own each time: the descriptor may be another one after a poll,
        // though its number is the same.
        let (registered, mut expired) = {
            let _runtime = self.reactor.enter();
            let interest =
                if state == PollState::Write { Interest::WRITABLE } else { Interest::READABLE };
            let registered = register(fileno, interest).map_err(lost)?;
            let expired = deadline.map(|deadline| Box::pin(sleep_until(deadline.into())));
            (registered, expired)
        };
        poll_fn(|cx| {
            if self.is_moved(cx) {
                return Poll::Ready(Ok(true));
            }
            let is_expired = expired.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready());
            let ready = match state {
                PollState::Write => registered.poll_write_ready(cx),
                _ => registered.poll_read_ready(cx),
            };
            match ready {
                Poll::Ready(ready) => Poll::Ready(ready.map(|_| false).map_err(lost)),
                Poll::Pending if is_expired => Poll::Ready(Ok(false)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Whether the cycle was moved elsewhere; if not, the task is woken when it is.
    fn is_moved(&self, cx: &mut Context<'_>) -> bool {
        // Cloned and dropped outside of the lock.
        let mut waker = Some(cx.waker().clone());
        let mut shared = self.shared.lock();
        match &mut shared.cycle {
            Some(Cycle { progress: Progress::Waiting, waker: registered }) => {
                std::mem::swap(registered, &mut waker);
                drop(shared);
                false
            }
            _ => true,
        }
    }
}

impl<P> Clone for Polling<P> {
    fn clone(&self) -> Self {
        let Self { shared, reactor, prefix } = self;
        let (reactor, prefix) = (reactor.clone(), Arc::clone(prefix));
        Self { shared: Arc::clone(shared), reactor, prefix }
    }
}

impl<P> fmt::Debug for Polling<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A pollable that is in use. Dropped, it is given back.
struct Taken<'a, P> {
    shared: &'a Mutex<Shared<P>>,
    pollable: Option<P>,
}

impl<'a, P> Taken<'a, P> {
    fn new(shared: &'a Mutex<Shared<P>>) -> Result<Self> {
        let pollable = shared.lock().pollable.take().ok_or_else(in_use)?;
        Ok(Self { shared, pollable: Some(pollable) })
    }
}

impl<P> Drop for Taken<'_, P> {
    fn drop(&mut self) {
        self.shared.lock().pollable = self.pollable.take();
    }
}

/// A cycle in progress. Dropped, it is over.
struct Running<'a, P>(&'a Mutex<Shared<P>>);

impl<'a, P> Running<'a, P> {
    fn begin(shared: &'a Mutex<Shared<P>>) -> Result<Self> {
        let mut locked = shared.lock();
        if locked.cycle.is_some() {
            let error = Error::new(ErrorKind::AlreadyPolling, "a poll cycle is in progress");
            return Err(error.with_hint("await the future of the poll before"));
        }
        locked.cycle = Some(Cycle { progress: Progress::Waiting, waker: None });
        Ok(Self(shared))
    }
}

impl<P> Drop for Running<'_, P> {
    fn drop(&mut self) {
        let over = self.0.lock().cycle.take();
        drop(over);
    }
}

fn in_use() -> Error {
    Error::new(ErrorKind::AlreadyPolling, "it is being polled at this moment")
}
