//! A cursor that lives in the server: `FETCH`, `MOVE`, `CLOSE`.
//!
//! The server's cursor is ahead of the reader by the rows that were fetched in advance, and it moves when it gets a statement, whether
//! or not somebody waits for the answer. So what is on its way belongs to the cursor and not to the future that asked for it: a
//! future that is dropped leaves it to the next call.

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
    Answer, Column, FromRow, OwnedRow, Request, Result, Rows, SqlState, push_ident,
};

use txpostgres_multiplex::{Drive, SlotId};

#[cfg(doc)]
use super::Cursor;
use super::Scroll;
use crate::driver::{Call, Cancellation, Driver, Scope};
pub use builder::NamedCursorBuilder;
use deadline::Watch;
pub use fetch::FetchDirection;
use position::{Leads, Position, Step};

/// Bytes of a name that the server looks at (manual, section 4.1.1): it cuts longer ones in statements, but not in messages.
const NAME_BYTES: usize = 63;

/// A cursor that lives in the server: see [`Cursor::named`].
///
/// [`next`](Self::next) reads row by row, some of which are fetched in advance; [`fetch`](Self::fetch) and
/// [`move_to`](Self::move_to) go both ways, from the row that was read last. Onwards, and to the row that was read last, they go on a cursor that
/// cannot [scroll](NamedCursorBuilder::scroll) as well.
///
/// # Dropping its calls
///
/// `next`, and `fetch` onwards ([`FetchDirection::Next`], [`FetchDirection::Forward`], [`FetchDirection::ForwardAll`]), may be dropped at any time, in a
/// `select!` for instance: they lose no row. What they had asked for is kept, and the next call begins with it.
///
/// Any other `fetch`, and `move_to`, that is dropped has moved the cursor if it was sent, and its rows are gone. Where the cursor
/// stands is known again after a move to a position that does not depend on that: [`FetchDirection::First`], [`FetchDirection::Last`],
/// [`FetchDirection::Absolute`].
///
/// An error of a call that was dropped is the next one's.
///
/// Dropped itself, it is closed without anybody waiting for that.
pub struct NamedCursor {
    /// The scope in which it was declared.
    scope: Scope,
    /// The session in which it was declared, which it does not outlive.
    generation: u64,
    name: String,
    quoted: String,
    ahead: u32,
    hold: bool,
    position: Position,
    /// What is on its way. Until it is answered nothing else is asked.
    asked: Option<Asked>,
    watch: Watch,
    /// No rows, with their columns once these are known.
    none: Option<Arc<Rows>>,
    is_open: bool,
}

/// A FETCH or MOVE on its way, and where it leads.
struct Asked {
    call: Call<'static, ()>,
    leads: Leads,
}

/// What came of it.
#[derive(Default)]
struct Answered {
    row_count: u64,
    /// Rows that were not fetched in advance.
    rows: Rows,
}

impl NamedCursor {
    /// One that is about to be declared.
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
            asked: None,
            watch,
            none: None,
            is_open: false,
        })
    }

    /// It is declared.
    pub(super) fn opened(mut self, cancellation: Option<Box<Cancellation>>) -> Self {
        self.is_open = true;
        self.watch.put(cancellation);
        self
    }

    /// Nobody waits for this DECLARE: it is closed if it was declared.
    fn undeclare(&self, driver: &Driver, slot: SlotId) {
        if self.is_gone() {
            return;
        }
        let mut locked = driver.lock();
        let (multiplexer, effects) = locked.parts();
        multiplexer.undo(slot, self.closing(), effects);
        drop(locked);
        driver.drive(None, true);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns of its rows; `None` before the first fetch.
    pub fn description(&self) -> Option<&[Column]> {
        self.none.as_deref().map(Rows::columns)
    }

    /// The next row; `None` after the last one. Dropped before its end, it takes nothing away.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn next(&mut self) -> Result<Option<OwnedRow>> {
        self.begin().await?;
        if self.position.missing(1) > 0 {
            self.ask("fetch", FetchDirection::Forward(self.ahead), Leads::On(self.ahead)).await?;
        }
        Ok(self.position.row())
    }

    /// Fetches rows, in the order in which the cursor comes to them.
    ///
    /// Dropped before its end, it takes nothing away if it goes onwards; see [above](Self#dropping-its-calls).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteractionEnded`](crate::ErrorKind::InteractionEnded) when its transaction is over; what the server says:
    /// `55000` when it is asked to go back and cannot; [`ErrorKind::Request`](crate::ErrorKind::Request) for more than FETCH can count,
    /// 2,147,483,647: nothing is sent then.
    pub async fn fetch(&mut self, rows: FetchDirection) -> Result<Rows> {
        rows.check()?;
        self.begin().await?;
        let wanted = match rows {
            FetchDirection::Next => 1,
            FetchDirection::Forward(count) if count > 0 => count,
            FetchDirection::ForwardAll => u32::MAX,
            _ => return self.fetch_away(rows).await,
        };
        // What was fetched in advance comes first.
        let missing = self.position.missing(wanted);
        if missing > 0 {
            let rest = match rows {
                FetchDirection::ForwardAll => FetchDirection::ForwardAll,
                _ => FetchDirection::Forward(missing),
            };
            self.ask("fetch", rest, Leads::On(missing)).await?;
        }
        Ok(self.position.take(wanted).unwrap_or_else(|| self.none()))
    }

    /// Fetches rows that are not simply the next ones.
    async fn fetch_away(&mut self, rows: FetchDirection) -> Result<Rows> {
        let step = self.position.step(rows, true);
        let fetched = match step {
            Step::Ask(what, leads) => Some(self.ask("fetch", what, leads).await?.rows),
            Step::Back => {
                self.step_back().await?;
                Some(self.ask("fetch", rows, Leads::Away { to: rows, ahead: 0 }).await?.rows)
            }
            Step::Stay(is_row) => self.position.here().filter(|_| is_row),
            Step::On(count) => {
                self.position.pass(count - 1);
                self.position.take(1)
            }
            Step::Behind => {
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
    /// As [`fetch`](Self::fetch), and [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub async fn fetch_as<T: for<'r> FromRow<'r>>(
        &mut self,
        rows: FetchDirection,
    ) -> Result<Vec<T>> {
        self.fetch(rows).await?.decode()
    }

    /// Moves without fetching. Says how many rows were passed, or for one row whether there was one (1 or 0).
    ///
    /// Dropped before its end, it has moved if it was sent; see [above](Self#dropping-its-calls).
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn move_to(&mut self, rows: FetchDirection) -> Result<u64> {
        rows.check()?;
        self.begin().await?;
        let passed = match self.position.step(rows, false) {
            Step::Ask(what, leads) => {
                let before = match leads {
                    Leads::Away { ahead, .. } if rows.passes() => ahead,
                    _ => 0,
                };
                return Ok(before + self.ask("move", what, leads).await?.row_count);
            }
            Step::Back => {
                self.step_back().await?;
                let leads = Leads::Away { to: rows, ahead: 0 };
                return Ok(self.ask("move", rows, leads).await?.row_count);
            }
            Step::Stay(is_row) => u64::from(is_row),
            Step::On(count) => {
                self.position.pass(count);
                if rows.passes() { count } else { 1 }
            }
            Step::Behind => {
                let passed = self.position.pass_all();
                if rows.passes() { passed } else { 0 }
            }
        };
        Ok(passed)
    }

    /// Moves as DB-API's `scroll`: so many rows on (or back, if negative), or to before the row of this number, the first being 0.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn scroll(&mut self, by: i64, from: Scroll) -> Result<()> {
        let to = match from {
            Scroll::Relative => FetchDirection::Relative(by),
            Scroll::Absolute => FetchDirection::Absolute(by),
        };
        self.move_to(to).await.map(drop)
    }

    /// Closes it, even in a transaction that has failed. Dropped before its end, it is closed all the same.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn close(mut self) -> Result<()> {
        self.asked = None;
        let sql = format!("close {}", self.quoted);
        let mut call = Call::new(Ok(self.scope()), sql, ());
        poll_fn(|cx| {
            let closed = call.poll(cx, |_| ());
            // Until it is sent, and when it is refused, dropping the cursor closes it.
            self.is_open = match &closed {
                Poll::Pending => !call.has_sent_last(),
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => error.sqlstate() != Some(SqlState::INVALID_CURSOR_NAME),
            };
            // A transaction that has failed takes no statement, but a message.
            closed.map(|closed| match closed {
                Err(error) if error.sqlstate() == Some(SqlState::IN_FAILED_SQL_TRANSACTION) => {
                    Ok(())
                }
                closed => closed,
            })
        })
        .await
    }

    /// A call begins, with what an earlier one has left.
    async fn begin(&mut self) -> Result<()> {
        self.watch.renew(self.asked.as_mut().map(|asked| &mut asked.call));
        self.settle().await.map(drop)
    }

    /// Takes the server back to where the reader is.
    async fn step_back(&mut self) -> Result<()> {
        let ahead = self.position.ahead();
        if ahead > 0 {
            self.ask("move", FetchDirection::Relative(-ahead), Leads::Back).await?;
        }
        Ok(())
    }

    /// Asks, when what was asked before is answered, and waits.
    async fn ask(&mut self, verb: &str, what: FetchDirection, leads: Leads) -> Result<Answered> {
        let sql = format!("{verb} {what} from {}", self.quoted);
        let call = Call::new(Ok(self.scope()), sql, ()).with_cancellation(self.watch.take());
        self.asked = Some(Asked { call, leads });
        self.settle().await
    }

    /// No rows.
    fn none(&self) -> Rows {
        self.none.as_deref().cloned().unwrap_or_default()
    }

    /// Waits for what is on its way.
    fn settle(&mut self) -> Settling<'_> {
        Settling(self)
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered>> {
        let Some(asked) = &mut self.asked else {
            return Poll::Ready(Ok(Answered::default()));
        };
        let leads = asked.leads;
        let take = |answer: &mut Answer| Answered {
            row_count: answer.row_count(),
            rows: answer.take_rows(),
        };
        let outcome = ready!(asked.call.poll(cx, take));
        self.watch.put(asked.call.take_cancellation());
        self.asked = None;
        let mut answered = outcome?;
        if self.none.is_none() && !answered.rows.columns().is_empty() {
            self.none = Some(Arc::new(answered.rows.part(0, 0)));
        }
        self.position.arrive(leads, answered.row_count, &mut answered.rows);
        Poll::Ready(Ok(answered))
    }

    /// A cursor that is held goes on when its transaction has ended, in the same session.
    fn scope(&self) -> Scope {
        let driver = match &self.scope {
            Scope::Transaction(transaction) if self.hold && transaction.has_ended() => {
                transaction.driver()
            }
            Scope::Connection(driver) => driver,
            scope => return scope.clone(),
        };
        Scope::Session(Arc::clone(driver), self.generation)
    }

    /// Whether it has gone with its transaction: its name may be another's by now.
    fn is_gone(&self) -> bool {
        match &self.scope {
            Scope::Transaction(transaction) => {
                transaction.is_undone() || !self.hold && transaction.has_ended()
            }
            _ => false,
        }
    }

    /// A message that closes it. That is no error when the cursor is gone, and may be sent when a transaction has failed: a
    /// `CLOSE` could fail a transaction that has nothing to do with it.
    fn closing(&self) -> Request<'_> {
        let cut = (0..=NAME_BYTES).rev().find(|&at| self.name.is_char_boundary(at));
        let portal = match cut.filter(|_| self.name.len() > NAME_BYTES) {
            Some(at) => self.name.get(..at).unwrap_or_default(),
            None => &self.name,
        };
        Request::ClosePortal { portal }
    }
}

/// What waits for an answer. Dropped before that, it leaves it to the cursor's next call.
struct Settling<'a>(&'a mut NamedCursor);

impl Future for Settling<'_> {
    type Output = Result<Answered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_settled(cx)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        match &mut self.0.asked {
            Some(asked) if asked.call.has_begun() => asked.call.step_aside(),
            // It has not happened.
            Some(asked) => {
                self.0.watch.put(asked.call.take_cancellation());
                self.0.asked = None;
            }
            None => {}
        }
    }
}

impl Drop for NamedCursor {
    fn drop(&mut self) {
        self.asked = None;
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
