//! The rows of a statement as they arrive, each decoded as a `T`.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use txpostgres_session::{Column, Delivery, Error, FromRow, Params, Result, Rows};

use crate::query::QueryStream;
use crate::query::row_buffer::BufferedRows as _;

/// Rows that are decoded at a time. A larger number would save little of the column lookup, and the
/// memory of decoded rows would no longer be freed and reused in turn, which is the fastest case
/// for an allocator.
const AT_A_TIME: usize = 16;

/// The rows of a statement as they arrive, each as a `T`: see [`QueryStream::rows_as`].
///
/// Columns are looked up and types compared once for each group of rows. In all else it behaves as
/// [`QueryStream`].
#[must_use = "a stream does nothing unless it is read"]
pub struct QueryStreamAs<'a, T, P: Params> {
    stream: QueryStream<'a, P>,
    /// Rows that arrived together, and how many of them were decoded.
    rows: Rows,
    read: usize,
    decoded: VecDeque<T>,
    /// Why the row after the decoded ones cannot be decoded.
    mismatch: Option<Error>,
    /// Whether `T` was compared with the columns.
    compared: bool,
}

// Nothing in it is pinned.
impl<T, P: Params> Unpin for QueryStreamAs<'_, T, P> {}

impl<'a, T: for<'r> FromRow<'r>, P: Params> QueryStreamAs<'a, T, P> {
    pub(crate) fn new(stream: QueryStream<'a, P>) -> Self {
        Self {
            stream,
            rows: Rows::default(),
            read: 0,
            decoded: VecDeque::new(),
            mismatch: None,
            compared: false,
        }
    }

    /// The columns; `None` until the first rows have arrived.
    pub fn columns(&self) -> Option<&[Column]> {
        self.stream.columns()
    }

    /// How many rows the statement returned or changed; `None` before its end.
    pub fn row_count(&self) -> Option<u64> {
        self.stream.row_count()
    }

    /// The next row; `None` after the last one. Cancel-safe: if the future is dropped, no row is
    /// lost.
    ///
    /// # Errors
    ///
    /// The errors of [`QueryStream::next`], and [`ErrorKind::Decode`](crate::ErrorKind::Decode) for
    /// columns or a row that cannot be decoded: the statement then ends as if the stream were
    /// dropped. The stream ends after an error.
    pub async fn next(&mut self) -> Option<Result<T>> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    #[inline]
    fn poll_row(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        match self.decoded.pop_front() {
            Some(row) => Poll::Ready(Some(Ok(row))),
            None => self.poll_more(cx),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(mismatch) = self.mismatch.take() {
                let mismatch = self.told(mismatch);
                self.stream.stop();
                self.rows = Rows::default();
                return Poll::Ready(Some(Err(mismatch)));
            }
            if self.read < self.rows.len() {
                self.mismatch = self.decode().err();
                if let Some(row) = self.decoded.pop_front() {
                    return Poll::Ready(Some(Ok(row)));
                }
                continue;
            }
            match ready!(self.stream.poll_rows(cx)) {
                Ok(Some(rows)) => (self.rows, self.read) = (rows, 0),
                Ok(None) => match self.compare() {
                    Ok(()) => return Poll::Ready(None),
                    Err(error) => return Poll::Ready(Some(Err(self.told(error)))),
                },
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// An error about the rows, with what is known of the statement by then.
    fn told(&self, mismatch: Error) -> Error {
        mismatch.with_delivery(match self.stream.row_count() {
            Some(_) => Delivery::CarriedOut,
            None => Delivery::Unknown,
        })
    }

    /// Decodes some more of the rows that arrived together.
    fn decode(&mut self) -> Result<()> {
        self.compared = true;
        let from = self.read;
        self.read += AT_A_TIME;
        for row in self.rows.iter_as::<T>()?.skip(from).take(AT_A_TIME) {
            self.decoded.push_back(row?);
        }
        Ok(())
    }

    /// A `T` that does not match the columns is an error even if there were no rows.
    fn compare(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.compared, true) {
            return Ok(());
        }
        self.stream.columns().map_or(Ok(()), |columns| T::layout(columns).map(drop))
    }
}

impl<T: for<'r> FromRow<'r>, P: Params> Stream for QueryStreamAs<'_, T, P> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_row(cx)
    }
}

impl<T, P: Params> fmt::Debug for QueryStreamAs<'_, T, P> {
    /// Without the rows: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryStreamAs").field("stream", &self.stream).finish_non_exhaustive()
    }
}
