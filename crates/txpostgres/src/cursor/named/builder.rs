//! A server-side cursor that is about to be declared.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use txpostgres_multiplex::polled_after_end;
use txpostgres_session::{Error, ErrorKind, Params, Result, push_ident};

use super::NamedCursor;
use super::deadline::Watch;
use crate::cursor::Cursor;
use crate::driver::{Call, CancelHandle};

/// Default of [`NamedCursorBuilder::rows_ahead`]: 100 rows.
const AHEAD: u32 = 100;

/// A named cursor that is about to be declared: see [`Cursor::named`].
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

    /// Whether the cursor can move backwards (`SCROLL`). By default the server decides: it allows
    /// it for queries where it costs nothing.
    pub fn scroll(mut self, scroll: bool) -> Self {
        self.scroll = Some(scroll);
        self
    }

    /// Whether the cursor outlives its transaction (`WITH HOLD`): its rows are kept in the server
    /// when the transaction is committed, until it is closed or dropped. Each fetch after the end
    /// of the interaction is a statement of its own.
    pub fn with_hold(mut self, hold: bool) -> Self {
        self.hold = hold;
        self
    }

    /// Sets how many rows are prefetched when they are read one by one. The default is 100, the
    /// maximum 2,147,483,647.
    pub fn rows_ahead(mut self, rows: u32) -> Self {
        // FETCH cannot count further; a smaller number of prefetched rows changes no result.
        self.ahead = rows.clamp(1, i32::MAX.unsigned_abs());
        self
    }

    /// A handle that [cancels](crate::Connection::cancel) the cursor from any task, from
    /// [`open`](Self::open) on: the statement in progress is cancelled in the server, and this call
    /// and all later ones end with [`ErrorKind::Cancelled`]. In an interaction the transaction
    /// fails as well. The cursor must still be closed, by `close` or by dropping it.
    ///
    /// Statements that can be cancelled are not pipelined with others.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.watch.cancellation().handle())
    }

    /// Limits the time of each call: of [`open`](Self::open), and of each `next`, `fetch`,
    /// `move_to` and `scroll` of the cursor, from its first poll to its end. When the limit has
    /// passed, the statement is cancelled in the server, and the call ends with
    /// [`ErrorKind::Timeout`]. In an interaction the transaction fails as well. A statement that
    /// was not sent yet is withdrawn, and the cursor goes on.
    ///
    /// Statements that can be cancelled are not pipelined with others. If the server does not end
    /// the statement within the grace period
    /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s), the
    /// connection is closed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.watch.set_limit(limit);
        self
    }

    /// Declares the cursor for a query. If the future is dropped before its end, a cursor that was
    /// declared is closed; an existing cursor of the same name is not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] outside of an interaction, unless the cursor is declared
    /// [`WITH HOLD`](Self::with_hold); errors of the server, such as `42P03` if there is a cursor
    /// of this name.
    pub async fn open<P: Params>(self, sql: &str, params: P) -> Result<NamedCursor> {
        if !self.hold && self.cursor.own_scope().is_of_connection() {
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

/// A DECLARE in flight. If it is dropped after it was sent, the cursor is closed once it is
/// declared, and not if the DECLARE fails: then the name may belong to another cursor.
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
