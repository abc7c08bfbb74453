//! Requests and their results: rows, counts, streams, batches.

mod batch;
mod execute_many;
mod future;
mod identifier;
mod one;
pub(crate) mod row_buffer;
mod stream;
mod stream_as;
mod typed;

pub use batch::Batch;
pub(crate) use execute_many::{Executed, execute_many};
pub use future::{RunOperation, RunQuery, RunQueryAs, RunScript};
pub use identifier::Identifier;
pub(crate) use identifier::push_columns;
pub use one::{One, Optional};
pub use stream::QueryStream;
pub use stream_as::QueryStreamAs;
pub use typed::Typed;
