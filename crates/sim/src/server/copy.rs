//! COPY in the model server: data into a table, each line or row a token; rows of a query as data.

use super::backend::{Around, Backend, CopyIn, Outcome, Refusal};
use super::happened::Happened;
use super::run::{End, Run, check, put_value};
use super::work::Work;
use crate::token::Token;
use crate::wire::{self, Fields, Message};

/// The head of data in binary: the signature, flags, and an extension of no bytes.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The reason with which callers abort.
pub(crate) const PLANNED: &str = "planned";

/// A line of data that the server refuses.
pub(crate) const BAD_LINE: &str = "bad";

impl Backend {
    /// Asks for data.
    pub(super) fn copy_in(&mut self, token: Token, binary: bool, around: &mut Around<'_>) {
        self.answered.push(token);
        around.happened.push(Happened::Started {
            token,
            transaction: self.transaction.id,
            explicit: self.transaction.status() == b'T',
        });
        let columns = if binary { 2 } else { 1 };
        self.output.put(0, |out| put_layout(out, b'G', binary, columns));
        self.copy = Some(CopyIn { op: token.op, binary, data: Vec::new() });
    }

    /// Takes a message while it waits for data.
    pub(super) fn receive_copy(&mut self, message: &Message, around: &mut Around<'_>) {
        let cancelled = Refusal("57014", "canceling statement due to user request", "");
        let outcome = match message.tag {
            _ if std::mem::take(&mut self.is_cancelled) => Err(cancelled),
            b'd' => {
                // A line that the server refuses ends the COPY where it stands.
                match self.copy.as_mut().map(|copy| copy.take_data(&message.body)) {
                    Some(true) => Err(Refusal("22P04", "planned for a line", "")),
                    _ => return,
                }
            }
            b'c' => self.copy_done(around),
            b'f' => Err(Refusal("57014", why_failed(&message.body), "ProcessCopyData")),
            b'H' | b'S' => return,
            b'X' => {
                around.happened.push(Happened::Left { line: self.line, politely: true });
                return self.end(around);
            }
            _ => {
                self.broken(around, "a message came that is no data of the COPY in progress");
                Err(Refusal("08P01", "unexpected message type", "CopyGetData"))
            }
        };
        self.copy = None;
        if let Err(refusal) = outcome {
            self.refuse(refusal, around);
            self.script = Some(std::collections::VecDeque::new());
        }
    }

    fn copy_done(&mut self, around: &mut Around<'_>) -> Outcome {
        let copy = self.copy.take().unwrap_or_default();
        let malformed = Refusal("22P04", "data is malformed", "CopyFrom");
        let tokens = if copy.binary {
            read_rows(&copy.data).ok_or(malformed)?
        } else {
            let tokens = lines(&copy.data).map(|line| line.parse().ok());
            tokens.collect::<Option<Vec<Token>>>().ok_or(malformed)?
        };
        let tag = format!("COPY {}", tokens.len());
        self.transaction.done.effects.push(Token::of(copy.op));
        self.transaction.done.effects.extend(tokens);
        let run = Run::copy(copy.op, around.now);
        self.complete(&run, &tag, around);
        Ok(())
    }

    /// Data of a COPY TO STDOUT.
    pub(super) fn copy_out(
        &mut self,
        run: &mut Run,
        work: &Work,
        binary: bool,
    ) -> Outcome<Option<End>> {
        let token = run.token().unwrap_or_default();
        if run.row == 0 && run.returned == 0 {
            self.output.put(0, |out| put_layout(out, b'H', binary, if binary { 3 } else { 1 }));
            if binary {
                self.output.put(token.op, |out| wire::put(out, b'd', |out| out.extend(HEAD)));
            }
            run.returned = 1;
        }
        for _ in 0..8 {
            check(work, run.row)?;
            if run.row >= work.rows {
                if binary {
                    let end = (-1_i16).to_be_bytes();
                    self.output.put(token.op, |out| wire::put(out, b'd', |out| out.extend(end)));
                }
                self.output.put_empty(b'c');
                return Ok(Some(End::Complete(format!("COPY {}", work.rows))));
            }
            let (row, filler) = (run.row, work.filler(run.row));
            self.output.put(token.op, |out| {
                wire::put(out, b'd', |out| {
                    if binary {
                        wire::put_short(out, 3);
                        put_value(out, token.to_string().as_bytes());
                        put_value(out, &i64::from(row).to_be_bytes());
                        put_value(out, filler.as_bytes());
                    } else {
                        out.extend(format!("{token}\t{row}\t{filler}\n").as_bytes());
                    }
                });
            });
            run.row += 1;
        }
        Ok(None)
    }
}

/// What the server says of a COPY that the client has failed: its reason is repeated.
fn why_failed(body: &[u8]) -> &'static str {
    match Fields(body).text() {
        Some(PLANNED) => "COPY from stdin failed: planned",
        _ => "COPY from stdin failed: another reason",
    }
}

impl CopyIn {
    /// Takes data; says whether a line of it is to be refused.
    fn take_data(&mut self, data: &[u8]) -> bool {
        let from = self.data.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        self.data.extend(data);
        !self.binary
            && lines(self.data.get(from..).unwrap_or_default()).any(|line| line == BAD_LINE)
    }
}

impl Run {
    /// What stands for a COPY whose data has come.
    fn copy(op: u32, now: u64) -> Self {
        let work = Work { token: Some(Token::of(op)), ..Work::default() };
        Self {
            statement: super::statement::Statement::Work(work),
            parameters: super::portal::Parameters::default(),
            formats: Vec::new(),
            portal: None,
            limit: 0,
            row: 0,
            returned: 0,
            wake: now,
        }
    }
}

/// `CopyInResponse` and `CopyOutResponse`.
fn put_layout(out: &mut Vec<u8>, tag: u8, binary: bool, columns: usize) {
    wire::put(out, tag, |out| {
        out.push(u8::from(binary));
        wire::put_short(out, columns);
        for _ in 0..columns {
            wire::put_short(out, usize::from(binary));
        }
    });
}

fn lines(data: &[u8]) -> impl Iterator<Item = &str> {
    let complete = data.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let text = data.get(..complete).and_then(|data| std::str::from_utf8(data).ok());
    text.unwrap_or_default().split('\n').filter(|line| !line.is_empty())
}

/// Rows in binary, of a token and a number each.
fn read_rows(data: &[u8]) -> Option<Vec<Token>> {
    let mut fields = Fields(data.strip_prefix(HEAD)?);
    let mut tokens = Vec::new();
    loop {
        let count = fields.short()?;
        if count == u16::MAX {
            return fields.0.is_empty().then_some(tokens);
        }
        let mut token = None;
        for column in 0..count {
            let value = fields.value()?;
            if column == 0 {
                token = std::str::from_utf8(value).ok()?.parse().ok();
            }
        }
        tokens.push(token?);
    }
}
