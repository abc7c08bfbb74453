//! What comes for a call piece by piece, until it is fetched.
//!
//! The rows of a stream and the data of a COPY are kept here from the read that brought them to the call that wants them. When
//! that call does not come and the inbox is full, the socket is not read any more, and the server has to wait: memory is
//! bounded by the inbox's limit and what one read brings. A large answer that is read in parts has no limit: nobody waits for whoever
//! does not fetch it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use txpostgres_session::{CopyData, CopyLayout, Delivery, Error, ErrorKind, Rows};

use crate::desk::Settled;

/// What came together.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Rows of a stream.
    Rows(Box<Rows>),
    /// A COPY has begun.
    CopyStarted(CopyLayout),
    /// Data of a COPY.
    CopyData(CopyData),
}

impl Piece {
    /// Bytes of memory, roughly.
    fn size(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.size(),
            Self::CopyStarted(_) => 0,
            Self::CopyData(data) => data.bytes.len(),
        }
    }
}

/// What a call fetches.
pub(crate) enum Next {
    /// More.
    Piece(Piece),
    /// The end of the answer.
    End(Settled),
}

/// The pieces that nobody has fetched yet.
pub(crate) struct Inbox {
    pieces: VecDeque<Piece>,
    /// Bytes in them.
    size: usize,
    limit: Option<usize>,
    /// Others that wait behind it are not held up when it is full.
    yields: bool,
    /// What comes is thrown away, up to the end.
    closed: bool,
    /// Something was.
    has_lost: bool,
    end: Option<Settled>,
    /// Whoever waits.
    waker: Option<Waker>,
    /// The task that fetches, and how many times it has come.
    reader: Waker,
    visits: u64,
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the statement was cancelled, as asked")
        .with_delivery(Delivery::Answered)
}

impl Inbox {
    /// `limit` in bytes; the last piece may go beyond. One that `yields` is read into beyond its limit while others wait
    /// behind it: then something else bounds what comes.
    pub(crate) fn new(limit: usize, yields: bool, waker: &Waker) -> Self {
        Self {
            pieces: VecDeque::new(),
            size: 0,
            limit: Some(limit),
            yields,
            closed: false,
            has_lost: false,
            end: None,
            waker: Some(waker.clone()),
            reader: waker.clone(),
            visits: 0,
        }
    }

    /// One without a limit, whose reader fetches what comes before more is read.
    pub(crate) fn unbounded(waker: Option<Waker>) -> Self {
        let reader = waker.clone().unwrap_or_else(|| Waker::noop().clone());
        Self { waker, limit: None, ..Self::new(0, true, &reader) }
    }

    /// Puts a piece in. Gives the waker of whoever waits for it.
    pub(crate) fn put(&mut self, piece: Piece) -> Option<Waker> {
        if self.closed {
            self.has_lost = true;
            return None;
        }
        self.size += piece.size();
        self.pieces.push_back(piece);
        self.waker.take()
    }

    /// What has come and what is to come is thrown away, but for the end.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.has_lost |= !self.pieces.is_empty();
        self.pieces.clear();
        self.size = 0;
    }

    /// The answer is complete.
    pub(crate) fn end(&mut self, (outcome, status): Settled) -> Option<Waker> {
        // What was thrown away is missing, though the server may have been faster than the cancel.
        let outcome = if self.has_lost { outcome.and_then(|_| Err(cancelled())) } else { outcome };
        self.end = Some((outcome, status));
        self.waker.take()
    }

    /// Whether nothing more should be read for it, with others behind it or without.
    pub(crate) fn is_full(&self, others: bool) -> bool {
        self.limit.is_some_and(|limit| self.size >= limit)
            && self.end.is_none()
            && !(self.yields && others)
    }

    /// Whether something waits that whoever fetches it should have before more is read: what was just read is still at hand.
    pub(crate) fn is_to_be_fetched(&self) -> bool {
        self.is_unbounded() && !self.pieces.is_empty()
    }

    /// Whether all there is may wait.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.limit.is_none()
    }

    /// Whether it was full, perhaps, and has room again that is worth reading for.
    pub(crate) fn has_room(&self) -> bool {
        self.limit.is_some_and(|limit| self.size <= limit / 2)
    }

    /// Whether the answer is complete, fetched or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The waker of whoever waits.
    pub(crate) fn waker(&self) -> Option<&Waker> {
        self.waker.as_ref()
    }

    /// The waker of whoever waits, to be called to drive.
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// What came first; else whoever asks is called when there is something.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Next> {
        self.visit(cx);
        if let Some(piece) = self.pieces.pop_front() {
            self.size = self.size.saturating_sub(piece.size());
            return Poll::Ready(Next::Piece(piece));
        }
        if let Some(settled) = self.end.take() {
            return Poll::Ready(Next::End(settled));
        }
        self.wait(cx);
        Poll::Pending
    }

    /// Whoever asks is called when something changes.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        self.visit(cx);
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn visit(&mut self, cx: &Context<'_>) {
        self.visits += 1;
        if !self.reader.will_wake(cx.waker()) {
            self.reader.clone_from(cx.waker());
        }
    }

    /// How many times somebody has come for it.
    pub(crate) fn visits(&self) -> u64 {
        self.visits
    }

    /// Whether this is the task that fetches.
    pub(crate) fn is_read_by(&self, waker: &Waker) -> bool {
        self.reader.will_wake(waker)
    }
}
