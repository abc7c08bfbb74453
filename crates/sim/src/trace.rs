//! What happened in a run: a hash of all of it, and the last lines if they are kept.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// Lines that are kept.
const LINES: usize = 400;

/// See the file's text.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: Hash,
    lines: Option<VecDeque<String>>,
}

/// FNV-1a, which is the same everywhere.
#[derive(Debug, Clone, Copy)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// One whose lines are kept.
    pub(crate) fn kept() -> Self {
        Self { lines: Some(VecDeque::new()), ..Self::default() }
    }

    /// Notes a line.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let _ = self.hash.write_fmt(line);
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_string());
        }
    }

    /// Notes a line for the reader only.
    pub(crate) fn remark(&mut self, line: &str) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(format!("      {line}"));
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    /// The hash of everything that was noted.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}
