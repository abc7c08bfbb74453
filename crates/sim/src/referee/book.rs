//! What is known of each operation of the plan.

use std::collections::BTreeMap;

use crate::callers::{Kind, Op, Outcome};
use crate::plan::Plan;

/// One operation.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) op: Op,
    pub(super) caller: u32,
    /// What it is in.
    parent: Option<u32>,
    /// The outermost interaction that it is in.
    pub(super) root: Option<u32>,
    pub(super) stage: Stage,
    /// When it began, by the referee's count and in virtual milliseconds.
    pub(super) begun: u64,
    pub(super) begun_at: u64,
    /// The interaction that was inside then.
    pub(super) behind: Option<u32>,
    /// The stream or COPY that had the line for itself then.
    pub(super) after: Option<u32>,
    /// It was cancelled by its handle before it was over.
    is_cancelled: bool,
    /// Why it must not run.
    pub(super) forbidden: Option<String>,
    /// What it does must not be committed.
    pub(super) must_not_commit: bool,
    /// Bytes of its answer that were handed to the caller.
    pub(super) handed: u64,
}

/// ```text
///   New ──▶ Begun ──┬──▶ Inside ──▶ Ending ──▶ Ended
///                   └──────────────────────────▲      Dropped from anywhere
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    Begun,
    /// The closure of an interaction runs.
    Inside,
    /// Its transaction is to end.
    Ending,
    Ended(Outcome),
    Dropped,
}

impl Entry {
    /// Whether it has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Begun | Stage::Inside | Stage::Ending)
    }
}

/// All operations.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<u32, Entry>,
    /// The interaction whose closure runs or whose transaction is to end.
    inside: Option<u32>,
    /// Transactions are begun by hand.
    pub(super) by_hand: bool,
}

impl Book {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut this = Self { entries: BTreeMap::new(), inside: None, by_hand: false };
        for caller in &plan.callers {
            for op in &caller.ops {
                this.put(op, caller.id, None, None);
            }
        }
        this.by_hand = plan.ops().any(|(_, op)| op.kind == Kind::ByHand);
        this
    }

    fn put(&mut self, op: &Op, caller: u32, parent: Option<u32>, root: Option<u32>) {
        let inner = root.or((op.kind == Kind::Interaction).then_some(op.id));
        for body in &op.body {
            self.put(body, caller, Some(op.id), inner);
        }
        let entry = Entry {
            op: op.clone(),
            caller,
            parent,
            root,
            stage: Stage::New,
            begun: 0,
            begun_at: 0,
            behind: None,
            after: None,
            is_cancelled: false,
            forbidden: None,
            must_not_commit: false,
            handed: 0,
        };
        self.entries.insert(op.id, entry);
    }

    pub(super) fn get(&self, op: u32) -> Option<&Entry> {
        self.entries.get(&op)
    }

    pub(super) fn get_mut(&mut self, op: u32) -> Option<&mut Entry> {
        self.entries.get_mut(&op)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn inside(&self) -> Option<u32> {
        self.inside
    }

    /// An operation and all that it is in, from the inside.
    fn line(&self, op: u32) -> impl Iterator<Item = &Entry> {
        std::iter::successors(self.get(op), |entry| self.get(entry.parent?))
    }

    /// What kind of operation it is in.
    pub(super) fn parent_kind(&self, op: u32) -> Option<Kind> {
        self.get(self.get(op)?.parent?).map(|entry| entry.op.kind)
    }

    /// Whether it was asked for: frames tell nothing of themselves, and their bodies do.
    pub(super) fn has_begun(&self, op: u32) -> bool {
        self.line(op).any(|entry| entry.stage != Stage::New)
    }

    /// The closure of an interaction begins to run; gives the one that was inside last.
    pub(super) fn enter(&mut self, op: u32) -> Option<u32> {
        self.inside.replace(op)
    }

    pub(super) fn ending(&mut self, op: u32) {
        if let Some(entry) = self.get_mut(op) {
            entry.stage = Stage::Ending;
        }
    }

    pub(super) fn leave(&mut self, op: u32) {
        if self.inside == Some(op) {
            self.inside = None;
        }
    }

    pub(super) fn cancelled(&mut self, op: u32) {
        let is_over = |entry: &Entry| matches!(entry.stage, Stage::Ended(_));
        if let Some(entry) = self.get_mut(op)
            && !is_over(entry)
        {
            entry.is_cancelled = true;
        }
    }

    /// Whether a cancel may strike its statement: its handle was used, it has a time limit, it or
    /// what it is in was dropped and cancels then, or it was left early.
    pub(super) fn may_be_cancelled(&self, op: u32) -> bool {
        self.line(op).any(|entry| {
            let was_left = matches!(entry.stage, Stage::Dropped | Stage::Ended(_));
            let is_left = was_left && entry.op.kind.is_exclusive() && entry.root.is_none();
            let is_dropped = was_left && entry.op.drops;
            entry.is_cancelled || entry.op.limit.is_some() || is_left || is_dropped
        })
    }

    /// Whether it was cancelled by its handle, or what it is in was.
    pub(super) fn is_cancelled(&self, op: u32) -> bool {
        self.line(op).any(|entry| entry.is_cancelled)
    }

    /// Whether it, or what it is in, has a time limit.
    pub(super) fn is_limited(&self, op: u32) -> bool {
        self.line(op).any(|entry| entry.op.limit.is_some())
    }

    /// Whether the closure of an interaction runs.
    pub(super) fn is_running(&self, op: u32) -> bool {
        self.get(op).is_some_and(|entry| entry.stage == Stage::Inside)
    }

    /// Whether it came while another interaction was inside that still is.
    pub(super) fn is_behind(&self, op: u32, inside: Option<u32>) -> bool {
        let Some(entry) = self.get(op) else {
            return false;
        };
        let inside = inside.filter(|&inside| inside != op && entry.root != Some(inside));
        inside.is_some() && entry.behind == inside
    }

    /// Whether an operation that ends a LISTEN is or was on its way since then.
    pub(super) fn changes_channels(&self, since: u64) -> bool {
        self.entries.values().any(|entry| {
            let kind = entry.op.kind;
            let changes = matches!(
                kind,
                Kind::Unlisten | Kind::UnlistenAll | Kind::Forget | Kind::Discard | Kind::Close
            );
            let is_late = entry.begun > since && entry.stage != Stage::New;
            // One that was dropped may go on.
            changes && (entry.is_open() || is_late || entry.stage == Stage::Dropped)
        })
    }

    /// Whether an operation of the same interaction, or anything in it, may fail by plan or is made
    /// to.
    pub(super) fn may_fail_within(&self, op: u32) -> bool {
        use crate::callers::End;
        use crate::server::Fail;
        let Some(entry) = self.get(op) else {
            return false;
        };
        entry.op.all().iter().any(|inner| {
            let ends = inner.end != End::Well && inner.id != op;
            let known = self.get(inner.id);
            let is_cancelled = known.is_some_and(|entry| entry.is_cancelled);
            let may = inner.work.fail != Fail::Never || inner.limit.is_some() || ends;
            may || is_cancelled || inner.kind == Kind::Alter || inner.work.table.is_some()
        })
    }
}
