//! Calls while there is no session: refused, or made to wait for one that is opened anew.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use txpostgres_session::{Error, Result};

use super::{Access, Availability, Multiplexer};
use crate::access_lock::LockId;
use crate::drive::Drive;
use crate::effects::Effects;

impl Multiplexer {
    /// Sets how long calls wait for a session that is opened anew, if they do not say so
    /// themselves.
    pub fn set_patience(&mut self, limit: Duration) {
        self.patience = limit;
    }

    /// Sessions are opened anew from now on, or not any more: then calls that wait are refused.
    pub fn set_reopened(&mut self, is_reopened: bool, effects: &mut Effects) {
        self.is_reopened = is_reopened;
        if !is_reopened {
            self.lock.resume(effects);
        }
    }

    /// Why the session of this number ended, if it was lost and is the last one.
    pub fn end_of(&self, generation: u64) -> Option<Error> {
        let is_dead = self.availability == Availability::Dead && self.generation == generation;
        self.last_end.as_ref().filter(|_| is_dead).map(Error::without_causes)
    }

    /// Without a session: it is dead for this reason, which calls are told.
    pub fn set_last_end(&mut self, reason: Error) {
        self.last_end = Some(reason);
        if self.availability == Availability::Closed {
            self.availability = Availability::Dead;
        }
    }

    /// Whether a call may use the present session.
    pub fn is_usable_by(&self, access: Access) -> bool {
        match self.availability {
            Availability::Open => true,
            Availability::Restoring => match access {
                Access::Shared => false,
                Access::Recovery(of) | Access::Session(of) => of == self.generation,
                // The transaction of a recovery handler: nothing else has a lease by now.
                Access::Lease { .. } | Access::AnyLevel(_) => true,
            },
            Availability::Closed | Availability::Opening | Availability::Dead => false,
        }
    }

    /// Whether a call with this patience waits for a session, or one with none of its own.
    pub(crate) fn waits_with<D: Drive>(&self, patience: Option<&Patience<D>>) -> bool {
        match patience {
            Some(patience) => patience.waits(self),
            None => !self.patience.is_zero(),
        }
    }

    /// Whether a call may use the session now. If not, it is refused; or it waits in the queue
    /// until there is another session, if it `waits`, and `waker` is taken.
    ///
    /// # Errors
    ///
    /// There is no session, and none to wait for.
    #[cold]
    pub fn poll_session(
        &mut self,
        access: Access,
        id: &mut Option<LockId>,
        waits: bool,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<Result<()>> {
        if self.is_usable_by(access) {
            return Poll::Ready(Ok(()));
        }
        // What restores a session does not wait for the next one, which is opened after its end.
        let may_wait = access == Access::Shared;
        if !(waits && may_wait && self.is_reopened) || self.availability == Availability::Closed {
            return Poll::Ready(Err(self.why_closed()));
        }
        self.lock.suspend(id, waker, effects);
        Poll::Pending
    }
}

/// How long a call waits for a session that is opened anew.
pub struct Patience<D: Drive> {
    /// `None`: as the connection says.
    limit: Option<Duration>,
    timer: Option<D::Timer>,
    is_over: bool,
}

impl<D: Drive> Default for Patience<D> {
    fn default() -> Self {
        Self { limit: None, timer: None, is_over: false }
    }
}

impl<D: Drive> Patience<D> {
    /// Waits for at most this long.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = Some(limit);
    }

    /// How long it waits; `None`: as the connection says.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Whether a call with this patience waits.
    #[inline]
    pub fn waits(&self, multiplexer: &Multiplexer) -> bool {
        !self.is_over && !self.limit.unwrap_or(multiplexer.patience).is_zero()
    }

    /// The call waits. Ready: for long enough, and the next attempt is refused.
    #[cold]
    pub fn poll(&mut self, driver: &D, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| D::timer(limit.unwrap_or_else(|| driver.lock().patience)));
        let polled = Pin::new(timer).poll(cx);
        if polled.is_ready() {
            (self.is_over, self.timer) = (true, None);
        }
        polled
    }

    /// The call does not wait any more: should it wait again, the time begins anew.
    #[cold]
    pub(crate) fn end(&mut self) {
        self.timer = None;
    }
}

impl<D: Drive> fmt::Debug for Patience<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Waits until a call may use a session, for as long as its patience lasts.
pub struct Usable<D: Drive> {
    driver: Arc<D>,
    access: Access,
    id: Option<LockId>,
    patience: Patience<D>,
}

impl<D: Drive> Usable<D> {
    /// For a call with this access.
    pub fn new(driver: &Arc<D>, access: Access) -> Self {
        let driver = Arc::clone(driver);
        Self { driver, access, id: None, patience: Patience::default() }
    }
}

impl<D: Drive> Future for Usable<D> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        for _ in 0..2 {
            let mut waker = Some(cx.waker().clone());
            let mut locked = this.driver.lock();
            let (multiplexer, effects) = locked.parts();
            let waits = this.patience.waits(multiplexer);
            let (access, id) = (this.access, &mut this.id);
            let polled = multiplexer.poll_session(access, id, waits, &mut waker, effects);
            drop(locked);
            if polled.is_ready() {
                return polled;
            }
            ready!(this.patience.poll(&this.driver, cx));
        }
        Poll::Pending
    }
}

impl<D: Drive> Drop for Usable<D> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut locked = self.driver.lock();
            let (multiplexer, effects) = locked.parts();
            multiplexer.leave_queue(id, effects);
        }
    }
}

impl<D: Drive> fmt::Debug for Usable<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usable").field("access", &self.access).finish_non_exhaustive()
    }
}
