//! The rows of a statement as they arrive, in bounded memory.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use txpostgres_multiplex::{Chunk, Fetched, Portal, Portion};
use txpostgres_session::{Column, FromRow, OwnedRow, Params, Result, Rows};

use super::QueryStreamAs;
use super::row_buffer::{BufferedRows, RowBuffer};
use crate::driver::{Call, CancelHandle, Driver, Scope, Source};

/// Default of [`QueryStream::limit`]: 256 KiB, four reads of the socket.
const STREAM_BYTES: usize = 256 * 1024;

/// The rows of a statement as they arrive: see
/// [`Connection::query_stream`](crate::Connection::query_stream).
///
/// It implements [`Stream`], and has a [`next`](Self::next) of its own, which needs no extension
/// trait. [`next_rows`](Self::next_rows) returns all rows that arrived together, which saves one
/// poll for each row.
///
/// # Memory, and a slow reader
///
/// At most [`limit`](Self::limit) bytes of rows are buffered (256 KiB by default), plus what one
/// read of the socket brought: 64 KiB, or one row if that is larger. When the limit is reached, the
/// socket is not read any more, and TCP makes the server wait (backpressure).
///
/// So do other calls on the connection: their answers come behind the rows. If the task that should
/// read the stream awaits such a call instead, neither can go on. The call then waits until its
/// [`timeout`](crate::RunQuery::timeout) ends it, and a `tracing` warning is logged after five
/// seconds. See [Rows as a stream](crate::guide::streams) for how to avoid that.
///
/// # Dropped before its end
///
/// If a stream of a connection is dropped before its end, the statement is cancelled in the server,
/// and rows in flight are read and discarded. A stream of an interaction is a portal, which is
/// closed: the transaction goes on. Either way the connection stays usable.
#[must_use = "a stream does nothing unless it is read"]
pub struct QueryStream<'a, P: Params> {
    source: RowSource<'a, P>,
    buffer: RowBuffer,
    columns: Option<Arc<[Column]>>,
    row_count: Option<u64>,
}

enum RowSource<'a, P: Params> {
    /// All rows in one response, as fast as they are read.
    Whole(Call<'a, P>),
    /// A portion of rows at a time, with other statements between the portions.
    Portions(Portal<'a, P, Driver>),
    Over,
}

// Nothing in it is pinned.
impl<P: Params> Unpin for QueryStream<'_, P> {}

impl<'a, P: Params> QueryStream<'a, P> {
    /// The rows of a statement in this scope: in a transaction a portion at a time.
    pub(crate) fn new(source: Source, sql: Cow<'a, str>, params: P) -> Self {
        Self::from(match source {
            Source::Scope(Scope::Transaction(transaction)) => {
                RowSource::Portions(Portal::new(&transaction, sql, params, STREAM_BYTES))
            }
            source => RowSource::Whole(
                Call::new(source, sql, params).streamed(STREAM_BYTES).stopped_on_drop(),
            ),
        })
    }

    fn from(source: RowSource<'a, P>) -> Self {
        Self { source, buffer: RowBuffer::default(), columns: None, row_count: None }
    }

    /// Sets how many bytes of rows may be buffered; a single row may be larger. Must be set before
    /// the first row is requested.
    pub fn limit(mut self, bytes: usize) -> Self {
        match &mut self.source {
            RowSource::Whole(call) => call.limit(bytes),
            RowSource::Portions(portal) => portal.limit(bytes),
            RowSource::Over => {}
        }
        self
    }

    /// Reads each row as a `T`: see [`FromRow`].
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let sql = "select id, name from people where age > $1";
    /// let mut people = connection.query_stream(sql, (17_i32,)).rows_as::<(i64, String)>();
    /// while let Some((id, name)) = people.next().await.transpose()? {
    ///     println!("{id}: {name}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Set limits and ask for a handle before: the result has no methods for that.
    pub fn rows_as<T: for<'r> FromRow<'r>>(self) -> QueryStreamAs<'a, T, P> {
        QueryStreamAs::new(self)
    }

    /// Discards what is left.
    pub(crate) fn stop(&mut self) {
        self.source = RowSource::Over;
    }

    /// A handle that cancels the statement: see [`Connection::cancel`](crate::Connection::cancel).
    /// The statement is cancelled in the server, rows that were not read yet are discarded, and the
    /// stream ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). In an interaction
    /// the transaction fails as well.
    ///
    /// Ask for it before the first row is requested.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        match &mut self.source {
            RowSource::Whole(call) => CancelHandle(call.cancellation().handle()),
            RowSource::Portions(portal) => CancelHandle(portal.cancellation().handle()),
            RowSource::Over => CancelHandle::default(),
        }
    }

    /// Limits the time from the request for the first row to the end of the stream, including the
    /// time that the reader takes. When the limit has passed, the statement is cancelled, and the
    /// stream ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). In an interaction the
    /// transaction fails as well.
    pub fn timeout(mut self, limit: Duration) -> Self {
        match &mut self.source {
            RowSource::Whole(call) => call.cancellation().set_limit(limit),
            RowSource::Portions(portal) => portal.cancellation().set_limit(limit),
            RowSource::Over => {}
        }
        self
    }

    /// The columns; `None` until the first rows have arrived.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// How many rows the statement returned or changed; `None` before its end.
    pub fn row_count(&self) -> Option<u64> {
        self.row_count
    }

    /// The next row; `None` after the last one. Cancel-safe: if the future is dropped, no row is
    /// lost.
    ///
    /// # Errors
    ///
    /// The errors of [`Connection::run_query`](crate::Connection::run_query). An error in the
    /// middle of a statement comes after the rows before it, which are valid. The stream ends after
    /// an error.
    pub async fn next(&mut self) -> Option<Result<OwnedRow>> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    /// The next rows, as many as have arrived; `None` after the last ones. Cancel-safe: if the
    /// future is dropped, no row is lost.
    ///
    /// # Errors
    ///
    /// The errors of [`next`](Self::next).
    pub async fn next_rows(&mut self) -> Result<Option<Rows>> {
        poll_fn(|cx| self.poll_rows(cx)).await
    }

    fn note(&mut self, rows: Rows) -> Rows {
        if self.columns.is_none() {
            self.columns = rows.shared_columns();
        }
        rows
    }
}

impl<P: Params> BufferedRows for QueryStream<'_, P> {
    fn buffer(&mut self) -> &mut RowBuffer {
        &mut self.buffer
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Rows>>> {
        let ended = loop {
            match &mut self.source {
                RowSource::Over => return Poll::Ready(Ok(None)),
                RowSource::Whole(call) => match ready!(call.poll_chunk(cx)) {
                    Ok(Fetched::Chunk(Chunk::Rows(rows))) => {
                        return Poll::Ready(Ok(Some(self.note(*rows))));
                    }
                    Ok(Fetched::Chunk(_)) => {}
                    Ok(Fetched::End(answer)) => {
                        self.columns = self.columns.take().or_else(|| answer.columns());
                        self.row_count = Some(answer.row_count());
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                },
                RowSource::Portions(portal) => match ready!(portal.poll(cx)) {
                    Ok(Portion::Rows(rows)) => return Poll::Ready(Ok(Some(self.note(rows)))),
                    Ok(Portion::End { row_count, columns }) => {
                        self.columns = self.columns.take().or(columns);
                        self.row_count = Some(row_count);
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        self.source = RowSource::Over;
        Poll::Ready(ended.map(|()| None))
    }
}

impl<P: Params> Stream for QueryStream<'_, P> {
    type Item = Result<OwnedRow>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_row(cx)
    }
}

impl<P: Params> fmt::Debug for QueryStream<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryStream").field("columns", &self.columns).finish_non_exhaustive()
    }
}
