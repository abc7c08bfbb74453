//! A conversation between client and server, kept as text.
//!
//! ```text
//! The first line says why the dialog is kept.
//!
//! ! what the client does            open, script, prepare, fresh, query, again, abandon, close, end,
//!                                   exclusive (a request that travels alone), cancel, takeback, gate (it opens),
//!                                   portal, fetch, unportal, many, copyin, copyout,
//!                                   stream (rows as they come), data, done, fail (of a COPY);
//!                                   a parameter that begins with text: is given as text
//! > what it sends for that          checked, message by message
//! < one message of the server       its kind, then "text" and numbers as width:value; the length is added
//! <! bytes as they are              without kind and length
//! = an event that came of it        checked, all in order
//! # a remark
//! ```

use std::collections::HashMap;
use std::path::Path;

use txpostgres_session::types::Type;

use super::words::{Word, split};

pub struct Dialog {
    pub name: String,
    pub reason: String,
    pub options: HashMap<String, String>,
    pub steps: Vec<Step>,
    /// All events in order, as text.
    pub events: Vec<String>,
}

pub enum Step {
    /// The client does this.
    Act(Act),
    /// And sends these messages.
    Sends(Vec<String>),
    /// The server sends these, side by side.
    Server(Vec<Piece>),
}

/// Bytes of the server: one message, or what is none.
#[derive(Clone)]
pub struct Piece {
    pub bytes: Vec<u8>,
    pub framed: bool,
}

#[derive(Debug, Clone)]
pub enum Act {
    Submit {
        begin: Option<String>,
        what: Ask,
    },
    /// The query whose answer was only a step goes on.
    Again,
    Abandon(usize),
    /// A request that travels alone.
    Exclusive(Ask),
    Cancel(usize),
    /// Takes a request back.
    TakeBack(usize),
    OpenGate,
    /// The rows of this request are told of as they come.
    Stream(usize),
    /// Data of a COPY, its end, or its failure.
    Data(usize, Vec<u8>),
    Done(usize),
    Fail(usize, String),
    Close,
    End,
}

#[derive(Debug, Clone)]
pub enum Ask {
    Script(String),
    Prepare {
        name: String,
        sql: String,
    },
    Fresh {
        name: String,
        sql: String,
        types: Vec<Type>,
        values: Vec<Option<Vec<u8>>>,
    },
    Query {
        sql: String,
        values: Vec<Option<Vec<u8>>>,
    },
    /// A query into a portal, of which so many rows come.
    Portal {
        portal: String,
        rows: u32,
        sql: String,
        values: Vec<Option<Vec<u8>>>,
    },
    Fetch {
        portal: String,
        rows: u32,
    },
    ClosePortal {
        portal: String,
    },
    /// A query with many sets of parameters, of one value each.
    Many {
        sql: String,
        sets: Vec<Option<Vec<u8>>>,
    },
    CopyIn(String),
    CopyOut(String),
}

impl Dialog {
    /// All that are kept.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../session/tests/dialogs");
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy();
                Self::parse(&name, &std::fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let (reason, rest) = text.split_once('\n').unwrap_or((text, ""));
        let mut this = Self {
            name: name.to_owned(),
            reason: reason.to_owned(),
            options: HashMap::new(),
            steps: Vec::new(),
            events: Vec::new(),
        };
        for line in rest.lines() {
            let (mark, tail) = line.split_once(' ').unwrap_or((line, ""));
            match mark {
                "" | "#" => {}
                "!" => this.act(&split(tail)),
                ">" => match this.steps.last_mut() {
                    Some(Step::Sends(messages)) => messages.push(tail.to_owned()),
                    _ => this.steps.push(Step::Sends(vec![tail.to_owned()])),
                },
                "=" => this.events.push(tail.to_owned()),
                "<" | "<!" => this.server(Piece::read(mark == "<", &split(tail))),
                _ => panic!("{name}: what is {line:?}?"),
            }
        }
        this
    }

    fn server(&mut self, piece: Piece) {
        match self.steps.last_mut() {
            Some(Step::Server(pieces)) => pieces.push(piece),
            _ => self.steps.push(Step::Server(vec![piece])),
        }
    }

    fn act(&mut self, words: &[Word]) {
        let (first, rest) = words.split_first().expect("an act has a name");
        let act = match first.bare.as_str() {
            "open" => {
                for word in rest {
                    let (name, value) = word.bare.split_once('=').unwrap();
                    self.options.insert(name.to_owned(), value.to_owned());
                }
                return;
            }
            "begin" => Act::Submit { begin: Some(rest[0].text()), what: Ask::read(&rest[1..]) },
            "again" => Act::Again,
            "abandon" => Act::Abandon(rest[0].bare.parse().unwrap()),
            "exclusive" => Act::Exclusive(Ask::read(rest)),
            "cancel" => Act::Cancel(rest[0].bare.parse().unwrap()),
            "takeback" => Act::TakeBack(rest[0].bare.parse().unwrap()),
            "gate" => Act::OpenGate,
            "stream" => Act::Stream(rest[0].bare.parse().unwrap()),
            "data" => Act::Data(
                rest[0].bare.parse().unwrap(),
                rest[1..].iter().flat_map(Word::bytes).collect(),
            ),
            "done" => Act::Done(rest[0].bare.parse().unwrap()),
            "fail" => Act::Fail(rest[0].bare.parse().unwrap(), rest[1].text()),
            "close" => Act::Close,
            "end" => Act::End,
            _ => Act::Submit { begin: None, what: Ask::read(words) },
        };
        self.steps.push(Step::Act(act));
    }

    /// All bytes of the server.
    pub fn server_bytes(&self) -> usize {
        let pieces = self.steps.iter().filter_map(|step| match step {
            Step::Server(pieces) => Some(pieces),
            _ => None,
        });
        pieces.flatten().map(|piece| piece.bytes.len()).sum()
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

impl Piece {
    fn read(framed: bool, words: &[Word]) -> Self {
        if !framed {
            let bytes = words.iter().flat_map(Word::bytes).collect();
            return Self { bytes, framed };
        }
        let body: Vec<u8> = words[1..].iter().flat_map(Word::bytes).collect();
        Self { bytes: message(words[0].bare.as_bytes()[0], &body), framed }
    }
}

/// A message with its length.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn value(word: &Word) -> Option<Vec<u8>> {
    (!word.bare.ends_with("null")).then(|| word.quoted.clone().unwrap_or_default())
}

fn type_named(word: &Word) -> Type {
    let name = word.bare.split(':').next().unwrap_or_default();
    [Type::INT4, Type::INT8, Type::TEXT, Type::JSONB, Type::BOOL]
        .into_iter()
        .find(|ty| ty.name() == name)
        .unwrap_or_else(|| panic!("no type {name}"))
}

/// `-` is the empty name.
fn name(word: &Word) -> String {
    word.bare.replace('-', "")
}

impl Ask {
    fn read(words: &[Word]) -> Self {
        let (first, rest) = words.split_first().expect("a request has a kind");
        match first.bare.as_str() {
            "script" => Self::Script(rest[0].text()),
            "prepare" => Self::Prepare { name: name(&rest[0]), sql: rest[1].text() },
            "fresh" => Self::Fresh {
                name: name(&rest[0]),
                sql: rest[1].text(),
                types: rest[2..].iter().map(type_named).collect(),
                values: rest[2..].iter().map(value).collect(),
            },
            "query" => {
                Self::Query { sql: rest[0].text(), values: rest[1..].iter().map(value).collect() }
            }
            "portal" => Self::Portal {
                portal: rest[0].bare.clone(),
                rows: rest[1].bare.parse().unwrap(),
                sql: rest[2].text(),
                values: rest[3..].iter().map(value).collect(),
            },
            "fetch" => {
                Self::Fetch { portal: rest[0].bare.clone(), rows: rest[1].bare.parse().unwrap() }
            }
            "unportal" => Self::ClosePortal { portal: rest[0].bare.clone() },
            "many" => {
                Self::Many { sql: rest[0].text(), sets: rest[1..].iter().map(value).collect() }
            }
            "copyin" => Self::CopyIn(rest[0].text()),
            "copyout" => Self::CopyOut(rest[0].text()),
            other => panic!("what is {other:?}?"),
        }
    }
}
