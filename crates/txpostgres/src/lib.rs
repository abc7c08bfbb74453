//! An asynchronous PostgreSQL client for Tokio that survives failures.
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
//! A [`Connection`] is a handle: clone it and use it from as many tasks as you like.
//! [`run_query`](Connection::run_query) returns rows, [`run_operation`](Connection::run_operation)
//! the number of rows affected, and [`run_interaction`](Connection::run_interaction) runs a closure
//! in a transaction. Values of parameters and rows use the traits of `postgres-types`, which is
//! re-exported as [`types`].
//!
//! A service uses a [`ConnectionPool`], which has the same calls.
//!
//! For large amounts of data there are [`query_stream`](Connection::query_stream), COPY
//! ([`copy_in_rows`](Connection::copy_in_rows) and others), and
//! [`execute_many`](Connection::execute_many); to fetch as in DB-API there is
//! [`cursor`](Connection::cursor).
//!
//! # The guide
//!
//! * [Connecting](guide::connecting): strings, URIs, variables, files, TLS, time limits.
//! * [Statements and rows](guide::statements): parameters, types, NULL, scripts, the statement
//!   cache and poolers.
//! * [Values and rows](guide::values): rows as tuples, structs and maps; types of the database;
//!   ranges, numerics, text.
//! * [Cursors and batches](guide::cursors): execute and fetch, routines, many sets of values, many
//!   statements, named cursors.
//! * [Rows as a stream](guide::streams): rows as they arrive, backpressure, early ends, other
//!   statements meanwhile.
//! * [COPY](guide::copy): rows and bytes in and out, progress, failures, files.
//! * [Interactions](guide::interactions): commit, rollback, savepoints, options, and every way they
//!   can end.
//! * [Notifications](guide::notifications): LISTEN and NOTIFY, observers, streams, bounds, gaps.
//! * [Cancellation and deadlines](guide::cancelling): time limits, handles, drops, and why a
//!   statement ended.
//! * [Reconnecting](guide::reconnecting): what happens when a connection is lost, detectors,
//!   recovery handlers, silence, the state.
//! * [The pool](guide::pool): several connections, which calls share them, what becomes of them,
//!   failover, when to use what.
//! * [Retrying](guide::retrying): any call again after growing delays, until it succeeds or there
//!   is a reason to stop.
//! * [Errors](guide::errors): kinds, delivery, what may be retried, and how they print.
//!
//! # Futures may be dropped
//!
//! Any future of this crate may be dropped at any await point: by `tokio::time::timeout`, by
//! `select!`, or because a task was aborted. The connection stays usable, and the next call gets
//! its own answer.
//!
//! | dropped | effect |
//! |---|---|
//! | [`connect`], [`open`] | the connection is closed |
//! | a call that was not polled yet, or is queued | it is never sent |
//! | a call that was sent | the server runs it to its end; the answer is discarded |
//! | a call with `cancel_on_drop` that was sent | it is cancelled in the server |
//! | [`execute`] of a cursor | as a call; the cursor has no result, and is ready for the next |
//! | [`execute_many`] | the flight that was sent is done or fails as a whole; no other is sent |
//! | [`send`](Batch::send) of a batch | what was sent runs on in the server |
//! | a [`NamedCursor`] | it is closed in the server |
//! | its [`next`](NamedCursor::next), a forward [`fetch`] | no row is lost: the next call has it |
//! | any other [`fetch`] of it, a [`move_to`] | the cursor may have moved or not |
//! | [`next`](QueryStream::next), [`next_rows`] | no row is lost: the next call has it |
//! | a [`QueryStream`] before its end | it is cancelled in the server |
//! | a [`QueryStream`] of an interaction | its portal is closed |
//! | [`send`](CopyIn::send) | the data was not taken |
//! | a [`CopyIn`] or [`CopyInRows`] before `finish` | the server discards the data |
//! | such a COPY in an interaction | the transaction fails as well |
//! | the future of [`finish`] | the server may keep all data or none |
//! | a [`CopyOut`] or [`CopyOutRows`] before its end | it is cancelled in the server |
//! | such a COPY in an interaction | the rest is read and discarded |
//! | the future of a [`cancel`] | the cancel goes on |
//! | an interaction | it is rolled back before anything else uses the connection |
//! | an interaction whose COMMIT was sent | the server commits it, or not |
//! | one with [`retries`](Interaction::retries) | its attempt is as above, and no other is made |
//! | [`listen`], [`unlisten`] | once polled, it takes effect all the same |
//! | [`subscribe`], a stream of notifications | the subscription ends |
//! | any call on a pool that waits for a connection | the caller leaves the queue |
//! | any call on a pool that was sent | as on a connection, within a second; then it is cancelled |
//! | a [`PooledConnection`] | it goes back to its pool |
//! | a [retrying call] | the call that runs is dropped, and no other is made |
//! | [`start`](ConnectionPool::start) of a pool | no connection is left |
//! | [`close`] | the connection is closed, without waiting for the server |
//!
//! [`connect`]: Connection::connect
//! [`open`]: Connection::open
//! [`execute`]: Cursor::execute
//! [`execute_many`]: Connection::execute_many
//! [`fetch`]: NamedCursor::fetch
//! [`move_to`]: NamedCursor::move_to
//! [`next_rows`]: QueryStream::next_rows
//! [`finish`]: CopyIn::finish
//! [`cancel`]: Connection::cancel
//! [`listen`]: Connection::listen
//! [`unlisten`]: Connection::unlisten
//! [`subscribe`]: Connection::subscribe
//! [retrying call]: retrying::RetryingCall
//! [`close`]: Connection::close
//!
//! # What it needs of the runtime
//!
//! A Tokio runtime of either flavor, with I/O and time enabled (`enable_all`, as in
//! `#[tokio::main]`). A connection belongs to the runtime that it was opened on, and works as long
//! as that runtime runs.
//!
//! A task that awaits an answer drives the connection: it reads the socket, and hands answers to
//! other tasks as well. No task lies between a call and the socket. Each open connection also has
//! one small task, the watchdog. It reads the socket while no call waits for an answer. If a task
//! has polled a call and then does something else, for example in another branch of a `select!`,
//! the watchdog drives in its place after 10 ms: a task that does not poll its call delays other
//! tasks, and notifications, by that interval at most. The watchdog ends with the session, or when
//! the last clone of the connection is dropped. A notify observer has a task of its own from its
//! first event on.
//!
//! # Features
//!
//! | feature | is | default |
//! |---|---|---|
//! | `tls` | TLS by rustls, with the aws-lc-rs provider | yes |
//! | `derive` | `#[derive(FromRow)]`, `#[derive(ToSql, FromSql)]` | no |
//! | `metrics` | numbers of pools for the crate `metrics`, as OpenTelemetry names them | no |
//! | `with-chrono-0_4`, `with-jiff-0_2`, `with-time-0_3` | dates and times of these crates | no |
//! | `with-serde_json-1`, `with-uuid-1`, `with-smol_str-01` | values of these crates | no |
//! | `with-bit-vec-0_9`, `with-cidr-0_3`, `with-eui48-1` | values of these crates | no |
//! | `with-geo-types-0_7` | values of this crate | no |
//!
//! Without `tls`, `sslmode=require` and stronger are refused. The derives of values are for enums,
//! composites and domains. Values of other crates are parameters and columns.
//!
mod connection;
mod copy;
mod cursor;
mod driver;
mod executor;
#[cfg(any(doc, doctest))]
pub mod guide;
mod io;
mod notify;
mod panics;
#[cfg(unix)]
mod polling;
mod pool;
mod query;
pub mod reconnection;
pub mod retrying;
mod statements;
mod transaction;

/// Values: `ToSql` encodes parameters, `FromSql` decodes columns. This is the crate
/// `postgres-types`, with derives that refer to this crate.
pub mod types {
    /// Derives for enums, composites and domains.
    #[cfg(feature = "derive")]
    #[doc(inline)]
    pub use txpostgres_derive::{FromSql, ToSql};
    #[doc(no_inline)]
    pub use txpostgres_session::types::*;
}

/// Decodes a row as a struct: see the trait [`FromRow`](trait@FromRow).
#[cfg(feature = "derive")]
#[doc(inline)]
pub use txpostgres_derive::FromRow;
#[doc(inline)]
pub use txpostgres_session::{
    Column, ColumnIndex, ColumnReader, CommandTag, Delivery, EndedBy, Error, ErrorKind,
    FailedAttempt, Format, FromRow, IterAs, Notification, OwnedRow, Result, ResultSet, Row, Rows,
    Scalar, ServerError, SqlState, TransactionStatus, config, quote_ident, quote_literal, value,
};

#[doc(inline)]
pub use txpostgres_multiplex::{NotifyEvent, QueueBounds};
#[cfg(unix)]
#[doc(inline)]
pub use txpostgres_policy::{PollState, Pollable};
#[doc(inline)]
pub use txpostgres_session::Params;

#[doc(no_inline)]
pub use config::{Config, IntoConfig};
pub use connection::{Connection, ConnectionBuilder};
pub use copy::{BeginCopy, CopyIn, CopyInRows, CopyOut, CopyOutRows, CopyProgress};
pub use cursor::{Cursor, CursorRows, FetchDirection, NamedCursor, NamedCursorBuilder, Scroll};
pub use driver::{CancelFuture, CancelHandle};
pub use executor::Executor;
pub use io::{ByteStream, Dial, DialFuture, ResolveFuture, Sockets};
pub use notify::{
    Cooperator, Notifications, NotifyObserver, ObserverId, ObserverOutput, ObserverWork,
    SpawnObservers, Subscription,
};
#[cfg(unix)]
pub use polling::Polling;
pub use pool::{
    ConnectionPool, ConnectionPoolBuilder, PoolStatistics, PooledConnection, SessionState,
};
pub use query::{
    Batch, Identifier, One, Optional, QueryStream, QueryStreamAs, RunOperation, RunQuery,
    RunQueryAs, RunScript, Typed,
};
pub use transaction::{Interaction, IsolationLevel, RetryingInteraction};

/// The program in the README is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
