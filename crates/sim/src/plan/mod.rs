//! The plan of a run: its settings and what its callers do. Made from a seed, or read from a
//! script.

mod ops;
mod settings;

use fastrand::Rng;

use crate::callers::{Kind, Op};
use ops::Maker;
pub(crate) use settings::{Ending, Settings};

/// See the file's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) callers: Vec<Caller>,
}

/// A caller and its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) id: u32,
    pub(crate) ops: Vec<Op>,
}

/// What a run is about. All of them do a bit of everything but the last ones, which leave out what
/// would excuse what they look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Everything.
    Any,
    /// Statements and interactions that are cancelled, time out or are dropped.
    Cancels,
    /// Many interactions.
    Queue,
    /// Listeners beside calls.
    Listeners,
    /// Streams and COPY on narrow lines.
    Volume,
    /// SQL that changes what the session knows.
    Knowledge,
    /// A transaction begun by hand.
    ByHand,
    /// One call that is never fetched and many that are.
    Growth,
}

impl Profile {
    fn choose(rng: &mut Rng) -> Self {
        match rng.u32(0..100) {
            0..30 => Self::Any,
            30..48 => Self::Cancels,
            48..60 => Self::Queue,
            60..74 => Self::Listeners,
            74..86 => Self::Volume,
            86..95 => Self::Knowledge,
            95..99 => Self::ByHand,
            _ => Self::Growth,
        }
    }
}

/// What may go wrong in a run beside its callers: chosen once, so that many runs have no excuse for
/// losing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Lines break, or the server ends the session.
    pub(crate) losses: bool,
    /// Dials are refused or wait, CancelRequests are not read.
    pub(crate) cancels: bool,
    /// Callers are put aside, and many of them.
    pub(crate) asides: bool,
    pub(crate) often: bool,
    /// Callers are dropped.
    pub(crate) drops: bool,
    /// How many steps there are.
    pub(crate) steps: u32,
}

impl Plan {
    /// The plan of a seed, and what may go wrong in it.
    pub(crate) fn of(rng: &mut Rng) -> (Self, Profile, Faults) {
        let profile = Profile::choose(rng);
        let mut settings = Settings::of(rng, profile);
        let faults = Faults {
            losses: rng.u32(0..100) < 18 && profile != Profile::Growth,
            cancels: rng.u32(0..100) < 10 && profile != Profile::Growth,
            asides: rng.u32(0..100) < 60,
            often: rng.u32(0..100) < if profile == Profile::Listeners { 60 } else { 10 },
            drops: rng.u32(0..100) < 60,
            steps: rng.u32(20..260),
        };
        if faults.losses && settings.end == Ending::Kill {
            settings.end = Ending::Close;
        }
        let mut maker = Maker::new(rng, profile);
        let callers = maker.callers();
        (Self { settings, callers }, profile, faults)
    }

    /// Leaves out operations of these kinds.
    pub(crate) fn without(&mut self, kinds: &[Kind]) {
        fn keep(ops: &mut Vec<Op>, kinds: &[Kind]) {
            ops.retain(|op| !kinds.contains(&op.kind));
            for op in ops {
                keep(&mut op.body, kinds);
            }
        }
        self.callers.iter_mut().for_each(|caller| keep(&mut caller.ops, kinds));
    }

    /// All operations, each with its caller.
    pub(crate) fn ops(&self) -> impl Iterator<Item = (u32, &Op)> {
        self.callers
            .iter()
            .flat_map(|caller| caller.ops.iter().flat_map(Op::all).map(|op| (caller.id, op)))
    }
}
