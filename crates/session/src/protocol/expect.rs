//! What the server owes for a request, step by step: the one table of transitions.
//!
//! A request is a script of steps; the server answers them in order. What may come next is [`Owed`]:
//!
//! ```text
//!   step        owed         message              then
//!   ----------  -----------  -------------------  ---------------------------------
//!   Close       Close        CloseComplete        the next step
//!   Parse       Parse        ParseComplete        the next step
//!   Bind        Bind         BindComplete         the next step
//!   Statement   Parameters   ParameterDescription Columns
//!               Columns      RowDescription       the next step
//!                            NoData               the next step
//!   Portal      Columns      (as above)
//!   BEGIN       Parse, Bind  (as above)
//!               Begin        CommandComplete      the next step
//!   Execute     Rows         DataRow              Rows
//!                            CommandComplete      the next step
//!                            EmptyQueryResponse   the next step
//!                            CopyInResponse       CopyIn   (refused with CopyFail)
//!                            CopyOutResponse      CopyOut
//!               CopyOut      CopyData             CopyOut
//!                            CopyDone             Rows
//!   Portion     Portion      DataRow              Portion
//!                            PortalSuspended      the next step
//!                            (else as Rows)
//!   Script      Script       RowDescription       ScriptRows
//!                            CommandComplete      Further
//!                            EmptyQueryResponse   Further
//!                            CopyInResponse       CopyIn
//!                            CopyOutResponse      ScriptCopyOut
//!               ScriptRows   DataRow              ScriptRows
//!                            CommandComplete      Further
//!             ScriptCopyOut  CopyData             ScriptCopyOut
//!                            CopyDone             Further
//!               Further      (as Script)
//!                            ReadyForQuery        settled
//!   Feed        Feed         CopyInResponse       Feeding
//!                            (else as Script: it is no COPY FROM STDIN)
//!               Feeding      CommandComplete      Further
//!   Tap         Tap          CopyOutResponse      Tapping
//!                            (else as Script: it is no COPY TO STDOUT)
//!               Tapping      CopyData             Tapping
//!                            CopyDone             Further
//!   Sync        Ready        ReadyForQuery        settled
//!   any         any          ErrorResponse        Failed
//!               Failed       ReadyForQuery        settled
//! ```
//!
//! A request of many items (`Bind` and `Execute` for each) goes through its last steps again for each of them.
//!
//! Whatever is not in the table is a violation of the protocol. Notices, notifications, parameter changes and fatal errors
//! may come at any time and never get here.

/// A message of the client that is answered by itself; `Close` comes before and `Sync` after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Parse,
    Bind,
    Statement,
    Portal,
    Execute,
    /// `Execute` of so many rows at most.
    Portion,
    /// `Close` of a portal.
    Close,
    Script,
    /// `Query` of a COPY whose data we send.
    Feed,
    /// `Query` of a COPY whose data we get.
    Tap,
}

/// Statements closed along with one request, at most.
pub(crate) const CLOSES: u8 = 8;

/// The steps of a request, in order: statements to close, a BEGIN, the request itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    closes: u8,
    /// How many steps of BEGIN are left, counted from its end.
    begin: u8,
    request: &'static [Step],
    /// How many times an [`ITEM`] comes when the request's steps are done, if it is one of many items.
    repeats: Option<u32>,
}

/// One of many items.
const ITEM: &[Step] = &[Step::Bind, Step::Execute];

impl Steps {
    pub(crate) fn new(request: &'static [Step]) -> Self {
        Self { closes: 0, begin: 0, request, repeats: None }
    }

    /// The same, after so many statements to close, and perhaps a BEGIN.
    pub(crate) fn after(self, closes: u8, begins: bool) -> Self {
        Self { closes, begin: if begins { 3 } else { 0 }, ..self }
    }

    /// The same, and then so many further items.
    pub(crate) fn and_items(self, count: u32) -> Self {
        Self { repeats: Some(count), ..self }
    }

    pub(crate) fn are_repeated(&self) -> bool {
        self.repeats.is_some()
    }

    #[inline]
    fn next_item(&mut self) -> Option<(&'static Step, &'static [Step])> {
        let left = self.repeats?.checked_sub(1)?;
        self.repeats = Some(left);
        ITEM.split_first()
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Owed {
        if self.closes > 0 {
            self.closes -= 1;
            return Owed::Close;
        }
        if self.begin > 0 {
            self.begin -= 1;
            return match self.begin {
                2 => Owed::Parse,
                1 => Owed::Bind,
                _ => Owed::Begin,
            };
        }
        let Some((step, rest)) = self.request.split_first().or_else(|| self.next_item()) else {
            return Owed::Ready;
        };
        self.request = rest;
        match step {
            Step::Parse => Owed::Parse,
            Step::Bind => Owed::Bind,
            Step::Statement => Owed::Parameters,
            Step::Portal => Owed::Columns,
            Step::Execute => Owed::Rows,
            Step::Portion => Owed::Portion,
            Step::Close => Owed::Close,
            Step::Script => Owed::Script,
            Step::Feed => Owed::Feed,
            Step::Tap => Owed::Tap,
        }
    }
}

/// What the server owes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Close,
    Parse,
    Bind,
    Parameters,
    Columns,
    Begin,
    Rows,
    /// Rows, as many as were asked for.
    Portion,
    CopyIn,
    CopyOut,
    /// The first statement's answer.
    Script,
    ScriptRows,
    ScriptCopyOut,
    /// Another statement's answer, or the end: a ReadyForQuery in answer to nothing would be somebody else's.
    Further,
    /// The answer to a COPY whose data we send.
    Feed,
    Feeding,
    /// The answer to a COPY whose data we get.
    Tap,
    Tapping,
    Ready,
    Failed,
}

/// Where a message leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Step,
    To(Owed),
    Settled,
}

impl Owed {
    /// Whether the server has yet to execute the statement.
    pub(crate) fn is_before_running(self) -> bool {
        matches!(self, Self::Close | Self::Parse | Self::Bind | Self::Parameters | Self::Columns)
    }

    /// Whether a COPY was asked for, and this is something else.
    pub(crate) fn is_other_than_copy(self, tag: u8) -> bool {
        match self {
            Self::Feed => matches!(tag, b'T' | b'C' | b'I' | b'H'),
            Self::Tap => matches!(tag, b'T' | b'C' | b'I' | b'G'),
            _ => false,
        }
    }

    /// Where a message leads: the transition table, looked up.
    pub(crate) fn after(self, tag: u8) -> Option<Next> {
        static TABLE: [[Option<Next>; 128]; Owed::COUNT] = Owed::table();
        TABLE.get(self as usize)?.get(usize::from(tag)).copied().flatten()
    }

    const COUNT: usize = Self::Failed as usize + 1;

    // Evaluated at compile time: an index out of bounds would not compile.
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    const fn table() -> [[Option<Next>; 128]; Self::COUNT] {
        const ALL: [Owed; Owed::COUNT] = [
            Owed::Close,
            Owed::Parse,
            Owed::Bind,
            Owed::Parameters,
            Owed::Columns,
            Owed::Begin,
            Owed::Rows,
            Owed::Portion,
            Owed::CopyIn,
            Owed::CopyOut,
            Owed::Script,
            Owed::ScriptRows,
            Owed::ScriptCopyOut,
            Owed::Further,
            Owed::Feed,
            Owed::Feeding,
            Owed::Tap,
            Owed::Tapping,
            Owed::Ready,
            Owed::Failed,
        ];
        let mut table = [[None; 128]; Self::COUNT];
        let mut n = 0;
        while n < ALL.len() {
            let mut tag = 0;
            while tag < 128 {
                table[ALL[n] as usize][tag] = ALL[n].next(tag as u8);
                tag += 1;
            }
            n += 1;
        }
        table
    }

    /// The one transition table.
    const fn next(self, tag: u8) -> Option<Next> {
        Some(match (self, tag) {
            (Self::Close, b'3')
            | (Self::Parse, b'1')
            | (Self::Bind, b'2')
            | (Self::Columns, b'T' | b'n')
            | (Self::Begin, b'C')
            | (Self::Rows, b'C' | b'I')
            | (Self::Portion, b'C' | b'I' | b's') => Next::Step,
            (Self::Portion, b'D') => Next::To(Self::Portion),
            (Self::Parameters, b't') => Next::To(Self::Columns),
            (Self::Rows, b'D') | (Self::CopyOut, b'c') => Next::To(Self::Rows),
            (Self::Rows | Self::Portion, b'H') | (Self::CopyOut, b'd') => Next::To(Self::CopyOut),
            (Self::Feed, b'G') => Next::To(Self::Feeding),
            (Self::Tap, b'H') | (Self::Tapping, b'd') => Next::To(Self::Tapping),
            (Self::Rows | Self::Portion | Self::Script | Self::Further | Self::Tap, b'G') => {
                Next::To(Self::CopyIn)
            }
            (Self::Script | Self::Further | Self::Feed | Self::Tap, b'T')
            | (Self::ScriptRows, b'D') => Next::To(Self::ScriptRows),
            (Self::Script | Self::Further | Self::Feed | Self::Tap, b'C' | b'I')
            | (Self::ScriptRows | Self::Feeding, b'C')
            | (Self::ScriptCopyOut | Self::Tapping, b'c') => Next::To(Self::Further),
            (Self::Script | Self::Further | Self::Feed, b'H') | (Self::ScriptCopyOut, b'd') => {
                Next::To(Self::ScriptCopyOut)
            }
            (Self::Ready | Self::Failed | Self::Further, b'Z') => Next::Settled,
            (_, b'E') => Next::To(Self::Failed),
            _ => return None,
        })
    }
}
