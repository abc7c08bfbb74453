//! The rows of a statement as they come, with memory bounded however many there are.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use txpostgres_multiplex::{Chunk, Fetched, Params, Portal, Portion};
use txpostgres_session::{Column, FromRow, OwnedRow, Result, Rows};

use super::QueryStreamAs;
use super::row_buffer::{BufferedRows, RowBuffer};
use crate::driver::{Call, CancelHandle, Driver, Scope, TransactionScope};

/// Bytes of rows that may wait for their reader if he says nothing else: 256 KiB, four reads of the socket.
const STREAM_BYTES: usize = 256 * 1024;

/// The rows of a statement as they come: see [`Connection::query_stream`](crate::Connection::query_stream).
///
/// It is a [`Stream`] of rows, and has [`next`](Self::next) for those who want no more. [`next_rows`](Self::next_rows) gives
/// all rows that came together, which spares the way through the executor for each of them.
///
/// # Memory, and a slow reader
///
/// At most [`limit`](Self::limit) bytes of rows wait for the reader (256 KiB if not said otherwise), and what one read brought,
/// which is 64 KiB or one row if that is larger. When they do, the socket is not read, and the server stands still.
///
/// # The end before the end
///
/// Dropped early, a stream of the connection is cancelled in the server, and what is on its way is read and thrown away. One
/// of an interaction is a portal, which is closed: the transaction goes on. Either way the connection is usable at once.
#[must_use = "a stream does nothing unless it is read"]
pub struct QueryStream<'a, P: Params> {
    source: Source<'a, P>,
    buffer: RowBuffer,
    columns: Option<Arc<[Column]>>,
    row_count: Option<u64>,
}

enum Source<'a, P: Params> {
    /// As fast as they are read, until the end.
    Whole(Call<'a, P>),
    /// A portion at a time, with other statements between.
    Portions(Portal<'a, P, Driver>),
    Over,
}

// Nothing in it is pinned.
impl<P: Params> Unpin for QueryStream<'_, P> {}

impl<'a, P: Params> QueryStream<'a, P> {
    pub(crate) fn of_connection(scope: Result<Scope>, sql: Cow<'a, str>, params: P) -> Self {
        Self::new(Source::Whole(
            Call::new(scope, sql, params).streamed(STREAM_BYTES).stopped_on_drop(),
        ))
    }

    pub(crate) fn of_transaction(
        transaction: &Arc<TransactionScope>,
        sql: Cow<'a, str>,
        params: P,
    ) -> Self {
        Self::new(Source::Portions(Portal::new(transaction, sql, params, STREAM_BYTES)))
    }

    fn new(source: Source<'a, P>) -> Self {
        Self { source, buffer: RowBuffer::default(), columns: None, row_count: None }
    }

    /// Sets how many bytes of rows may wait for their reader; one row may be larger. To be said before the first row is asked
    /// for.
    pub fn limit(mut self, bytes: usize) -> Self {
        match &mut self.source {
            Source::Whole(call) => call.limit(bytes),
            Source::Portions(portal) => portal.limit(bytes),
            Source::Over => {}
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
    /// Set its limits and ask for its handle before.
    pub fn rows_as<T: for<'r> FromRow<'r>>(self) -> QueryStreamAs<'a, T, P> {
        QueryStreamAs::new(self)
    }

    /// What is left is given up.
    pub(crate) fn stop(&mut self) {
        self.source = Source::Over;
    }

    /// A handle by which the statement can be cancelled: see [`Connection::cancel`](crate::Connection::cancel). It is ended in the
    /// server, rows that have come and were not read are thrown away, and the stream ends with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). In an interaction the transaction fails with it.
    ///
    /// Ask for it before the first row is asked for.
    pub fn cancel_handle(&mut self) -> CancelHandle {
        match &mut self.source {
            Source::Whole(call) => CancelHandle(call.cancellation().handle()),
            Source::Portions(portal) => CancelHandle(portal.cancellation().handle()),
            Source::Over => CancelHandle::default(),
        }
    }

    /// Limits the time from when the first row is asked for to the end of the stream, the reader's own time included. When it
    /// passes, the statement is cancelled, and the stream ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). In an
    /// interaction the transaction fails with it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        match &mut self.source {
            Source::Whole(call) => call.cancellation().set_limit(limit),
            Source::Portions(portal) => portal.cancellation().set_limit(limit),
            Source::Over => {}
        }
        self
    }

    /// The columns; `None` until the first rows have come.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// How many rows the statement returned or changed; `None` before its end.
    pub fn row_count(&self) -> Option<u64> {
        self.row_count
    }

    /// The next row; `None` after the last one. Dropped before its end, it takes nothing away.
    ///
    /// # Errors
    ///
    /// As [`Connection::run_query`](crate::Connection::run_query). Rows that came before were as good as they seemed: an error
    /// in the middle of a statement comes after them. Nothing follows an error.
    pub async fn next(&mut self) -> Option<Result<OwnedRow>> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    /// The next rows, as many as there are at hand; `None` after the last ones. Dropped before its end, it takes nothing
    /// away.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
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
                Source::Over => return Poll::Ready(Ok(None)),
                Source::Whole(call) => match ready!(call.poll_chunk(cx)) {
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
                Source::Portions(portal) => match ready!(portal.poll(cx)) {
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
        self.source = Source::Over;
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
