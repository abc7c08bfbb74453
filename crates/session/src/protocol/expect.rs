//! What is expected from the server for a request, step by step: the one table of transitions.
//!
//! A request is a list of steps; the server answers them in order. What may come next is
//! [`Expect`]:
//!
//! ```text
//!   step            expected            message                then
//!   --------------  ------------------  ---------------------  -----------------------------
//!   Close           Close               CloseComplete          the next step
//!   Parse           Parse               ParseComplete          the next step
//!   Bind            Bind                BindComplete           the next step
//!   Statement       Parameters          ParameterDescription   Columns
//!                   Columns             RowDescription         the next step
//!                                       NoData                 the next step
//!   Portal          Columns             (as above)
//!   BEGIN           Parse, Bind         (as above)
//!                   Begin               CommandComplete        the next step
//!   Execute         Rows                DataRow                Rows
//!                                       CommandComplete        the next step
//!                                       EmptyQueryResponse     the next step
//!                                       CopyInResponse         RejectCopyIn (with CopyFail)
//!                                       CopyOutResponse        DrainCopyOut
//!                   DrainCopyOut        CopyData               DrainCopyOut
//!                                       CopyDone               Rows
//!   ExecuteLimited  ExecuteLimited      DataRow                ExecuteLimited
//!                                       PortalSuspended        the next step
//!                                       (else as Rows)
//!   SimpleQuery     SimpleQuery         RowDescription         SimpleQueryRows
//!                                       CommandComplete        NextResult
//!                                       EmptyQueryResponse     NextResult
//!                                       CopyInResponse         RejectCopyIn
//!                                       CopyOutResponse        DrainSimpleCopyOut
//!                   SimpleQueryRows     DataRow                SimpleQueryRows
//!                                       RowDescription         SimpleQueryRows (by a rule)
//!                                       CommandComplete        NextResult
//!                   DrainSimpleCopyOut  CopyData               DrainSimpleCopyOut
//!                                       CopyDone               CopyOutEnd
//!                   NextResult          (as SimpleQuery)
//!                                       ReadyForQuery          settled
//!   CopyIn          CopyIn              CopyInResponse         CopyInData
//!                                       (else as SimpleQuery)  it is no COPY FROM STDIN
//!                   CopyInData          CommandComplete        NextResult
//!   CopyOut         CopyOut             CopyOutResponse        CopyOutData
//!                                       (else as SimpleQuery)  it is no COPY TO STDOUT
//!                   CopyOutData         CopyData               CopyOutData
//!                                       CopyDone               CopyOutEnd
//!                   CopyOutEnd          CommandComplete        NextResult
//!   Sync            Ready               ReadyForQuery          settled
//!   any             any                 ErrorResponse          Failed
//!                   Failed              ReadyForQuery          settled
//! ```
//!
//! A request of many items (`Bind` and `Execute` for each) goes through its last steps again for
//! each of them.
//!
//! Whatever is not in the table is a violation of the protocol. Notices, notifications, parameter
//! changes and fatal errors may come at any time and never get here.

use crate::statement::text::Hints;

/// A message of the client that is answered by itself; `Close` comes before and `Sync` after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Parse,
    Bind,
    Statement,
    Portal,
    Execute,
    /// `Execute` of so many rows at most.
    ExecuteLimited,
    /// `Close` of a portal.
    Close,
    SimpleQuery,
    /// `Query` of a COPY whose data we send.
    CopyIn,
    /// `Query` of a COPY whose data we get.
    CopyOut,
}

/// Statements closed along with one request, at most.
pub(crate) const CLOSES: u8 = 8;

/// The steps of a request, in order: statements to close, a BEGIN, the request itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steps {
    closes: u8,
    /// How many steps of BEGIN are left, counted from its end.
    begin: u8,
    request: &'static [Step],
    /// How many times an [`ITEM`] comes when the request's steps are done, if it is one of many
    /// items.
    repeats: Option<u32>,
    /// What the answer may bring that its messages do not tell.
    hints: Hints,
}

/// One of many items.
const ITEM: &[Step] = &[Step::Bind, Step::Execute];

impl Steps {
    pub(crate) fn new(request: &'static [Step]) -> Self {
        Self { closes: 0, begin: 0, request, repeats: None, hints: Hints::default() }
    }

    /// The same steps, of a text that gives these hints.
    pub(crate) fn with_hints(self, hints: Hints) -> Self {
        Self { hints, ..self }
    }

    #[inline]
    pub(crate) fn hints(&self) -> Hints {
        self.hints
    }

    /// The same steps, with those of a BEGIN before them.
    pub(crate) fn after_begin(self, begins: bool) -> Self {
        Self { begin: if begins { 3 } else { 0 }, ..self }
    }

    /// The same steps, after `count` statements were closed.
    pub(crate) fn after_closes(self, count: u8) -> Self {
        Self { closes: count, ..self }
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
    pub(crate) fn next(&mut self) -> Expect {
        if self.closes > 0 {
            self.closes -= 1;
            return Expect::Close;
        }
        if self.begin > 0 {
            self.begin -= 1;
            return match self.begin {
                2 => Expect::Parse,
                1 => Expect::Bind,
                _ => Expect::Begin,
            };
        }
        let Some((step, rest)) = self.request.split_first().or_else(|| self.next_item()) else {
            return Expect::Ready;
        };
        self.request = rest;
        match step {
            Step::Parse => Expect::Parse,
            Step::Bind => Expect::Bind,
            Step::Statement => Expect::Parameters,
            Step::Portal => Expect::Columns,
            Step::Execute => Expect::Rows,
            Step::ExecuteLimited => Expect::ExecuteLimited,
            Step::Close => Expect::Close,
            Step::SimpleQuery => Expect::SimpleQuery,
            Step::CopyIn => Expect::CopyIn,
            Step::CopyOut => Expect::CopyOut,
        }
    }
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Close,
    Parse,
    Bind,
    Parameters,
    Columns,
    Begin,
    Rows,
    /// Rows, as many as were asked for.
    ExecuteLimited,
    RejectCopyIn,
    DrainCopyOut,
    /// The first statement's answer.
    SimpleQuery,
    SimpleQueryRows,
    DrainSimpleCopyOut,
    /// Another statement's answer, or the end: a ReadyForQuery in answer to nothing would belong to
    /// another request.
    NextResult,
    /// The answer to a COPY whose data we send.
    CopyIn,
    CopyInData,
    /// The answer to a COPY whose data we get.
    CopyOut,
    CopyOutData,
    /// The data is complete; its CommandComplete is owed.
    CopyOutEnd,
    Ready,
    Failed,
}

/// Where a message leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Step,
    To(Expect),
    Settled,
}

impl Expect {
    /// Whether the server has yet to execute the statement.
    pub(crate) fn is_before_running(self) -> bool {
        matches!(self, Self::Close | Self::Parse | Self::Bind | Self::Parameters | Self::Columns)
    }

    /// Whether a COPY was asked for, and this is something else.
    #[inline]
    pub(crate) fn is_other_than_copy(self, tag: u8) -> bool {
        match tag {
            b'T' | b'C' | b'I' => matches!(self, Self::CopyIn | Self::CopyOut),
            b'G' => self == Self::CopyOut,
            b'H' => self == Self::CopyIn,
            _ => false,
        }
    }

    /// Where a message leads: the transition table, looked up.
    pub(crate) fn after(self, tag: u8) -> Option<Next> {
        static TABLE: [[Option<Next>; 128]; Expect::COUNT] = Expect::table();
        TABLE.get(self as usize)?.get(usize::from(tag)).copied().flatten()
    }

    const COUNT: usize = Self::Failed as usize + 1;

    // Evaluated at compile time: an index out of bounds would not compile.
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    const fn table() -> [[Option<Next>; 128]; Self::COUNT] {
        const ALL: [Expect; Expect::COUNT] = [
            Expect::Close,
            Expect::Parse,
            Expect::Bind,
            Expect::Parameters,
            Expect::Columns,
            Expect::Begin,
            Expect::Rows,
            Expect::ExecuteLimited,
            Expect::RejectCopyIn,
            Expect::DrainCopyOut,
            Expect::SimpleQuery,
            Expect::SimpleQueryRows,
            Expect::DrainSimpleCopyOut,
            Expect::NextResult,
            Expect::CopyIn,
            Expect::CopyInData,
            Expect::CopyOut,
            Expect::CopyOutData,
            Expect::CopyOutEnd,
            Expect::Ready,
            Expect::Failed,
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
            | (Self::ExecuteLimited, b'C' | b'I' | b's') => Next::Step,
            (Self::ExecuteLimited, b'D') => Next::To(Self::ExecuteLimited),
            (Self::Parameters, b't') => Next::To(Self::Columns),
            (Self::Rows, b'D') | (Self::DrainCopyOut, b'c') => Next::To(Self::Rows),
            (Self::Rows | Self::ExecuteLimited, b'H') | (Self::DrainCopyOut, b'd') => {
                Next::To(Self::DrainCopyOut)
            }
            (Self::CopyIn, b'G') => Next::To(Self::CopyInData),
            (Self::CopyOut, b'H') | (Self::CopyOutData, b'd') => Next::To(Self::CopyOutData),
            (
                Self::Rows
                | Self::ExecuteLimited
                | Self::SimpleQuery
                | Self::NextResult
                | Self::CopyOut,
                b'G',
            ) => Next::To(Self::RejectCopyIn),
            (Self::SimpleQuery | Self::NextResult | Self::CopyIn | Self::CopyOut, b'T')
            | (Self::SimpleQueryRows, b'D' | b'T') => Next::To(Self::SimpleQueryRows),
            (Self::SimpleQuery | Self::NextResult | Self::CopyIn | Self::CopyOut, b'C' | b'I')
            | (Self::SimpleQueryRows | Self::CopyInData | Self::CopyOutEnd, b'C') => {
                Next::To(Self::NextResult)
            }
            (Self::DrainSimpleCopyOut | Self::CopyOutData, b'c') => Next::To(Self::CopyOutEnd),
            (Self::SimpleQuery | Self::NextResult | Self::CopyIn, b'H')
            | (Self::DrainSimpleCopyOut, b'd') => Next::To(Self::DrainSimpleCopyOut),
            (Self::Ready | Self::Failed | Self::NextResult, b'Z') => Next::Settled,
            (_, b'E') => Next::To(Self::Failed),
            _ => return None,
        })
    }
}
