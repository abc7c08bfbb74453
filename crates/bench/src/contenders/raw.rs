//! The floor: a Tokio socket in the calling task, which sends bytes made beforehand and reads until
//! the server is ready again. No client on this runtime can do less.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally};
use crate::Failure;
use crate::frames::{Body, message, split_message};
use crate::target::Target;
use crate::task::Task;

/// Where the parameter's four bytes are in [`Raw::request`].
const PARAMETER: std::ops::Range<usize> = 19..23;

/// As much as one read may bring, and the beginning of a message from the one before.
const BUFFER: usize = 64 * 1024;

pub(crate) struct Raw {
    socket: UnixStream,
    /// Bind, Execute and Sync; only the parameter changes.
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are filled, and those of them that are used.
    filled: usize,
    used: usize,
}

impl Raw {
    pub(crate) async fn open(target: Target) -> Result<Raw, Failure> {
        let mut raw = Raw {
            socket: UnixStream::connect(target.socket()).await?,
            request: request(),
            buffer: vec![0; BUFFER],
            filled: 0,
            used: 0,
        };
        let parameters = [b"user\0", target.user.as_bytes(), b"\0database\0"].concat();
        let startup = [&3_i16.to_be_bytes()[..], &[0, 0], &parameters].concat();
        let startup = message(0, &[&startup, target.database.as_bytes(), b"\0\0"]);
        raw.exchange(&startup).await?;
        Ok(raw)
    }

    /// Prepares the statement, called `s0`; the server knows the types of its parameters.
    pub(crate) async fn prepare(&mut self, statement: &str) -> Result<(), Failure> {
        let parse = [b"s0\0", statement.as_bytes(), b"\0\0\0"].concat();
        let prepare = [message(b'P', &[&parse]), message(b'S', &[])].concat();
        self.exchange(&prepare).await
    }

    /// Asks what was prepared, with this parameter.
    pub(crate) async fn send(&mut self, number: i32) -> Result<(), Failure> {
        if let Some(parameter) = self.request.get_mut(PARAMETER) {
            parameter.copy_from_slice(&number.to_be_bytes());
        }
        Ok(self.socket.write_all(&self.request).await?)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.socket.write_all(bytes).await?)
    }

    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.write(request).await?;
        self.answer(|_| Ok(())).await
    }

    /// Reads to `ReadyForQuery`, and shows each row on the way.
    pub(crate) async fn answer(
        &mut self,
        mut row: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let mut rest = self.buffer.get(self.used..self.filled).unwrap_or_default();
            while let Some((tag, body, after)) = split_message(rest) {
                rest = after;
                match tag {
                    b'D' => row(body)?,
                    b'Z' => {
                        self.used = self.filled - rest.len();
                        return Ok(());
                    }
                    _ => check(tag, body)?,
                }
            }
            self.used = self.filled - rest.len();
            self.read().await?;
        }
    }

    /// Reads until the server takes the data of a COPY.
    pub(crate) async fn until_copy_begins(&mut self) -> Result<(), Failure> {
        loop {
            let rest = self.buffer.get(self.used..self.filled).unwrap_or_default();
            if let Some((tag, body, after)) = split_message(rest) {
                check(tag, body)?;
                self.used = self.filled - after.len();
                if tag == b'G' {
                    return Ok(());
                }
            } else {
                self.read().await?;
            }
        }
    }

    /// Reads the answer to [`Raw::send`] when it is one row of one large value: into a buffer of
    /// its size.
    pub(crate) async fn large_value(&mut self) -> Result<Vec<u8>, Failure> {
        /// A tag, a length, a count, a length.
        const BEFORE: usize = 11;
        loop {
            let rest = self.buffer.get(self.used..self.filled).unwrap_or_default();
            match rest.first() {
                Some(b'D') if rest.len() >= BEFORE => {
                    let (before, begun) = rest.split_at(BEFORE);
                    let length = before.last_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                    let length = usize::try_from(length.ok_or("no length")?)?;
                    let begun = begun.get(..length.min(begun.len())).unwrap_or_default();
                    let mut value = Vec::with_capacity(length);
                    value.extend_from_slice(begun);
                    self.used += BEFORE + begun.len();
                    while value.len() < length {
                        let missing = u64::try_from(length - value.len())?;
                        if (&mut self.socket).take(missing).read_buf(&mut value).await? == 0 {
                            return Err("the server hung up".into());
                        }
                    }
                    self.answer(|_| Ok(())).await?;
                    return Ok(value);
                }
                Some(tag) if *tag != b'D' => {
                    if let Some((tag, body, after)) = split_message(rest) {
                        check(tag, body)?;
                        self.used = self.filled - after.len();
                        continue;
                    }
                    self.read().await?;
                }
                _ => self.read().await?,
            }
        }
    }

    /// Reads behind what is not used yet.
    async fn read(&mut self) -> Result<(), Failure> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = self.socket.read(free).await?;
        if read == 0 {
            return Err("the server hung up, or its answer is longer than expected".into());
        }
        self.filled += read;
        Ok(())
    }
}

/// Whether a message is none that ends the matter.
fn check(tag: u8, body: &[u8]) -> Result<(), Failure> {
    match tag {
        b'E' => Err(String::from_utf8_lossy(body).replace('\0', " ").into()),
        b'R' if Body(body).int32() != Some(0) => {
            Err("the server wants a password; the floor has none".into())
        }
        _ => Ok(()),
    }
}

impl Client for Raw {
    async fn connect(target: Target, task: Task) -> Result<Raw, Failure> {
        let mut raw = Raw::open(target).await?;
        raw.prepare(STATEMENT).await?;
        if task == Task::Hear {
            let listen = format!("listen {CHANNEL}\0");
            raw.exchange(&message(b'Q', &[listen.as_bytes()])).await?;
        }
        Ok(raw)
    }

    async fn hear(&mut self) -> Result<(), Failure> {
        self.socket.write_all(&message(b'Q', &[NOTIFY.as_bytes(), b"\0"])).await?;
        let mut tally = Tally::default();
        let mut filled = 0;
        let mut is_ready = false;
        while !(is_ready && tally.is_complete()) {
            let read = self.socket.read(self.buffer.get_mut(filled..).unwrap_or_default()).await?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            filled += read;
            let mut rest = self.buffer.get(..filled).unwrap_or_default();
            while let Some((tag, body, after)) = split_message(rest) {
                rest = after;
                match tag {
                    b'A' => tally.note(payload(body).ok_or("a notification breaks off")?)?,
                    b'Z' => is_ready = true,
                    b'E' => return Err(String::from_utf8_lossy(body).replace('\0', " ").into()),
                    _ => {}
                }
            }
            let seen = filled - rest.len();
            self.buffer.copy_within(seen..filled, 0);
            filled -= seen;
        }
        Ok(())
    }

    async fn ask(&mut self, number: i32) -> Result<i32, Failure> {
        self.send(number).await?;
        let mut answer = None;
        self.answer(|row| {
            answer = int4(row);
            Ok(())
        })
        .await?;
        answer.ok_or_else(|| "no row came back".into())
    }
}

/// The payload of a notification, behind the process and the channel.
fn payload(body: &[u8]) -> Option<&[u8]> {
    let mut body = Body(body);
    body.int32()?;
    body.text()?;
    body.text()
}

/// The one column of a row, if it is an int4.
fn int4(row: &[u8]) -> Option<i32> {
    let mut row = Body(row);
    let (columns, value) = (row.int16()?, row.value()??);
    (columns == 1).then_some(i32::from_be_bytes(value.try_into().ok()?))
}

/// Bind s0 with one binary parameter and binary results, Execute, Sync.
fn request() -> Vec<u8> {
    let bind = b"\0s0\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\0\0\x01\0\x01";
    let execute = b"\0\0\0\0\0";
    [message(b'B', &[bind]), message(b'E', &[execute]), message(b'S', &[])].concat()
}

#[cfg(test)]
mod tests {
    use super::{PARAMETER, int4, request};

    #[test]
    fn the_parameter_is_where_it_is_patched() {
        let request = request();
        assert_eq!(request[PARAMETER.start - 4..PARAMETER.start], [0, 0, 0, 4]);
        assert_eq!(request[PARAMETER], [0; 4]);
    }

    #[test]
    fn a_row_of_one_int4_is_read() {
        assert_eq!(int4(b"\0\x01\0\0\0\x04\0\0\0\x07"), Some(7));
        assert_eq!(int4(b"\0\x01\xff\xff\xff\xff"), None);
        assert_eq!(int4(b"\0\x02\0\0\0\x04\0\0\0\x07"), None);
    }
}
