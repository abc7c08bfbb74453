//! Data on its way into a table.

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
use crate::driver::{Call, Cancellation, Scope};

/// Bytes that may wait to be sent: 256 KiB. Past this the sender waits.
const UNSENT_BYTES: usize = 256 * 1024;

/// Bytes from which on it is worth sending: 64 KiB.
const WORTHWHILE_BYTES: usize = 64 * 1024;

/// A `COPY … FROM STDIN` in progress: see [`Connection::copy_in`](crate::Connection::copy_in).
///
/// [`send`](Self::send) takes data cut anywhere, and [`finish`](Self::finish) has the server keep it. Dropped before that, the
/// server throws it away, and in an interaction the transaction fails. It is a [`Sink`] as well, whose `close` is `finish`.
///
/// Until it has ended it has the connection for itself, and other calls wait. One that the same task awaits meanwhile would wait for
/// ever: once it has stood still for five seconds it is refused with [`ErrorKind::Request`](crate::ErrorKind::Request).
#[must_use = "the data is thrown away unless the COPY is finished"]
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
    /// The end of the data was said.
    Ending,
    /// The server has answered.
    Ended { rows: u64 },
    /// It failed.
    Failed,
}

impl CopyIn {
    pub(crate) fn about_to(scope: Result<Scope>, sql: &str) -> BeginCopy<'_, Self> {
        BeginCopy::new(move |cancellation| Self::begin(scope, sql, cancellation))
    }

    pub(super) async fn begin(
        scope: Result<Scope>,
        sql: &str,
        cancellation: Option<Box<Cancellation>>,
    ) -> Result<Self> {
        let (call, layout) = begin(scope, sql, SimpleOperation::CopyIn, cancellation).await?;
        Ok(Self { call, layout, meter: Meter::default(), state: State::Open })
    }

    /// The form in which the server wants the data.
    pub fn format(&self) -> Format {
        self.layout.format()
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.layout.columns()
    }

    /// How far it is.
    pub fn progress(&self) -> CopyProgress {
        self.meter.progress
    }

    /// Has `f` called whenever there is progress. It runs in the sending task and must not block.
    pub fn on_progress(mut self, f: impl FnMut(CopyProgress) + Send + 'static) -> Self {
        self.meter.told = Some(Box::new(f));
        self
    }

    /// Takes data, cut anywhere, and waits while too much of what was taken before has not left. What is taken leaves when 64 KiB
    /// have gathered, on [`flush`](Self::flush), and at the end.
    ///
    /// Dropped before its end, it has taken nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] when the server has refused something of what was sent before, with
    /// [`Error::item`] being the line it names, the first being 0; the COPY is over then. [`ErrorKind::Lost`] when the connection
    /// broke: the server has kept nothing.
    pub async fn send(&mut self, data: impl AsRef<[u8]>) -> Result<()> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.push(data.as_ref())
    }

    /// Sends what was taken, and waits until all of it is on its way. Dropped before its end, it loses nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_sent(cx, 0)).await
    }

    /// All data was sent: the server keeps it. Returns how many rows it took.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); when the connection breaks from here on, the server may have kept all
    /// ([`Delivery::Unknown`]). Dropped before its end, the server decides.
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// The server is to throw away what was sent, and says so with `why` in its log. In an interaction the transaction fails.
    ///
    /// Dropped before its end, nothing is kept either.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] if `why` has a NUL. What ended the COPY before, so that the server never got to know `why`: a row that
    /// it refused, its `statement_timeout`, a cancel by somebody else. Nothing is kept then either.
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

    /// How many rows the server took; `None` before its end.
    pub fn row_count(&self) -> Option<u64> {
        match self.state {
            State::Ended { rows } => Some(rows),
            _ => None,
        }
    }

    /// Whether data is taken.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether somebody may end it.
    pub(super) fn is_watched(&self) -> bool {
        self.call.is_watched()
    }

    pub(super) fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// Waits until there is room for more.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_sent(cx, UNSENT_BYTES)
    }

    /// Waits until no more than so many bytes have yet to be sent.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<()>> {
        if self.state != State::Open {
            return Poll::Ready(Err(over()));
        }
        self.call.watch(cx);
        // The server may take data as fast as it comes. Others are to have the thread now and then, and what it says is to be
        // heard.
        let turn = ready!(coop::poll_proceed(cx));
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
        turn.made_progress();
        Poll::Ready(Ok(()))
    }

    /// Takes data for which there is room.
    fn push(&mut self, data: &[u8]) -> Result<()> {
        self.give(|session, ticket| session.copy_data(ticket, data))?;
        self.meter.add(data.len(), None);
        Ok(())
    }

    /// Takes so many rows for which there is room.
    pub(super) fn push_rows(&mut self, encoder: &mut CopyEncoder, rows: usize) -> Result<()> {
        let size = encoder.len();
        self.give(|session, ticket| session.copy_rows(ticket, encoder))?;
        self.meter.add(size, Some(rows));
        Ok(())
    }

    fn give(&self, give: impl FnOnce(&mut Session, Ticket) -> Result<bool>) -> Result<()> {
        let Some((driver, slot)) = self.call.waiting().filter(|_| self.state == State::Open) else {
            return Err(over());
        };
        let mut multiplexer = driver.lock();
        give(multiplexer.copy_session()?, slot.ticket())?;
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
                    self.meter.tell();
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

/// Whether the server ended a COPY because we said so, with this reason. It shares its SQLSTATE with cancels and time limits
/// (`CopyGetData` and `ProcessInterrupts` in the server's source). The message may be translated, but the reason is in it.
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
