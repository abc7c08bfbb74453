//! The Tokio runtimes a client may find itself on, and where on them its work runs.

use std::str::FromStr;

use tokio::runtime::Builder;

use crate::Failure;

/// A runtime, and where on it the questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// `current_thread`.
    Current,
    /// `multi_thread` with two workers; the work is a spawned task.
    Multi,
    /// `multi_thread` with two workers; the work is in `block_on`, as below `#[tokio::main]`.
    MultiBlockOn,
}

impl Runtime {
    pub(crate) const ALL: [Runtime; 3] = [Runtime::Current, Runtime::Multi, Runtime::MultiBlockOn];

    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Current => "current",
            Runtime::Multi => "multi",
            Runtime::MultiBlockOn => "multi-block-on",
        }
    }

    /// Runs `work` to its end on a fresh runtime.
    pub(crate) fn run<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let runtime = self.build()?;
        match self {
            Runtime::Current | Runtime::MultiBlockOn => runtime.block_on(work),
            Runtime::Multi => runtime.block_on(async { tokio::spawn(work).await? }),
        }
    }

    /// The same for work that cannot be given to another thread.
    pub(crate) fn run_here<T>(
        self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if self == Runtime::Multi {
            return Err("only workload a is measured on multi".into());
        }
        self.build()?.block_on(work)
    }

    fn build(self) -> Result<tokio::runtime::Runtime, Failure> {
        let mut builder = match self {
            Runtime::Current => Builder::new_current_thread(),
            Runtime::Multi | Runtime::MultiBlockOn => Builder::new_multi_thread(),
        };
        Ok(builder.worker_threads(2).enable_all().build()?)
    }
}

impl FromStr for Runtime {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Runtime, Failure> {
        let found = Runtime::ALL.into_iter().find(|runtime| runtime.name() == word);
        found.ok_or_else(|| {
            format!("{word} is not a runtime; there are current, multi, multi-block-on").into()
        })
    }
}
