//! What moves: callers are polled, the runtime turns, the server serves, time passes.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::World;
use crate::callers::PlannedPanic;
use crate::finding::{Finding, Rule, found};
use crate::panics;

impl World {
    /// Does something that runs the library, in the runtime's context; panics are findings unless
    /// they are planned.
    pub(super) fn enter<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> T,
    ) -> Result<Option<T>, Finding> {
        let handle = self.runtime.as_ref().map(|runtime| runtime.handle().clone());
        let _context = handle.as_ref().map(tokio::runtime::Handle::enter);
        let before = self.gauge.map(|gauge| gauge());
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        if let (Some(gauge), Some(before)) = (self.gauge, before) {
            let bytes = |count| i64::try_from(count).unwrap_or(i64::MAX);
            self.ledger.add_usage(bytes(gauge()) - bytes(before));
        }
        match done {
            Ok(done) => Ok(Some(done)),
            Err(panic) if panic.is::<PlannedPanic>() => Ok(None),
            Err(_) => found(Rule::Panic, panics::said().unwrap_or_default()),
        }
    }

    /// Polls a caller once.
    pub(super) fn poll(&mut self, id: u32) -> Result<bool, Finding> {
        let fresh = self.settings.fresh;
        let Some(at) = self.callers.iter().position(|slot| slot.id == id && slot.work.is_some())
        else {
            return Ok(false);
        };
        self.trace.remark(&format!("polling {id}"));
        let polled = self.enter(|this| {
            let Some(slot) = this.callers.get_mut(at) else {
                return true;
            };
            slot.flag.clear();
            if fresh {
                slot.waker = slot.flag.fresh();
            }
            let mut cx = Context::from_waker(&slot.waker);
            slot.work.as_mut().is_none_or(|work| work.as_mut().poll(&mut cx).is_ready())
        })?;
        if polled != Some(false) {
            // What is left of it is dropped where it was polled.
            self.enter(|this| this.callers.get_mut(at).map(|slot| slot.work.take()))?;
        }
        self.moves += 1;
        self.observe()?;
        Ok(true)
    }

    pub(super) fn drop_caller(&mut self, id: u32) -> Result<bool, Finding> {
        let Some(slot) = self.callers.iter_mut().find(|slot| slot.id == id) else {
            return Ok(false);
        };
        let work = slot.work.take();
        let was_there = work.is_some();
        self.enter(|_| drop(work))?;
        Ok(was_there)
    }

    pub(super) fn put_aside(&mut self, id: u32) -> bool {
        let slot = self.callers.iter_mut().find(|slot| slot.id == id && slot.work.is_some());
        slot.is_some_and(|slot| !std::mem::replace(&mut slot.is_aside, true))
    }

    pub(super) fn cancel(&mut self, op: u32) -> Result<bool, Finding> {
        let (Some(handle), Some(connection)) = (self.ledger.handle(op), self.connection.clone())
        else {
            return Ok(false);
        };
        self.referee.cancelled(op);
        self.enter(|_| drop(connection.cancel(&handle)))?;
        Ok(true)
    }

    /// The runtime polls this many tasks, or as many as its settings say at a time.
    pub(super) fn turn(&mut self, count: u32) -> Result<bool, Finding> {
        let mut left = count;
        self.block_on(poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }))?;
        self.observe()?;
        Ok(true)
    }

    /// The runtime polls tasks until none is woken; says whether any was.
    pub(super) fn idle(&mut self) -> Result<bool, Finding> {
        let parked = Arc::clone(&self.parked);
        let mut has_waited = false;
        self.block_on(poll_fn(move |cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            *parked.lock() = Some(cx.waker().clone());
            Poll::Pending
        }))?;
        let before = self.told.len();
        self.observe()?;
        Ok(self.told.len() > before)
    }

    pub(super) fn block_on(&mut self, future: impl Future<Output = ()>) -> Result<(), Finding> {
        let Some(runtime) = self.runtime.take() else {
            return Ok(());
        };
        let done = self.enter_outside(|| runtime.block_on(future));
        self.runtime = Some(runtime);
        done?;
        match panics::said() {
            Some(said) => found(Rule::Panic, said),
            None => Ok(()),
        }
    }

    /// As [`enter`](Self::enter), where the runtime itself is at work.
    pub(super) fn enter_outside(&mut self, work: impl FnOnce()) -> Result<(), Finding> {
        let runtime = self.runtime.take();
        let done = self.enter(|_| work());
        self.runtime = runtime;
        done.map(drop)
    }

    pub(super) fn serve(&mut self, line: usize, count: u32) -> Result<bool, Finding> {
        let served = self.server.serve(&self.net, line, count, self.now);
        self.moves += u64::from(served);
        self.observe()?;
        Ok(served > 0)
    }

    /// Virtual time passes, a millisecond at a time.
    pub(super) fn tick(&mut self, ms: u32) -> Result<bool, Finding> {
        self.now += u64::from(ms);
        self.block_on(tokio::time::advance(Duration::from_millis(ms.into())))?;
        Ok(true)
    }

    /// Moves bytes, lets the server work and the runtime idle. Says whether anything moved.
    pub(super) fn flow(&mut self) -> Result<bool, Finding> {
        let before = self.moves;
        for line in 0..self.net.lines() {
            let up = self.net.deliver_up(line, usize::MAX);
            self.serve(line, u32::MAX)?;
            let down = self.net.deliver_down(line, usize::MAX);
            self.moves += (up + down) as u64;
        }
        self.idle()?;
        Ok(self.moves > before)
    }
}
