//! Programs for callers, made from a seed.

use fastrand::Rng;

use super::{Caller, Profile};
use crate::callers::{End, Kind, Op};
use crate::server::Fail;

/// How deep interactions are nested.
const DEPTH: u32 = 3;

/// Makes programs.
pub(super) struct Maker<'a> {
    rng: &'a mut Rng,
    profile: Profile,
    next: u32,
}

impl<'a> Maker<'a> {
    pub(super) fn new(rng: &'a mut Rng, profile: Profile) -> Self {
        Self { rng, profile, next: 1 }
    }

    pub(super) fn callers(&mut self) -> Vec<Caller> {
        let most = match self.profile {
            Profile::ByHand => return vec![self.by_hand()],
            Profile::Growth => return vec![self.growth()],
            Profile::Any => 20,
            _ => 8,
        };
        // Few callers meet in more ways than many, since more of the steps are theirs.
        let count = if self.rng.bool() { self.rng.u32(1..=4) } else { self.rng.u32(1..=most) };
        (1..=count).map(|id| self.caller(id)).collect()
    }

    fn caller(&mut self, id: u32) -> Caller {
        let count = self.rng.u32(1..=4);
        Caller { id, ops: (0..count).map(|_| self.outer()).collect() }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(0..count) == 0
    }

    fn op(&mut self, kind: Kind) -> Op {
        let id = self.next;
        self.next += 1;
        let mut op = Op::new(id, kind);
        op.work.token = Some(op.token());
        op
    }

    /// An operation of the connection.
    fn outer(&mut self) -> Op {
        let kind = self.outer_kind();
        let mut op = match kind {
            Kind::Join => self.frame(kind, 2, false),
            Kind::Select => {
                let mut op = self.frame(kind, 1, true);
                op.count = self.rng.u32(1..60);
                op
            }
            Kind::Aside => {
                let mut op = self.op(kind);
                let kind = if self.one_in(4) { Kind::Batch } else { Kind::Query };
                op.body = vec![self.made(kind, 0)];
                op
            }
            kind => self.made(kind, 0),
        };
        self.patience(&mut op);
        op
    }

    /// Operations of one task, of which at most one keeps the connection for itself.
    fn frame(&mut self, kind: Kind, count: usize, any: bool) -> Op {
        let mut op = self.op(kind);
        for index in 0..count {
            let kind = if index == 0 || any { self.simple_or_interaction() } else { Kind::Query };
            let mut inner = self.made(kind, 0);
            self.patience(&mut inner);
            op.body.push(inner);
        }
        op
    }

    fn simple_or_interaction(&mut self) -> Kind {
        *self
            .rng
            .choice(&[Kind::Query, Kind::Interaction, Kind::Stream, Kind::Batch, Kind::CopyOut])
            .unwrap_or(&Kind::Query)
    }

    fn outer_kind(&mut self) -> Kind {
        let of = |rng: &mut Rng, kinds: &[Kind]| *rng.choice(kinds).unwrap_or(&Kind::Query);
        let sometimes = self.rng.u32(0..100);
        match self.profile {
            Profile::Cancels if sometimes < 75 => of(
                self.rng,
                &[Kind::Query, Kind::Interaction, Kind::Interaction, Kind::Script, Kind::Batch],
            ),
            Profile::Queue if sometimes < 75 => {
                of(self.rng, &[Kind::Interaction, Kind::Interaction, Kind::Query, Kind::Aside])
            }
            Profile::Listeners if sometimes < 70 => of(
                self.rng,
                &[Kind::Subscribe, Kind::Subscribe, Kind::Query, Kind::Notify, Kind::Observe],
            ),
            Profile::Volume if sometimes < 80 => of(
                self.rng,
                &[
                    Kind::Stream,
                    Kind::Stream,
                    Kind::CopyIn,
                    Kind::CopyInRows,
                    Kind::CopyOut,
                    Kind::CopyOutRows,
                    Kind::Shape,
                    Kind::Named,
                    Kind::Interaction,
                ],
            ),
            Profile::Knowledge if sometimes < 70 => of(
                self.rng,
                &[
                    Kind::Query,
                    Kind::Interaction,
                    Kind::Discard,
                    Kind::Deallocate,
                    Kind::Forget,
                    Kind::Alter,
                    Kind::Subscribe,
                ],
            ),
            _ => self.any_kind(),
        }
    }

    fn any_kind(&mut self) -> Kind {
        const KINDS: [(Kind, u32); 29] = [
            (Kind::Query, 20),
            (Kind::Text, 2),
            (Kind::Shape, 4),
            (Kind::One, 4),
            (Kind::Execute, 3),
            (Kind::Script, 6),
            (Kind::Batch, 6),
            (Kind::Many, 4),
            (Kind::Interaction, 18),
            (Kind::Stream, 8),
            (Kind::CopyIn, 4),
            (Kind::CopyInRows, 3),
            (Kind::CopyOut, 4),
            (Kind::CopyOutRows, 3),
            (Kind::Named, 2),
            (Kind::Subscribe, 6),
            (Kind::Listen, 2),
            (Kind::Unlisten, 2),
            (Kind::UnlistenAll, 1),
            (Kind::Notify, 3),
            (Kind::Hear, 2),
            (Kind::Observe, 2),
            (Kind::Cancel, 3),
            (Kind::Sleep, 3),
            (Kind::Join, 4),
            (Kind::Select, 5),
            (Kind::Aside, 3),
            (Kind::Close, 1),
            (Kind::Connect, 1),
        ];
        let sum: u32 = KINDS.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.u32(0..sum);
        for (kind, weight) in KINDS {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        Kind::Query
    }

    /// An operation of this kind, on the connection (depth 0) or in an interaction.
    fn made(&mut self, kind: Kind, depth: u32) -> Op {
        let mut op = self.op(kind);
        match kind {
            Kind::Interaction => self.closure(&mut op, depth),
            Kind::Script => {
                for _ in 0..self.rng.u32(1..=3) {
                    let mut inner = self.op(Kind::Query);
                    self.work(&mut inner, false);
                    inner.work.shifts = false;
                    op.body.push(inner);
                }
            }
            Kind::Batch => {
                for _ in 0..self.rng.u32(1..=4) {
                    let mut inner = self.op(Kind::Query);
                    self.work(&mut inner, true);
                    op.body.push(inner);
                }
            }
            Kind::Many => {
                self.work(&mut op, true);
                (op.work.token, op.work.shifts) = (None, true);
                op.work.ms = op.work.ms.min(5);
                op.count = self.rng.u32(1..=6);
            }
            Kind::Stream | Kind::CopyOut | Kind::CopyOutRows => self.volume(&mut op),
            Kind::CopyIn | Kind::CopyInRows => {
                op.count = 1 << self.rng.u32(0..9);
                if kind == Kind::CopyIn && self.one_in(6) {
                    op.work.fail = Fail::Row(self.rng.u32(1..=op.count));
                }
                op.end = *self
                    .rng
                    .choice(&[End::Well, End::Well, End::Badly, End::Dropped])
                    .unwrap_or(&End::Well);
            }
            Kind::Named => {
                op.work.rows = self.rng.u32(0..12);
                op.work.ms = if self.one_in(3) { self.rng.u32(1..20) } else { 0 };
                (op.count, op.of) = (self.rng.u32(1..5), self.rng.u32(0..2));
                op.end = if self.one_in(3) { End::Dropped } else { End::Well };
            }
            Kind::One => {
                self.work(&mut op, true);
                (op.work.rows, op.work.inserts) = (1, false);
                if let Fail::Row(_) = op.work.fail {
                    op.work.fail = Fail::Never;
                }
            }
            Kind::Text | Kind::Shape => {
                self.work(&mut op, true);
                (op.work.inserts, op.work.table) = (false, None);
                op.work.rows = op.work.rows.max(1);
            }
            Kind::Subscribe | Kind::Hear => {
                (op.of, op.count) = (self.rng.u32(0..3), self.rng.u32(1..=9));
            }
            Kind::Listen | Kind::Unlisten | Kind::Notify => op.of = self.rng.u32(0..3),
            Kind::Alter => op.of = self.rng.u32(0..2),
            Kind::Cancel => op.of = self.rng.u32(1..=self.next + 3),
            Kind::Sleep => op.count = self.rng.u32(1..40),
            _ if kind.is_statement() => self.work(&mut op, true),
            _ => {}
        }
        op
    }

    fn closure(&mut self, op: &mut Op, depth: u32) {
        for _ in 0..self.rng.u32(0..=3) {
            let kind = self.inner_kind(depth + 1);
            let mut inner = self.made(kind, depth + 1);
            if self.one_in(8) {
                self.patience(&mut inner);
            }
            op.body.push(inner);
        }
        op.end = *self
            .rng
            .choice(&[End::Well, End::Well, End::Well, End::Badly, End::Heedless, End::Panic])
            .unwrap_or(&End::Well);
        if op.end == End::Panic && !self.one_in(3) {
            op.end = End::Well;
        }
    }

    /// What a closure does.
    fn inner_kind(&mut self, depth: u32) -> Kind {
        match self.rng.u32(0..100) {
            0..55 => Kind::Query,
            55..63 if depth < DEPTH => Kind::Interaction,
            63..71 => Kind::Stream,
            71..76 => Kind::Batch,
            76..80 => Kind::Many,
            80..83 => Kind::Named,
            83..86 => Kind::CopyIn,
            86..88 => Kind::CopyOut,
            88..91 => Kind::Notify,
            91..94 => Kind::Sleep,
            94..96 => Kind::Script,
            96..98 => Kind::Hold,
            98 => Kind::CopyInRows,
            _ => Kind::Execute,
        }
    }

    /// What a statement does.
    fn work(&mut self, op: &mut Op, may_take: bool) {
        let rng = &mut *self.rng;
        let work = &mut op.work;
        work.inserts = rng.u32(0..3) == 0;
        if !work.inserts {
            work.rows = rng.u32(0..4);
            work.width = rng.u32(0..40);
            if rng.u32(0..12) == 0 {
                work.width = 1 << rng.u32(8..16);
            }
        }
        match rng.u32(0..10) {
            0..3 => work.ms = rng.u32(1..40),
            3 => work.ms = rng.u32(100..400),
            _ => {}
        }
        match self.profile {
            Profile::Cancels if rng.bool() => work.ms = rng.u32(20..3_000),
            Profile::Listeners if rng.bool() => work.ms = rng.u32(20..300),
            _ => {}
        }
        if may_take && rng.u32(0..5) < 3 {
            work.token = None;
            work.shifts = rng.u32(0..3) == 0;
            // Texts that come again are known to the cache.
            if rng.bool() {
                (work.width, work.ms) = (0, if rng.bool() { 0 } else { 10 });
            }
        }
        work.fail = match rng.u32(0..60) {
            0 => Fail::Parse,
            1 => Fail::Bind,
            2 => Fail::Run,
            3 if work.rows > 1 => Fail::Row(1),
            4 if work.inserts => Fail::Commit,
            _ => Fail::Never,
        };
        if rng.u32(0..10) == 0 {
            (work.commit_ms, work.rollback_ms) = (rng.u32(0..60), rng.u32(0..60));
        }
        work.notices = rng.u32(0..20) == 0;
        if self.profile == Profile::Knowledge && rng.bool() {
            work.table = Some(rng.u32(0..2));
        }
    }

    /// Many rows.
    fn volume(&mut self, op: &mut Op) {
        let rng = &mut *self.rng;
        op.work.rows = rng.u32(0..40);
        op.work.width = rng.u32(0..60);
        if rng.u32(0..3) == 0 {
            op.work.rows = 1 << rng.u32(4..10);
            op.work.width = 1 << rng.u32(0..10);
        }
        op.work.swells = rng.u32(0..8) == 0;
        op.work.ms = if rng.u32(0..5) == 0 { rng.u32(1..50) } else { 0 };
        if op.kind == Kind::Stream {
            if rng.bool() {
                op.work.token = None;
                op.work.shifts = rng.bool();
            }
            if rng.bool() {
                op.bytes = Some(1 << rng.u32(0..16));
            }
        }
        if rng.u32(0..3) == 0 {
            op.take = Some(rng.u32(0..20));
        }
        if rng.u32(0..12) == 0 && op.work.rows > 1 {
            op.work.fail = Fail::Row(rng.u32(0..op.work.rows));
        }
    }

    /// A handle, a time limit, a cancel on drop.
    fn patience(&mut self, op: &mut Op) {
        if op.kind.is_frame() || op.kind == Kind::Sleep {
            return;
        }
        let often = if self.profile == Profile::Cancels { 2 } else { 5 };
        op.handle = self.one_in(often);
        if self.one_in(often * 3) {
            op.limit = Some(self.rng.u32(1..200));
        }
        op.drops = self.one_in(often * 2);
    }

    fn by_hand(&mut self) -> Caller {
        let mut ops = Vec::new();
        for _ in 0..self.rng.u32(1..=3) {
            let mut op = self.op(Kind::ByHand);
            for _ in 0..self.rng.u32(0..=3) {
                let kind = *self
                    .rng
                    .choice(&[Kind::Query, Kind::Listen, Kind::Unlisten, Kind::Notify])
                    .unwrap_or(&Kind::Query);
                let mut inner = self.made(kind, 1);
                inner.work.fail = Fail::Never;
                op.body.push(inner);
            }
            op.end = if self.rng.bool() { End::Badly } else { End::Well };
            ops.push(op);
            let kind = if self.rng.bool() { Kind::Subscribe } else { Kind::Query };
            ops.push(self.made(kind, 0));
        }
        Caller { id: 1, ops }
    }

    /// One call that is polled once, and then many.
    fn growth(&mut self) -> Caller {
        let mut aside = self.op(Kind::Aside);
        let mut call = self.op(Kind::Query);
        call.work.ms = self.rng.u32(0..20);
        aside.body = vec![call];
        let mut repeat = self.op(Kind::Repeat);
        repeat.count = 1_200;
        let mut call = self.op(Kind::Query);
        (call.work.token, call.work.rows) = (None, 1);
        repeat.body = vec![call];
        Caller { id: 1, ops: vec![aside, repeat] }
    }
}
