//! A calm phase: no faults, everything moves, time passes; and every caller that is polled must
//! make progress.

use super::World;
use crate::callers::{Kind, channel_of};
use crate::finding::{Finding, Rule, found};

/// Rounds of moving bytes, serving and polling within one virtual instant. More is running in
/// circles.
const ROUNDS: u32 = 100_000;

/// Milliseconds within which a listener hears and the end of a session is known, though another
/// caller was put aside: the watchdog's interval is 10 ms, and it may have begun just before.
const WATCHDOG_MS: u32 = 25;

/// Milliseconds without anything moving after which a run stands still: longer than any time limit
/// of the library, of which the longest is the grace of a cancel, 5 s.
const STILL_MS: u32 = 7_000;

/// The same while a caller that was put aside keeps the connection for itself: others can only wait
/// for it.
const HELD_MS: u32 = 60;

impl World {
    /// Moves everything that can be moved now.
    pub(super) fn settle(&mut self) -> Result<(), Finding> {
        for _ in 0..ROUNDS {
            let before = self.moves;
            self.flow()?;
            let woken: Vec<u32> = self
                .present()
                .filter(|(_, is_woken, is_polled)| *is_woken && *is_polled)
                .map(|(id, ..)| id)
                .collect();
            for id in woken {
                self.poll(id)?;
            }
            if self.moves == before {
                return Ok(());
            }
        }
        found(Rule::Spinning, format!("{ROUNDS} rounds in one instant; {}", self.waiting()))
    }

    /// No faults for a while. In the last calm of a run, callers that were put aside come back,
    /// and all must end.
    pub(super) fn calm(&mut self, is_last: bool) -> Result<(), Finding> {
        self.heal();
        if is_last {
            self.gate.open();
            for slot in &mut self.callers {
                // A task that comes back polls all that it has.
                if std::mem::replace(&mut slot.is_aside, false) {
                    self.referee.comes_back(slot.id);
                }
                slot.flag.wake();
            }
        }
        let mut still = 0;
        loop {
            let before = self.moves;
            self.settle()?;
            let is_quiet = self.moves == before;
            let wake = self.server.wakes_at(self.now);
            if is_quiet && wake.is_none() {
                self.tell_listeners(is_last)?;
            } else if still % 8 == 0 {
                // Notifications come between answers as well.
                let payload = self.next_payload();
                self.server.notify(&channel_of(0), &payload);
            }
            // An answer that is not fetched may hold up others once it has come.
            if self.is_over() && (is_last || wake.is_none()) {
                return Ok(());
            }
            if self.moves != before {
                still = 0;
            }
            let is_held = !is_last && !self.holders().is_empty();
            let most = if is_held { HELD_MS } else { STILL_MS };
            if still >= most && wake.is_none() {
                return if is_held { Ok(()) } else { self.stuck() };
            }
            // Small steps while something may still come of them, larger ones later.
            let step = if still < 40 { 1 } else { 20 };
            still += step;
            self.tick(step)?;
        }
    }

    /// Ends all faults that can end: limits of lines, dials that wait, CancelRequests that are not
    /// read.
    fn heal(&mut self) {
        self.server.hangs = false;
        self.net.refuse(0);
        self.net.hold_dials(false);
        for line in 0..self.net.lines() {
            self.net.set_limits(line, usize::MAX, usize::MAX);
        }
    }

    /// Whether every caller that is polled has come to an end, but for those that wait for what
    /// need not come.
    fn is_over(&self) -> bool {
        let is_open = self.connection.as_ref().is_some_and(|it| !it.is_closed());
        let listeners = self.referee.waiting_listeners();
        let is_done = |id| {
            let is_held = self.referee.is_in(id, Kind::Hold) && !self.is_freed();
            // The connection may be opened again.
            let is_cut_off = !is_open && listeners.iter().any(|(caller, ..)| *caller == id);
            is_held || is_cut_off || self.referee.is_in(id, Kind::Hear)
        };
        self.present().all(|(id, _, is_polled)| !is_polled || is_done(id))
    }

    fn is_freed(&self) -> bool {
        self.gate.is_open()
    }

    /// Whether a caller does nothing by itself: it was put aside, or waits for the end of the
    /// trials.
    pub(super) fn rests(&self, id: u32) -> bool {
        let slot = self.callers.iter().find(|slot| slot.id == id && slot.work.is_some());
        let waits = || self.referee.is_in(id, Kind::Hold) && !self.is_freed();
        slot.is_some_and(|slot| slot.is_aside || waits())
    }

    fn holders(&self) -> Vec<u32> {
        self.referee.holders(|caller| self.rests(caller))
    }

    /// The callers that have not ended, and what each waits for.
    fn waiting(&self) -> String {
        let told = self.present().map(|(id, is_woken, is_polled)| {
            let how = if is_woken { "woken" } else { "asleep" };
            let aside = if is_polled { "" } else { ", put aside" };
            format!("caller {id} ({how}{aside}): {}", self.referee.open_ops(id).join(" / "))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Nothing moves, and not all is done: either a wake-up was lost, or what is waited for does
    /// not come.
    fn stuck(&mut self) -> Result<(), Finding> {
        let waiting = self.waiting();
        let before = self.moves;
        let ids: Vec<u32> =
            self.present().filter(|(.., is_polled)| *is_polled).map(|(id, ..)| id).collect();
        let count = ids.len() as u64;
        for id in ids {
            self.poll(id)?;
        }
        self.settle()?;
        if self.moves > before + count {
            return found(Rule::Wake, format!("a caller could go on and was not woken: {waiting}"));
        }
        found(Rule::Progress, format!("no caller makes progress: {waiting}"))
    }

    /// Each listener that waits is told something, and must hear it in time, whatever other callers
    /// do.
    fn tell_listeners(&mut self, is_last: bool) -> Result<(), Finding> {
        let listeners: Vec<_> = self
            .referee
            .waiting_listeners()
            .into_iter()
            .filter(|(caller, ..)| !self.rests(*caller))
            .collect();
        if listeners.is_empty() {
            return Ok(());
        }
        if self.referee.is_unread(|caller| self.rests(caller)) && !is_last {
            // The line is not read: what is said waits behind the rows.
            return Ok(());
        }
        let channel = listeners.first().map_or(0, |(_, _, channel)| *channel);
        let payload = self.next_payload();
        self.server.notify(&channel_of(channel), &payload);
        self.trace.note(format_args!("notify {channel} {payload}"));
        self.settle()?;
        let is_open = self.connection.as_ref().is_some_and(|it| !it.is_closed());
        if !self.referee.was_notified(&payload) {
            return self.unheard(is_open, &listeners, channel, &payload);
        }
        let heard = self.within_watchdog(|this| this.have_heard(&listeners, channel, &payload))?;
        if heard || self.referee.causes.any() {
            return Ok(());
        }
        let why = format!("{payload} was not heard within {WATCHDOG_MS} ms: {}", self.waiting());
        found(Rule::Hearing, why)
    }

    /// The server has not said it: it is in a transaction, or does not listen.
    fn unheard(
        &mut self,
        is_open: bool,
        listeners: &[(u32, u32, u32)],
        channel: u32,
        payload: &str,
    ) -> Result<(), Finding> {
        let Some(session) = self.net.session().filter(|_| is_open) else {
            return Ok(());
        };
        if !self.holders().is_empty() || self.referee.causes.any() {
            return Ok(());
        }
        // A LISTEN that was lost is renewed, but not within the same instant, and not while an
        // interaction has the session.
        let is_known = |this: &Self| {
            let is_leased = this.referee.inside(&this.net).is_some();
            // Those that it was meant for may have ended meanwhile by what they heard before it.
            is_leased
                || this.have_heard(listeners, channel, payload)
                || this.server.listens(session, &channel_of(channel))
                || this.server.wakes_at(this.now).is_some()
        };
        if self.within_watchdog(is_known)? {
            return Ok(());
        }
        let why = format!("{payload} is not said: the server does not listen to c{channel}");
        found(Rule::Listening, why)
    }

    /// Waits until something is so. The watchdog has its time again after everything that moves: on
    /// a narrow line it may have to step in several times.
    fn within_watchdog(&mut self, is_so: impl Fn(&Self) -> bool) -> Result<bool, Finding> {
        let mut still = 0;
        while still <= WATCHDOG_MS {
            if is_so(self) {
                return Ok(true);
            }
            let before = self.moves;
            self.tick(1)?;
            self.settle()?;
            still = if self.moves == before { still + 1 } else { 0 };
        }
        Ok(false)
    }

    fn have_heard(&self, listeners: &[(u32, u32, u32)], channel: u32, payload: &str) -> bool {
        let waiting = self.referee.waiting_listeners();
        listeners.iter().filter(|listener| listener.2 == channel).all(|listener| {
            !waiting.contains(listener) || self.referee.has_heard(listener.1, payload)
        })
    }

    /// The end of the session must be known in time. A caller may open another one meanwhile.
    pub(super) fn must_be_closed(&mut self, session: usize) -> Result<(), Finding> {
        let is_known = |this: &Self| {
            let is_closed = this.connection.as_ref().is_none_or(txpostgres::Connection::is_closed);
            is_closed || this.net.session() != Some(session)
        };
        if self.within_watchdog(is_known)? {
            return Ok(());
        }
        let why = format!("the session is over for {WATCHDOG_MS} ms: {}", self.waiting());
        found(Rule::Closed, why)
    }
}
