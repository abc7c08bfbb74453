//! Whether a connection that says nothing is alive: when an idle one is asked for a sign of life,
//! and when one that owes an answer is given up.

use std::time::Duration;

/// How silence is judged. All times are counted in ticks of [`tick`](LivenessSettings::tick); so a
/// process that was stopped for an hour has not seen an hour of silence, but one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessSettings {
    /// Within which time a peer that owes an answer and has gone is given up.
    pub bound: Duration,
    /// How long a connection may be idle before it is asked for a sign of life; `None` for never.
    pub heartbeat: Option<Duration>,
}

/// The bound has this many ticks.
const TICKS: u32 = 8;
/// Ticks of silence after which the server is asked about the session, on another connection.
const SILENT_TICKS: u32 = 3;
/// Ticks that this may take. One more passes before the verdict is carried out, in which an answer
/// that was on its way may arrive; and a tick may have begun just after the last answer.
const PROBE_TICKS: u32 = 3;
/// The longest time between two such questions about the same answer, a query that takes long: 15
/// s.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl LivenessSettings {
    /// How often [`Liveness::tick`] must be called.
    pub fn tick(&self) -> Duration {
        self.bound / TICKS
    }

    /// How long the question on another connection may take.
    pub fn probe_limit(&self) -> Duration {
        self.tick() * PROBE_TICKS
    }

    fn ticks(&self, time: Duration) -> u32 {
        let ticks = time.as_nanos().div_ceil(self.tick().as_nanos().max(1));
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

impl Default for LivenessSettings {
    /// 5 s, and 10 s: a peer that has gone is found within 15 s.
    fn default() -> Self {
        Self { bound: Duration::from_secs(5), heartbeat: Some(Duration::from_secs(10)) }
    }
}

/// What the session was seen to be like at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// How often anything was received, in all.
    pub received: u64,
    /// What the session waits for.
    pub waits_for: WaitsFor,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// Nothing: the connection is idle.
    Nothing,
    /// The server owes an answer, or must take what is sent.
    Server,
    /// The program: it does not read its stream, has no data for its COPY, or holds a transaction
    /// open.
    Program,
}

/// What to do after a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LivenessStep {
    /// Nothing.
    Rest,
    /// Send something that the server answers.
    Beat,
    /// Ask on another connection whether the backend of this session works, and call
    /// [`Liveness::probed`].
    Probe,
    /// The peer has gone: give the session up.
    Dead,
}

/// What was learned on another connection about the backend of this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It works for us.
    Works,
    /// It does not exist, is idle, or waits for us: what it sends or we send does not arrive.
    Gone,
    /// The server could not be reached.
    Unreachable,
    /// It cannot be told: the server refused the question, or a pooler hides the backend.
    Unclear,
}

/// The judge of one session.
///
/// ```text
///                                       silent for 3 ticks           gone, unreachable
///   Watching (idle: Beat at times) ────────────────────▶ Probing ───────────────────────▶ Doomed
///      ▲   ▲                                                │                               │  │
///      │   └──────────── works, or unclear ─────────────────┘                               │  │
///      └──────────────── anything was received ─────────────────────────────────────────────┘  │
///                                                                    still silent: Dead  ◀─────┘
/// ```
#[derive(Debug)]
pub struct Liveness {
    settings: LivenessSettings,
    stage: Stage,
    received: u64,
    /// Ticks since anything was received, or since the last question.
    silent: u32,
    /// As many lead to the next question.
    patience: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Watching,
    Probing,
    Doomed,
}

impl Liveness {
    /// Of a session that has just begun.
    pub fn new(settings: LivenessSettings) -> Self {
        Self { settings, stage: Stage::Watching, received: 0, silent: 0, patience: SILENT_TICKS }
    }

    /// A tick has passed.
    pub fn tick(&mut self, observed: Observed) -> LivenessStep {
        if observed.received != self.received {
            *self = Self { received: observed.received, ..Self::new(self.settings) };
            return LivenessStep::Rest;
        }
        match self.stage {
            Stage::Doomed => return LivenessStep::Dead,
            Stage::Probing => return LivenessStep::Rest,
            Stage::Watching => {}
        }
        self.silent = self.silent.saturating_add(1);
        match observed.waits_for {
            WaitsFor::Program => self.silent = 0,
            WaitsFor::Nothing => {
                let pause = self.settings.heartbeat.map(|pause| self.settings.ticks(pause));
                if pause.is_some_and(|pause| self.silent >= pause) {
                    self.silent = 0;
                    return LivenessStep::Beat;
                }
            }
            WaitsFor::Server if self.silent >= self.patience => {
                self.stage = Stage::Probing;
                return LivenessStep::Probe;
            }
            WaitsFor::Server => {}
        }
        LivenessStep::Rest
    }

    /// The question was answered.
    pub fn probed(&mut self, probed: Probed) {
        if self.stage != Stage::Probing {
            return;
        }
        match probed {
            Probed::Gone | Probed::Unreachable => self.stage = Stage::Doomed,
            Probed::Works | Probed::Unclear => {
                self.stage = Stage::Watching;
                self.silent = 0;
                let longest = self.settings.ticks(LONGEST_PAUSE).max(SILENT_TICKS);
                self.patience = self.patience.saturating_mul(2).min(longest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: LivenessSettings = LivenessSettings {
        bound: Duration::from_secs(8),
        heartbeat: Some(Duration::from_secs(10)),
    };

    fn silence(received: u64, waits_for: WaitsFor) -> Observed {
        Observed { received, waits_for }
    }

    /// Ticks until something else than rest is due.
    fn rests(liveness: &mut Liveness, observed: Observed) -> (u32, LivenessStep) {
        for ticks in 1..10_000 {
            match liveness.tick(observed) {
                LivenessStep::Rest => {}
                step => return (ticks, step),
            }
        }
        (u32::MAX, LivenessStep::Rest)
    }

    #[test]
    fn a_peer_that_has_gone_is_given_up_within_the_bound() {
        for probed in [Probed::Gone, Probed::Unreachable] {
            let mut liveness = Liveness::new(SETTINGS);
            assert_eq!(liveness.tick(silence(1, WaitsFor::Server)), LivenessStep::Rest);
            let owed = silence(1, WaitsFor::Server);
            let (ticks, step) = rests(&mut liveness, owed);
            assert_eq!(step, LivenessStep::Probe);
            liveness.probed(probed);
            assert_eq!(liveness.tick(owed), LivenessStep::Dead);
            assert!(1 + ticks + PROBE_TICKS < TICKS);
        }
    }

    #[test]
    fn a_query_that_is_merely_slow_is_not_given_up_and_asked_about_ever_less_often() {
        let mut liveness = Liveness::new(SETTINGS);
        let owed = silence(0, WaitsFor::Server);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let (ticks, step) = rests(&mut liveness, owed);
            assert_eq!(step, LivenessStep::Probe);
            liveness.probed(Probed::Works);
            pauses.push(ticks);
        }
        assert_eq!(pauses, [3, 6, 12, 15, 15, 15]);
        assert_eq!(liveness.tick(silence(1, WaitsFor::Server)), LivenessStep::Rest);
        assert_eq!(rests(&mut liveness, silence(1, WaitsFor::Server)), (3, LivenessStep::Probe));
    }

    #[test]
    fn an_answer_that_comes_after_all_saves_the_session() {
        let mut liveness = Liveness::new(SETTINGS);
        rests(&mut liveness, silence(0, WaitsFor::Server));
        liveness.probed(Probed::Gone);
        assert_eq!(liveness.tick(silence(1, WaitsFor::Nothing)), LivenessStep::Rest);
        assert_eq!(liveness.tick(silence(1, WaitsFor::Nothing)), LivenessStep::Rest);
    }

    #[test]
    fn an_idle_session_is_asked_for_a_sign_of_life_at_times() {
        let mut liveness = Liveness::new(SETTINGS);
        let idle = silence(0, WaitsFor::Nothing);
        assert_eq!(rests(&mut liveness, idle), (10, LivenessStep::Beat));
        // The beat is owed an answer, which does not come.
        let owed = silence(0, WaitsFor::Server);
        assert_eq!(rests(&mut liveness, owed), (3, LivenessStep::Probe));
        let none = LivenessSettings { heartbeat: None, ..SETTINGS };
        assert_eq!(rests(&mut Liveness::new(none), idle).1, LivenessStep::Rest);
    }

    #[test]
    fn a_session_that_waits_for_the_program_is_left_alone() {
        let mut liveness = Liveness::new(SETTINGS);
        assert_eq!(rests(&mut liveness, silence(0, WaitsFor::Program)).1, LivenessStep::Rest);
    }
}
