//! What a check tells while it runs: what was reached, and how much memory a part of it took.

use crate::coverage::Coverage;

/// How allocated memory is told, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    /// Allocated now.
    pub current: fn() -> usize,
    /// Allocated at the worst moment since the last reset.
    pub peak: fn() -> usize,
    /// Begins anew from what is allocated now.
    pub reset: fn(),
}

/// See the file's text.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) coverage: Coverage,
    gauge: Option<Gauge>,
}

impl Probe {
    pub(crate) fn new(gauge: Option<Gauge>) -> Self {
        Self { coverage: Coverage::default(), gauge }
    }

    /// Notes that something was reached: `kind: name`.
    pub(crate) fn reached(&mut self, what: &str) {
        self.coverage.count(what);
    }

    /// Calls `part`, and tells how much memory it took at the worst moment, in bytes.
    pub(crate) fn measure<T>(&self, part: impl FnOnce() -> T) -> (T, usize) {
        let Some(gauge) = self.gauge else { return (part(), 0) };
        let before = (gauge.current)();
        (gauge.reset)();
        let result = part();
        (result, (gauge.peak)().saturating_sub(before))
    }

    /// Calls `part`, which must not take more than `most` bytes.
    pub(crate) fn within<T>(&self, what: &str, most: usize, part: impl FnOnce() -> T) -> T {
        let (result, taken) = self.measure(part);
        assert!(taken <= most, "{what} took {taken} bytes of memory, and {most} are allowed");
        result
    }
}
