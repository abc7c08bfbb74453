//! The multiplexer of a driver: what must be sent, whether to read, who drives, and what is due
//! after an interval of the watchdog.

use std::task::Waker;

use bytes::BytesMut;
use txpostgres_policy::{Observed, WaitsFor};
use txpostgres_session::{Request, TransactionStatus};

use super::{Access, Multiplexer};
use crate::effects::Effects;
use crate::response_buffer::ResponseBuffer;
use crate::slots::{Driven, SlotId};
use crate::transaction::Transaction;

/// Ticks after which a warning is logged about a stream that is not read while calls wait behind
/// it: 500, which are 5 s.
const STALLED_TICKS: u32 = 500;

/// What the watchdog must do after a [`tick`](Multiplexer::tick).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Send pending output: the task that has promised it was not polled.
    pub flush: bool,
    /// Look again after another interval.
    pub again: bool,
}

impl Multiplexer {
    /// Whether the oldest response is over its limit, so that nothing must be read (backpressure).
    pub fn is_over_limit(&self) -> bool {
        self.slots.has_buffers()
            && self
                .slots
                .oldest_buffer()
                .is_some_and(|buffer| buffer.is_over_limit(self.outstanding() > 1))
    }

    /// What the session is like, for the judgement of its liveness. `is_unsent`: bytes that
    /// were taken for sending are not written yet.
    pub fn observe(&self, is_unsent: bool) -> Observed {
        let waits_for = if self.is_over_limit() || self.is_left_to_the_program(is_unsent) {
            WaitsFor::Program
        } else if is_unsent || self.outstanding() > 0 {
            WaitsFor::Server
        } else {
            WaitsFor::Nothing
        };
        Observed { received: self.received, waits_for }
    }

    /// Whether the program has to do something: give data to a COPY, or end a transaction, whose
    /// own time limits in the server a sign of life would put off.
    fn is_left_to_the_program(&self, is_unsent: bool) -> bool {
        if self.outstanding() == 0 {
            return self.lock.lease().is_some()
                || self.transaction_status() != TransactionStatus::Idle;
        }
        let is_sent = !is_unsent && self.output_len() == 0;
        is_sent && self.session.as_ref().is_some_and(|session| session.is_fed_next())
    }

    /// Asks the server for a sign of life. Returns whether a request was submitted, which must be
    /// sent.
    pub fn beat(&mut self) -> bool {
        self.outstanding() == 0 && self.tell(Access::Shared, Request::Script { sql: "" })
    }

    /// The task that must drive: the oldest one that waits. A task that was woken and was not
    /// polled since is not woken again. If no task waits, the watchdog must drive.
    #[inline]
    pub fn next_driver(&mut self) -> Driven {
        self.slots.take_oldest_waker().unwrap_or(Driven::ByWatchdog)
    }

    /// Whether anything besides a single call depends on the socket being read: another request, a
    /// queued call, a listener. Then the watchdog checks that the task that was woken has driven; a
    /// single call delays only itself.
    #[inline]
    pub fn has_dependants(&self) -> bool {
        self.slots.in_flight_len() > 1
            || self.lock.has_waiters()
            || self.listeners.has_any()
            || self.transaction.as_ref().is_some_and(Transaction::has_waiting)
    }

    /// Registers `driver` to be woken when all listeners have emptied their queues; `false` if they
    /// have. Returns a waker that must be dropped outside of all locks.
    pub fn wait_for_listeners(
        &mut self,
        driver: Waker,
        effects: &mut Effects,
    ) -> (bool, Option<Waker>) {
        effects.watch();
        self.listeners.wait(driver)
    }

    /// An interval after a task was woken or has made a promise that others depend on: does what
    /// was not done since.
    pub fn tick(&mut self, effects: &mut Effects) -> Tick {
        let listeners = self.listeners.tick(effects);
        let waits = self.lock.tick(effects);
        let flush = std::mem::take(&mut self.is_flush_promised);
        let stalled = self.warn_of_stall(effects);
        Tick { flush, again: waits || flush || listeners || stalled }
    }

    /// Whether calls wait behind a stream or a COPY that is not read. Logs a warning once if that
    /// lasts: a task that waits for itself cannot be told from one that is busy elsewhere.
    fn warn_of_stall(&mut self, effects: &mut Effects) -> bool {
        let is_stalled = self.outstanding() > 1
            && self.slots.oldest_buffer().is_some_and(ResponseBuffer::is_left);
        self.stalled_ticks = if is_stalled { self.stalled_ticks.saturating_add(1) } else { 0 };
        if self.stalled_ticks == STALLED_TICKS {
            effects.warn(
                "calls wait behind a stream or a COPY that is not read; if the same task awaits both, \
                 it waits for itself"
                    .to_owned(),
            );
        }
        is_stalled && self.stalled_ticks < STALLED_TICKS
    }

    /// Of the output that was taken, `count` more bytes were written.
    pub fn sent(&mut self, count: usize) {
        if let Some(session) = &mut self.session {
            session.sent(count);
        }
    }

    /// Whether [`take_output`](Self::take_output) has anything to do.
    #[inline]
    pub fn takes_output(&self) -> bool {
        self.has_output() || self.feeding.is_some()
    }

    /// Appends pending output, unless a task has promised to send it together with what follows.
    /// Returns whether there is more, which must be taken when this was written.
    #[inline]
    pub fn take_output(&mut self, into: &mut BytesMut, effects: &mut Effects) -> bool {
        let mut has_more = false;
        if !self.is_flush_promised
            && let Some(session) = &mut self.session
        {
            has_more = session.take_output(into);
            if let Some(id) = self.feeding.take() {
                self.wake_feeder(id, effects);
            }
        }
        has_more
    }

    /// The data that a COPY waited for is taken for sending: wakes the task that feeds it.
    #[cold]
    fn wake_feeder(&mut self, id: SlotId, effects: &mut Effects) {
        if let Some(buffer) = self.buffer(id) {
            effects.wake_shared(buffer.take_waker());
        }
    }

    /// Whether there is output to send.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_output())
    }

    /// How many bytes of output were not taken yet.
    pub fn output_len(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.output_len())
    }

    /// Promises to send the output that gathers. `false`: another task has promised already.
    pub(crate) fn promise_flush(&mut self, effects: &mut Effects) -> bool {
        if std::mem::replace(&mut self.is_flush_promised, true) {
            return false;
        }
        effects.watch();
        true
    }

    /// Ends the promise: it is kept now.
    #[inline]
    pub(crate) fn end_flush_promise(&mut self) {
        self.is_flush_promised = false;
    }
}
