//! One client's messages, and the reply to each.

use std::collections::HashMap;

use super::tables::Table;
use crate::Failure;
use crate::frames::{Body, message, split_message, split_untagged};

/// The request codes that may stand where a protocol version would be.
const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
const NO_DATA: &[u8] = b"n\0\0\0\x04";
const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
const SELECTED: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
const NO_PARAMETERS: &[u8] = b"t\0\0\0\x06\0\0";
const ONE_INT4_PARAMETER: &[u8] = b"t\0\0\0\x0a\0\x01\0\0\0\x17";
/// One column called int4, of that type, up to its format code.
const ROW_DESCRIPTION: &[u8] =
    b"T\0\0\0\x1d\0\x01int4\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff";

/// What a `PostgreSQL` 15 reports at the start.
const PARAMETERS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "on"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("session_authorization", "postgres"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// What to do with the bytes that have come.
pub(super) enum Next<'a> {
    /// One message was answered; these bytes follow it.
    Answered(&'a [u8]),
    /// The next message is not all there.
    Wait,
    /// The client said goodbye.
    End,
}

/// What a statement does, as far as anybody can tell from its first word.
#[derive(Clone, Debug)]
struct Statement {
    verb: Vec<u8>,
    has_parameter: bool,
    table: Option<Table>,
}

impl Statement {
    fn new(text: &[u8]) -> Statement {
        let text = text.trim_ascii();
        let end = text.iter().position(|byte| !byte.is_ascii_alphabetic());
        Statement {
            verb: text.get(..end.unwrap_or(text.len())).unwrap_or_default().to_ascii_uppercase(),
            has_parameter: text.windows(2).any(|pair| pair == b"$1"),
            table: Table::named_in(text),
        }
    }

    fn returns_a_row(&self) -> bool {
        self.verb == b"SELECT"
    }
}

/// The statement that was bound last. Portals are not told apart by name.
struct Portal {
    statement: Vec<u8>,
    value: Option<i32>,
    binary: bool,
}

/// One connection, seen from the server.
pub(super) struct Conversation {
    started: bool,
    statements: HashMap<Vec<u8>, Statement>,
    portal: Portal,
    /// `I` or `T`, for `ReadyForQuery`.
    status: u8,
    /// After an error, everything up to Sync is passed over.
    skipping: bool,
}

impl Default for Conversation {
    fn default() -> Conversation {
        Conversation {
            started: false,
            statements: HashMap::new(),
            portal: Portal { statement: Vec::new(), value: Some(1), binary: false },
            status: b'I',
            skipping: false,
        }
    }
}

impl Conversation {
    /// Takes one message from the front of `bytes` and appends its reply to `output`.
    pub(super) fn answer<'a>(
        &mut self,
        bytes: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<Next<'a>, Failure> {
        if !self.started {
            let Some((body, rest)) = split_untagged(bytes) else {
                return Ok(Next::Wait);
            };
            return Ok(if self.start(body, output).ok_or("malformed startup")? {
                Next::Answered(rest)
            } else {
                Next::End
            });
        }
        let Some((tag, body, rest)) = split_message(bytes) else {
            return Ok(Next::Wait);
        };
        match tag {
            b'X' => return Ok(Next::End),
            b'S' => {
                self.skipping = false;
                self.ready(output);
            }
            _ if self.skipping => {}
            _ => self
                .reply(tag, Body(body), output)
                .ok_or_else(|| format!("a message {:?} that makes no sense", char::from(tag)))?,
        }
        Ok(Next::Answered(rest))
    }

    /// The message before the session: a request for encryption, or the startup itself. False when
    /// the client wants nothing more.
    fn start(&mut self, body: &[u8], output: &mut Vec<u8>) -> Option<bool> {
        let mut body = Body(body);
        match body.int32()? {
            CANCEL_REQUEST => return Some(false),
            SSL_REQUEST | GSSENC_REQUEST => output.push(b'N'),
            version => {
                self.started = true;
                let mut refused: Vec<&[u8]> = Vec::new();
                while let name @ [_, ..] = body.text()? {
                    body.text()?;
                    if name.starts_with(b"_pq_.") {
                        refused.push(name);
                    }
                }
                if version & 0xffff != 0 || !refused.is_empty() {
                    let count = i32::try_from(refused.len()).ok()?.to_be_bytes();
                    let names: Vec<u8> =
                        refused.iter().flat_map(|n| [n, &b"\0"[..]].concat()).collect();
                    output.extend(message(b'v', &[&[0; 4], &count, &names]));
                }
                output.extend(message(b'R', &[&[0; 4]]));
                for (name, value) in PARAMETERS {
                    let parts = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"];
                    output.extend(message(b'S', &parts));
                }
                let process = std::process::id().to_be_bytes();
                output.extend(message(b'K', &[&process, &[0x2a; 4]]));
                self.ready(output);
            }
        }
        Some(true)
    }

    /// The reply to one message of a session; `None` when its body does not parse.
    fn reply(&mut self, tag: u8, mut body: Body<'_>, output: &mut Vec<u8>) -> Option<()> {
        match tag {
            b'B' => self.bind(body, output)?,
            b'E' => self.execute(output),
            b'P' => {
                let (name, text) = (body.text()?, body.text()?);
                self.statements.insert(name.to_owned(), Statement::new(text));
                output.extend_from_slice(PARSE_COMPLETE);
            }
            b'D' => {
                let (kind, name) = body.0.split_first()?;
                self.describe(*kind, Body(name).text()?, output);
            }
            b'C' => {
                let (kind, name) = body.0.split_first()?;
                if *kind == b'S' {
                    self.statements.remove(Body(name).text()?);
                }
                output.extend_from_slice(CLOSE_COMPLETE);
            }
            b'Q' => self.simple_query(body.text()?, output),
            // Flush requests nothing that would not be sent anyway. An unexpected password or
            // CopyData message is ignored, as by the server.
            b'H' | b'p' | b'd' | b'c' | b'f' => {}
            _ => return None,
        }
        Some(())
    }

    fn bind(&mut self, mut body: Body<'_>, output: &mut Vec<u8>) -> Option<()> {
        let (_portal, name) = (body.text()?, body.text()?);
        let parameter_is_binary = formats(&mut body)?;
        let mut value = Some(Some(1));
        for _ in 0..body.int16()? {
            value = match body.value()? {
                None => Some(None),
                Some(bytes) => int4(bytes, parameter_is_binary).map(Some),
            };
        }
        let binary = formats(&mut body)?;
        match value {
            _ if !self.statements.contains_key(name) => {
                self.fail("26000", "prepared statement does not exist", output);
            }
            None => self.fail("22P03", "the parameter is not an int4", output),
            Some(value) => {
                self.portal.value = value;
                self.portal.binary = binary;
                self.portal.statement.clear();
                self.portal.statement.extend_from_slice(name);
                output.extend_from_slice(BIND_COMPLETE);
            }
        }
        Some(())
    }

    fn execute(&mut self, output: &mut Vec<u8>) {
        match self.statements.get(&self.portal.statement) {
            None => self.fail("34000", "portal does not exist", output),
            Some(Statement { table: Some(table), .. }) if self.portal.binary => {
                let parameter = self.portal.value.and_then(|value| u32::try_from(value).ok());
                table.answer(parameter.unwrap_or(0), output);
            }
            Some(Statement { table: Some(_), .. }) => {
                self.fail("0A000", "tables are read in binary only", output);
            }
            Some(statement) if statement.returns_a_row() => {
                row(self.portal.value, self.portal.binary, output);
                output.extend_from_slice(SELECTED);
            }
            Some(statement) => {
                let statement = statement.clone();
                self.complete(&statement, output);
            }
        }
    }

    fn describe(&mut self, kind: u8, name: &[u8], output: &mut Vec<u8>) {
        let of_statement = kind == b'S';
        let name = if of_statement { name } else { &self.portal.statement };
        let Some(statement) = self.statements.get(name) else {
            return self.fail("26000", "prepared statement does not exist", output);
        };
        if of_statement {
            let parameters =
                if statement.has_parameter { ONE_INT4_PARAMETER } else { NO_PARAMETERS };
            output.extend_from_slice(parameters);
        }
        let binary = !of_statement && self.portal.binary;
        if let Some(table) = statement.table {
            output.extend(table.description(binary));
        } else if statement.returns_a_row() {
            row_description(binary, output);
        } else {
            output.extend_from_slice(NO_DATA);
        }
    }

    fn simple_query(&mut self, text: &[u8], output: &mut Vec<u8>) {
        let mut empty = true;
        for statement in text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if statement.is_empty() {
                continue;
            }
            empty = false;
            let bursts = statement.windows(10).any(|words| words == b"pg_notify(");
            let statement = Statement::new(statement);
            if statement.returns_a_row() {
                if bursts {
                    notifications(output);
                }
                row_description(false, output);
                row(Some(1), false, output);
                output.extend_from_slice(SELECTED);
            } else {
                self.complete(&statement, output);
            }
        }
        if empty {
            output.extend_from_slice(EMPTY_QUERY);
        }
        self.ready(output);
    }

    /// `CommandComplete` of a statement without rows, and what it does to the transaction.
    fn complete(&mut self, statement: &Statement, output: &mut Vec<u8>) {
        match &statement.verb[..] {
            b"BEGIN" | b"START" => self.status = b'T',
            b"COMMIT" | b"END" | b"ROLLBACK" | b"ABORT" => self.status = b'I',
            _ => {}
        }
        output.extend(message(b'C', &[&statement.verb, b"\0"]));
    }

    fn fail(&mut self, sqlstate: &str, text: &str, output: &mut Vec<u8>) {
        self.skipping = true;
        let parts = ["SERROR\0VERROR\0C", sqlstate, "\0M", text, "\0\0"];
        output.extend(message(b'E', &parts.map(str::as_bytes)));
    }

    fn ready(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"Z\0\0\0\x05");
        output.push(self.status);
    }
}

/// A burst of 1,000 notifications, whatever the statement says of them. A server sends them after
/// the rows, which affects no measurement.
fn notifications(output: &mut Vec<u8>) {
    for number in 0..1_000 {
        let payload = number.to_string();
        output.extend(message(b'A', &[b"\0\0\0\x2anews\0", payload.as_bytes(), b"\0"]));
    }
}

/// Reads a list of format codes; whether the last one is binary. There is one column and one
/// parameter.
fn formats(body: &mut Body<'_>) -> Option<bool> {
    let mut binary = false;
    for _ in 0..body.int16()? {
        binary = body.int16()? == 1;
    }
    Some(binary)
}

fn int4(bytes: &[u8], binary: bool) -> Option<i32> {
    if binary {
        Some(i32::from_be_bytes(bytes.try_into().ok()?))
    } else {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

fn row_description(binary: bool, output: &mut Vec<u8>) {
    output.extend_from_slice(ROW_DESCRIPTION);
    output.extend_from_slice(&i16::from(binary).to_be_bytes());
}

fn row(value: Option<i32>, binary: bool, output: &mut Vec<u8>) {
    match value {
        None => output.extend_from_slice(b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff"),
        Some(value) if binary => {
            output.extend_from_slice(b"D\0\0\0\x0e\0\x01\0\0\0\x04");
            output.extend_from_slice(&value.to_be_bytes());
        }
        Some(value) => {
            let digits = value.to_string();
            let length = u32::try_from(digits.len()).unwrap_or(0).to_be_bytes();
            output.extend(message(b'D', &[b"\0\x01", &length, digits.as_bytes()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conversation, Next};
    use crate::frames::{message, split_message};

    /// Everything the server says to `input`, cut into pieces of `size`.
    fn said(input: &[u8], size: usize) -> Vec<u8> {
        let mut conversation = Conversation::default();
        let (mut pending, mut output) = (Vec::new(), Vec::new());
        for piece in input.chunks(size) {
            pending.extend_from_slice(piece);
            let mut rest = &pending[..];
            while let Next::Answered(after) = conversation.answer(rest, &mut output).unwrap() {
                rest = after;
            }
            let used = pending.len() - rest.len();
            pending.drain(..used);
        }
        output
    }

    fn tags(mut bytes: &[u8]) -> String {
        let mut tags = String::new();
        while let Some((tag, _, rest)) = split_message(bytes) {
            tags.push(char::from(tag));
            bytes = rest;
        }
        assert!(bytes.is_empty());
        tags
    }

    fn session(messages: &[Vec<u8>]) -> Vec<u8> {
        let startup = message(0, &[b"\0\x03\0\0user\0me\0\0"]);
        [startup, messages.concat()].concat()
    }

    #[test]
    fn a_prepared_query_gets_its_usual_replies_however_it_is_cut() {
        let input = session(&[
            message(b'P', &[b"s\0select $1::int4\0\0\0"]),
            message(b'D', &[b"Ss\0"]),
            message(b'S', &[]),
            message(b'B', &[b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\x01\x02\0\x01\0\x01"]),
            message(b'E', &[b"\0\0\0\0\0"]),
            message(b'S', &[]),
        ]);
        let whole = said(&input, input.len());
        assert_eq!(tags(&whole), "RSSSSSSSSSSSKZ1tTZ2DCZ");
        assert!(whole.windows(10).any(|w| w == b"\0\x01\0\0\0\x04\0\0\x01\x02"));
        for size in 1..input.len() {
            assert_eq!(said(&input, size), whole);
        }
    }

    #[test]
    fn text_parameters_come_back_as_text_or_binary() {
        for (format, column) in [(0, &b"\0\0\0\x02-7"[..]), (1, b"\0\0\0\x04\xff\xff\xff\xf9")] {
            let input = session(&[
                message(b'P', &[b"\0select $1::int4\0\0\0"]),
                message(b'B', &[b"\0\0\0\0\0\x01\0\0\0\x02-7\0\x01\0", &[format]]),
                message(b'E', &[b"\0\0\0\0\0"]),
            ]);
            let output = said(&input, input.len());
            assert!(output.windows(column.len()).any(|w| w == column));
        }
    }

    #[test]
    fn transactions_and_errors_show_in_ready_for_query() {
        let input = session(&[
            message(b'Q', &[b"begin; select 1\0"]),
            message(b'B', &[b"\0nobody\0\0\0\0\0\0\0"]),
            message(b'E', &[b"\0\0\0\0\0"]),
            message(b'S', &[]),
            message(b'Q', &[b"COMMIT\0"]),
            message(b'Q', &[b" \0"]),
        ]);
        let output = said(&input, 7);
        assert!(tags(&output).ends_with("KZCTDCZEZCZIZ"));
        assert!(
            output.ends_with(b"Z\0\0\0\x05TC\0\0\0\x0bCOMMIT\0Z\0\0\0\x05II\0\0\0\x04Z\0\0\0\x05I")
        );
    }

    #[test]
    fn encryption_is_declined_and_newer_protocols_are_talked_down() {
        let ssl = message(0, &[&80_877_103_i32.to_be_bytes()]);
        let newer = message(0, &[b"\0\x03\0\x02user\0me\0\0"]);
        let output = said(&[ssl, newer].concat(), 5);
        assert_eq!(output[0], b'N');
        assert!(tags(&output[1..]).starts_with("vRS"));
    }
}
