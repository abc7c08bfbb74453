//! The guide, in eleven parts. Every example is compiled by the tests, and most of them run against
//! a server in `tests/guide`.
//!
//! 1. [Connecting](connecting): strings, URIs, variables, files, TLS, time limits.
//! 2. [Statements and rows](statements): parameters, types, NULL, scripts, the statement cache and
//!    poolers.
//! 3. [Values and rows](values): rows as tuples, structs and maps; types of the database; ranges,
//!    numerics, text.
//! 4. [Cursors and batches](cursors): execute and fetch, routines, many sets of values, many
//!    statements, named cursors.
//! 5. [Rows as a stream](streams): rows as they arrive, backpressure, early ends, other statements
//!    meanwhile.
//! 6. [COPY](copy): rows and bytes in and out, progress, failures, files.
//! 7. [Interactions](interactions): commit, rollback, savepoints, options, and every way they can
//!    end.
//! 8. [Notifications](notifications): LISTEN and NOTIFY, observers, streams, bounds, gaps.
//! 9. [Cancellation and deadlines](cancelling): time limits, handles, drops, and why a statement
//!    ended.
//! 10. [Retrying](retrying): any call again after growing delays, until it succeeds or there is a
//!    reason to stop.
//! 11. [Errors](errors): kinds, delivery, what may be retried, and how they print.

#[doc = include_str!("../guide/connecting.md")]
pub mod connecting {}

#[doc = include_str!("../guide/statements.md")]
pub mod statements {}

#[doc = include_str!("../guide/values.md")]
pub mod values {}

#[doc = include_str!("../guide/cursors.md")]
pub mod cursors {}

#[doc = include_str!("../guide/streams.md")]
pub mod streams {}

#[doc = include_str!("../guide/copy.md")]
pub mod copy {}

#[doc = include_str!("../guide/interactions.md")]
pub mod interactions {}

#[doc = include_str!("../guide/notifications.md")]
pub mod notifications {}

#[doc = include_str!("../guide/cancelling.md")]
pub mod cancelling {}

#[doc = include_str!("../guide/reconnecting.md")]
pub mod reconnecting {}

#[doc = include_str!("../guide/pool.md")]
pub mod pool {}

#[doc = include_str!("../guide/retrying.md")]
pub mod retrying {}

#[doc = include_str!("../guide/errors.md")]
pub mod errors {}
