//! Telling the server to stop: a second connection, a key, and a gate that is shut meanwhile.
//!
//! ```text
//!   cancel ─┬─ not sent ─────▶ taken back; nothing is sent                                   ▶ over
//!           ├─ settled ──────▶ nothing                                                       ▶ over
//!           └─ running ─▶ gate shut ─▶ CancelRequest ─▶ the server hangs up ─▶ gate open ─┬─▶ settled: over
//!                             ▲                    └─ it does not: given up               │
//!                             └──────────────── not settled after a pause ────────────────┴─▶ the grace is over
//! ```
//!
//! PostgreSQL does not answer a CancelRequest: it interrupts whatever the session does at that moment, or nothing, and hangs
//! up (manual, section 54.2.8). So we wait for that before anything else leaves, and try again if the statement runs on:
//! the first request may have arrived before the statement did.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use txpostgres_session::config::{Config, Endpoint};
use txpostgres_session::{
    Cancel, CancelKey, Delivery, Encryption, Error, ErrorKind, Event, Result, Session, Ticket,
};

use crate::desk::Calls;
use crate::dial::Dial;
use crate::link::Link;
use crate::opening::{receive_input, send_output};
use crate::turnstile::Turn;

/// How long the server may take to end what it was told to cancel, if nothing else is said: 5 s, as psycopg's `cancel_safe`
/// has it. A cancel from far away takes five round trips with TLS; and rolling back takes the server no time.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The longest grace: a year. Beyond some centuries no clock could tell its end.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Pause before a statement that runs on is cancelled again: 20 ms at first, in which a server that heard has long ended it.
const AGAIN: Duration = Duration::from_millis(20);

/// The longest such pause: 1 s. A statement may also catch the cancel (`exception when query_canceled` in PL/pgSQL).
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// How one session is interrupted.
pub(crate) struct Interrupter {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) config: Config,
    /// The address of the session's own peer.
    pub(crate) endpoint: Endpoint,
    /// As the session's own.
    pub(crate) encryption: Encryption,
    pub(crate) grace: Duration,
    /// Whose task tells the server, so that nobody has to wait for it.
    pub(crate) runtime: Handle,
}

/// What the server is being told to cancel.
pub(crate) struct Interruption {
    ticket: Ticket,
    /// If it is not over within the grace, the connection is given up.
    give_up: bool,
    waker: Option<Waker>,
}

impl Interruption {
    /// Whom to call when this request is settled.
    pub(crate) fn waker_for(&mut self, ticket: Ticket) -> Option<Waker> {
        if self.ticket == ticket { self.waker.take() } else { None }
    }
}

/// What is to be done if the server does not end a statement that it was told to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// It runs on, and whoever cancelled is told.
    RunOn,
    /// The connection is given up, whether or not the server can be told.
    GiveUp,
    /// The same, if the server can be told.
    GiveUpIfTold,
}

/// A cancel on its way: see [`Connection::cancel`](crate::Connection::cancel).
///
/// It goes on whether this is awaited or not. Awaited, it tells when the call is over.
#[must_use = "await it to know when the call is over; `drop` it if that is of no interest"]
pub struct Cancelling(Stage);

enum Stage {
    Over(Option<Error>),
    Telling(JoinHandle<Result<()>>),
}

impl Cancelling {
    pub(crate) fn over(outcome: Result<()>) -> Self {
        Self(Stage::Over(outcome.err()))
    }
}

impl Future for Cancelling {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.0 {
            Stage::Over(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
            Stage::Telling(task) => {
                let outcome = ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| {
                    Err(Error::new(ErrorKind::Closed, "the runtime ended during a cancel")
                        .with_source(error))
                });
                self.0 = Stage::Over(None);
                Poll::Ready(outcome)
            }
        }
    }
}

impl fmt::Debug for Cancelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelling").finish_non_exhaustive()
    }
}

impl Link {
    /// Has this request not be carried out, or not to its end. Whoever waits for it gets
    /// [`ErrorKind::Cancelled`], or the answer if that was faster.
    pub(crate) fn cancel(self: &Arc<Self>, ticket: Ticket, otherwise: Otherwise) -> Cancelling {
        self.cancel_all(&[ticket], otherwise)
    }

    /// Has the server stop what it is doing for a session that is being closed, so that it sees the end of it. Nobody waits for
    /// that, and nothing else can be hit: the session asks for nothing any more.
    pub(crate) fn interrupt_closed(self: &Arc<Self>, key: CancelKey, limit: Duration) {
        let link = Arc::clone(self);
        self.interrupter.runtime.spawn(async move {
            let mut may_have_left = false;
            // If it cannot be told, it finds out when it has something to say.
            let _ = timeout(limit, link.interrupter.tell(key, &mut may_have_left)).await;
        });
    }

    /// The same for all requests of the interaction that has the connection for itself.
    pub(crate) fn cancel_inside(self: &Arc<Self>, turn: Turn, otherwise: Otherwise) -> Cancelling {
        let tickets = {
            let mut desk = self.board.desk();
            match desk.turnstile.inside(turn).and_then(|inside| inside.begun()) {
                Some(begun) => desk.session.outstanding_since(begun),
                None => Vec::new(),
            }
        };
        self.cancel_all(&tickets, otherwise)
    }

    /// Cancels these, of which the newest come first: what waits is not to leave when those before it are settled.
    fn cancel_all(self: &Arc<Self>, tickets: &[Ticket], otherwise: Otherwise) -> Cancelling {
        let mut calls = Calls::new();
        let mut running = None;
        let mut outcome = Ok(());
        let mut desk = self.board.desk();
        for &ticket in tickets {
            if let Some(known) = desk.interruption.as_mut().filter(|known| known.ticket == ticket) {
                known.give_up |= otherwise != Otherwise::RunOn;
                continue;
            }
            let takes_data = desk.session.is_fed(ticket);
            match desk.session.cancel(ticket) {
                Cancel::Over => {}
                Cancel::Withdrawn => {
                    desk.turnstile.withdrawn(ticket, &mut calls);
                    desk.distribute(None, &mut calls);
                }
                Cancel::Running => running = Some((ticket, takes_data)),
                Cancel::Pipelined => outcome = Err(entangled()),
            }
        }
        let mut telling = None;
        let mut drives = running.is_none();
        if let Some((ticket, takes_data)) = running {
            let key = desk.session.cancel_key().cloned();
            let give_up = match otherwise {
                Otherwise::RunOn => false,
                Otherwise::GiveUp => true,
                Otherwise::GiveUpIfTold => key.is_some(),
            };
            if key.is_none() {
                desk.session.open_gate();
            }
            // A COPY whose data has been ended is over without a CancelRequest as well.
            if key.is_some() || give_up || takes_data {
                // A server that is stuck in sending heeds no cancel: what nobody fetches is read and thrown away. Where there is
                // no limit it cannot be stuck, and the answer counts if it is faster.
                if let Some(inbox) = desk.inbox(ticket).filter(|inbox| !inbox.is_unbounded()) {
                    inbox.close();
                    self.board.resume();
                }
                desk.interruption = Some(Interruption { ticket, give_up, waker: None });
                telling = Some((ticket, key));
            } else {
                outcome = Err(no_key());
            }
            drives = takes_data || telling.is_none();
        }
        drop(desk);
        for waker in calls {
            waker.wake();
        }
        if drives {
            // What waited behind may leave now, or the end of a COPY.
            self.drive(None, true);
        }
        match telling {
            Some((ticket, key)) => {
                let task = interrupt(Arc::clone(self), ticket, key);
                Cancelling(Stage::Telling(self.interrupter.runtime.spawn(task)))
            }
            None => Cancelling::over(outcome),
        }
    }
}

fn entangled() -> Error {
    Error::new(
        ErrorKind::Request,
        "the statement travels with others, which a cancel could hit instead",
    )
    .with_hint("ask for the handle before the call is first polled")
}

fn no_key() -> Error {
    Error::new(ErrorKind::Request, "the server gave no key to cancel with, so it cannot be told")
        .with_hint(
            "some poolers have none; a time limit works all the same, by giving up the connection",
        )
}

/// Tells the server until the request is over. Says why it is not, within the grace.
async fn interrupt(link: Arc<Link>, ticket: Ticket, key: Option<CancelKey>) -> Result<()> {
    let end = Instant::now() + link.interrupter.grace;
    let mut pause = AGAIN;
    let mut told = Err(no_key());
    loop {
        if let Some(key) = &key {
            let mut may_have_left = false;
            let telling = link.interrupter.tell(key.clone(), &mut may_have_left);
            let heard = timeout_at(end, telling).await.unwrap_or_else(|_| Err(not_in_time()));
            if heard.is_err() && may_have_left {
                // It may arrive at any time, and hit whatever is sent until then.
                link.board.desk().interruption = None;
                link.give_up(Error::new(
                    ErrorKind::Lost,
                    "a cancel was sent, and whether it has arrived is unknown",
                ));
                return heard;
            }
            told = heard;
            link.board.desk().session.open_gate();
            link.drive(None, true);
        }
        let until = end.min(Instant::now() + pause);
        if is_over(&link, ticket, if key.is_some() { until } else { end }).await {
            return Ok(());
        }
        let mut desk = link.board.desk();
        if Instant::now() >= end {
            let give_up = desk.interruption.take().is_none_or(|known| known.give_up);
            drop(desk);
            return Err(link.not_over(told, give_up));
        }
        // Nothing else can have left: it travels alone until it is settled.
        if desk.session.cancel(ticket) != Cancel::Running {
            desk.interruption = None;
            return Ok(());
        }
        pause = AGAIN_AT_MOST.min(pause * 2);
    }
}

/// Whether the request is settled, within this time.
async fn is_over(link: &Arc<Link>, ticket: Ticket, until: Instant) -> bool {
    let look = || {
        let mut desk = link.board.desk();
        let over = !desk.session.is_outstanding(ticket);
        if over {
            desk.interruption = None;
        }
        over
    };
    let settled = poll_fn(|cx| {
        if let Some(interruption) = &mut link.board.desk().interruption {
            interruption.waker = Some(cx.waker().clone());
        }
        if look() { Poll::Ready(()) } else { Poll::Pending }
    });
    if timeout_at(until, settled).await.is_ok() {
        return true;
    }
    // Those who should drive may be doing something else.
    link.drive(None, true);
    look()
}

fn not_in_time() -> Error {
    Error::new(ErrorKind::Timeout, "the server could not be told in time to cancel a statement")
}

impl Link {
    /// The grace is over, and the statement is not.
    fn not_over(&self, told: Result<()>, give_up: bool) -> Error {
        let grace = self.interrupter.grace;
        let message = match told {
            Ok(()) => format!("the server did not end a cancelled statement within {grace:?}"),
            Err(_) => {
                format!("the server could not be told within {grace:?} to cancel a statement")
            }
        };
        if give_up {
            self.give_up(Error::new(ErrorKind::Lost, message.clone()));
        }
        let error = Error::new(ErrorKind::Timeout, message).with_delivery(Delivery::Unknown);
        match told {
            Ok(()) => error,
            Err(why) => error.with_source(why),
        }
    }
}

impl Interrupter {
    /// Makes a CancelRequest, and waits until the server has hung up on it.
    async fn tell(&self, key: CancelKey, may_have_left: &mut bool) -> Result<()> {
        let mut session = Session::to_cancel(key, self.encryption.clone())?;
        let mut stream = self.dial.dial(&self.endpoint, &self.config).await.map_err(|error| {
            let message = format!("cannot connect to {} for a cancel", self.endpoint);
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
