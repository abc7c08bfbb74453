//! What the server said: an ErrorResponse or NoticeResponse, field by field.

use std::borrow::Cow;
use std::fmt;

use crate::error::escaped::{cut, lines, one_line};
use crate::error::sqlstate::SqlState;

/// An error or a notice in the server's own words (manual, section 54.8, "Error and Notice Message
/// Fields").
///
/// The fields are kept as they came and read when asked for; what is not UTF-8 (a server that
/// cannot translate its message yet) is shown with replacement characters.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    fields: Box<[u8]>,
    code: SqlState,
    fatal: bool,
}

impl ServerError {
    /// Reads the body of an `E` or `N` message: fields of one byte and a text ended by NUL, ended
    /// by a NUL of their own.
    ///
    /// A body that breaks off is read as far as it goes: half an error tells more than none.
    pub fn parse(body: &[u8]) -> Self {
        let mut this = Self { fields: body.into(), code: SqlState::INTERNAL_ERROR, fatal: false };
        if let Some(code) = this.field(b'C').and_then(|code| SqlState::from_code(&code)) {
            this.code = code;
        }
        this.fatal = matches!(this.severity().as_ref(), "FATAL" | "PANIC");
        this
    }

    /// The same message, each of its fields cut after so many bytes.
    pub(crate) fn shortened(&self, most: usize) -> Self {
        let mut fields = Vec::new();
        for field in self.fields.split(|&byte| byte == 0).filter(|field| !field.is_empty()) {
            // The field's letter is one byte; a cut character is shown as a replacement.
            match field.get(..=most) {
                Some(start) => {
                    fields.extend_from_slice(start);
                    fields.extend_from_slice("…".as_bytes());
                }
                None => fields.extend_from_slice(field),
            }
            fields.push(0);
        }
        fields.push(0);
        Self { fields: fields.into(), ..*self }
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// One field by its letter, if the server sent it.
    fn field(&self, letter: u8) -> Option<Cow<'_, str>> {
        let mut rest: &[u8] = &self.fields;
        while let Some((&tag, tail)) = rest.split_first() {
            if tag == 0 {
                return None;
            }
            let end = tail.iter().position(|&b| b == 0).unwrap_or(tail.len());
            let (text, tail) = tail.split_at(end);
            if tag == letter {
                return Some(String::from_utf8_lossy(text));
            }
            rest = tail.get(1..).unwrap_or(&[]);
        }
        None
    }

    fn number(&self, letter: u8) -> Option<u32> {
        self.field(letter)?.parse().ok()
    }

    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, `DEBUG`, `INFO` or `LOG`; never translated.
    pub fn severity(&self) -> Cow<'_, str> {
        // `V` came with PostgreSQL 9.6; `S` may be translated.
        self.field(b'V').or_else(|| self.field(b'S')).unwrap_or(Cow::Borrowed("ERROR"))
    }

    /// Whether the server ends the session with this message (`FATAL`, `PANIC`).
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// The SQLSTATE; `XX000` when the server sent none.
    pub fn code(&self) -> SqlState {
        self.code
    }

    /// The primary message.
    pub fn message(&self) -> Cow<'_, str> {
        self.field(b'M').unwrap_or(Cow::Borrowed("(the server sent no message)"))
    }

    /// More about the problem.
    pub fn detail(&self) -> Option<Cow<'_, str>> {
        self.field(b'D')
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        self.field(b'H')
    }

    /// Where in the statement, in characters, the first being 1.
    pub fn position(&self) -> Option<u32> {
        self.number(b'P')
    }

    /// Where in [`internal_query`](Self::internal_query), in characters, the first being 1.
    pub fn internal_position(&self) -> Option<u32> {
        self.number(b'p')
    }

    /// The statement that failed when it was not the client's, such as one of a PL/pgSQL function.
    pub fn internal_query(&self) -> Option<Cow<'_, str>> {
        self.field(b'q')
    }

    /// The call stack of active functions, one a line, the innermost first.
    pub fn context(&self) -> Option<Cow<'_, str>> {
        self.field(b'W')
    }

    /// The schema of the object concerned.
    pub fn schema(&self) -> Option<Cow<'_, str>> {
        self.field(b's')
    }

    /// The table concerned.
    pub fn table(&self) -> Option<Cow<'_, str>> {
        self.field(b't')
    }

    /// The column concerned.
    pub fn column(&self) -> Option<Cow<'_, str>> {
        self.field(b'c')
    }

    /// The data type concerned.
    pub fn data_type(&self) -> Option<Cow<'_, str>> {
        self.field(b'd')
    }

    /// The constraint concerned.
    pub fn constraint(&self) -> Option<Cow<'_, str>> {
        self.field(b'n')
    }

    /// The file of the server's source that reported it.
    pub fn file(&self) -> Option<Cow<'_, str>> {
        self.field(b'F')
    }

    /// The line of [`file`](Self::file).
    pub fn line(&self) -> Option<u32> {
        self.number(b'L')
    }

    /// The routine of the server's source that reported it.
    pub fn routine(&self) -> Option<Cow<'_, str>> {
        self.field(b'R')
    }
}

impl fmt::Display for ServerError {
    /// One line: severity, SQLSTATE, message. The alternate form (`{:#}`) adds detail, hint and
    /// context. Each field is cut after [`limits::PRINTED_BYTES`](crate::limits::PRINTED_BYTES);
    /// [`message`](Self::message) and the others have the whole of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_line(f, &self.severity())?;
        write!(f, " {}: ", self.code)?;
        one_line(f, &self.message())?;
        if f.alternate() {
            let more =
                [("DETAIL", self.detail()), ("HINT", self.hint()), ("CONTEXT", self.context())];
            for (name, text) in more {
                if let Some(text) = text {
                    lines(f, name, &text)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerError")
            .field("severity", &cut(&self.severity()).0)
            .field("code", &self.code)
            .field("message", &cut(&self.message()).0)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_fields() {
        let error = ServerError::parse(b"SFEHLER\0VERROR\0C42P01\0Mrelation \"x\"\0P15\0\0");
        assert_eq!(error.code(), SqlState::UNDEFINED_TABLE);
        assert_eq!(error.severity(), "ERROR");
        assert_eq!(error.position(), Some(15));
        assert_eq!(error.to_string(), "ERROR 42P01: relation \"x\"");
    }

    #[test]
    fn survives_any_bytes() {
        for body in [&b""[..], b"\0", b"M", b"Mabc", b"C4\0", b"\xff\xff\0\0", b"VFATAL"] {
            let error = ServerError::parse(body);
            let _ = format!("{error} {error:#} {error:?}");
        }
        assert!(ServerError::parse(b"VFATAL").is_fatal());
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        let error = ServerError::parse(b"VERROR\0C00000\0M\x1b[2Jboo\nFATAL\0\0");
        assert_eq!(error.to_string(), "ERROR 00000: \\u{1b}[2Jboo\\nFATAL");
    }
}
