//! What happens next, chosen by the seed: steps that make sense as the world stands.

use fastrand::Rng;

use super::World;
use crate::plan::Faults;
use crate::step::Step;

/// See the file's text.
pub(crate) struct Chooser {
    rng: Rng,
    faults: Faults,
    left: u32,
}

impl Chooser {
    pub(crate) fn new(rng: Rng, faults: Faults) -> Self {
        Self { rng, faults, left: faults.steps }
    }

    /// The next step; `None` when the trials are over.
    pub(crate) fn next(&mut self, world: &World) -> Option<Step> {
        if self.left == 0 || world.present().next().is_none() {
            return None;
        }
        self.left -= 1;
        Some(self.choose(world))
    }

    fn choose(&mut self, world: &World) -> Step {
        let lines = world.net.lines();
        // Mostly the newest lines: the others are over.
        let line = lines.saturating_sub(1 + self.rng.usize(0..lines.clamp(1, 3)));
        let few = self.rng.u32(1..4);
        match self.rng.u32(0..1_000) {
            300..420 => Step::Flow,
            420..520 => Step::Idle,
            520..570 => Step::Turn(few),
            570..660 => Step::Up(line, self.bytes(world.net.traffic(line).up)),
            660..750 => Step::Down(line, self.bytes(world.net.traffic(line).down)),
            750..840 => Step::Serve(line, if self.rng.bool() { few } else { u32::MAX }),
            840..890 => Step::Tick(if self.rng.u32(0..4) == 0 { self.rng.u32(1..20) } else { few }),
            890..915 if self.faults.asides && self.faults.often => self.engaged(world),
            890..900 => Step::Ghost(line),
            900..915 => self.present(world, Step::Poll),
            915..930 => Step::Notify(self.rng.u32(0..3)),
            930..950 if self.faults.drops => self.present(world, Step::Drop),
            950..965 if self.faults.asides => self.engaged(world),
            965..985 => self.cancel(world),
            985..988 => Step::Calm,
            988..992 => Step::Limit(line, self.limit(), self.limit()),
            992..996 if self.faults.losses => match self.rng.u32(0..3) {
                0 => Step::Reset(line, self.rng.usize(0..200)),
                1 => Step::Hangup(line),
                _ => Step::Kill(line),
            },
            996..1_000 if self.faults.cancels => {
                if self.rng.bool() {
                    Step::Refuse(few)
                } else {
                    Step::Hang
                }
            }
            _ => self.woken(world),
        }
    }

    /// A caller that was woken is polled; if there is none, everything moves.
    fn woken(&mut self, world: &World) -> Step {
        let woken: Vec<u32> = world
            .present()
            .filter(|(_, is_woken, is_polled)| *is_woken && *is_polled)
            .map(|(id, ..)| id)
            .collect();
        self.rng.choice(woken).map_or(Step::Flow, Step::Poll)
    }

    fn present(&mut self, world: &World, step: impl FnOnce(u32) -> Step) -> Step {
        let present: Vec<u32> =
            world.present().filter(|(.., is_polled)| *is_polled).map(|(id, ..)| id).collect();
        self.rng.choice(present).map_or(Step::Flow, step)
    }

    /// A caller in the middle of something is put aside.
    fn engaged(&mut self, world: &World) -> Step {
        let engaged: Vec<u32> = world
            .present()
            .filter(|(id, _, is_polled)| *is_polled && world.is_engaged(*id))
            .map(|(id, ..)| id)
            .collect();
        self.rng.choice(engaged).map_or(Step::Flow, Step::Aside)
    }

    /// Something that can be cancelled is, mostly one of the last that could.
    fn cancel(&mut self, world: &World) -> Step {
        let mut ops = world.cancellable();
        let few = ops.split_off(ops.len().saturating_sub(3));
        let from = if self.rng.u32(0..4) == 0 { ops } else { few };
        self.rng.choice(from).map_or(Step::Idle, Step::Cancel)
    }

    /// All that is there, or some of it.
    fn bytes(&mut self, there: usize) -> usize {
        match self.rng.u32(0..4) {
            0 => usize::MAX,
            1 => self.rng.usize(1..8),
            _ => self.rng.usize(0..=there.min(1 << 20)) + 1,
        }
    }

    fn limit(&mut self) -> usize {
        1 << self.rng.u32(0..14)
    }
}
