//! COPY: bulk data into a table or out of it, in constant memory.

mod begin;
mod copy_in;
mod copy_out;
mod rows;

use std::fmt;
use std::future::poll_fn;

use txpostgres_multiplex::{BindParams, Chunk, Fetched, SimpleOperation};
use txpostgres_session::{Answer, CopyLayout, Error, ErrorKind, Result, Rows};

use crate::driver::{Call, Cancellation, Scope, Source};

pub use begin::BeginCopy;
pub use copy_in::CopyIn;
pub use copy_out::CopyOut;
pub use rows::{CopyInRows, CopyOutRows};

/// Bytes of COPY data from the server that may be buffered: 256 KiB.
const WAITING_BYTES: usize = 256 * 1024;

/// The progress of a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Bytes of data so far.
    pub bytes: u64,
    /// Rows so far, if they are known: data that is sent as bytes is not parsed.
    pub rows: Option<u64>,
}

/// Counts the progress of a COPY, and reports it to a callback.
#[derive(Default)]
struct Meter {
    progress: CopyProgress,
    callback: Option<Box<dyn FnMut(CopyProgress) + Send>>,
}

impl Meter {
    fn add(&mut self, bytes: usize, rows: Option<usize>) {
        self.progress.bytes += bytes as u64;
        if let Some(rows) = rows {
            *self.progress.rows.get_or_insert(0) += rows as u64;
        }
        self.report();
    }

    fn report(&mut self) {
        if let Some(callback) = &mut self.callback {
            callback(self.progress);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.progress.fmt(f)
    }
}

/// Starts a COPY and waits until its data may be sent or arrives.
async fn begin(
    source: Source,
    sql: &str,
    operation: SimpleOperation,
    cancellation: Option<Box<Cancellation>>,
) -> Result<(Call<'static, ()>, CopyLayout)> {
    // Within a transaction a cancel would fail more than the COPY.
    let stops = matches!(operation, SimpleOperation::CopyOut) && source.is_of_connection();
    let call = Call::simple(source, sql.to_owned(), operation).streamed(WAITING_BYTES);
    let call = if stops { call.stopped_on_drop() } else { call.exclusive() };
    let mut call = call.with_cancellation(cancellation);
    match poll_fn(|cx| call.poll_chunk(cx)).await? {
        Fetched::Chunk(Chunk::CopyStarted(layout)) => Ok((call, layout)),
        // Not reached: in the session a COPY either begins or fails.
        _ => Err(Error::new(ErrorKind::Protocol, "the server did not begin the COPY")),
    }
}

/// The columns of the rows that a statement would return, as an empty result; and the cancellation
/// of the COPY, handed back.
async fn describe(
    scope: Scope,
    sql: &str,
    cancellation: Option<Box<Cancellation>>,
) -> Result<(Rows, Option<Box<Cancellation>>)> {
    // Once the COPY has begun, no type can be looked up for a value that does not fit.
    ask_first(Call::new(Ok(scope), sql, ()).describing().looking_up_anew(), cancellation).await
}

/// Runs a statement whose result is needed before a COPY; hands back the cancellation of the COPY.
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

/// Adds the number of the row to an error in the middle of a COPY, which the server names in its
/// context: `COPY people, line 7: …`.
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
