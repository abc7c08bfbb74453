//! Asynchronous PostgreSQL that survives, for Tokio.
//!
//! ```no_run
//! use txpostgres::Connection;
//!
//! #[tokio::main]
//! async fn main() -> txpostgres::Result<()> {
//!     let connection = Connection::open("host=localhost dbname=test").await?;
//!
//!     connection.run_operation("create table people (id bigint, name text)", ()).await?;
//!     connection.run_operation("insert into people values ($1, $2)", (1_i64, "Ada")).await?;
//!
//!     for row in &connection.run_query("select id, name from people", ()).await? {
//!         let (id, name): (i64, &str) = (row.get("id")?, row.get("name")?);
//!         println!("{id} {name}");
//!     }
//!
//!     connection.close().await;
//!     Ok(())
//! }
//! ```
//!
//! A [`Connection`] is a handle: clone it and use it from as many tasks as you like. [`run_query`](Connection::run_query)
//! gives rows, [`run_operation`](Connection::run_operation) the number of rows affected, and
//! [`run_interaction`](Connection::run_interaction) runs a closure in a transaction. The values of parameters and rows are
//! those of `postgres-types`, which is here as [`types`].
//!
//! For much data there are [`query_stream`](Connection::query_stream), [`copy_in_rows`](Connection::copy_in_rows) and its kin, and
//! [`execute_many`](Connection::execute_many); for DB-API's way of fetching there is [`cursor`](Connection::cursor).
//!
//! # The guide
//!
//! * [Connecting](guide::connecting): strings, URIs, variables, files, TLS, time limits.
//! * [Statements and rows](guide::statements): parameters, types, NULL, scripts, the statement cache and poolers.
//! * [Values and rows](guide::values): rows as tuples, structs and maps; types of the database; ranges, numerics, text.
//! * [Cursors and batches](guide::cursors): execute and fetch, routines, many sets of values, many statements, named cursors.
//! * [Rows as a stream](guide::streams): rows as they come, slow readers, early ends, beside other statements.
//! * [COPY](guide::copy): rows and bytes in and out, progress, failures, files.
//! * [Interactions](guide::interactions): commit, rollback, savepoints, options, and every way they can end.
//! * [Notifications](guide::notifications): LISTEN and NOTIFY, observers, streams, what is bounded and what is told.
//! * [Cancellation and deadlines](guide::cancelling): time limits, handles, drops, and who ended a statement.
//! * [Errors](guide::errors): kinds, delivery, what may be tried again, and how they print.
//!
//! # Futures may be dropped
//!
//! Any future of this crate may be dropped at any await point: by `tokio::time::timeout`, by `select!`, or because a task
//! was aborted. The connection stays usable, and the next call gets its own answer.
//!
//! | dropped | what becomes of it |
//! |---|---|
//! | [`connect`](Connection::connect), [`open`](Connection::open) | the connection is closed |
//! | a call that was not polled yet, or waits for its turn | it is never sent |
//! | a call that was sent | the server runs it to its end, and the answer is thrown away; with `cancel_on_drop` it is cancelled |
//! | [`execute`](Cursor::execute) of a cursor | as a call; the cursor has no result then, and is ready for the next |
//! | [`execute_many`](Connection::execute_many) | the flight that was sent is done or fails as a whole; no further one is sent |
//! | [`send`](Batch::send) of a batch | what was sent runs on in the server |
//! | a [`NamedCursor`] | it is closed in the server |
//! | its [`next`](NamedCursor::next), or a [`fetch`](NamedCursor::fetch) onwards | nothing is lost: the next call gets the rows |
//! | any other `fetch` of it, or a [`move_to`](NamedCursor::move_to) | it may have moved or not |
//! | [`next`](QueryStream::next), [`next_rows`](QueryStream::next_rows) | nothing is lost: the next call gets the rows |
//! | a [`QueryStream`] before its end | it is cancelled in the server; in an interaction its portal is closed |
//! | [`send`](CopyIn::send) | the data was not taken |
//! | a [`CopyIn`] or [`CopyInRows`] before `finish` | the server throws away what it got; in an interaction the transaction fails |
//! | the future of [`finish`](CopyIn::finish) | the server decides: it may keep all or nothing |
//! | a [`CopyOut`] or [`CopyOutRows`] before its end | it is cancelled in the server; in an interaction the rest is read and thrown away |
//! | the future of a [`cancel`](Connection::cancel) | the cancel goes on |
//! | an interaction | it is rolled back before anything else uses the connection, unless COMMIT was sent already |
//! | [`listen`](Connection::listen), [`unlisten`](Connection::unlisten) | once polled, it is done all the same |
//! | [`subscribe`](Connection::subscribe), a stream of notifications | nothing is left of it |
//! | [`close`](Connection::close) | the connection is closed; nobody waits for the server to hang up |
//!
//! # What it needs of the runtime
//!
//! A Tokio runtime, of either kind, with I/O and time switched on (`enable_all`, as `#[tokio::main]` has it). A connection
//! belongs to the runtime that it was opened on, and works as long as that runtime runs.
//!
//! Whoever awaits an answer drives the connection; no task lies between a call and the socket. Each open connection also
//! has one small task, the watcher. It reads what the server says while nobody waits for an answer, and steps in when a
//! task that should drive does something else. When nobody holds the connection any more, the task ends. A notify observer
//! that was called has a task of its own, and while LISTEN or UNLISTEN is to be sent there is one more.
//!
//! # Features
//!
//! | feature | is | default |
//! |---|---|---|
//! | `tls` | TLS by rustls, with the ring provider. Without it, `sslmode=require` and stronger are refused | yes |
//! | `derive` | `#[derive(FromRow)]` for rows; `#[derive(ToSql, FromSql)]` for enums, composites and domains | no |
//! | `with-chrono-0_4`, `with-jiff-0_2`, `with-time-0_3` | dates and times of these crates as parameters and columns | no |
//! | `with-bit-vec-0_9`, `with-cidr-0_3`, `with-eui48-1`, `with-geo-types-0_7`, `with-serde_json-1`, `with-smol_str-01`, `with-uuid-1` | other values of theirs | no |
//!
//! # Not there yet
//!
//! Reconnection, and a pool.

mod connection;
mod copy;
mod cursor;
mod driver;
#[cfg(any(doc, doctest))]
pub mod guide;
mod io;
mod notify;
mod query;
mod transaction;

/// Values: `ToSql` writes parameters, `FromSql` reads columns. This is the crate `postgres-types`, with derives that name
/// this crate.
pub mod types {
    /// Derives for enums, composites and domains.
    #[cfg(feature = "derive")]
    #[doc(inline)]
    pub use txpostgres_derive::{FromSql, ToSql};
    #[doc(no_inline)]
    pub use txpostgres_session::types::*;
}

/// Reads a row as a struct: see the trait [`FromRow`](trait@FromRow).
#[cfg(feature = "derive")]
#[doc(inline)]
pub use txpostgres_derive::FromRow;
#[doc(inline)]
pub use txpostgres_session::{
    Column, ColumnIndex, ColumnReader, CommandTag, Delivery, EndedBy, Error, ErrorKind, Format,
    FromRow, IterAs, Notification, OwnedRow, Result, ResultSet, Row, Rows, Scalar, ServerError,
    SqlState, TransactionStatus, config, quote_ident, quote_literal, value,
};

#[doc(inline)]
pub use txpostgres_multiplex::{NotifyEvent, Params, QueueBounds};

#[doc(no_inline)]
pub use config::{Config, IntoConfig};
pub use connection::{Connection, ConnectionBuilder};
pub use copy::{BeginCopy, CopyIn, CopyInRows, CopyOut, CopyOutRows, CopyProgress};
pub use cursor::{Cursor, CursorRows, FetchDirection, NamedCursor, NamedCursorBuilder, Scroll};
pub use driver::{CancelFuture, CancelHandle};
pub use io::{ByteStream, Dial, DialFuture, Sockets};
pub use notify::{
    Cooperator, Notifications, NotifyObserver, ObserverId, ObserverOutput, ObserverWork,
    SpawnObservers, Subscription,
};
pub use query::{
    Batch, Identifier, One, Optional, QueryStream, QueryStreamAs, RunOperation, RunQuery,
    RunQueryAs, RunScript, Typed,
};
pub use transaction::{Interaction, IsolationLevel};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
