//! The futures of calls: `RunQuery`, `RunOperation`, `RunScript`, and what may end them early.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use txpostgres_session::{
    Answer, Delivery, Error, FromRow, OwnedRow, Params, Result, ResultSet, Results, Rows,
};

use txpostgres_multiplex::{Chunk, Fetched};

use super::{One, Optional};
use crate::driver::{Call, CancelHandle};

/// The methods of a pending call for cancellation and time limits.
macro_rules! cancellable {
    ($name:ty, $($call:tt).+ $(, $params:ident)*) => {
        impl<$($params),*> $name {
            /// A handle that [cancels](crate::Connection::cancel) the call from any task.
            ///
            /// Ask for it before the call is first polled: a call that may be cancelled is not
            /// pipelined with others, and a call that was already sent together with others cannot
            /// be cancelled.
            #[doc(alias = "cancel_token")]
            pub fn cancel_handle(&mut self) -> CancelHandle {
                CancelHandle(self.$($call).+.cancellation().handle())
            }

            /// Limits the time from the first poll to the end. When the limit has passed, the
            /// statement is cancelled on the server, and the call ends with
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), or with its answer if that
            /// arrives before the cancel takes effect.
            ///
            /// If the server does not end the statement within the grace period
            /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s),
            /// the connection is closed.
            pub fn timeout(mut self, limit: Duration) -> Self {
                self.$($call).+.cancellation().set_limit(limit);
                self
            }

            /// Makes the call wait for this long while the connection is dead and its detector
            /// opens it again. With zero it fails at once. The default is what the connection was
            /// built with: [`wait_for_recovery`](crate::ConnectionBuilder::wait_for_recovery).
            pub fn wait_for_recovery(mut self, limit: Duration) -> Self {
                self.$($call).+.wait_for_recovery(limit);
                self
            }

            /// When the future is dropped before its end, the statement is cancelled on the server
            /// instead of running to its end.
            ///
            /// If the server does not end it within the grace period
            /// ([`ConnectionBuilder::cancel_grace`](crate::ConnectionBuilder::cancel_grace), 5 s),
            /// the connection is closed. If the server gave no cancel key, the statement runs on.
            pub fn cancel_on_drop(mut self) -> Self {
                self.$($call).+.cancel_on_drop();
                self
            }
        }
    };
}

cancellable!(RunQuery<'_, P>, 0, P);
cancellable!(RunQueryAs<'_, T, P>, query.0, T, P);
cancellable!(RunOperation<'_, P>, 0, P);
cancellable!(RunScript<'_>, 0);
cancellable!(One<RunQuery<'_, P>>, query.0, P);
cancellable!(Optional<RunQuery<'_, P>>, query.0, P);
cancellable!(One<RunQueryAs<'_, T, P>>, query.query.0, T, P);
cancellable!(Optional<RunQueryAs<'_, T, P>>, query.query.0, T, P);

/// A pending [`run_query`](crate::Connection::run_query): await it for the rows.
///
/// Nothing is sent before the first poll. If the future is dropped before its end, a statement that
/// was sent runs on in the server, its answer is discarded, and the connection stays usable.
#[must_use = "futures do nothing unless awaited"]
pub struct RunQuery<'a, P>(pub(crate) Call<'a, P>);

// Nothing in it is pinned.
impl<P> Unpin for RunQuery<'_, P> {}

impl<'a, P: Params> RunQuery<'a, P> {
    /// Requests all values in text, as PostgreSQL prints them: values of any type can then be read
    /// as `&str`, `String` or [`Text`](crate::value::Text).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let row = connection.run_query("select now(), 1.50::numeric", ()).in_text().one().await?;
    /// assert_eq!(row.get::<&str>(1)?, "1.50");
    /// # Ok(()) }
    /// ```
    pub fn in_text(mut self) -> Self {
        self.0.set_results(Results::Text);
        self
    }

    /// Reads each row as a `T`: see [`FromRow`].
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let people = connection
    ///     .run_query("select id, name from people", ())
    ///     .rows_as::<(i64, String)>()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn rows_as<T>(self) -> RunQueryAs<'a, T, P>
    where
        T: for<'r> FromRow<'r>,
    {
        let mut query = self;
        query.0.chunked();
        RunQueryAs { query, decoded: Vec::new(), mismatch: None, rows: 0 }
    }

    /// The number of rows, and the first row.
    pub(crate) fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(usize, Option<OwnedRow>)>> {
        let rows = Arc::new(ready!(self.0.poll(cx, Answer::take_rows))?);
        Poll::Ready(Ok((rows.len(), OwnedRow::new(&rows, 0))))
    }

    pub(crate) fn sql(&self) -> &str {
        self.0.sql()
    }
}

/// A pending [`run_query_as`](crate::Connection::run_query_as): await it for the rows, each as a
/// `T`.
///
/// The rows of a prepared statement are decoded as they arrive, so their bytes and the `T`s are
/// never in memory all at once.
///
/// In all else it behaves as [`RunQuery`].
#[must_use = "futures do nothing unless awaited"]
pub struct RunQueryAs<'a, T, P> {
    query: RunQuery<'a, P>,
    decoded: Vec<T>,
    /// The error of the first row that could not be decoded: rows after it are discarded.
    mismatch: Option<Error>,
    /// How many rows arrived, if only the first is decoded.
    rows: usize,
}

// Nothing in it is pinned.
impl<T, P> Unpin for RunQueryAs<'_, T, P> {}

impl<T: for<'r> FromRow<'r>, P: Params> RunQueryAs<'_, T, P> {
    fn decode(&mut self, rows: &Rows) {
        if self.mismatch.is_none() {
            self.mismatch = rows.decode_onto(&mut self.decoded).err();
        }
    }

    fn decode_first(&mut self, rows: &Rows) {
        if self.rows == 0 {
            let first = rows.iter_as::<T>().and_then(|mut rows| rows.next().transpose());
            match first {
                Ok(first) => self.decoded.extend(first),
                Err(mismatch) => self.mismatch = Some(mismatch),
            }
        }
        self.rows += rows.len();
    }

    /// Fetches and decodes rows until the end.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        decode: impl Fn(&mut Self, &Rows),
    ) -> Poll<Result<()>> {
        loop {
            match ready!(self.query.0.poll_chunk(cx))? {
                Fetched::Chunk(Chunk::Rows(rows)) => decode(self, &rows),
                Fetched::Chunk(_) => {}
                Fetched::End(mut answer) => {
                    decode(self, &answer.take_rows());
                    self.query.0.recycle(answer);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// The number of rows, and the first row. If there are several rows, that error takes
    /// precedence over a first row that cannot be decoded.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(usize, Option<T>)>> {
        ready!(self.poll_end(cx, Self::decode_first))?;
        match self.mismatch.take() {
            Some(mismatch) if self.rows <= 1 => Poll::Ready(Err(carried_out(mismatch))),
            _ => Poll::Ready(Ok((self.rows, self.decoded.pop()))),
        }
    }

    pub(crate) fn sql(&self) -> &str {
        self.query.sql()
    }
}

impl<T, P: Params> Future for RunQueryAs<'_, T, P>
where
    T: for<'r> FromRow<'r>,
{
    type Output = Result<Vec<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.poll_end(cx, Self::decode))?;
        let decoded = std::mem::take(&mut this.decoded);
        Poll::Ready(this.mismatch.take().map_or(Ok(decoded), |error| Err(carried_out(error))))
    }
}

/// An error about an answer that has come to its end.
#[cold]
fn carried_out(error: Error) -> Error {
    error.with_delivery(Delivery::CarriedOut)
}

impl<P: Params> Future for RunQuery<'_, P> {
    type Output = Result<Rows>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx, Answer::take_rows)
    }
}

/// A pending [`run_operation`](crate::Connection::run_operation): await it for the number of rows
/// affected.
///
/// Nothing is sent before the first poll. If the future is dropped before its end, a statement that
/// was sent runs on in the server, its answer is discarded, and the connection stays usable.
#[must_use = "futures do nothing unless awaited"]
pub struct RunOperation<'a, P>(pub(crate) Call<'a, P>);

// Nothing in it is pinned.
impl<P> Unpin for RunOperation<'_, P> {}

impl<P: Params> Future for RunOperation<'_, P> {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx, |answer| answer.row_count())
    }
}

/// A pending [`run_script`](crate::Connection::run_script): await it for the results.
///
/// Nothing is sent before the first poll. If the future is dropped before its end, a script that
/// was sent runs on in the server, its answer is discarded, and the connection stays usable.
#[must_use = "futures do nothing unless awaited"]
pub struct RunScript<'a>(pub(crate) Call<'a, ()>);

impl Future for RunScript<'_> {
    type Output = Result<Vec<ResultSet>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx, Answer::take_results)
    }
}
