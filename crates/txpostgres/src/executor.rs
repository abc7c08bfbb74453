//! What functions take that run statements on a connection, on a pool, or in a transaction.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::future::Future;

use txpostgres_session::{Error, FromRow, Params, Result};

use crate::connection::Connection;
use crate::cursor::Cursor;
use crate::pool::ConnectionPool;
use crate::query::{QueryStreamAs, RunQueryAs, Typed};
use crate::statements::statements;

mod sealed {
    use crate::connection::Connection;
    use crate::cursor::Cursor;
    use crate::driver::Source;
    use crate::pool::ConnectionPool;

    /// Where statements are sent.
    pub trait Sealed {
        #[doc(hidden)]
        fn source(&self) -> Source;
    }

    impl Sealed for Connection {
        fn source(&self) -> Source {
            Self::source(self)
        }
    }

    impl Sealed for ConnectionPool {
        fn source(&self) -> Source {
            Self::source(self)
        }
    }

    impl Sealed for Cursor {
        fn source(&self) -> Source {
            Self::source(self)
        }
    }
}

/// Anything that runs statements: a [`Connection`], a [`ConnectionPool`](crate::ConnectionPool), or
/// the [`Cursor`] of a transaction. For functions that take any of them.
///
/// ```no_run
/// use txpostgres::{Connection, Executor, Result};
///
/// async fn rename(db: &impl Executor, id: i64, name: &str) -> Result<bool> {
///     let sql = "update people set name = $2 where id = $1";
///     Ok(db.run_operation(sql, (id, name)).await? == 1)
/// }
///
/// # async fn example(connection: Connection) -> Result<()> {
/// rename(&connection, 1, "Ada").await?;
/// connection.run_interaction(async |cursor| rename(&cursor, 2, "Grace").await).await?;
/// # Ok(()) }
/// ```
///
/// The methods are those of the types themselves, which need no import. It is implemented for these
/// types only.
#[doc(alias = "GenericClient")]
pub trait Executor: sealed::Sealed + Send + Sync {
    statements!();

    /// Runs a statement once with each set of parameters: see [`Connection::execute_many`].
    fn execute_many<'a, I>(
        &'a self,
        sql: &'a str,
        sets: I,
    ) -> impl Future<Output = Result<u64>> + Send
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Params,
    {
        let executed = crate::query::execute_many(self.source(), sql, sets.into_iter());
        async move { Ok(executed.await?.row_count) }
    }

    /// Runs a closure in a transaction, or in a savepoint of the one that there is: see
    /// [`Connection::run_interaction`] and [`Cursor::run_interaction`].
    fn run_interaction<T, E, F, Fut>(
        &self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        F: FnOnce(Cursor) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send;
}

/// The method that differs from type to type, which is the type's own.
macro_rules! executor {
    ($name:ty) => {
        impl Executor for $name {
            fn run_interaction<T, E, F, Fut>(
                &self,
                interaction: F,
            ) -> impl Future<Output = Result<T, E>> + Send
            where
                F: FnOnce(Cursor) -> Fut + Send,
                Fut: Future<Output = Result<T, E>> + Send,
                T: Send,
                E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
            {
                Self::run_interaction(self, interaction)
            }
        }
    };
}

executor!(Connection);
executor!(ConnectionPool);
executor!(Cursor);

impl<H: Executor, T: for<'r> FromRow<'r>> Typed<H, T> {
    /// Runs a statement and returns its rows, each as a `T`: see [`Connection::run_query_as`].
    pub fn run_query<'a, P: Params>(&self, sql: &'a str, params: P) -> RunQueryAs<'a, T, P> {
        self.handle.run_query_as(sql, params)
    }

    /// Runs a statement and returns its rows as they come, each as a `T`: see
    /// [`Connection::query_stream`].
    pub fn query_stream<'a, P: Params>(
        &self,
        sql: impl Into<Cow<'a, str>>,
        params: P,
    ) -> QueryStreamAs<'a, T, P> {
        self.handle.query_stream(sql, params).rows_as()
    }
}
