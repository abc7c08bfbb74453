//! The settings of a run.

use std::fmt;

use fastrand::Rng;

use super::Profile;
use crate::net::Knobs;

/// See the file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) knobs: Knobs,
    /// The size of the statement cache.
    pub(crate) cache: u32,
    /// Requests do not overlap.
    pub(crate) single: bool,
    /// The connection has a detector, and calls wait for it for so many milliseconds.
    pub(crate) reconnects: Option<u32>,
    /// Notifications that a listener may leave waiting; 0 is the library's own bound.
    pub(crate) queue: u32,
    /// Tasks that the runtime polls between two looks at its clock.
    pub(crate) tasks: u32,
    /// A caller has another waker at each poll.
    pub(crate) fresh: bool,
    pub(crate) end: Ending,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ending {
    /// The connection is closed.
    #[default]
    Close,
    /// Its last clone is dropped.
    Drop,
    /// An administrator ends the session, with callers put aside.
    Kill,
    /// The runtime is dropped before the callers, whose futures are dropped outside of it.
    Vanish,
    /// The callers are dropped outside of the runtime, which goes on.
    Outside,
}

impl Ending {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Close, "close"),
        (Self::Drop, "drop"),
        (Self::Kill, "kill"),
        (Self::Vanish, "vanish"),
        (Self::Outside, "outside"),
    ];
}

impl Default for Settings {
    fn default() -> Self {
        let end = Ending::default();
        let knobs = Knobs::default();
        let (single, reconnects, fresh) = (false, None, false);
        Self { knobs, cache: 256, single, reconnects, queue: 0, tasks: 61, fresh, end }
    }
}

impl Settings {
    pub(super) fn of(rng: &mut Rng, profile: Profile) -> Self {
        let narrow = profile == Profile::Volume || rng.u32(0..4) == 0;
        let room = |rng: &mut Rng| {
            if narrow { 1 << rng.u32(5..14) } else { 64 * 1024 }
        };
        let cut = |rng: &mut Rng| if rng.u32(0..6) == 0 { 1 << rng.u32(0..12) } else { 1 << 20 };
        let knobs = Knobs {
            up: room(rng),
            down: room(rng),
            write: cut(rng),
            read: cut(rng),
            keeps_back: rng.u32(0..6) == 0,
            knows: rng.u32(0..3) > 0,
        };
        let end = match rng.u32(0..10) {
            0..4 => Ending::Close,
            4..6 => Ending::Drop,
            6..8 => Ending::Kill,
            8 => Ending::Vanish,
            _ => Ending::Outside,
        };
        Self {
            knobs: if profile == Profile::Growth { Knobs::default() } else { knobs },
            cache: *rng.choice(&[256, 256, 2, 0]).unwrap_or(&256),
            queue: if rng.u32(0..6) == 0 { rng.u32(1..4) } else { 0 },
            tasks: if rng.bool() { 1 } else { 61 },
            fresh: rng.bool(),
            single: rng.u32(0..8) == 0,
            reconnects: match rng.u32(0..8) {
                0 => Some(0),
                1 => Some(20),
                2 => Some(60_000),
                _ => None,
            },
            end,
        }
    }

    /// Reads the words behind `set`.
    pub(crate) fn parse(words: &str) -> Option<Self> {
        let mut this = Self::default();
        let mut words = words.split_whitespace();
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse::<u32>().ok();
            let size = |number: Option<u32>| usize::try_from(number?).ok();
            match word {
                "up" => this.knobs.up = size(number())?,
                "down" => this.knobs.down = size(number())?,
                "write" => this.knobs.write = size(number())?,
                "read" => this.knobs.read = size(number())?,
                "keeps_back" => this.knobs.keeps_back = true,
                "guesses" => this.knobs.knows = false,
                "cache" => this.cache = number()?,
                "queue" => this.queue = number()?,
                "tasks" => this.tasks = number()?.max(1),
                "reconnects" => this.reconnects = Some(number()?),
                "fresh" => this.fresh = true,
                "single" => this.single = true,
                "end" => {
                    let word = words.next()?;
                    this.end = Ending::ALL.iter().find(|(_, known)| *known == word)?.0;
                }
                _ => return None,
            }
        }
        Some(this)
    }
}

impl fmt::Display for Settings {
    /// Only what is not as it is by default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Knobs { up, down, write, read, keeps_back, knows }, others) =
            (self.knobs, Self::default());
        f.write_str("set")?;
        for (name, value, other) in [
            ("up", up, others.knobs.up),
            ("down", down, others.knobs.down),
            ("write", write, others.knobs.write),
            ("read", read, others.knobs.read),
        ] {
            if value != other {
                write!(f, " {name} {value}")?;
            }
        }
        for (name, value, other) in [
            ("cache", self.cache, others.cache),
            ("queue", self.queue, others.queue),
            ("tasks", self.tasks, others.tasks),
        ] {
            if value != other {
                write!(f, " {name} {value}")?;
            }
        }
        if let Some(patience) = self.reconnects {
            write!(f, " reconnects {patience}")?;
        }
        for (name, is_set) in [
            ("keeps_back", keeps_back),
            ("guesses", !knows),
            ("fresh", self.fresh),
            ("single", self.single),
        ] {
            if is_set {
                write!(f, " {name}")?;
            }
        }
        let word = Ending::ALL.iter().find(|(end, _)| *end == self.end);
        write!(f, " end {}", word.map_or("", |(_, word)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_are_written() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..100 {
            let settings = Settings::of(&mut rng, Profile::Volume);
            let text = settings.to_string();
            assert_eq!(Settings::parse(text.strip_prefix("set ").unwrap()), Some(settings));
        }
    }
}
