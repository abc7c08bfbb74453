//! A minimal connection for the kit's own statements: one simple query after another, over the Unix
//! socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// If a statement of the kit's own takes longer, the server is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Errand {
    stream: UnixStream,
}

#[derive(Debug)]
pub(crate) enum Refusal {
    Io(io::Error),
    Server { sqlstate: String, message: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Server { sqlstate, message } => write!(f, "{sqlstate}: {message}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Errand {
    pub(crate) fn open(socket: &Path, user: &str, database: &str) -> Result<Self, Refusal> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut errand = Self { stream };
        let mut startup = 0x0003_0000_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, "application_name", "testkit", ""] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        errand.stream.write_all(&counted(&startup))?;
        errand.answer()?;
        Ok(errand)
    }

    /// Runs a statement; rows are returned as `psql -At` prints them.
    pub(crate) fn run(&mut self, sql: &str) -> Result<String, Refusal> {
        let mut text = sql.as_bytes().to_vec();
        text.push(0);
        let mut message = vec![b'Q'];
        message.extend(counted(&text));
        self.stream.write_all(&message)?;
        self.answer()
    }

    /// Reads up to ReadyForQuery.
    fn answer(&mut self) -> Result<String, Refusal> {
        let mut rows: Vec<String> = Vec::new();
        let mut refusal = None;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let [tag, length @ ..] = head;
            let length = u32::from_be_bytes(length).saturating_sub(4);
            let mut body = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            self.stream.read_exact(&mut body)?;
            match tag {
                b'Z' => return refusal.map_or_else(|| Ok(rows.join("\n")), Err),
                b'D' => rows.push(row(&body).ok_or_else(nonsense)?),
                b'E' => {
                    let field = |wanted: u8| {
                        let found = body
                            .split(|byte| *byte == 0)
                            .find(|field| field.first() == Some(&wanted));
                        String::from_utf8_lossy(
                            found.unwrap_or_default().get(1..).unwrap_or_default(),
                        )
                        .into_owned()
                    };
                    let error = Refusal::Server { sqlstate: field(b'C'), message: field(b'M') };
                    if matches!(field(b'V').as_str(), "FATAL" | "PANIC") {
                        return Err(error);
                    }
                    refusal = Some(error);
                }
                b'R' if body != [0; 4] => {
                    return Err(io::Error::other(
                        "the server wants a password, which the kit does not have",
                    )
                    .into());
                }
                _ => {}
            }
        }
    }
}

fn row(body: &[u8]) -> Option<String> {
    let (_, mut rest) = body.split_at_checked(2)?;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        // Minus one is NULL.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at_checked(length)?;
        values.push(String::from_utf8_lossy(value).into_owned());
        rest = after;
    }
    Some(values.join("|"))
}

fn counted(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(body);
    message
}

fn nonsense() -> Refusal {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent a row that does not add up").into()
}
