//! The row of a statement that must return exactly one row, or at most one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use txpostgres_session::{Delivery, Error, ErrorKind, FromRow, OwnedRow, Params, Result};

use crate::query::{RunQuery, RunQueryAs};

/// A pending query that must return exactly one row: see [`RunQuery::one`] and [`RunQueryAs::one`].
///
/// In all else it behaves as the call that it was made from.
#[must_use = "futures do nothing unless awaited"]
pub struct One<Q> {
    pub(crate) query: Q,
}

/// A pending query that must return at most one row: see [`RunQuery::optional`] and
/// [`RunQueryAs::optional`].
///
/// In all else it behaves as the call that it was made from.
#[must_use = "futures do nothing unless awaited"]
pub struct Optional<Q> {
    pub(crate) query: Q,
}

// Nothing in them is pinned.
impl<Q> Unpin for One<Q> {}
impl<Q> Unpin for Optional<Q> {}

impl<P: Params> RunQuery<'_, P> {
    /// Awaits the row of a statement that must return exactly one row.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let sql = "select id, name from people where id = $1";
    /// let row = connection.run_query(sql, (1_i64,)).one().await?;
    /// let name: &str = row.get("name")?;
    /// let row = connection.run_query("select count(*) from people", ()).one().await?;
    /// let count: i64 = row.get(0)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the call itself, and [`ErrorKind::Decode`] if there is no row or more than
    /// one. The statement has run by then: its changes persist, unless it is part of an interaction
    /// that returns the error.
    #[doc(alias = "query_one")]
    #[doc(alias = "fetch_one")]
    pub fn one(self) -> One<Self> {
        One { query: self }
    }

    /// Awaits the row of a statement that must return at most one row.
    ///
    /// # Errors
    ///
    /// The errors of the call itself, and [`ErrorKind::Decode`] if there is more than one row. The
    /// statement has run by then: its changes persist, unless it is part of an interaction that
    /// returns the error.
    #[doc(alias = "query_opt")]
    #[doc(alias = "fetch_optional")]
    pub fn optional(self) -> Optional<Self> {
        Optional { query: self }
    }
}

impl<T: for<'r> FromRow<'r>, P: Params> RunQueryAs<'_, T, P> {
    /// Awaits the row of a statement that must return exactly one row, as a `T`.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// use txpostgres::Scalar;
    ///
    /// let sql = "insert into people (name) values ($1) returning id, name";
    /// let (id, name): (i64, String) = connection.run_query_as(sql, ("Ada",)).one().await?;
    /// let Scalar(count): Scalar<i64> =
    ///     connection.run_query_as("select count(*) from people", ()).one().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the call itself, and [`ErrorKind::Decode`] if there is no row or more than
    /// one. The statement has run by then: its changes persist, unless it is part of an interaction
    /// that returns the error.
    #[doc(alias = "query_one")]
    #[doc(alias = "fetch_one")]
    pub fn one(self) -> One<Self> {
        One { query: self }
    }

    /// Awaits the row of a statement that must return at most one row, as a `T`.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let sql = "select id, name from people where id = $1";
    /// let person: Option<(i64, String)> =
    ///     connection.run_query_as(sql, (7_i64,)).optional().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the call itself, and [`ErrorKind::Decode`] if there is more than one row. The
    /// statement has run by then: its changes persist, unless it is part of an interaction that
    /// returns the error.
    #[doc(alias = "query_opt")]
    #[doc(alias = "fetch_optional")]
    pub fn optional(self) -> Optional<Self> {
        Optional { query: self }
    }
}

/// The future of a query that must return a single row. Both kinds of query know how many rows
/// arrived, and have the first.
macro_rules! ends {
    ($([$($params:tt)*] $query:ty => $row:ty;)+) => {$(
        impl<$($params)*> Future for One<$query> {
            type Output = Result<$row>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let query = &mut self.get_mut().query;
                Poll::Ready(match ready!(query.poll_first(cx))? {
                    (1, Some(row)) => Ok(row),
                    (count, _) => Err(other_count(count, "one", query.sql())),
                })
            }
        }

        impl<$($params)*> Future for Optional<$query> {
            type Output = Result<Option<$row>>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let query = &mut self.get_mut().query;
                Poll::Ready(match ready!(query.poll_first(cx))? {
                    (0 | 1, row) => Ok(row),
                    (count, _) => Err(other_count(count, "one at most", query.sql())),
                })
            }
        }
    )+};
}

ends! {
    [P: Params] RunQuery<'_, P> => OwnedRow;
    [T: for<'r> FromRow<'r>, P: Params] RunQueryAs<'_, T, P> => T;
}

#[cold]
fn other_count(count: usize, expected: &str, sql: &str) -> Error {
    let (came, hint) = if count == 0 {
        ("no row".to_owned(), "if there may be none, await `optional` instead of `one`")
    } else {
        (
            format!("{count} rows"),
            "if any of them will do, say `limit 1`; for all of them, await the call itself",
        )
    };
    let message = format!("the statement returned {came}, where {expected} was expected");
    Error::new(ErrorKind::Decode, message)
        .with_delivery(Delivery::CarriedOut)
        .with_statement(sql)
        .with_hint(hint)
}
