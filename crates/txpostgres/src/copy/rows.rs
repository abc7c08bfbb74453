//! COPY of rows: Rust values into a table and out of it, in PostgreSQL's binary format.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use txpostgres_multiplex::Borrower;
use txpostgres_session::types::Type;
use txpostgres_session::{
    Column, CopyDecoder, CopyEncoder, Delivery, Error, Format, OwnedRow, Params, Result, Rows,
    SqlState,
};

use super::{BeginCopy, CopyIn, CopyOut, CopyProgress, ask_first, describe};
use crate::driver::{Call, Cancellation, Source};
use crate::query::row_buffer::{BufferedRows, RowBuffer};
use crate::query::{Identifier, push_columns};

/// Bytes of rows that are gathered before they are sent: 64 KiB.
const GATHERED_BYTES: usize = 64 * 1024;

/// The columns that a COPY has when none is named: all except generated ones (manual, section
/// "COPY", "Parameters"). The cast to `regclass` resolves the name as COPY does, with temporary
/// tables and `search_path`.
const EVERY_COLUMN: &str = "\
select attname from pg_catalog.pg_attribute \
where attrelid operator(pg_catalog.=) $1::pg_catalog.text::pg_catalog.regclass \
  and attnum operator(pg_catalog.>) 0 and not attisdropped \
  and attgenerated operator(pg_catalog.=) ''::pg_catalog.\"char\" \
order by attnum";

/// A COPY of rows into a table: see [`Connection::copy_in_rows`](crate::Connection::copy_in_rows).
///
/// It implements [`Sink`] for tuples of parameters as well, whose `close` is `finish`. If it is
/// dropped before [`finish`](Self::finish), the server keeps nothing, and in an interaction the
/// transaction fails. In all else it behaves as [`CopyIn`].
#[must_use = "the rows are discarded unless the COPY is finished"]
pub struct CopyInRows {
    copy: CopyIn,
    encoder: CopyEncoder,
    /// Rows that were handed to `copy`.
    pushed: usize,
}

impl CopyInRows {
    pub(crate) fn about_to<'a>(
        source: Source,
        table: Identifier<'a>,
        columns: &'a [&'a str],
    ) -> BeginCopy<'a, Self> {
        BeginCopy::new(move |cancellation| Self::begin(source, table, columns, cancellation))
    }

    async fn begin(
        mut source: Source,
        table: Identifier<'_>,
        columns: &[&str],
        mut cancellation: Option<Box<Cancellation>>,
    ) -> Result<Self> {
        let scope = source.borrow(Borrower::ALONE, cancellation.as_deref_mut()).await?;
        let mut names = String::new();
        let mut quoted = String::new();
        push_columns(&mut names, columns)?;
        table.push_to(&mut quoted)?;
        let cancellation = if columns.is_empty() {
            let every = Call::new(Ok(scope.clone()), EVERY_COLUMN, (&quoted,));
            let (every, cancellation) =
                ask_first(every, cancellation).await.map_err(|error| table.explain(error))?;
            let every = every.iter().map(|row| row.get(0)).collect::<Result<Vec<&str>>>()?;
            push_columns(&mut names, &every)?;
            cancellation
        } else {
            cancellation
        };
        let sql = format!("select {names} from {quoted}");
        let (described, cancellation) = describe(scope.clone(), &sql, cancellation)
            .await
            .map_err(|error| table.explain(error))?;
        let types = described.columns().iter().map(|column| column.type_().clone()).collect();
        // An empty list of columns is a syntax error. For a table without columns, no list means
        // the same.
        let list = if names.is_empty() { names } else { format!(" ({names})") };
        let sql = format!("copy {quoted}{list} from stdin (format binary)");
        Ok(Self {
            copy: CopyIn::begin(source, &sql, cancellation).await?,
            encoder: CopyEncoder::new(types)?,
            pushed: 0,
        })
    }

    /// Takes a row, and waits while too much of the earlier data was not sent yet.
    ///
    /// If the future is dropped before its end, the row was not taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Parameter`](crate::ErrorKind::Parameter) for values that do not match the
    /// columns: nothing of the row is sent, and the COPY goes on. Otherwise the errors of
    /// [`CopyIn::send`]; [`Error::item`] is the number of the row, counted from 0.
    pub async fn send(&mut self, row: impl Params) -> Result<()> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.encode(&row)
    }

    /// Takes rows one after the other, and waits where [`send`](Self::send) would.
    ///
    /// If the future is dropped before its end, some of the first rows were taken.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// let mut copy = connection.copy_in_rows("squares", &["number", "square"]).await?;
    /// copy.send_many((0..1_000_i64).map(|number| (number, number * number))).await?;
    /// copy.finish().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send). The rows before the one that did not match were taken.
    // Not an `async fn`: see `Connection::execute_many`.
    pub fn send_many<I>(&mut self, rows: I) -> impl Future<Output = Result<()>> + Send + use<'_, I>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Params,
    {
        let mut rows = rows.into_iter();
        async move {
            loop {
                poll_fn(|cx| self.poll_room(cx)).await?;
                if !self.encode_some(&mut rows)? {
                    return Ok(());
                }
            }
        }
    }

    /// Takes rows while there is room. Returns whether there may be more rows.
    fn encode_some(&mut self, rows: &mut impl Iterator<Item = impl Params>) -> Result<bool> {
        while self.encoder.len() < GATHERED_BYTES {
            let Some(row) = rows.next() else {
                return Ok(false);
            };
            self.encode(&row)?;
        }
        Ok(true)
    }

    /// Ends the COPY: the server keeps the rows. Returns their number.
    ///
    /// # Errors
    ///
    /// The errors of [`CopyIn::finish`].
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Makes the server discard the rows; it logs `why` as the reason.
    ///
    /// # Errors
    ///
    /// The errors of [`CopyIn::abort`].
    pub async fn abort(self, why: &str) -> Result<()> {
        self.copy.abort(why).await
    }

    /// The progress so far.
    pub fn progress(&self) -> CopyProgress {
        self.copy.progress()
    }

    /// Calls `f` whenever rows were handed over for sending, about 64 KiB at a time. It runs in the
    /// sending task and must not block.
    pub fn on_progress(mut self, f: impl FnMut(CopyProgress) + Send + 'static) -> Self {
        self.copy.meter().callback = Some(Box::new(f));
        self
    }

    fn encode(&mut self, row: &impl Params) -> Result<()> {
        row.encode(&mut self.encoder)
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.encoder.len() >= GATHERED_BYTES {
            self.poll_pushed(cx)
        } else if self.copy.is_watched() {
            // Rows may gather for a long time: check the time limit meanwhile.
            self.copy.poll_sent(cx, usize::MAX)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Hands over the rows that have gathered.
    fn poll_pushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // Into an empty send buffer the rows need not be copied.
        ready!(self.copy.poll_sent(cx, 0))?;
        Poll::Ready(self.push())
    }

    fn push(&mut self) -> Result<()> {
        let rows = self.encoder.rows() - std::mem::replace(&mut self.pushed, self.encoder.rows());
        self.copy.push_rows(&mut self.encoder, rows)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        if self.copy.is_open() {
            ready!(self.poll_pushed(cx))?;
            self.encoder.finish();
            self.push()?;
        }
        self.copy.poll_finish(cx)
    }
}

impl<P: Params> Sink<P> for CopyInRows {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, row: P) -> Result<()> {
        self.get_mut().encode(&row)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pushed(cx))?;
        this.copy.poll_sent(cx, 0)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_finish(cx).map(|finished| finished.map(drop))
    }
}

impl fmt::Debug for CopyInRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyInRows").field("copy", &self.copy).finish_non_exhaustive()
    }
}

/// A COPY of rows out of a table: see
/// [`Connection::copy_out_rows`](crate::Connection::copy_out_rows).
///
/// It implements [`Stream`]; [`next_rows`](Self::next_rows) returns all rows that arrived together.
/// In all else it behaves as [`CopyOut`].
#[must_use = "a COPY does nothing unless it is read"]
pub struct CopyOutRows {
    copy: CopyOut,
    decoder: CopyDecoder,
    columns: Arc<[Column]>,
    buffer: RowBuffer,
}

impl CopyOutRows {
    pub(crate) fn about_to(source: Source, query: &str) -> BeginCopy<'_, Self> {
        BeginCopy::new(move |cancellation| Self::begin(source, query, cancellation))
    }

    async fn begin(
        mut source: Source,
        query: &str,
        mut cancellation: Option<Box<Cancellation>>,
    ) -> Result<Self> {
        let scope = source.borrow(Borrower::ALONE, cancellation.as_deref_mut()).await?;
        // A statement may end with semicolons, a query in parentheses may not. Neither a string nor
        // a quoted name ends with one, and in a comment at the end they have no meaning.
        let query = query.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let (described, cancellation) = describe(scope.clone(), query, cancellation).await?;
        let columns = described.shared_columns().unwrap_or_default();
        let (sql, columns) = copy_of(query, columns);
        let copy = CopyOut::begin(source, &sql, cancellation).await;
        let copy = copy.map_err(|error| not_between_parentheses(error, query))?;
        let decoder = CopyDecoder::new(Arc::clone(&columns));
        Ok(Self { copy, decoder, columns, buffer: RowBuffer::default() })
    }

    /// The columns of the rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The progress so far.
    pub fn progress(&self) -> CopyProgress {
        let rows = Some(self.decoder.rows() as u64);
        CopyProgress { rows, ..self.copy.progress() }
    }

    /// Calls `f` whenever there is progress. It runs in the reading task and must not block.
    pub fn on_progress(mut self, f: impl FnMut(CopyProgress) + Send + 'static) -> Self {
        self.copy = self.copy.on_progress(f);
        self
    }

    /// The number of rows; `None` before the end.
    pub fn row_count(&self) -> Option<u64> {
        self.copy.row_count()
    }

    /// The next row; `None` after the last one. Cancel-safe: if the future is dropped, no row is
    /// lost.
    ///
    /// # Errors
    ///
    /// The errors of [`CopyOut::next`], and [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) for
    /// data that does not match its announced format.
    pub async fn next(&mut self) -> Option<Result<OwnedRow>> {
        poll_fn(|cx| self.poll_row(cx)).await
    }

    /// The next rows, as many as have arrived; `None` after the last ones. Cancel-safe: if the
    /// future is dropped, no row is lost.
    ///
    /// # Errors
    ///
    /// The errors of [`next`](Self::next).
    pub async fn next_rows(&mut self) -> Result<Option<Rows>> {
        poll_fn(|cx| self.poll_rows(cx)).await
    }
}

/// The COPY of a query with these columns, and the columns as they come: those without a binary
/// form as text. The array in an `anyarray` is of any type, also of one without a binary form.
fn copy_of(query: &str, columns: Arc<[Column]>) -> (String, Arc<[Column]>) {
    let comes_as_text =
        |column: &Column| column.format() == Format::Text || *column.type_() == Type::ANYARRAY;
    // The query is on a line of its own: it may end in a comment.
    if !columns.iter().any(comes_as_text) {
        return (format!("copy ({query}\n) to stdout (format binary)"), columns);
    }
    let names: Vec<String> = (0..columns.len()).map(|number| format!("c{number}")).collect();
    let read = columns.iter().zip(&names).map(|(column, name)| {
        if comes_as_text(column) { format!("{name}::pg_catalog.text") } else { name.clone() }
    });
    let (names, read) = (names.join(", "), read.collect::<Vec<_>>().join(", "));
    let sql = format!(
        "copy (with q({names}) as ({query}\n) select {read} from q) to stdout (format binary)"
    );
    let in_text = |column: &Column| {
        if comes_as_text(column) { column.in_text() } else { column.clone() }
    };
    (sql, columns.iter().map(in_text).collect())
}

/// Adds a hint: the server accepted the query by itself, but not within COPY.
#[cold]
fn not_between_parentheses(error: Error, query: &str) -> Error {
    if error.sqlstate() != Some(SqlState::SYNTAX_ERROR) {
        return error;
    }
    error.with_hint(if query.contains(';') {
        "COPY puts the query in parentheses: remove its semicolon"
    } else {
        "COPY accepts SELECT, VALUES, TABLE, and statements with RETURNING"
    })
}

impl BufferedRows for CopyOutRows {
    fn buffer(&mut self) -> &mut RowBuffer {
        &mut self.buffer
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Rows>>> {
        loop {
            match ready!(self.copy.poll_data(cx)).map_err(Error::advising_a_cast)? {
                Some(data) => match self.decoder.receive(data.bytes) {
                    Ok(None) => {}
                    Ok(rows) => return Poll::Ready(Ok(rows)),
                    Err(error) => {
                        self.copy.stop();
                        return Poll::Ready(Err(error.with_delivery(Delivery::Unknown)));
                    }
                },
                None if self.copy.row_count().is_none() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(self.decoder.receive_end().map(|()| None)),
            }
        }
    }
}

impl Stream for CopyOutRows {
    type Item = Result<OwnedRow>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_row(cx)
    }
}

impl fmt::Debug for CopyOutRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOutRows").field("copy", &self.copy).finish_non_exhaustive()
    }
}
