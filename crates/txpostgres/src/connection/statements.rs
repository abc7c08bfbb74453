//! The requests of a connection: statements, cursors, streams, batches, COPY, and cancelling them.

use txpostgres_multiplex::Drive;
use txpostgres_session::FromRow;

use super::Connection;
use crate::cursor::Cursor;
use crate::driver::{CancelFuture, CancelHandle, Source};
use crate::query::Typed;
use crate::statements::statements;
#[cfg(doc)]
use crate::{ConnectionBuilder, ErrorKind};

impl Connection {
    statements!(pub);
    statements!(pub execute_many);

    /// Where statements of the connection are sent.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        Source::Scope(self.scope())
    }

    /// This connection, with all rows decoded as `T`.
    pub fn with_rows_as<T: for<'r> FromRow<'r>>(&self) -> Typed<Self, T> {
        Typed::new(self.clone())
    }

    /// Cancels the call or interaction of this handle, and nothing else. Never blocks; may be
    /// called from any thread.
    ///
    /// * A call that was not sent yet is withdrawn.
    /// * A call that has ended is not affected.
    /// * A statement that the server executes is cancelled by a CancelRequest, on a second
    ///   connection to the same address, with TLS if the session uses it. No other request is sent
    ///   until the server has taken the CancelRequest, so it cannot hit another statement.
    ///
    /// The call then ends with [`ErrorKind::Cancelled`], or with its answer if that arrives before
    /// the cancel takes effect. An interaction is rolled back and ends with `Cancelled`, unless its
    /// COMMIT was sent already: a COMMIT or ROLLBACK is never cancelled.
    ///
    /// The cancel begins at once, and goes on whether the future is awaited or dropped. The future
    /// completes when the call has ended.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use std::time::Duration;
    /// use txpostgres::ErrorKind;
    ///
    /// let mut report = connection.run_query("select pg_sleep(60)", ());
    /// let handle = report.cancel_handle();
    /// let other = connection.clone();
    /// tokio::spawn(async move {
    ///     tokio::time::sleep(Duration::from_secs(1)).await;
    ///     other.cancel(&handle).await
    /// });
    /// assert_eq!(report.await.unwrap_err().kind(), ErrorKind::Cancelled);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] if the server gave no cancel key, as some poolers do, or if the call
    /// was sent together with others because its handle was taken too late: the call goes on.
    /// [`ErrorKind::Timeout`] if the call has not ended within the grace period
    /// ([`ConnectionBuilder::cancel_grace`], 5 s): the call goes on as well. Only if a
    /// CancelRequest was sent and the server did not confirm it by closing its connection, this
    /// connection is closed, since the CancelRequest could hit a later statement.
    #[doc(alias = "cancel_query")]
    pub fn cancel(&self, handle: &CancelHandle) -> CancelFuture {
        handle.cancel()
    }

    /// A cursor whose statements are each a transaction of their own. For statements of one
    /// transaction see [`run_interaction`](Self::run_interaction).
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let cursor = connection.cursor();
    /// cursor.execute("select id, name from people order by id", ()).await?;
    /// while let Some((id, name)) = cursor.fetch_one_as::<(i64, String)>()? {
    ///     println!("{id} {name}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.scope())
    }

    /// Clears the cache of types that were looked up in the database. Call it after `ALTER TYPE`
    /// and similar statements, on every connection that uses these types. A type is looked up again
    /// at its next use.
    ///
    /// A value that does not match its cached type clears the cache as well, after the error that
    /// it causes.
    pub fn forget_types(&self) {
        self.handle.driver.lock().forget_types();
    }
}
