//! The floor: a Tokio socket in the calling task, which sends bytes made beforehand and reads until
//! the server is ready again. No client on this runtime can do less.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{CHANNEL, Client, NOTIFY, STATEMENT, Tally, Workload};
use crate::Failure;
use crate::frames::{Body, message, split_message};
use crate::target::Target;

/// Where the parameter's four bytes are in [`Raw::request`].
const PARAMETER: std::ops::Range<usize> = 19..23;

/// More than the answers of the handshake, which are the longest of workload a, and than a read of
/// workload g brings.
const BUFFER: usize = 64 * 1024;

pub(super) struct Raw {
    socket: UnixStream,
    /// Bind, Execute and Sync; only the parameter changes.
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client for Raw {
    async fn connect(target: &Target, workload: Workload) -> Result<Raw, Failure> {
        let mut raw = Raw {
            socket: UnixStream::connect(target.socket()).await?,
            request: request(),
            buffer: vec![0; BUFFER],
        };
        let parameters = [b"user\0", target.user.as_bytes(), b"\0database\0"].concat();
        let startup = [&3_i16.to_be_bytes()[..], &[0, 0], &parameters].concat();
        let startup = message(0, &[&startup, target.database.as_bytes(), b"\0\0"]);
        raw.exchange(&startup).await?;

        let parse = [b"s0\0", STATEMENT.as_bytes(), b"\0\0\x01", &23_i32.to_be_bytes()].concat();
        let prepare = [message(b'P', &[&parse]), message(b'S', &[])].concat();
        raw.exchange(&prepare).await?;
        if workload == Workload::G {
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
        if let Some(parameter) = self.request.get_mut(PARAMETER) {
            parameter.copy_from_slice(&number.to_be_bytes());
        }
        self.socket.write_all(&self.request).await?;
        self.answer().await?.ok_or_else(|| "no row came back".into())
    }
}

impl Raw {
    async fn exchange(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(request).await?;
        self.answer().await.map(drop)
    }

    /// Reads to `ReadyForQuery`; the integer of the row on the way, if there was one.
    async fn answer(&mut self) -> Result<Option<i32>, Failure> {
        let mut filled = 0;
        let mut seen = 0;
        let mut number = None;
        loop {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.socket.read(free).await?;
            if read == 0 {
                return Err("the server hung up, or its answer is longer than expected".into());
            }
            filled += read;
            let mut rest = self.buffer.get(seen..filled).unwrap_or_default();
            while let Some((tag, body, after)) = split_message(rest) {
                rest = after;
                match tag {
                    b'Z' => return Ok(number),
                    b'D' => number = int4(body),
                    b'E' => return Err(String::from_utf8_lossy(body).replace('\0', " ").into()),
                    b'R' if Body(body).int32() != Some(0) => {
                        return Err("the server wants a password; the floor has none".into());
                    }
                    _ => {}
                }
            }
            seen = filled - rest.len();
        }
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
