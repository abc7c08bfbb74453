//! The guide, in ten parts. Every example in it is compiled by the tests, and most of what they do is tried on a
//! server by `tests/guide`.
//!
//! 1. [Connecting](connecting): strings, URIs, variables, files, TLS, time limits.
//! 2. [Statements and rows](statements): parameters, types, NULL, scripts, the statement cache and poolers.
//! 3. [Values and rows](values): rows as tuples, structs and maps; types of the database; ranges, numerics, text.
//! 4. [Cursors and batches](cursors): execute and fetch, routines, many sets of values, many statements, named cursors.
//! 5. [Rows as a stream](streams): rows as they come, slow readers, early ends, beside other statements.
//! 6. [COPY](copy): rows and bytes in and out, progress, failures, files.
//! 7. [Interactions](interactions): commit, rollback, savepoints, options, and every way they can end.
//! 8. [Notifications](notifications): LISTEN and NOTIFY, observers, streams, what is bounded and what is told.
//! 9. [Cancellation and deadlines](cancelling): time limits, handles, drops, and who ended a statement.
//! 10. [Errors](errors): kinds, delivery, what may be tried again, and how they print.

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

#[doc = include_str!("../guide/errors.md")]
pub mod errors {}
