//! A cursor of the server, about to be declared.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::task::Poll;

use txpostgres_session::{Error, ErrorKind, Result, push_ident};

use super::{Cursor, NamedCursor, On};
use crate::call::Call;
use crate::params::Params;

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
}

impl NamedCursorBuilder {
    pub(super) fn new(cursor: Cursor, name: &str) -> Self {
        Self { cursor, name: name.to_owned(), scroll: None, hold: false, ahead: AHEAD }
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

    /// How many rows are fetched in advance when they are read one by one; 100 if nothing is said.
    pub fn rows_ahead(mut self, rows: u32) -> Self {
        self.ahead = rows.max(1);
        self
    }

    /// Declares it for a query. Dropped before its end, it closes what was declared.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] outside of an interaction, unless it is to be [held](Self::with_hold); what the server says, such
    /// as `42P03` when there is a cursor of this name.
    pub async fn open<P: Params>(self, sql: &str, params: P) -> Result<NamedCursor> {
        if !self.hold && matches!(self.cursor.on, On::Connection(_)) {
            return Err(Error::new(
                ErrorKind::Request,
                "a named cursor lives in a transaction, and there is none",
            )
            .with_hint("declare it within run_interaction, or with hold"));
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
        let mut named = NamedCursor::new(self.cursor, self.name, self.ahead, self.hold)?;
        let mut call = Call::new(named.cursor.caller(), declare, params);
        poll_fn(|cx| {
            let declared = call.poll(cx, |_| ());
            // From here on it may be there, even if nobody comes for the answer.
            named.is_open = match &declared {
                Poll::Pending => call.has_sent_last(),
                Poll::Ready(declared) => declared.is_ok(),
            };
            declared
        })
        .await?;
        Ok(named)
    }
}
