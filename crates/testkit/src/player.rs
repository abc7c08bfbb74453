//! Plays a script on one connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::script::Step;

pub(crate) const POLL: Duration = Duration::from_millis(2);

pub(crate) const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
pub(crate) const CANCEL_REQUEST: u32 = 80_877_102;

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        // Zero would mean no limit.
        let patience = Some(patience.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.read(buffer))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.read(buffer))
            }
        }
    }

    fn write(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        let patience = Some(patience.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(patience).and_then(|()| stream.write_all(bytes))
            }
            Self::Unix(stream) => {
                stream.set_write_timeout(patience).and_then(|()| stream.write_all(bytes))
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// When it is dropped, unread and unsent bytes are discarded.
    fn reset_on_drop(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Self::Unix(_) => Ok(()),
        }
    }
}

pub(crate) struct Player {
    stream: Stream,
    received: Vec<u8>,
    deadline: Instant,
    finishing: Arc<AtomicBool>,
}

impl Player {
    pub(crate) fn new(stream: Stream, bound: Duration, finishing: Arc<AtomicBool>) -> Self {
        Self { stream, received: Vec::new(), deadline: Instant::now() + bound, finishing }
    }

    /// Plays the script to its end and closes the connection. Returns the bytes received, and where
    /// they departed from the script.
    pub(crate) fn play(mut self, steps: &[Step]) -> (Vec<u8>, Option<String>) {
        let complaint = self.play_steps(steps).err();
        (self.received, complaint)
    }

    fn play_steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for (number, step) in steps.iter().enumerate() {
            let ended = match self.step(step) {
                Ok(ended) => ended,
                Err(problem) => {
                    let sent = self.received.escape_ascii();
                    return Err(format!(
                        "step {}: {problem}; all that came: b\"{sent}\"",
                        number + 1
                    ));
                }
            };
            if ended {
                return Ok(());
            }
        }
        self.hang_up();
        Ok(())
    }

    /// Plays one step. Returns whether the connection is over.
    fn step(&mut self, step: &Step) -> Result<bool, String> {
        match step {
            Step::Expect(wanted) => {
                let got = self.take(wanted.len(), &format!("b\"{}\"", wanted.escape_ascii()))?;
                if got != *wanted {
                    return Err(format!(
                        "expected b\"{}\", received b\"{}\"",
                        wanted.escape_ascii(),
                        got.escape_ascii()
                    ));
                }
            }
            Step::ExpectStartup => self.expect_startup()?,
            Step::ExpectRequest(wanted) => {
                let (code, _) = self.take_untagged()?;
                if code != *wanted {
                    return Err(format!("expected {}, received {}", name(*wanted), name(code)));
                }
            }
            Step::ExpectMessage(tag) => self.expect_message(*tag)?,
            Step::ExpectEnd => self.expect_end()?,
            Step::Send(bytes) => self.send(bytes)?,
            Step::SendSlowly(bytes, chunk, pause) => {
                for piece in bytes.chunks(*chunk) {
                    thread::sleep((*pause).min(self.left()?));
                    self.send(piece)?;
                }
            }
            Step::Silence(time) => self.be_silent(*time)?,
            Step::Deafness(time) => {
                let end = Instant::now() + *time;
                while Instant::now() < end && !self.finishing.load(Ordering::Acquire) {
                    self.left()?;
                    thread::sleep(POLL);
                }
            }
            Step::Close => {
                self.hang_up();
                return Ok(true);
            }
            Step::Reset => {
                self.stream.reset_on_drop().map_err(|error| error.to_string())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn expect_startup(&mut self) -> Result<(), String> {
        loop {
            match self.take_untagged()? {
                (SSL_REQUEST | GSS_REQUEST, _) => self.send(b"N")?,
                (code, _) if code >> 16 == 3 => return Ok(()),
                (code, _) => {
                    return Err(format!("expected a startup message, received {}", name(code)));
                }
            }
        }
    }

    fn expect_message(&mut self, tag: u8) -> Result<(), String> {
        let wanted = format!("message {}", char::from(tag).escape_default());
        let head = self.take(5, &wanted)?;
        let Some(([got, ..], length)) =
            head.split_first_chunk::<1>().map(|(tag, length)| (*tag, length))
        else {
            return Err("no head".to_owned());
        };
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        if got != tag {
            return Err(format!(
                "expected {wanted}, received message {}",
                char::from(got).escape_default()
            ));
        }
        self.take(length.saturating_sub(4), &format!("the rest of {wanted}")).map(drop)
    }

    fn expect_end(&mut self) -> Result<(), String> {
        let mut byte = [0; 1];
        let left = self.left()?;
        match self.stream.read(&mut byte, left) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => {
                self.received.extend(byte);
                Err(format!(
                    "expected the client to hang up, received b\"{}\" …",
                    byte.escape_ascii()
                ))
            }
            Err(_) => Err("expected the client to hang up, which it did not".to_owned()),
        }
    }

    fn be_silent(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        let mut buffer = [0; 4096];
        while Instant::now() < end && !self.finishing.load(Ordering::Acquire) {
            self.left()?;
            match self.stream.read(&mut buffer, POLL) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads a startup packet, which has a length and a code but no tag.
    fn take_untagged(&mut self) -> Result<(u32, Vec<u8>), String> {
        let number =
            |bytes: Vec<u8>| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let length = number(self.take(4, "the length of a startup packet")?);
        if !(8..=10_000).contains(&length) {
            return Err(format!("expected a startup packet, received one of {length} bytes"));
        }
        let code = number(self.take(4, "the code of a startup packet")?);
        let rest = usize::try_from(length).unwrap_or(8) - 8;
        Ok((code, self.take(rest, "the rest of a startup packet")?))
    }

    fn take(&mut self, count: usize, wanted: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while bytes.len() < count {
            let left = self
                .left()
                .map_err(|_| format!("expected {wanted}, and it did not come in time"))?;
            let room = buffer.len().min(count - bytes.len());
            match self.stream.read(buffer.get_mut(..room).unwrap_or_default(), left) {
                Ok(0) => return Err(format!("expected {wanted}, but the client hung up")),
                Ok(got) => {
                    let got = buffer.get(..got).unwrap_or_default();
                    bytes.extend_from_slice(got);
                    self.received.extend_from_slice(got);
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(format!("expected {wanted}: {error}")),
            }
        }
        Ok(bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = self.left()?;
        self.stream.write(bytes, left).map_err(|error| format!("cannot send: {error}"))
    }

    fn hang_up(&mut self) {
        self.stream.close().ok();
        // Closing with unread bytes would send a reset.
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer, Duration::from_millis(1)) {
            self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    fn left(&self) -> Result<Duration, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err("the script's time is up".to_owned()) } else { Ok(left) }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn name(code: u32) -> String {
    match code {
        SSL_REQUEST => "an SSLRequest".to_owned(),
        GSS_REQUEST => "a GSSENCRequest".to_owned(),
        CANCEL_REQUEST => "a CancelRequest".to_owned(),
        _ => format!("a startup packet of version {}.{}", code >> 16, code & 0xffff),
    }
}
