//! A server-side cursor: `FETCH`, `MOVE`, `CLOSE`.
//!
//! The server's cursor is ahead of the reader by the prefetched rows, and it moves when it executes
//! a statement, whether or not a future waits for the answer. So a statement in flight belongs to
//! the cursor and not to the future that submitted it: when that future is dropped, the next call
//! takes the answer.

mod builder;
mod deadline;
mod fetch;
mod position;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use txpostgres_session::{
    Answer, Column, Delivery, Error, FromRow, OwnedRow, Request, Result, Rows, SqlState, push_ident,
};

use txpostgres_multiplex::{Drive, SlotId};

#[cfg(doc)]
use super::Cursor;
use super::Scroll;
use crate::driver::{Call, Cancellation, Driver, Scope};
pub use builder::NamedCursorBuilder;
use deadline::Watch;
pub use fetch::FetchDirection;
use position::{FetchEffect, MovePlan, Position};

/// The most bytes of a name in the server (manual, section 4.1.1). Longer names are truncated in
/// statements, but not in protocol messages.
const NAME_BYTES: usize = 63;

/// A server-side cursor: see [`Cursor::named`].
///
/// [`next`](Self::next) reads row by row and prefetches some rows; [`fetch`](Self::fetch) and
/// [`move_to`](Self::move_to) move both ways from the row that was read last. Forward moves, and
/// reading the current row again, also work on a cursor declared without
/// [`SCROLL`](NamedCursorBuilder::scroll).
///
/// # Dropping its futures
///
/// `next`, and a forward `fetch` ([`FetchDirection::Next`], [`FetchDirection::Forward`],
/// [`FetchDirection::ForwardAll`]), are cancel-safe: they may be dropped at any time, in a
/// `select!` for instance, and no row is lost. The next call begins with the rows that were
/// requested.
///
/// Any other `fetch`, and `move_to`, has moved the cursor if it was sent before it was dropped, and
/// its rows are lost. The position is known again after a move that does not depend on it:
/// [`FetchDirection::First`], [`FetchDirection::Last`], [`FetchDirection::Absolute`].
///
/// The error of a call that was dropped is returned by the next call.
///
/// When the cursor itself is dropped, it is closed in the background.
pub struct NamedCursor {
    /// The scope in which it was declared.
    scope: Scope,
    /// The session in which it was declared, and with which it ends.
    generation: u64,
    name: String,
    quoted: String,
    ahead: u32,
    hold: bool,
    position: Position,
    /// The statement in flight. No other is sent before it is answered.
    in_flight: Option<InFlight>,
    watch: Watch,
    /// An empty result, with its columns once these are known.
    none: Option<Arc<Rows>>,
    is_open: bool,
}

/// A FETCH or MOVE in flight, and its effect on the position.
struct InFlight {
    call: Call<'static, ()>,
    effect: FetchEffect,
}

/// The result of a FETCH or MOVE.
#[derive(Default)]
struct FetchResult {
    row_count: u64,
    /// Rows that were not prefetched.
    rows: Rows,
}

impl NamedCursor {
    /// A cursor that is about to be declared.
    fn new(scope: Scope, name: String, ahead: u32, hold: bool, watch: Watch) -> Result<Self> {
        let mut quoted = String::new();
        push_ident(&mut quoted, &name)?;
        let generation = scope.driver().lock().generation();
        Ok(Self {
            scope,
            generation,
            name,
            quoted,
            ahead,
            hold,
            position: Position::default(),
            in_flight: None,
            watch,
            none: None,
            is_open: false,
        })
    }

    /// The cursor was declared.
    pub(super) fn opened(mut self, cancellation: Option<Box<Cancellation>>) -> Self {
        self.is_open = true;
        self.watch.put(cancellation);
        self
    }

    /// Abandons the DECLARE: the cursor is closed once it is declared.
    fn undeclare(&self, driver: &Driver, slot: SlotId) {
        if self.is_gone() {
            return;
        }
        // In its own session only: in another one, another cursor may have its name.
        let access = self.scope().access();
        let mut locked = driver.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.undo(access, slot, self.closing(), effects);
        drop(locked);
        driver.drive(None, true);
    }

    /// The name of the cursor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns; `None` before the first fetch.
    pub fn description(&self) -> Option<&[Column]> {
        self.none.as_deref().map(Rows::columns)
    }

    /// The next row; `None` after the last one. Cancel-safe: if the future is dropped, no row is
    /// lost.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch).
    pub async fn next(&mut self) -> Result<Option<OwnedRow>> {
        self.begin().await?;
        if self.position.missing(1) > 0 {
            self.ask(
                "fetch",
                FetchDirection::Forward(self.ahead),
                FetchEffect::Prefetch(self.ahead),
            )
            .await?;
        }
        Ok(self.position.row())
    }

    /// Fetches rows, in the order in which the cursor comes to them.
    ///
    /// A forward fetch is cancel-safe; see [above](Self#dropping-its-futures).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded) when its transaction is
    /// over; errors of the server, such as `55000` for a backward move that the cursor does not
    /// support; [`ErrorKind::Request`](crate::ErrorKind::Request) for a count above the limit of
    /// FETCH, 2,147,483,647: nothing is sent then.
    pub async fn fetch(&mut self, rows: FetchDirection) -> Result<Rows> {
        rows.check()?;
        self.begin().await?;
        let wanted = match rows {
            FetchDirection::Next => 1,
            FetchDirection::Forward(count) if count > 0 => count,
            FetchDirection::ForwardAll => u32::MAX,
            _ => return self.fetch_away(rows).await,
        };
        // Prefetched rows come first.
        let missing = self.position.missing(wanted);
        if missing > 0 {
            let rest = match rows {
                FetchDirection::ForwardAll => FetchDirection::ForwardAll,
                _ => FetchDirection::Forward(missing),
            };
            self.ask("fetch", rest, FetchEffect::Prefetch(missing)).await?;
        }
        Ok(self.position.take(wanted).unwrap_or_else(|| self.none()))
    }

    /// Fetches in a direction that is not plainly forward.
    async fn fetch_away(&mut self, rows: FetchDirection) -> Result<Rows> {
        let plan = self.position.plan(rows, true);
        let fetched = match plan {
            MovePlan::Ask(what, effect) => Some(self.ask("fetch", what, effect).await?.rows),
            MovePlan::Rewind => {
                self.rewind().await?;
                Some(self.ask("fetch", rows, FetchEffect::Move { to: rows, ahead: 0 }).await?.rows)
            }
            MovePlan::Stay(is_row) => self.position.here().filter(|_| is_row),
            MovePlan::Skip(count) => {
                self.position.pass(count - 1);
                self.position.take(1)
            }
            MovePlan::PastEnd => {
                self.position.pass_all();
                None
            }
        };
        Ok(fetched.unwrap_or_else(|| self.none()))
    }

    /// Fetches rows, each as a `T`.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch), and [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub async fn fetch_as<T: for<'r> FromRow<'r>>(
        &mut self,
        rows: FetchDirection,
    ) -> Result<Vec<T>> {
        // The FETCH has moved the cursor.
        let fetched = self.fetch(rows).await?.decode();
        fetched.map_err(|error| error.with_delivery(Delivery::CarriedOut))
    }

    /// Moves without fetching. Returns the number of rows that were passed; for a single row, 1 if
    /// it exists, else 0.
    ///
    /// If the future is dropped after the MOVE was sent, the cursor has moved; see
    /// [above](Self#dropping-its-futures).
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch).
    pub async fn move_to(&mut self, rows: FetchDirection) -> Result<u64> {
        rows.check()?;
        self.begin().await?;
        let passed = match self.position.plan(rows, false) {
            MovePlan::Ask(what, effect) => {
                let before = match effect {
                    FetchEffect::Move { ahead, .. } if rows.passes() => ahead,
                    _ => 0,
                };
                return Ok(before + self.ask("move", what, effect).await?.row_count);
            }
            MovePlan::Rewind => {
                self.rewind().await?;
                let effect = FetchEffect::Move { to: rows, ahead: 0 };
                return Ok(self.ask("move", rows, effect).await?.row_count);
            }
            MovePlan::Stay(is_row) => u64::from(is_row),
            MovePlan::Skip(count) => {
                self.position.pass(count);
                if rows.passes() { count } else { 1 }
            }
            MovePlan::PastEnd => {
                let passed = self.position.pass_all();
                if rows.passes() { passed } else { 0 }
            }
        };
        Ok(passed)
    }

    /// Moves as DB-API's `scroll`: by a number of rows, backwards if negative; or to before the row
    /// of a number, counted from 0.
    ///
    /// # Errors
    ///
    /// The errors of [`fetch`](Self::fetch).
    pub async fn scroll(&mut self, by: i64, from: Scroll) -> Result<()> {
        let to = match from {
            Scroll::Relative => FetchDirection::Relative(by),
            Scroll::Absolute => FetchDirection::Absolute(by),
        };
        self.move_to(to).await.map(drop)
    }

    /// Closes the cursor, even in a transaction that has failed. If the future is dropped before
    /// its end, the cursor is closed in the background.
    ///
    /// # Errors
    ///
    /// Errors of the server.
    pub async fn close(mut self) -> Result<()> {
        self.in_flight = None;
        let sql = format!("close {}", self.quoted);
        let mut call = Call::new(Ok(self.scope()), sql, ());
        poll_fn(|cx| {
            let closed = call.poll(cx, |_| ());
            // Until the CLOSE is sent, and if it fails, dropping the cursor closes it.
            self.is_open = match &closed {
                Poll::Pending => !call.has_sent_last(),
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => error.sqlstate() != Some(SqlState::INVALID_CURSOR_NAME),
            };
            // A failed transaction refuses the statement, but not the Close message of `Drop`.
            closed.map(|closed| match closed {
                Err(error) if error.sqlstate() == Some(SqlState::IN_FAILED_SQL_TRANSACTION) => {
                    Ok(())
                }
                closed => closed,
            })
        })
        .await
    }

    /// Begins a call: waits for the statement that an earlier call has left in flight.
    async fn begin(&mut self) -> Result<()> {
        self.watch.renew(self.in_flight.as_mut().map(|it| &mut it.call));
        self.settle().await.map(drop)
    }

    /// Rewinds the server's cursor to the reader's row.
    async fn rewind(&mut self) -> Result<()> {
        let ahead = self.position.ahead();
        if ahead > 0 {
            self.ask("move", FetchDirection::Relative(-ahead), FetchEffect::Rewind).await?;
        }
        Ok(())
    }

    /// Sends a FETCH or MOVE and waits for its answer. No other may be in flight.
    async fn ask(
        &mut self,
        verb: &str,
        what: FetchDirection,
        effect: FetchEffect,
    ) -> Result<FetchResult> {
        let sql = format!("{verb} {what} from {}", self.quoted);
        let call = Call::new(Ok(self.scope()), sql, ()).with_cancellation(self.watch.take());
        self.in_flight = Some(InFlight { call, effect });
        self.settle().await
    }

    /// An empty result.
    fn none(&self) -> Rows {
        self.none.as_deref().cloned().unwrap_or_default()
    }

    /// Waits for the statement in flight.
    fn settle(&mut self) -> Settling<'_> {
        Settling(self)
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<FetchResult>> {
        let Some(asked) = &mut self.in_flight else {
            return Poll::Ready(Ok(FetchResult::default()));
        };
        let effect = asked.effect;
        let take = |answer: &mut Answer| FetchResult {
            row_count: answer.row_count(),
            rows: answer.take_rows(),
        };
        let outcome = ready!(asked.call.poll(cx, take));
        self.watch.put(asked.call.take_cancellation());
        self.in_flight = None;
        let mut answered = outcome.map_err(Error::advising_a_cast)?;
        if self.none.is_none() && !answered.rows.columns().is_empty() {
            self.none = Some(Arc::new(answered.rows.part(0, 0)));
        }
        self.position.arrive(effect, answered.row_count, &mut answered.rows);
        Poll::Ready(Ok(answered))
    }

    /// The scope of its statements: a cursor WITH HOLD goes on in the same session when its
    /// transaction has ended.
    fn scope(&self) -> Scope {
        let driver = match &self.scope {
            Scope::Transaction(transaction) if self.hold && transaction.has_ended() => {
                transaction.driver()
            }
            Scope::Connection(driver) | Scope::Recovery(driver, _) => driver,
            scope => return scope.clone(),
        };
        Scope::Session(Arc::clone(driver), self.generation)
    }

    /// Whether it was closed with its transaction: another cursor may have its name by now.
    fn is_gone(&self) -> bool {
        match &self.scope {
            Scope::Transaction(transaction) => {
                transaction.is_undone() || !self.hold && transaction.has_ended()
            }
            _ => false,
        }
    }

    /// The Close message for it. Unlike a `CLOSE` statement, it is no error if the cursor is gone,
    /// it works in a failed transaction, and it cannot fail an unrelated one.
    fn closing(&self) -> Request<'_> {
        let cut = (0..=NAME_BYTES).rev().find(|&at| self.name.is_char_boundary(at));
        let portal = match cut.filter(|_| self.name.len() > NAME_BYTES) {
            Some(at) => self.name.get(..at).unwrap_or_default(),
            None => &self.name,
        };
        Request::ClosePortal { portal }
    }
}

/// Waits for an answer. If it is dropped before, the next call of the cursor takes the answer.
struct Settling<'a>(&'a mut NamedCursor);

impl Future for Settling<'_> {
    type Output = Result<FetchResult>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_settled(cx)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        match &mut self.0.in_flight {
            Some(asked) if asked.call.has_begun() => asked.call.step_aside(),
            // The statement was never submitted.
            Some(asked) => {
                self.0.watch.put(asked.call.take_cancellation());
                self.0.in_flight = None;
            }
            None => {}
        }
    }
}

impl Drop for NamedCursor {
    fn drop(&mut self) {
        self.in_flight = None;
        if self.is_open && !self.is_gone() {
            self.scope().tell(self.closing());
        }
    }
}

impl fmt::Debug for NamedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedCursor").field("name", &self.name).finish_non_exhaustive()
    }
}
