//! The rows of a statement in a transaction, fetched a portion at a time.
//!
//! A portal keeps the rows that were not fetched yet in the server (manual, section 54.2.3), as
//! long as its transaction lasts. Between portions the connection is free for other statements of
//! the transaction. A portal that is not read to its end is closed, so its remaining rows need not
//! be read.
//!
//! ```text
//!   Opening ──all rows──────────────▶ Over
//!      └─────some rows──▶ Suspended ──more wanted──▶ Fetching ──all rows──▶ Over
//!                              ▲─────────some rows────────┘
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use txpostgres_session::{Column, Delivery, Execute, Params, Request, Result, Rows};

use crate::call::{Call, Fetched};
use crate::cancellation::Cancellation;
use crate::drive::Drive;
use crate::operation::{BindParams, SimpleOperation};
use crate::response_buffer::Chunk;
use crate::scope::{Scope, TransactionScope};

/// Rows of the first portion. The size of a row is known afterwards.
const FIRST_PORTION: u32 = 64;

/// The most rows of a portion: rows that are in flight when a stream is stopped are read in vain.
const LARGEST_PORTION: u32 = 16_384;

/// The factor by which a portion may have more rows than the one before: rows may become larger.
const GROWTH: u32 = 4;

/// Runs a statement into a portal.
#[derive(Debug)]
struct Open<P> {
    portal: String,
    params: P,
}

impl<P: Params> BindParams for Open<P> {
    fn bind<R>(&self, f: impl FnOnce(Execute<'_>) -> Result<R>) -> Result<R> {
        let (portal, rows) = (&self.portal, FIRST_PORTION);
        self.params.with(|parameters| f(Execute::Open { portal, rows, parameters }))
    }
}

/// See the file's text.
pub struct Portal<'a, P: Params, D: Drive> {
    transaction: Arc<TransactionScope<D>>,
    name: String,
    /// The text of the query, between two calls: errors show it.
    sql: Cow<'a, str>,
    /// The target size of a portion in bytes.
    limit: usize,
    columns: Option<Arc<[Column]>>,
    /// Rows fetched so far.
    before: usize,
    portion: PortionSize,
    /// The cancellation, between two calls.
    cancellation: Option<Box<Cancellation<D>>>,
    stage: Stage<'a, P, D>,
}

enum Stage<'a, P: Params, D: Drive> {
    Opening(Call<'a, Open<P>, D>),
    Suspended,
    Fetching(Call<'a, (), D>),
    Over,
}

/// The size of the last portion, by which the next one is sized.
#[derive(Debug, Clone, Copy)]
struct PortionSize {
    asked: u32,
    rows: usize,
    bytes: usize,
}

/// What a portal yields.
#[derive(Debug)]
pub enum Portion {
    /// Some rows.
    Rows(Rows),
    /// The end.
    End {
        /// Rows returned or changed.
        row_count: u64,
        /// The columns, even if there were no rows.
        columns: Option<Arc<[Column]>>,
    },
}

impl<'a, P: Params, D: Drive> Portal<'a, P, D> {
    /// Creates a portal that is opened at the first poll. A portion should have `limit` bytes.
    pub fn new(
        transaction: &Arc<TransactionScope<D>>,
        sql: Cow<'a, str>,
        params: P,
        limit: usize,
    ) -> Self {
        let name = transaction.next_name();
        let open = Open { portal: name.clone(), params };
        let scope = Scope::Transaction(Arc::clone(transaction));
        let call = Call::new(Ok(scope), sql, open).streamed(limit);
        Self {
            transaction: Arc::clone(transaction),
            name,
            sql: Cow::default(),
            limit,
            columns: None,
            before: 0,
            portion: PortionSize { asked: FIRST_PORTION, rows: 0, bytes: 0 },
            cancellation: None,
            stage: Stage::Opening(call),
        }
    }

    /// Sets how many bytes a portion should have.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
        if let Stage::Opening(call) = &mut self.stage {
            call.limit(bytes);
        }
    }

    /// Polls for the next rows, or the end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Portion>> {
        loop {
            let fetched = match &mut self.stage {
                Stage::Opening(call) => ready!(call.poll_chunk(cx)),
                Stage::Fetching(call) => ready!(call.poll_chunk(cx)),
                Stage::Suspended => {
                    self.stage = Stage::Fetching(self.fetch());
                    continue;
                }
                Stage::Over => {
                    return Poll::Ready(Ok(Portion::End { row_count: 0, columns: None }));
                }
            };
            match fetched {
                Ok(Fetched::Chunk(Chunk::Rows(rows))) => {
                    let rows = rows.after(self.before);
                    self.before += rows.len();
                    self.portion.rows += rows.len();
                    self.portion.bytes += rows.size();
                    return Poll::Ready(Ok(Portion::Rows(rows)));
                }
                Ok(Fetched::Chunk(_)) => {}
                Ok(Fetched::End(answer)) if answer.is_suspended() => {
                    (self.sql, self.cancellation) = match &mut self.stage {
                        Stage::Opening(call) => (call.take_sql(), call.take_cancellation()),
                        Stage::Fetching(call) => (call.take_sql(), call.take_cancellation()),
                        Stage::Suspended | Stage::Over => (Cow::default(), None),
                    };
                    self.columns = self.columns.take().or_else(|| answer.columns());
                    self.stage = Stage::Suspended;
                }
                Ok(Fetched::End(answer)) => {
                    self.stage = Stage::Over;
                    // A portal that is read to its end stays open as well, and a transaction may
                    // read any number.
                    self.close();
                    // The server counts the rows of the last portion only.
                    let row_count = answer.row_count().max(self.before as u64);
                    let columns = self.columns.take().or_else(|| answer.columns());
                    return Poll::Ready(Ok(Portion::End { row_count, columns }));
                }
                Err(error) => {
                    let stage = std::mem::replace(&mut self.stage, Stage::Over);
                    // A fetch that was withdrawn has left the portal open. Any other error has
                    // failed the transaction, whose end closes it.
                    if matches!(stage, Stage::Fetching(_)) && error.delivery() == Delivery::NotSent
                    {
                        self.close();
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Fetches as many rows as fill the limit, if they are as large as the last ones.
    fn fetch(&mut self) -> Call<'a, (), D> {
        let PortionSize { asked, rows, bytes } = self.portion;
        let each = (bytes / rows.max(1)).max(1);
        let most = asked.saturating_mul(GROWTH).min(LARGEST_PORTION);
        let rows = u32::try_from(self.limit / each).unwrap_or(u32::MAX).clamp(1, most);
        self.portion = PortionSize { asked: rows, rows: 0, bytes: 0 };
        let (portal, columns) = (self.name.clone(), self.columns.clone());
        let scope = Scope::Transaction(Arc::clone(&self.transaction));
        let sql = std::mem::take(&mut self.sql);
        Call::simple(Ok(scope), sql, SimpleOperation::Fetch { portal, columns, rows })
            .streamed(self.limit)
            .with_cancellation(self.cancellation.take())
    }

    fn close(&self) {
        let scope = Scope::Transaction(Arc::clone(&self.transaction));
        scope.tell(Request::ClosePortal { portal: &self.name });
    }

    /// What may end it early.
    pub fn cancellation(&mut self) -> &mut Cancellation<D> {
        match &mut self.stage {
            Stage::Opening(call) => call.cancellation(),
            Stage::Fetching(call) => call.cancellation(),
            Stage::Suspended | Stage::Over => self.cancellation.get_or_insert_default(),
        }
    }

    /// Whether the server keeps rows for it.
    fn is_open(&self) -> bool {
        match &self.stage {
            Stage::Opening(call) => call.is_sent(),
            Stage::Suspended | Stage::Fetching(_) => true,
            Stage::Over => false,
        }
    }
}

impl<P: Params, D: Drive> Drop for Portal<'_, P, D> {
    /// Closes the portal, if it is open, without waiting for the answer.
    fn drop(&mut self) {
        let is_open = self.is_open();
        // A portion in flight is read and discarded.
        self.stage = Stage::Over;
        if is_open {
            self.close();
        }
    }
}

impl<P: Params, D: Drive> std::fmt::Debug for Portal<'_, P, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portal").field("name", &self.name).finish_non_exhaustive()
    }
}
