//! COPY FROM STDIN: data into a table.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use tokio::task::coop;
use txpostgres_multiplex::{CopyRoom, Drive, Fetched, SimpleOperation};
use txpostgres_session::{
    CopyEncoder, CopyLayout, Delivery, Error, ErrorKind, Format, Result, Session, SqlState, Ticket,
};

use super::{BeginCopy, CopyProgress, Meter, begin, with_row};
use crate::driver::{Call, Cancellation, Source};

/// Bytes that may be buffered before the sender must wait: 256 KiB.
const UNSENT_BYTES: usize = 256 * 1024;

/// Bytes that are gathered before they are sent: 64 KiB.
const WORTHWHILE_BYTES: usize = 64 * 1024;

/// A `COPY … FROM STDIN` in progress: see [`Connection::copy_in`](crate::Connection::copy_in).
///
/// [`send`](Self::send) takes data cut anywhere, and [`finish`](Self::finish) makes the server keep
/// it. If it is dropped before that, the server discards the data, and in an interaction the
/// transaction fails. It implements [`Sink`] as well, whose `close` is `finish`.
///
/// Until it has ended, other calls on the connection wait. If the task that should finish the COPY
/// awaits such a call instead, neither can go on: a deadlock. The call then waits until its
/// [`timeout`](crate::RunQuery::timeout) ends it. See [COPY](crate::guide::copy) for how to avoid
/// that.
#[must_use = "the data is discarded unless the COPY is finished"]
pub struct CopyIn {
    call: Call<'static, ()>,
    layout: CopyLayout,
    meter: Meter,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Data is taken.
    Open,
    /// The end of the data was sent.
    Ending,
    /// The server has confirmed.
    Ended { rows: u64 },
    /// The COPY failed.
    Failed,
}

impl CopyIn {
    pub(crate) fn about_to(source: Source, sql: &str) -> BeginCopy<'_, Self> {
        BeginCopy::new(move |cancellation| Self::begin(source, sql, cancellation))
    }

    pub(super) async fn begin(
        source: Source,
        sql: &str,
        cancellation: Option<Box<Cancellation>>,
    ) -> Result<Self> {
        let (call, layout) = begin(source, sql, SimpleOperation::CopyIn, cancellation).await?;
        Ok(Self { call, layout, meter: Meter::default(), state: State::Open })
    }

    /// The format in which the server expects the data.
    pub fn format(&self) -> Format {
        self.layout.format()
    }

    /// The number of columns of a row.
    pub fn columns(&self) -> usize {
        self.layout.columns()
    }

    /// The progress so far.
    pub fn progress(&self) -> CopyProgress {
        self.meter.progress
    }

    /// Calls `f` whenever there is progress. It runs in the sending task and must not block.
    pub fn on_progress(mut self, f: impl FnMut(CopyProgress) + Send + 'static) -> Self {
        self.meter.callback = Some(Box::new(f));
        self
    }

    /// Takes data, cut anywhere, and waits while too much of the earlier data was not sent yet.
    /// Data is sent once 64 KiB have gathered, on [`flush`](Self::flush), and at the end.
    ///
    /// If the future is dropped before its end, the data was not taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server has refused earlier data; [`Error::item`] is the number
    /// of the line that it names, counted from 0. The COPY is over then. [`ErrorKind::Lost`] if the
    /// connection broke: the server has kept nothing.
    pub async fn send(&mut self, data: impl AsRef<[u8]>) -> Result<()> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.push(data.as_ref())
    }

    /// Sends the data that was taken, and waits until all of it was handed to the socket.
    /// Cancel-safe: if the future is dropped, no data is lost.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_sent(cx, 0)).await
    }

    /// Ends the COPY: the server keeps the data. Returns the number of rows.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send). If the connection breaks from here on, the server may
    /// have kept all data ([`Delivery::Unknown`]). If the future is dropped before its end, the
    /// server may keep all data or none.
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Makes the server discard the data; it logs `why` as the reason. In an interaction the
    /// transaction fails.
    ///
    /// If the future is dropped before its end, nothing is kept either.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] if `why` contains a NUL. If something else has ended the COPY before,
    /// that error: a row that the server refused, its `statement_timeout`, a cancel from elsewhere.
    /// Nothing is kept then either.
    pub async fn abort(mut self, why: &str) -> Result<()> {
        if self.state == State::Open {
            if let Some((driver, slot)) = self.call.waiting() {
                driver.lock().copy_session()?.copy_fail(slot.ticket(), why)?;
                driver.drive(Some(slot.ticket()), true);
            }
            self.state = State::Ending;
        }
        match poll_fn(|cx| self.poll_answer(cx)).await {
            Err(error) if is_abort(&error, why) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The number of rows that the server took; `None` before the end.
    pub fn row_count(&self) -> Option<u64> {
        match self.state {
            State::Ended { rows } => Some(rows),
            _ => None,
        }
    }

    /// Whether more data is taken.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether a handle or a time limit may end it early.
    pub(super) fn is_watched(&self) -> bool {
        self.call.is_watched()
    }

    pub(super) fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// Waits until more data may be buffered.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_sent(cx, UNSENT_BYTES)
    }

    /// Waits until at most `most` bytes are left to be sent.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<()>> {
        if self.state != State::Open {
            return Poll::Ready(Err(over()));
        }
        self.call.watch(cx);
        // The server may take data as fast as it is sent, so this might never be pending. Consume
        // from Tokio's coop budget, so that other tasks run and messages from the server are read.
        let budget = ready!(coop::poll_proceed(cx));
        let has_failed = loop {
            let Some((driver, slot)) = self.call.waiting() else {
                return Poll::Ready(Err(over()));
            };
            if driver.is_ready() {
                driver.drive(Some(slot.ticket()), true);
            }
            let room = |cx: &mut Context<'_>| {
                // Cloned and dropped outside of the lock.
                let mut waker = Some(Arc::new(cx.waker().clone()));
                driver.lock().poll_copy_room(slot, most, &mut waker)
            };
            match room(cx) {
                CopyRoom::Over => break true,
                CopyRoom::Free => break false,
                CopyRoom::Full => driver.drive(Some(slot.ticket()), true),
            }
            match room(cx) {
                CopyRoom::Over => break true,
                CopyRoom::Free => break false,
                CopyRoom::Full => {}
            }
            if !driver.is_ready() {
                return Poll::Pending;
            }
        };
        if has_failed {
            return self.poll_answer(cx).map(|answer| answer.and(Err(over())));
        }
        budget.made_progress();
        Poll::Ready(Ok(()))
    }

    /// Takes data. There must be room for it.
    fn push(&mut self, data: &[u8]) -> Result<()> {
        self.submit(|session, ticket| session.copy_data(ticket, data))?;
        self.meter.add(data.len(), None);
        Ok(())
    }

    /// Takes encoded rows. There must be room for them.
    pub(super) fn push_rows(&mut self, encoder: &mut CopyEncoder, rows: usize) -> Result<()> {
        let size = encoder.len();
        self.submit(|session, ticket| session.copy_rows(ticket, encoder))?;
        self.meter.add(size, Some(rows));
        Ok(())
    }

    fn submit(&self, submit: impl FnOnce(&mut Session, Ticket) -> Result<bool>) -> Result<()> {
        let Some((driver, slot)) = self.call.waiting().filter(|_| self.state == State::Open) else {
            return Err(over());
        };
        let mut multiplexer = driver.lock();
        submit(multiplexer.copy_session()?, slot.ticket())?;
        let is_worthwhile = multiplexer.output_len() >= WORTHWHILE_BYTES;
        drop(multiplexer);
        if is_worthwhile {
            driver.drive(Some(slot.ticket()), true);
        }
        Ok(())
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        if self.state == State::Open {
            if let Some((driver, slot)) = self.call.waiting() {
                if let Ok(session) = driver.lock().copy_session() {
                    session.copy_done(slot.ticket());
                }
                driver.drive(Some(slot.ticket()), true);
            }
            self.state = State::Ending;
        }
        self.poll_answer(cx)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        match self.state {
            State::Ended { rows } => return Poll::Ready(Ok(rows)),
            State::Failed => return Poll::Ready(Err(over())),
            State::Open | State::Ending => {}
        }
        loop {
            match ready!(self.call.poll_chunk(cx)) {
                Ok(Fetched::Chunk(_)) => {}
                Ok(Fetched::End(answer)) => {
                    let rows = answer.row_count();
                    self.state = State::Ended { rows };
                    self.meter.progress.rows = Some(rows);
                    self.meter.report();
                    return Poll::Ready(Ok(rows));
                }
                Err(error) => {
                    self.state = State::Failed;
                    return Poll::Ready(Err(with_row(error)));
                }
            }
        }
    }
}

/// Whether the server ended a COPY because of our CopyFail with this reason. The SQLSTATE is the
/// same for cancels and time limits (`CopyGetData` and `ProcessInterrupts` in the server's source).
/// The message may be translated, but it contains the reason.
fn is_abort(error: &Error, why: &str) -> bool {
    let server = error.server().filter(|_| error.kind() == ErrorKind::Server);
    server.is_some_and(|server| {
        server.code() == SqlState::QUERY_CANCELED
            && server.message().contains(why)
            && server.routine().is_none_or(|routine| routine != "ProcessInterrupts")
    })
}

fn over() -> Error {
    Error::new(ErrorKind::Request, "the COPY is over; it takes no more data")
        .with_delivery(Delivery::NotSent)
}

impl<B: AsRef<[u8]>> Sink<B> for CopyIn {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, data: B) -> Result<()> {
        self.get_mut().push(data.as_ref())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_sent(cx, 0)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_finish(cx).map(|finished| finished.map(drop))
    }
}

// Nothing in it is pinned.
impl Unpin for CopyIn {}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn")
            .field("layout", &self.layout)
            .field("progress", &self.meter)
            .finish_non_exhaustive()
    }
}
