//! What a run does next, as data: a step of a script.

use std::fmt;

/// One step. Lines, callers and operations are named by their numbers; what does not exist is
/// passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A caller is polled, woken or not.
    Poll(u32),
    /// The runtime polls this many tasks.
    Turn(u32),
    /// The runtime polls tasks until none is woken.
    Idle,
    /// Bytes arrive at the server.
    Up(usize, usize),
    /// Bytes arrive at the client.
    Down(usize, usize),
    /// The server does this many things on a line.
    Serve(usize, u32),
    /// Everything that is on its way arrives, the server does all it can, and the runtime idles;
    /// callers are not polled.
    Flow,
    /// Milliseconds pass.
    Tick(u32),
    /// A caller's future is dropped.
    Drop(u32),
    /// A caller is not polled any more until the trials are over.
    Aside(u32),
    /// An operation is cancelled by its handle.
    Cancel(u32),
    /// Another session notifies a channel.
    Notify(u32),
    /// A line says that it is ready, and is not.
    Ghost(usize),
    /// A line takes and gives this many bytes at a time.
    Limit(usize, usize, usize),
    /// A line breaks; this many bytes still arrive at the server.
    Reset(usize, usize),
    /// The server hangs up without a word.
    Hangup(usize),
    /// An administrator ends the session on a line.
    Kill(usize),
    /// The next dials are refused.
    Refuse(u32),
    /// Dials wait, and CancelRequests are not read.
    Hang,
    /// No faults for a while; callers that were put aside stay so.
    Calm,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(caller) => write!(f, "poll {caller}"),
            Self::Turn(count) => write!(f, "turn {count}"),
            Self::Idle => f.write_str("idle"),
            Self::Up(line, bytes) => write!(f, "up {line} {bytes}"),
            Self::Down(line, bytes) => write!(f, "down {line} {bytes}"),
            Self::Serve(line, count) => write!(f, "serve {line} {count}"),
            Self::Flow => f.write_str("flow"),
            Self::Tick(ms) => write!(f, "tick {ms}"),
            Self::Drop(caller) => write!(f, "drop {caller}"),
            Self::Aside(caller) => write!(f, "aside {caller}"),
            Self::Cancel(op) => write!(f, "cancel {op}"),
            Self::Notify(channel) => write!(f, "notify {channel}"),
            Self::Ghost(line) => write!(f, "ghost {line}"),
            Self::Limit(line, write, read) => write!(f, "limit {line} {write} {read}"),
            Self::Reset(line, kept) => write!(f, "reset {line} {kept}"),
            Self::Hangup(line) => write!(f, "hangup {line}"),
            Self::Kill(line) => write!(f, "kill {line}"),
            Self::Refuse(count) => write!(f, "refuse {count}"),
            Self::Hang => f.write_str("hang"),
            Self::Calm => f.write_str("calm"),
        }
    }
}

impl Step {
    /// Reads a line of a script.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        let mut number = || words.next()?.parse::<usize>().ok();
        let small = |number: Option<usize>| u32::try_from(number?).ok();
        Some(match verb {
            "poll" => Self::Poll(small(number())?),
            "turn" => Self::Turn(small(number())?),
            "idle" => Self::Idle,
            "up" => Self::Up(number()?, number()?),
            "down" => Self::Down(number()?, number()?),
            "serve" => Self::Serve(number()?, small(number())?),
            "flow" => Self::Flow,
            "tick" => Self::Tick(small(number())?),
            "drop" => Self::Drop(small(number())?),
            "aside" => Self::Aside(small(number())?),
            "cancel" => Self::Cancel(small(number())?),
            "notify" => Self::Notify(small(number())?),
            "ghost" => Self::Ghost(number()?),
            "limit" => Self::Limit(number()?, number()?, number()?),
            "reset" => Self::Reset(number()?, number()?),
            "hangup" => Self::Hangup(number()?),
            "kill" => Self::Kill(number()?),
            "refuse" => Self::Refuse(small(number())?),
            "hang" => Self::Hang,
            "calm" => Self::Calm,
            _ => return None,
        })
    }

    /// Its word.
    pub(crate) fn word(self) -> String {
        self.to_string().split(' ').next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_is_written() {
        for line in ["poll 3", "limit 0 1 2", "reset 0 17", "calm", "serve 1 2", "notify 0"] {
            assert_eq!(Step::parse(line).unwrap().to_string(), line);
        }
        assert_eq!(Step::parse("poll"), None);
    }
}
