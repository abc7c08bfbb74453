//! What a caller does, step by step, as data.

use std::fmt;

use crate::server::Work;
use crate::token::Token;

/// One thing that a caller does. Its number is its own in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// What its statement does.
    pub(crate) work: Work,
    /// A handle to cancel it by is taken.
    pub(crate) handle: bool,
    /// Its time limit in milliseconds.
    pub(crate) limit: Option<u32>,
    /// It is cancelled when it is dropped.
    pub(crate) drops: bool,
    /// Rows, lines or events that are read before it is left; all of them if not given.
    pub(crate) take: Option<u32>,
    /// Bytes that may wait for a reader.
    pub(crate) bytes: Option<u32>,
    /// How often: sets of parameters, lines of a COPY, repetitions, milliseconds.
    pub(crate) count: u32,
    /// A number of something else: a channel, a table, another operation.
    pub(crate) of: u32,
    pub(crate) end: End,
    pub(crate) body: Vec<Self>,
}

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A statement whose rows are collected, or counted if it changes something.
    Query,
    /// The same, in text.
    Text,
    /// The same, with the rows read into a shape.
    Shape,
    /// The same, of which there is one row.
    One,
    /// The same, kept in a cursor and fetched from there.
    Execute,
    /// Statements in one text.
    Script,
    /// Statements in one flight.
    Batch,
    /// One statement with many sets of parameters.
    Many,
    /// A closure in a transaction, or in a savepoint of one.
    Interaction,
    /// Rows as they come.
    Stream,
    CopyIn,
    CopyInRows,
    CopyOut,
    CopyOutRows,
    /// A cursor that lives in the server.
    Named,
    /// LISTEN for a channel, and so many events of it.
    Subscribe,
    Listen,
    Unlisten,
    UnlistenAll,
    Notify,
    /// Events of all channels.
    Hear,
    /// An observer of all channels is added.
    Observe,
    /// SQL that changes what the session knows, sent as a script.
    Discard,
    Deallocate,
    Forget,
    Alter,
    /// A transaction begun by hand around what it has in it.
    ByHand,
    /// Another operation is cancelled.
    Cancel,
    /// Time passes.
    Sleep,
    /// Nothing happens until the run ends its trials.
    Hold,
    Close,
    Connect,
    /// What it has in it, at the same time in one task.
    Join,
    /// What it has in it, unless so many milliseconds pass before.
    Select,
    /// What it has in it is polled once and put aside; the caller goes on.
    Aside,
    /// What it has in it, again and again.
    Repeat,
}

impl Kind {
    /// Every kind, with its word in a script.
    pub(crate) const ALL: [(Self, &'static str); 36] = [
        (Self::Query, "query"),
        (Self::Text, "text"),
        (Self::Shape, "shape"),
        (Self::One, "one"),
        (Self::Execute, "execute"),
        (Self::Script, "script"),
        (Self::Batch, "batch"),
        (Self::Many, "many"),
        (Self::Interaction, "interaction"),
        (Self::Stream, "stream"),
        (Self::CopyIn, "copy_in"),
        (Self::CopyInRows, "copy_in_rows"),
        (Self::CopyOut, "copy_out"),
        (Self::CopyOutRows, "copy_out_rows"),
        (Self::Named, "named"),
        (Self::Subscribe, "subscribe"),
        (Self::Listen, "listen"),
        (Self::Unlisten, "unlisten"),
        (Self::UnlistenAll, "unlisten_all"),
        (Self::Notify, "notify"),
        (Self::Hear, "hear"),
        (Self::Observe, "observe"),
        (Self::Discard, "discard"),
        (Self::Deallocate, "deallocate"),
        (Self::Forget, "forget"),
        (Self::Alter, "alter"),
        (Self::ByHand, "by_hand"),
        (Self::Cancel, "cancel"),
        (Self::Sleep, "sleep"),
        (Self::Hold, "hold"),
        (Self::Close, "close"),
        (Self::Connect, "connect"),
        (Self::Join, "join"),
        (Self::Select, "select"),
        (Self::Aside, "aside"),
        (Self::Repeat, "repeat"),
    ];

    /// Its word in a script.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// Whether it is one statement, whose rows or effect are its own.
    pub(crate) fn is_statement(self) -> bool {
        matches!(self, Self::Query | Self::Text | Self::Shape | Self::One | Self::Execute)
    }

    /// Whether it holds other operations together and is nothing by itself.
    pub(crate) fn is_frame(self) -> bool {
        matches!(self, Self::Join | Self::Select | Self::Aside | Self::Repeat | Self::ByHand)
    }

    /// Whether it keeps the connection for itself from the moment that the server knows of it until
    /// its end.
    pub(crate) fn is_exclusive(self) -> bool {
        matches!(
            self,
            Self::Stream | Self::CopyIn | Self::CopyInRows | Self::CopyOut | Self::CopyOutRows
        )
    }
}

/// How a closure, a COPY or a transaction by hand ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// Well: committed, finished. An error within ends it badly.
    #[default]
    Well,
    /// Badly: rolled back, aborted.
    Badly,
    /// By a panic.
    Panic,
    /// Well, whatever went wrong within.
    Heedless,
    /// It is dropped where it stands.
    Dropped,
}

impl End {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Well, "well"),
        (Self::Badly, "badly"),
        (Self::Panic, "panic"),
        (Self::Heedless, "heedless"),
        (Self::Dropped, "dropped"),
    ];
}

impl Op {
    pub(crate) fn new(id: u32, kind: Kind) -> Self {
        Self {
            id,
            kind,
            work: Work::default(),
            handle: false,
            limit: None,
            drops: false,
            take: None,
            bytes: None,
            count: 0,
            of: 0,
            end: End::Well,
            body: Vec::new(),
        }
    }

    pub(crate) fn token(&self) -> Token {
        Token::of(self.id)
    }

    /// The statement's text: with its token in it, unless that is a parameter.
    pub(crate) fn sql(&self) -> String {
        self.work.to_string()
    }

    /// What the second parameter adds to the numbers of the rows.
    pub(crate) fn shift(&self) -> i64 {
        if self.work.shifts { i64::from(self.id) * 1_000 } else { 0 }
    }

    /// Itself and everything in it.
    pub(crate) fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.body.iter().flat_map(Self::all));
        all
    }
}

impl fmt::Display for Op {
    /// As in a script, on one line and without what it has in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.token())?;
        if self.work.inserts {
            f.write_str(" insert")?;
        }
        if self.work.token.is_none() {
            f.write_str(" by")?;
        }
        write!(f, "{}", self.work.options())?;
        for (name, value) in [("limit", self.limit), ("take", self.take), ("bytes", self.bytes)] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        for (name, value) in [("count", self.count), ("of", self.of)] {
            if value > 0 {
                write!(f, " {name} {value}")?;
            }
        }
        for (name, is_set) in [("handle", self.handle), ("drops", self.drops)] {
            if is_set {
                write!(f, " {name}")?;
            }
        }
        match self.end {
            End::Well => Ok(()),
            end => {
                let word = End::ALL.iter().find(|(known, _)| *known == end);
                write!(f, " end {}", word.map_or("", |(_, word)| word))
            }
        }
    }
}
