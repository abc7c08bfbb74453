//! A cursor of the server, about to be declared.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use txpostgres_multiplex::{Params, polled_after_end};
use txpostgres_session::{Error, ErrorKind, Result, push_ident};

use super::NamedCursor;
use super::deadline::Watch;
use crate::cursor::Cursor;
use crate::driver::{Call, CancelHandle, Scope};

/// Rows that are fetched in advance when they are read one by one: 100.
const AHEAD: u32 = 100;

/// A named cursor about to be declared: see [`Cursor::named`].
#[must_use = "a cursor is not declared before it is opened"]
#[derive(Debug)]
pub struct NamedCursorBuilder {
    cursor: Cursor,
    name: String,
    scroll: Option<bool>,
    hold: bool,
    ahead: u32,
    watch: Watch,
}

impl NamedCursorBuilder {
    pub(crate) fn new(cursor: Cursor, name: &str) -> Self {
        Self {
            cursor,
            name: name.to_owned(),
            scroll: None,
            hold: false,
            ahead: AHEAD,
            watch: Watch::default(),
        }
    }

    /// Whether it moves both ways (`SCROLL`). If nothing is said, the server decides by the query: some do, and cost nothing more.
    pub fn scroll(mut self, scroll: bool) -> Self {
        self.scroll = Some(scroll);
        self
    }

    /// Whether it outlives its transaction (`WITH HOLD`): its rows are kept in the server when the transaction is committed, until
    /// it is closed or dropped. What is fetched after the interaction's end is a statement of its own.
    pub fn with_hold(mut self, hold: bool) -> Self {
        self.hold = hold;
        self
    }

    /// How many rows are fetched in advance when they are read one by one; 100 if nothing is said, 2,147,483,647 at most.
    pub fn rows_ahead(mut self, rows: u32) -> Self {
        // In advance, fewer do as well.
        self.ahead = rows.clamp(1, i32::MAX.unsigned_abs());
        self
    }

    /// A handle by which the cursor can be [cancelled](crate::Connection::cancel), from any task, from [`open`](Self::open) on: the
    /// statement that it is in is ended in the server, and this call and all later ones end with [`ErrorKind::Cancelled`]. In an
    /// interaction the transaction fails with it. The cursor is closed as ever, by `close` or by dropping it.
    ///
    /// What can be cancelled travels alone.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.watch.cancellation().handle())
    }

    /// Limits the time of each call: of [`open`](Self::open), and of each `next`, `fetch`, `move_to` and `scroll` of the cursor, from its
    /// first poll to its end. When it passes, the statement is cancelled in the server, and the call ends with [`ErrorKind::Timeout`]. In
    /// an interaction the transaction fails with it. A statement that waited for its turn is not sent, and the cursor goes on.
    ///
    /// What can be cancelled travels alone. A server that does not end the statement within the grace
    /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s) is given up, with the connection.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.watch.set_limit(limit);
        self
    }

    /// Declares it for a query. Dropped before its end, it leaves no cursor: what was declared is closed. One of this name that was
    /// there before stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] outside of an interaction, unless it is to be [held](Self::with_hold); what the server says, such
    /// as `42P03` when there is a cursor of this name.
    pub async fn open<P: Params>(self, sql: &str, params: P) -> Result<NamedCursor> {
        if !self.hold && matches!(self.cursor.own_scope(), Scope::Connection(_)) {
            return Err(Error::new(
                ErrorKind::Request,
                "a named cursor that is not held lives in the transaction of an interaction, and this is a cursor of the connection",
            )
            .with_hint("take the cursor that run_interaction gives, or declare it with hold"));
        }
        let mut declare = "declare ".to_owned();
        push_ident(&mut declare, &self.name)?;
        declare.push_str(match self.scroll {
            Some(true) => " scroll",
            Some(false) => " no scroll",
            None => "",
        });
        let _ = write!(
            declare,
            " cursor {} hold for {sql}",
            if self.hold { "with" } else { "without" }
        );
        let scope = self.cursor.scope()?;
        let mut watch = self.watch;
        watch.renew::<P>(None);
        let call = Call::new(Ok(scope.clone()), declare, params).with_cancellation(watch.take());
        let named = NamedCursor::new(scope, self.name, self.ahead, self.hold, watch)?;
        Declaring { named: Some(named), call }.await
    }
}

/// A DECLARE on its way. Dropped when it was sent, what it declares is closed; but it may be refused because there is a cursor of this
/// name, which is not ours to close.
struct Declaring<'a, P: Params> {
    named: Option<NamedCursor>,
    call: Call<'a, P>,
}

// Nothing in it is pinned.
impl<P: Params> Unpin for Declaring<'_, P> {}

impl<P: Params> Future for Declaring<'_, P> {
    type Output = Result<NamedCursor>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let declared = ready!(this.call.poll(cx, |_| ()));
        let (named, cancellation) = (this.named.take(), this.call.take_cancellation());
        Poll::Ready(
            declared.and_then(|()| {
                named.map(|it| it.opened(cancellation)).ok_or_else(polled_after_end)
            }),
        )
    }
}

impl<P: Params> Drop for Declaring<'_, P> {
    fn drop(&mut self) {
        if let Some(named) = self.named.take()
            && let Some((driver, slot)) = self.call.waiting()
            && self.call.has_sent_last()
        {
            named.undeclare(driver, slot);
        }
    }
}
