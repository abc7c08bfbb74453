//! One session on its socket, driven by whoever waits for it.
//!
//! There is no task between a call and the socket. A call that waits drives: it sends what is to be sent, reads what has
//! arrived, and hands the answers to those who wait for them. Two locks keep this cheap: the desk's, for submitting and
//! fetching, which is never held across a system call; and the socket's, which one task at a time holds and nobody waits
//! for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use txpostgres_session::{CancelKey, Error, ErrorKind, Request, Session, Ticket};

use crate::cancel::Interrupter;
use crate::desk::{Calls, Desk};
use crate::dial::ByteStream;
use crate::notify::audience::Audience;
use crate::switchboard::Switchboard;

/// Bytes read at a time: with 8 KiB a large answer takes eight times the system calls.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of room for sending that are kept for the next time: 1 MiB. One large parameter must not cost its size for ever.
const KEPT_BYTES: usize = 1024 * 1024;

/// One session on its socket.
pub(crate) struct Link {
    pub(crate) board: Arc<Switchboard>,
    socket: Mutex<Socket>,
    /// How the session is interrupted.
    pub(crate) interrupter: Interrupter,
}

/// The socket, and what is on its way through it.
struct Socket {
    /// Let go of as soon as the session is over.
    stream: Option<Box<dyn ByteStream>>,
    /// The switchboard, as the socket knows it.
    bell: Waker,
    received: Box<[u8]>,
    outgoing: BytesMut,
    /// Bytes of `outgoing` that are sent.
    gone: usize,
    /// The session has more to send than `outgoing`.
    behind: bool,
    drain: Drain,
    /// Bytes sent that the session has not been told of.
    sent: usize,
    calls: Calls,
    /// Notifications were handed out, and more may follow: their listeners are to have a turn first, lest a burst that is
    /// larger than their queues be lost to them although they are quick enough.
    breather: bool,
}

/// How the stream takes what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// All that was written is on its way.
    Clear,
    /// It may keep bytes back until it is told to flush.
    Unflushed,
    /// The same, and there was no room for more when it was last tried. The bell rings when there is.
    Full,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// As much as there was room for: there may be more.
    All,
    /// Less: there is probably no more.
    Some,
    /// Part of the answer of whoever drives, who is to fetch it before more is read.
    Portion,
    /// Nothing, or the end.
    Nothing,
}

impl Link {
    pub(crate) fn new(
        session: Session,
        stream: Box<dyn ByteStream>,
        interrupter: Interrupter,
        audience: &Arc<Audience>,
    ) -> Arc<Self> {
        let board = Switchboard::new(session, Arc::clone(audience));
        let mut calls = Calls::new();
        // It may have ended with the same bytes that it began with.
        board.desk().distribute(None, &mut calls);
        let socket = Socket {
            stream: Some(stream).filter(|_| !board.desk().has_ended()),
            bell: Waker::from(Arc::clone(&board)),
            received: vec![0; READ_BYTES].into_boxed_slice(),
            outgoing: BytesMut::new(),
            gone: 0,
            behind: false,
            drain: Drain::Clear,
            sent: 0,
            calls,
            breather: false,
        };
        Arc::new(Self { board, socket: Mutex::new(socket), interrupter })
    }

    /// Sends (if `flush`) and reads as far as that goes without waiting. `own` is the ticket the caller waits for.
    pub(crate) fn drive(&self, own: Option<Ticket>, flush: bool) {
        // Said before the lock is tried: if it is taken, its holder looks again after letting go.
        self.board.want(flush);
        while let Some(mut socket) = self.socket.try_lock() {
            if self.board.take_wishes() {
                socket.gather(&self.board);
            }
            socket.work(&self.board, own);
            self.release(socket);
            // Last of all, for somebody may have found the lock taken by any of the above.
            if !self.board.has_wishes() {
                return;
            }
        }
    }

    /// Sends at once what was just submitted at this desk. Says whether it may have been answered already.
    pub(crate) fn send(&self, mut desk: MutexGuard<'_, Desk>, own: Option<Ticket>) -> bool {
        // Elsewhere the socket is locked before the desk; the other way round it must not be waited for.
        let Some(mut socket) = self.socket.try_lock() else {
            drop(desk);
            self.drive(own, true);
            return true;
        };
        self.board.take_wishes();
        let socket_is_idle = socket.outgoing.is_empty();
        socket.behind |= !socket_is_idle;
        if socket_is_idle {
            desk.session.take_output(&mut socket.outgoing);
        }
        drop(desk);
        let read = socket.work(&self.board, own);
        self.release(socket);
        if self.board.has_wishes() {
            self.drive(own, false);
            return true;
        }
        read
    }

    /// Asks for something whose answer nobody waits for, if the session is open.
    pub(crate) fn tell(&self, request: Request<'_>) {
        let mut desk = self.board.desk();
        if let Ok(ticket) = desk.session.submit(request) {
            desk.expect_nothing(ticket);
            drop(desk);
            self.drive(None, true);
        }
    }

    /// Lets go of the socket and calls those who have their answers.
    fn release(&self, mut socket: MutexGuard<'_, Socket>) {
        let breather = std::mem::take(&mut socket.breather);
        if socket.calls.is_empty() && !breather {
            return;
        }
        let mut calls = std::mem::take(&mut socket.calls);
        drop(socket);
        call_all(&mut calls);
        if breather {
            // Whoever drives on is called last, and comes after those.
            self.board.ring();
        }
        // The emptied list is used again, so that waking costs no allocation.
        if let Some(mut socket) = self.socket.try_lock()
            && socket.calls.capacity() == 0
        {
            socket.calls = calls;
        }
    }

    /// The key to cancel with, if the server has something to do.
    pub(crate) fn running(&self) -> Option<CancelKey> {
        let desk = self.board.desk();
        if desk.session.is_closed() || desk.session.outstanding() == 0 {
            return None;
        }
        desk.session.cancel_key().cloned()
    }

    /// Sends the last words and lets go of the socket, now. Calls that are outstanding end with an error.
    pub(crate) fn shut(&self) {
        let mut guard = self.socket.lock();
        let socket = &mut *guard;
        {
            let mut desk = self.board.desk();
            desk.session.sent(std::mem::take(&mut socket.sent));
            desk.close(&mut socket.calls);
        }
        socket.gather(&self.board);
        socket.work(&self.board, None);
        let mut calls = std::mem::take(&mut socket.calls);
        drop(guard);
        call_all(&mut calls);
    }

    /// Lets go of the socket, now and without last words, for this reason.
    pub(crate) fn give_up(&self, reason: Error) {
        let mut socket = self.socket.lock();
        socket.lose(&self.board, None, reason);
        let mut calls = std::mem::take(&mut socket.calls);
        drop(socket);
        call_all(&mut calls);
    }

    /// Waits until the socket has taken the last words, says the end of the stream, and waits for the server's.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut socket = self.socket.lock();
        socket.poll_shutdown(cx)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shut();
    }
}

fn call_all(calls: &mut Calls) {
    for waker in calls.drain(..) {
        waker.wake();
    }
}

fn broken(error: &io::Error) -> Error {
    Error::new(ErrorKind::Lost, format!("the connection to the server broke: {error}"))
}

impl Socket {
    /// Takes what the session has to send, unless somebody has promised to send it together with what comes next.
    fn gather(&mut self, board: &Switchboard) {
        self.behind = !self.outgoing.is_empty();
        if self.behind {
            return;
        }
        let mut desk = board.desk();
        if !desk.flush_promised {
            desk.session.take_output(&mut self.outgoing);
        }
    }

    /// Writes until nothing is left or there is no room, reads until there is nothing. Says whether answers may have been
    /// handed out.
    fn work(&mut self, board: &Switchboard, own: Option<Ticket>) -> bool {
        let mut last = Read::Nothing;
        let mut tried = false;
        loop {
            // Before the write as well: a ringing for room, right after the socket was full, must not be taken for old news.
            let has_rung = board.arm();
            // It rings for whatever there is; but until it does, there is no room where there was none.
            if has_rung && self.drain == Drain::Full {
                self.drain = Drain::Unflushed;
            }
            if self.has_to_write() {
                self.write(board, own);
            }
            if !(has_rung || tried || board.has_rung()) {
                return self.stream.is_none();
            }
            if board.is_paused() {
                // Whoever fetches what waits for him finds it rung, and reads on.
                board.disarm();
                return true;
            }
            if last == Read::Some && !self.is_readable() {
                return true;
            }
            tried = true;
            last = self.read(board, own);
            match last {
                Read::Nothing => return true,
                Read::Portion => {
                    // It comes back for more, and finds it rung.
                    board.disarm();
                    return true;
                }
                Read::All | Read::Some => {}
            }
            if self.breather {
                self.breather = last == Read::All || self.is_readable();
                return true;
            }
        }
    }

    /// Whether a read may find something; if not, the bell will ring.
    fn is_readable(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.bell);
        self.stream.as_mut().is_some_and(|stream| stream.poll_readable(&mut cx).is_ready())
    }

    /// Whether there is anything to send, and perhaps room for it.
    fn has_to_write(&self) -> bool {
        match self.drain {
            Drain::Clear => !self.outgoing.is_empty(),
            Drain::Unflushed => true,
            Drain::Full => false,
        }
    }

    fn write(&mut self, board: &Switchboard, own: Option<Ticket>) {
        let mut was_partial = false;
        while !self.outgoing.is_empty() {
            let Some(stream) = &mut self.stream else {
                return;
            };
            let mut cx = Context::from_waker(&self.bell);
            let left = self.outgoing.get(self.gone..).unwrap_or_default();
            let tried = if was_partial {
                // It took less than there was: there is hardly room for more.
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                stream.try_write(left)
            };
            let written = match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A stream that cannot write at once may keep bytes back.
                    self.drain = Drain::Unflushed;
                    Pin::new(&mut *stream).poll_write(&mut cx, left)
                }
                written => Poll::Ready(written),
            };
            let error = match written {
                // Reading goes on meanwhile.
                Poll::Pending => {
                    self.drain = Drain::Full;
                    return;
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    was_partial = count < left.len();
                    self.has_gone(count);
                    if self.behind {
                        self.gather(board);
                    }
                    continue;
                }
                Poll::Ready(Ok(_)) => io::Error::from(io::ErrorKind::WriteZero),
                Poll::Ready(Err(error)) => error,
            };
            self.hung_up(board, own, &error);
        }
        if self.drain == Drain::Unflushed {
            self.flush(board, own);
        }
    }

    fn flush(&mut self, board: &Switchboard, own: Option<Ticket>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut cx = Context::from_waker(&self.bell);
        match Pin::new(stream).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => self.drain = Drain::Clear,
            Poll::Ready(Err(error)) => self.hung_up(board, own, &error),
            // The bell rings when it goes on.
            Poll::Pending => {}
        }
    }

    /// Nothing more can be sent. What the server said before it hung up is the better reason.
    fn hung_up(&mut self, board: &Switchboard, own: Option<Ticket>, error: &io::Error) {
        while self.read(board, own) != Read::Nothing {}
        self.lose(board, own, broken(error));
    }

    /// Notes what the socket has taken. The buffer is emptied from its end only: to move its beginning would cost it room.
    fn has_gone(&mut self, count: usize) {
        self.sent += count;
        self.gone += count;
        if self.gone >= self.outgoing.len() {
            if self.outgoing.capacity() > KEPT_BYTES {
                self.outgoing = BytesMut::new();
            }
            self.outgoing.clear();
            self.gone = 0;
        }
    }

    /// Reads once and hands out what came.
    fn read(&mut self, board: &Switchboard, own: Option<Ticket>) -> Read {
        let Some(stream) = &mut self.stream else {
            return Read::Nothing;
        };
        let mut cx = Context::from_waker(&self.bell);
        let mut buffer = ReadBuf::new(&mut self.received);
        let count = match Pin::new(stream).poll_read(&mut cx, &mut buffer) {
            Poll::Pending => return Read::Nothing,
            Poll::Ready(Err(error)) => {
                self.lose(board, own, broken(&error));
                return Read::Nothing;
            }
            Poll::Ready(Ok(())) => buffer.filled().len(),
        };
        let mut desk = board.desk();
        desk.session.sent(std::mem::take(&mut self.sent));
        if count == 0 {
            desk.session.receive_end();
        } else {
            desk.session.receive(buffer.filled());
        }
        desk.distribute(own, &mut self.calls);
        board.pause(&desk);
        let is_portion = desk.has_portion(own);
        if desk.has_ended() {
            drop(desk);
            self.stream = None;
            return Read::Nothing;
        }
        self.breather = std::mem::take(&mut desk.has_notified);
        if !self.outgoing.is_empty() {
            self.behind = true;
        } else if !desk.flush_promised {
            desk.session.take_output(&mut self.outgoing);
        }
        match count {
            _ if is_portion => Read::Portion,
            READ_BYTES => Read::All,
            _ => Read::Some,
        }
    }

    fn lose(&mut self, board: &Switchboard, own: Option<Ticket>, reason: Error) {
        let mut desk = board.desk();
        desk.session.sent(std::mem::take(&mut self.sent));
        desk.session.lost(reason);
        desk.distribute(own, &mut self.calls);
        drop(desk);
        self.stream = None;
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        while self.gone < self.outgoing.len() {
            let left = self.outgoing.get(self.gone..).unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write(cx, left)) {
                Ok(count) if count > 0 => self.gone += count,
                _ => return Poll::Ready(()),
            }
        }
        if ready!(Pin::new(&mut *stream).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        loop {
            let mut buffer = ReadBuf::new(&mut self.received);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}
