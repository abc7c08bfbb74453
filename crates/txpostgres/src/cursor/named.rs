//! A cursor that lives in the server: `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.

use std::fmt;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use txpostgres_session::{
    Answer, Column, Error, ErrorKind, FromRow, OwnedRow, Request, Result, Rows, push_ident,
};

use super::{Cursor, On, Scroll};
use crate::arrived::Arrived;
use crate::call::Call;
use crate::caller::Caller;
use crate::params::Params;

/// Rows that are fetched in advance when they are read one by one: 100.
const AHEAD: u32 = 100;

/// Bytes of a name that the server looks at (manual, section 4.1.1): it cuts longer ones in statements, but not in messages.
const NAME_BYTES: usize = 63;

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
        let mut quoted = String::new();
        push_ident(&mut quoted, &self.name)?;
        let mut named = NamedCursor {
            cursor: self.cursor,
            name: self.name,
            quoted,
            ahead: self.ahead,
            hold: self.hold,
            fetched: Arrived::default(),
            passed_last: false,
            columns: None,
            is_open: false,
        };
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

/// Which rows to fetch, or where to move to (manual, `FETCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fetch {
    /// The next row.
    Next,
    /// The row before.
    Prior,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The row of this number, the first being 1; counted from the end if negative.
    Absolute(i64),
    /// The row so many further on, or back if negative.
    Relative(i64),
    /// So many rows.
    Forward(u32),
    /// All that are left.
    ForwardAll,
    /// So many rows backwards.
    Backward(u32),
    /// All that were passed, backwards.
    BackwardAll,
}

impl fmt::Display for Fetch {
    /// As SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("next"),
            Self::Prior => f.write_str("prior"),
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Absolute(row) => write!(f, "absolute {row}"),
            Self::Relative(rows) => write!(f, "relative {rows}"),
            Self::Forward(rows) => write!(f, "forward {rows}"),
            Self::ForwardAll => f.write_str("forward all"),
            Self::Backward(rows) => write!(f, "backward {rows}"),
            Self::BackwardAll => f.write_str("backward all"),
        }
    }
}

/// A cursor that lives in the server: see [`Cursor::named`].
///
/// [`next`](Self::next) reads row by row, some of which are fetched in advance; [`fetch`](Self::fetch) and
/// [`move_to`](Self::move_to) go both ways, from the row that was read last. A call that is dropped before its end may have moved
/// the cursor or not.
///
/// Dropped, it is closed without anybody waiting for that.
pub struct NamedCursor {
    cursor: Cursor,
    name: String,
    quoted: String,
    ahead: u32,
    hold: bool,
    /// Rows fetched in advance: so far is the server ahead of the reader.
    fetched: Arrived,
    /// The server has passed the last row, and the reader has not.
    passed_last: bool,
    columns: Option<Arc<[Column]>>,
    is_open: bool,
}

impl NamedCursor {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns of its rows; `None` before the first fetch.
    pub fn description(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn next(&mut self) -> Result<Option<OwnedRow>> {
        if let Some(row) = self.fetched.row() {
            return Ok(Some(row));
        }
        let rows = self.ask(Fetch::Forward(self.ahead)).await?;
        self.passed_last = !rows.is_empty() && rows.len() < self.ahead as usize;
        self.fetched.put(rows);
        Ok(self.fetched.row())
    }

    /// Fetches rows, in the order in which the cursor comes to them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when it was closed, [`ErrorKind::InteractionEnded`] when its transaction is over; what the server
    /// says: `55000` when it is asked to go back and cannot.
    pub async fn fetch(&mut self, rows: Fetch) -> Result<Rows> {
        // What was fetched in advance comes first; a cursor that cannot go back need not.
        let wanted = match rows {
            Fetch::Next => 1,
            Fetch::Forward(count) if count > 0 => count,
            Fetch::ForwardAll => u32::MAX,
            _ => {
                self.step_back().await?;
                return self.ask(rows).await;
            }
        };
        let mut all = self.fetched.rows(wanted as usize);
        let missing = wanted.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX));
        if missing > 0 {
            let rest = match rows {
                Fetch::ForwardAll => Fetch::ForwardAll,
                _ => Fetch::Forward(missing),
            };
            all.append(self.ask(rest).await?);
            self.passed_last = false;
        }
        Ok(all)
    }

    /// Fetches rows, each as a `T`.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch), and [`ErrorKind::Decode`].
    pub async fn fetch_as<T: for<'r> FromRow<'r>>(&mut self, rows: Fetch) -> Result<Vec<T>> {
        self.fetch(rows).await?.decode()
    }

    /// Moves without fetching. Says how many rows were passed, or for one row whether there was one (1 or 0).
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn move_to(&mut self, rows: Fetch) -> Result<u64> {
        self.step_back().await?;
        self.do_move(rows).await
    }

    /// Moves as DB-API's `scroll`: so many rows on (or back, if negative), or to before the row of this number, the first being 0.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub async fn scroll(&mut self, by: i64, from: Scroll) -> Result<()> {
        let to = match from {
            Scroll::Relative => Fetch::Relative(by),
            Scroll::Absolute => Fetch::Absolute(by),
        };
        self.move_to(to).await.map(drop)
    }

    /// Closes it.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn close(mut self) -> Result<()> {
        self.is_open = false;
        let sql = format!("close {}", self.quoted);
        let call = Call::new(self.caller(), sql, ());
        call.answer(|_| ()).await
    }

    /// Takes the server back to where the reader is.
    async fn step_back(&mut self) -> Result<()> {
        self.check_open()?;
        let unread = i64::try_from(self.fetched.left()).unwrap_or(0);
        let ahead = unread + i64::from(self.passed_last);
        if ahead > 0 {
            self.do_move(Fetch::Relative(-ahead)).await?;
        }
        self.fetched = Arrived::default();
        self.passed_last = false;
        Ok(())
    }

    async fn do_move(&self, to: Fetch) -> Result<u64> {
        let sql = format!("move {to} from {}", self.quoted);
        Call::new(self.caller(), sql, ()).answer(|answer| answer.row_count()).await
    }

    async fn ask(&mut self, what: Fetch) -> Result<Rows> {
        self.check_open()?;
        let sql = format!("fetch {what} from {}", self.quoted);
        let rows = Call::new(self.caller(), sql, ()).answer(Answer::take_rows).await?;
        if self.columns.is_none() {
            self.columns = rows.shared_columns();
        }
        Ok(rows)
    }

    /// One that is held goes on when its transaction has ended.
    fn caller(&self) -> Result<Caller> {
        match &self.cursor.on {
            On::Transaction(transaction) if self.hold && transaction.has_ended() => {
                Ok(Caller::Connection(Arc::clone(transaction.link())))
            }
            _ => self.cursor.caller(),
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.is_open {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, "the cursor is closed"))
    }
}

impl Drop for NamedCursor {
    /// Closes it by a message, which is no error when the cursor is gone, and may be sent when a transaction has failed: a
    /// `CLOSE` could fail a transaction that has nothing to do with it.
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let cut = (0..=NAME_BYTES).rev().find(|&at| self.name.is_char_boundary(at));
        let portal = match cut.filter(|_| self.name.len() > NAME_BYTES) {
            Some(at) => self.name.get(..at).unwrap_or_default(),
            None => &self.name,
        };
        let request = Request::ClosePortal { portal };
        match self.caller() {
            Ok(Caller::Connection(link)) => link.tell(request),
            _ => self.cursor.tell(request),
        }
    }
}

impl fmt::Debug for NamedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedCursor").field("name", &self.name).finish_non_exhaustive()
    }
}
