//! What a stretch of work cost: wall time, the processor time of this process, how often one of
//! its threads went to sleep, and how much memory it took at its peak.

use std::fmt;
use std::str::FromStr;

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::Failure;

/// The cost of a stretch of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time of all threads of this process; the server is another process.
    pub(crate) cpu: Duration,
    /// Voluntary context switches of all threads: one for each sleep that really was one.
    pub(crate) sleeps: u64,
    /// Bytes of memory at the peak, beyond those in use before; 0 where the system does not tell.
    pub(crate) peak: u64,
}

/// What a [`Cost`] begins with when it is written down.
const COST: &str = "cost:";

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, cpu) = (self.wall.as_nanos(), self.cpu.as_nanos());
        write!(f, "{COST} {wall} {cpu} {} {}", self.sleeps, self.peak)
    }
}

impl FromStr for Cost {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Cost, Failure> {
        let line = text.lines().find_map(|line| line.strip_prefix(COST)).ok_or("no cost")?;
        let figures: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [wall, cpu, sleeps, peak] = figures[..] else {
            return Err(format!("not a cost: {line}").into());
        };
        let (wall, cpu) = (Duration::from_nanos(wall), Duration::from_nanos(cpu));
        Ok(Cost { wall, cpu, sleeps, peak })
    }
}

/// Started before the work, read after it.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
    sleeps: u64,
    memory: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Result<Stopwatch, Failure> {
        // The peak so far is forgotten (proc(5), clear_refs).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let memory = memory("VmRSS:");
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        Ok(Stopwatch { cpu: cpu(&usage), sleeps: sleeps(&usage), memory, wall: Instant::now() })
    }

    pub(crate) fn stop(&self) -> Result<Cost, Failure> {
        let wall = self.wall.elapsed();
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        Ok(Cost {
            wall,
            cpu: cpu(&usage).saturating_sub(self.cpu),
            sleeps: sleeps(&usage).saturating_sub(self.sleeps),
            peak: memory("VmHWM:").saturating_sub(self.memory),
        })
    }
}

fn cpu(usage: &Usage) -> Duration {
    let total = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(total).unwrap_or(0))
}

fn sleeps(usage: &Usage) -> u64 {
    u64::try_from(usage.voluntary_context_switches()).unwrap_or(0)
}

/// Bytes of memory that this process has, or had at its peak.
fn memory(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(which)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The middle of the values, the mean of the two middle ones when their number is even.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = |position: usize| values.get(position).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    #[allow(clippy::float_cmp)] // whole numbers, exactly
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
