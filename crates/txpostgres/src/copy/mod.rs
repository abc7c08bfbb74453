//! COPY: much data at once, into a table or out of it, in constant memory.

mod begin;
mod copy_in;
mod copy_out;
mod rows;

use std::fmt;
use std::future::poll_fn;

use txpostgres_multiplex::{BindParams, Chunk, Fetched, SimpleOperation};
use txpostgres_session::{Answer, CopyLayout, Error, ErrorKind, Result, Rows};

use crate::driver::{Call, Cancellation, Scope};

pub use begin::BeginCopy;
pub use copy_in::CopyIn;
pub use copy_out::CopyOut;
pub use rows::{CopyInRows, CopyOutRows};

/// Bytes of COPY data from the server that may wait to be read: 256 KiB.
const WAITING_BYTES: usize = 256 * 1024;

/// How far a COPY is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Bytes of data so far.
    pub bytes: u64,
    /// Rows so far, if they can be told apart: data that is sent as bytes is not looked into.
    pub rows: Option<u64>,
}

/// Who wants to know how far a COPY is.
#[derive(Default)]
struct Meter {
    progress: CopyProgress,
    told: Option<Box<dyn FnMut(CopyProgress) + Send>>,
}

impl Meter {
    fn add(&mut self, bytes: usize, rows: Option<usize>) {
        self.progress.bytes += bytes as u64;
        if let Some(rows) = rows {
            *self.progress.rows.get_or_insert(0) += rows as u64;
        }
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(told) = &mut self.told {
            told(self.progress);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.progress.fmt(f)
    }
}

/// Asks for a COPY and waits until its data may go or comes.
async fn begin(
    scope: Result<Scope>,
    sql: &str,
    operation: SimpleOperation,
    cancellation: Option<Box<Cancellation>>,
) -> Result<(Call<'static, ()>, CopyLayout)> {
    // Within a transaction a cancel would end more than the COPY.
    let stops =
        matches!((&scope, &operation), (Ok(Scope::Connection(_)), SimpleOperation::CopyOut));
    let call = Call::simple(scope, sql.to_owned(), operation).streamed(WAITING_BYTES);
    let call = if stops { call.stopped_on_drop() } else { call.exclusive() };
    let mut call = call.with_cancellation(cancellation);
    match poll_fn(|cx| call.poll_chunk(cx)).await? {
        Fetched::Chunk(Chunk::CopyStarted(layout)) => Ok((call, layout)),
        // The session sees to it that a COPY begins, or fails.
        _ => Err(Error::new(ErrorKind::Protocol, "the server did not begin the COPY")),
    }
}

/// The rows, without any, that a statement would return; and who may end the COPY that it is for.
async fn describe(
    scope: Scope,
    sql: &str,
    cancellation: Option<Box<Cancellation>>,
) -> Result<(Rows, Option<Box<Cancellation>>)> {
    ask_first(Call::new(Ok(scope), sql, ()).describing(), cancellation).await
}

/// Asks for what has to be known before a COPY; gives back who may end the COPY.
async fn ask_first<W: BindParams>(
    call: Call<'_, W>,
    mut cancellation: Option<Box<Cancellation>>,
) -> Result<(Rows, Option<Box<Cancellation>>)> {
    if let Some(cancellation) = &mut cancellation {
        cancellation.set_lasting(true);
    }
    let mut call = call.with_cancellation(cancellation);
    let described = poll_fn(|cx| call.poll(cx, Answer::take_rows)).await?;
    let mut cancellation = call.take_cancellation();
    if let Some(cancellation) = &mut cancellation {
        cancellation.set_lasting(false);
    }
    Ok((described, cancellation))
}

/// An error in the middle of a COPY says in its context which row it is about: `COPY people, line 7: …`.
fn with_row(error: Error) -> Error {
    let line = error.server().and_then(|server| {
        let context = server.context()?;
        let (_, after) = context.strip_prefix("COPY ")?.split_once(", line ")?;
        let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<usize>().ok()?.checked_sub(1)
    });
    match line {
        Some(row) => error.with_item(row),
        None => error,
    }
}
