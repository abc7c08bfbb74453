//! The rows of a statement in an interaction, a portion at a time.
//!
//! A portal keeps the rows that have not been asked for (manual, section 54.2.3), as long as its transaction lasts. Between
//! portions the connection is free for other statements of the interaction, and one that is not read to its end is closed:
//! nothing has to be read in vain.
//!
//! ```text
//!   Opening ──all rows──────────────▶ Over
//!      └─────some rows──▶ Suspended ──more wanted──▶ Fetching ──all rows──▶ Over
//!                              ▲─────────some rows────────┘
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use txpostgres_session::{Column, Execute, Request, Result, Rows, Ticket};

use crate::call::{Call, Fetched};
use crate::caller::Caller;
use crate::inbox::Piece;
use crate::interaction::Transaction;
use crate::params::Params;
use crate::patience::Patience;
use crate::question::{Plain, Task};

/// Rows of the first portion. How large they are is known afterwards.
const FIRST_PORTION: u32 = 64;

/// Rows of a portion at most: those that are on their way when a stream is stopped are read in vain.
const LARGEST_PORTION: u32 = 16_384;

/// Runs a statement into a portal.
pub(crate) struct Open<P> {
    portal: String,
    params: P,
}

impl<P: Params> Task for Open<P> {
    fn ask(&self, ask: impl FnOnce(Execute<'_>) -> Result<Ticket>) -> Result<Ticket> {
        let (portal, rows) = (&self.portal, FIRST_PORTION);
        self.params.with(|parameters| ask(Execute::Open { portal, rows, parameters }))
    }
}

/// See the file's text.
pub(crate) struct Portal<'a, P: Params> {
    transaction: Arc<Transaction>,
    name: String,
    /// The query's text, between two calls: errors name it.
    sql: Cow<'a, str>,
    /// Bytes of rows that a portion is to have.
    limit: usize,
    columns: Option<Arc<[Column]>>,
    /// Rows that came so far, and those of this portion with their bytes.
    before: usize,
    portion: (usize, usize),
    /// Who may end it, between two calls.
    patience: Option<Box<Patience>>,
    stage: Stage<'a, P>,
}

enum Stage<'a, P: Params> {
    Opening(Call<'a, Open<P>>),
    Suspended,
    Fetching(Call<'a, ()>),
    Over,
}

/// What comes of a portal.
pub(crate) enum Portion {
    Rows(Rows),
    End {
        /// Rows returned or changed.
        row_count: u64,
        /// The columns, though there may have been no rows.
        columns: Option<Arc<[Column]>>,
    },
}

impl<'a, P: Params> Portal<'a, P> {
    pub(crate) fn new(
        transaction: &Arc<Transaction>,
        sql: Cow<'a, str>,
        params: P,
        limit: usize,
    ) -> Self {
        let name = transaction.next_name();
        let open = Open { portal: name.clone(), params };
        let caller = Caller::Transaction(Arc::clone(transaction));
        let call = Call::new(Ok(caller), sql, open).in_pieces(limit);
        Self {
            transaction: Arc::clone(transaction),
            name,
            sql: Cow::default(),
            limit,
            columns: None,
            before: 0,
            portion: (0, 0),
            patience: None,
            stage: Stage::Opening(call),
        }
    }

    pub(crate) fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
        if let Stage::Opening(call) = &mut self.stage {
            call.limit(bytes);
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Portion>> {
        loop {
            let fetched = match &mut self.stage {
                Stage::Opening(call) => ready!(call.poll_piece(cx)),
                Stage::Fetching(call) => ready!(call.poll_piece(cx)),
                Stage::Suspended => {
                    self.stage = Stage::Fetching(self.fetch());
                    continue;
                }
                Stage::Over => {
                    return Poll::Ready(Ok(Portion::End { row_count: 0, columns: None }));
                }
            };
            match fetched {
                Ok(Fetched::Piece(Piece::Rows(rows))) => {
                    let rows = rows.after(self.before);
                    self.before += rows.len();
                    self.portion.0 += rows.len();
                    self.portion.1 += rows.size();
                    return Poll::Ready(Ok(Portion::Rows(rows)));
                }
                Ok(Fetched::Piece(_)) => {}
                Ok(Fetched::End(answer)) if answer.is_suspended() => {
                    (self.sql, self.patience) = match &mut self.stage {
                        Stage::Opening(call) => (call.take_sql(), call.take_patience()),
                        Stage::Fetching(call) => (call.take_sql(), call.take_patience()),
                        Stage::Suspended | Stage::Over => (Cow::default(), None),
                    };
                    self.columns = self.columns.take().or_else(|| answer.columns());
                    self.stage = Stage::Suspended;
                }
                Ok(Fetched::End(answer)) => {
                    self.stage = Stage::Over;
                    // One that is read to its end stays open as well, and a transaction may read any number.
                    self.close();
                    // The server counts the rows of the last portion only.
                    let row_count = answer.row_count().max(self.before as u64);
                    let columns = self.columns.take().or_else(|| answer.columns());
                    return Poll::Ready(Ok(Portion::End { row_count, columns }));
                }
                Err(error) => {
                    self.stage = Stage::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Asks for as many rows as fill the limit, if they are as large as the last ones.
    fn fetch(&mut self) -> Call<'a, ()> {
        let (rows, bytes) = std::mem::take(&mut self.portion);
        let each = (bytes / rows.max(1)).max(1);
        let rows = u32::try_from(self.limit / each).unwrap_or(u32::MAX).clamp(1, LARGEST_PORTION);
        let (portal, columns) = (self.name.clone(), self.columns.clone());
        let caller = Caller::Transaction(Arc::clone(&self.transaction));
        let sql = std::mem::take(&mut self.sql);
        Call::plain(Ok(caller), sql, Plain::Fetch { portal, columns, rows })
            .in_pieces(self.limit)
            .with_patience(self.patience.take())
    }

    fn close(&self) {
        self.transaction.tell(Request::ClosePortal { portal: &self.name });
    }

    /// Who may end it.
    pub(crate) fn patience(&mut self) -> &mut Patience {
        match &mut self.stage {
            Stage::Opening(call) => call.patience(),
            Stage::Fetching(call) => call.patience(),
            Stage::Suspended | Stage::Over => self.patience.get_or_insert_default(),
        }
    }

    /// Whether the server keeps rows for it.
    fn is_open(&self) -> bool {
        match &self.stage {
            Stage::Opening(call) => call.waiting().is_some(),
            Stage::Suspended | Stage::Fetching(_) => true,
            Stage::Over => false,
        }
    }
}

impl<P: Params> Drop for Portal<'_, P> {
    /// Closes the portal, if the transaction goes on without it. Nobody waits for that.
    fn drop(&mut self) {
        let is_open = self.is_open();
        // What is on its way is read and thrown away.
        self.stage = Stage::Over;
        if is_open {
            self.close();
        }
    }
}
