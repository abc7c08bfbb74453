//! What has happened, and when.

use std::fmt::Write;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::book::Finding;

/// How long before a row is asked for, and how long after its call has ended, something may have
/// to do with it: 10 s.
const AROUND: Duration = Duration::from_secs(10);

/// Everything that has happened since the beginning of a run.
#[derive(Debug)]
pub(crate) struct Timeline {
    began: Instant,
    lines: Mutex<Vec<(Duration, String)>>,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), lines: Mutex::default() }
    }

    /// How long the run lasts.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        let now = self.now();
        self.lines.lock().push((now, what.into()));
    }

    /// What happened around these rows; without a row, all of it.
    pub(crate) fn around(&self, findings: &[Finding]) -> String {
        let times = || findings.iter().filter_map(|finding| Some(finding.entry.as_ref()?.time));
        let from = times().map(|(began, _)| began).min().unwrap_or_default();
        let to = times().map(|(_, ended)| ended).max().unwrap_or(Duration::MAX);
        let (from, to) = (from.saturating_sub(AROUND), to.saturating_add(AROUND));
        let mut text = String::new();
        for (at, what) in self.lines.lock().iter().filter(|(at, _)| (from..=to).contains(at)) {
            writeln!(text, "{:9.3} s  {what}", at.as_secs_f64()).ok();
        }
        text
    }
}
