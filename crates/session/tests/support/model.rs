//! A server that knows the protocol and nothing else: it does what the words of a statement say.
//!
//! `rows 3` returns three rows, each with the statement's own text; `error` fails after the rows and `bad` in Parse;
//! `notice`, `notify` and `param` say something on the side; `copyout` and `copyin` begin a COPY; `begin` and `commit` are
//! what they are. Portals keep their rows from one portion to the next. The data of a COPY ends well, badly, or with a line
//! that says `refuse`. It checks what a session must never do: speak after Terminate, or give a name twice.

use std::collections::HashMap;

use super::dialog::message;

pub struct Model {
    input: Vec<u8>,
    /// What it has said.
    pub said: Vec<u8>,
    /// Where in `said` each ReadyForQuery ends.
    pub ready: Vec<usize>,
    /// For each request whether its statement was executed.
    pub executed: Vec<bool>,
    statements: HashMap<String, String>,
    /// The statement of each portal, and how many of its rows are gone; the empty name is that of the unnamed one.
    portals: HashMap<String, (String, usize)>,
    status: u8,
    /// After an error: until Sync.
    skips: bool,
    /// It waits for the data of a COPY that came by Query (or by Execute).
    copies: Option<bool>,
    /// Lines of the data so far.
    lines: usize,
    ended: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            input: Vec::new(),
            said: Vec::new(),
            ready: Vec::new(),
            executed: vec![false],
            statements: HashMap::new(),
            portals: HashMap::new(),
            status: b'I',
            skips: false,
            copies: None,
            lines: 0,
            ended: false,
        }
    }
}

fn texts(body: &[u8]) -> Vec<String> {
    body.split(|&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// How many rows a statement returns, if it returns rows.
fn rows_of(sql: &str) -> Option<usize> {
    let mut words = sql.split(' ').skip_while(|&word| word != "rows").skip(1);
    let number = words.next().filter(|_| !sql.contains("copyout"))?;
    Some(number.parse().unwrap())
}

impl Model {
    /// Takes bytes of the client, cut anywhere.
    pub fn receive(&mut self, bytes: &[u8]) {
        assert!(bytes.is_empty() || !self.ended, "the client spoke after Terminate");
        self.input.extend_from_slice(bytes);
        loop {
            let header = usize::from(self.input.first().is_some_and(|&tag| tag != 0));
            let Some(length) = self.input.get(header..header + 4) else {
                return;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = header + usize::try_from(length).unwrap();
            if self.input.len() < end {
                return;
            }
            let rest = self.input.split_off(end);
            let message = std::mem::replace(&mut self.input, rest);
            let tag = if header == 0 { 0 } else { message[0] };
            self.take(tag, &message[header + 4..]);
        }
    }

    fn say(&mut self, tag: u8, body: &[u8]) {
        self.said.extend(message(tag, body));
    }

    fn ready(&mut self) {
        self.skips = false;
        if self.status != b'T' {
            self.portals.clear();
        }
        let status = [self.status];
        self.say(b'Z', &status);
        self.ready.push(self.said.len());
    }

    fn fail(&mut self, code: &str, text: &str) {
        if self.status == b'T' {
            self.status = b'E';
        }
        self.portals.clear();
        self.skips = true;
        self.say(b'E', format!("SERROR\0VERROR\0C{code}\0M{text}\0\0").as_bytes());
    }

    fn take(&mut self, tag: u8, body: &[u8]) {
        assert!(!self.ended, "the client spoke after Terminate");
        if let Some(by_query) = self.copies {
            return self.take_copied(tag, body, by_query);
        }
        match tag {
            0 => {
                self.say(b'R', &[0; 4]);
                self.say(b'S', b"server_version\x0015.0\0");
                self.say(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]);
                self.ready();
            }
            b'X' => self.ended = true,
            b'S' => {
                self.executed.push(false);
                self.ready();
            }
            b'Q' => self.query(&texts(body)[0]),
            _ if self.skips => {}
            // What is left of a COPY that has failed.
            b'd' | b'c' | b'f' => {}
            b'P' => {
                let [name, sql, ..] = &texts(body)[..] else { panic!("half a Parse") };
                if self.refuses(sql) {
                    return;
                }
                if sql.contains("bad") {
                    return self.fail("42601", "this is bad");
                }
                let old = self.statements.insert(name.clone(), sql.clone());
                assert!(old.is_none() || name.is_empty(), "the name {name} was given twice");
                self.say(b'1', b"");
            }
            b'B' => {
                let [portal, name, ..] = &texts(body)[..] else { panic!("half a Bind") };
                let Some(sql) = self.statements.get(name).cloned() else {
                    return self.fail("26000", "prepared statement does not exist");
                };
                if self.refuses(&sql) {
                    return;
                }
                let old = self.portals.insert(portal.clone(), (sql, 0));
                assert!(old.is_none() || portal.is_empty(), "the portal {portal} was opened twice");
                self.say(b'2', b"");
            }
            b'D' if body[0] == b'S' => {
                let sql = self.statements[&texts(&body[1..])[0]].clone();
                let count = sql.matches('$').count();
                let mut types = vec![0, u8::try_from(count).unwrap()];
                types.extend([0, 0, 0, 23].repeat(count));
                self.say(b't', &types);
                self.describe(&sql, 0);
            }
            b'D' => self.describe(&self.portals[&texts(&body[1..])[0]].0.clone(), 1),
            b'C' if body[0] == b'P' => {
                self.portals.remove(&texts(&body[1..])[0]);
                self.say(b'3', b"");
            }
            b'C' => {
                self.statements.remove(&texts(&body[1..])[0]);
                self.say(b'3', b"");
            }
            b'E' => {
                let portal = texts(body)[0].clone();
                let most = u32::from_be_bytes(body[body.len() - 4..].try_into().unwrap());
                let Some((sql, gone)) = self.portals.get(&portal).cloned() else {
                    return self.fail("34000", "the portal does not exist");
                };
                if !self.refuses(&sql) {
                    self.execute_portal(&portal, &sql, gone, usize::try_from(most).unwrap());
                }
            }
            other => panic!("the client sent {:?}", char::from(other)),
        }
    }

    fn take_copied(&mut self, tag: u8, body: &[u8], by_query: bool) {
        match tag {
            b'X' => self.ended = true,
            // A Sync of the request itself is passed over.
            b'S' => {}
            b'd' => {
                self.lines += body.split(|&byte| byte == b'\n').count() - 1;
                if body.windows(6).any(|word| word == b"refuse") {
                    let lines = self.lines;
                    self.copied(by_query, Err(("22P02", format!("line {lines} is refused"))));
                }
            }
            b'c' => self.copied(by_query, Ok(())),
            b'f' => {
                let text = texts(body)[0].clone();
                self.copied(by_query, Err(("57014", format!("COPY from stdin failed: {text}"))));
            }
            other => panic!("{:?} in the data of a COPY", char::from(other)),
        }
    }

    /// The data of a COPY has come to its end.
    fn copied(&mut self, by_query: bool, end: Result<(), (&str, String)>) {
        self.copies = None;
        match end {
            Ok(()) => {
                *self.executed.last_mut().unwrap() = true;
                let tag = format!("COPY {}\0", self.lines);
                self.say(b'C', tag.as_bytes());
            }
            Err((code, text)) => self.fail(code, &text),
        }
        self.lines = 0;
        if by_query {
            self.executed.push(false);
            self.ready();
        }
    }

    /// As many rows of a portal as are asked for; all for 0. What they say on the side they say the first time.
    fn execute_portal(&mut self, portal: &str, sql: &str, gone: usize, most: usize) {
        let rows = rows_of(sql).unwrap_or(0);
        if most == 0 || portal.is_empty() {
            return self.execute(sql, false);
        }
        *self.executed.last_mut().unwrap() = true;
        let count = most.min(rows - gone);
        self.say_rows(sql, count);
        self.portals.insert(portal.to_owned(), (sql.to_owned(), gone + count));
        if count == most {
            return self.say(b's', b"");
        }
        if sql.contains("error") {
            return self.fail("22012", &format!("division by zero in {sql}"));
        }
        self.say(b'C', format!("SELECT {count}\0").as_bytes());
    }

    fn say_rows(&mut self, sql: &str, count: usize) {
        for _ in 0..count {
            let length = u32::try_from(sql.len()).unwrap().to_be_bytes();
            self.say(b'D', &[&[0, 1], &length[..], sql.as_bytes()].concat());
        }
    }

    fn refuses(&mut self, sql: &str) -> bool {
        let refuses = self.status == b'E' && sql != "commit";
        if refuses {
            self.fail("25P02", "the transaction is aborted");
        }
        refuses
    }

    fn query(&mut self, script: &str) {
        for sql in script.split(';') {
            if self.refuses(sql) {
                break;
            }
            if sql.contains("bad") {
                self.fail("42601", "this is bad");
                break;
            }
            if rows_of(sql).is_some() {
                self.describe(sql, 0);
            }
            self.execute(sql, true);
            if self.skips || self.copies.is_some() {
                break;
            }
        }
        if self.copies.is_none() {
            self.executed.push(false);
            self.ready();
        }
    }

    fn describe(&mut self, sql: &str, format: u8) {
        if rows_of(sql).is_some() {
            let column = [0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, format];
            self.say(b'T', &[&b"\0\x01text\0"[..], &column].concat());
        } else {
            self.say(b'n', b"");
        }
    }

    fn execute(&mut self, sql: &str, by_query: bool) {
        if sql != "begin" && !sql.contains("copyin") {
            *self.executed.last_mut().unwrap() = true;
        }
        if sql.contains("notice") {
            self.say(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{sql}\0\0").as_bytes());
        }
        if sql.contains("param") {
            self.say(b'S', format!("application_name\0{sql}\0").as_bytes());
        }
        if sql.contains("copyin") {
            self.say(b'G', &[0, 0, 1, 0, 0]);
            self.copies = Some(by_query);
            return;
        }
        if sql.contains("copyout") {
            self.say(b'H', &[0, 0, 1, 0, 0]);
            self.say(b'd', sql.as_bytes());
            self.say(b'c', b"");
        }
        let rows = rows_of(sql).unwrap_or(0);
        self.say_rows(sql, rows);
        if sql.contains("error") {
            return self.fail("22012", &format!("division by zero in {sql}"));
        }
        if sql.is_empty() {
            return self.say(b'I', b"");
        }
        let tag = match (sql, self.status) {
            ("begin", _) => {
                self.status = b'T';
                "BEGIN".to_owned()
            }
            ("commit", before) => {
                self.status = b'I';
                if before == b'E' { "ROLLBACK".to_owned() } else { "COMMIT".to_owned() }
            }
            _ => format!("SELECT {rows}"),
        };
        self.say(b'C', format!("{tag}\0").as_bytes());
        if sql.contains("notify") {
            self.say(b'A', format!("\0\0\0\x09channel\0{sql}\0").as_bytes());
        }
    }
}
