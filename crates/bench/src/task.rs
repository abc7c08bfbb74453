//! What can be measured, by name.

use std::str::FromStr;

use crate::Failure;
use crate::contenders::Contender;
use crate::stopwatch::Cost;
use crate::target::Target;
use crate::{workload_d, workload_e, workload_f};

/// One thing that every contender does, so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// One prepared `select $1::int4` after another.
    Ask,
    /// Bursts of notifications, heard one by one.
    Hear,
    /// Rows into a `Vec` of structs.
    Owned,
    /// Rows into structs as they come, none kept.
    Streamed,
    /// The same, one row at a time where there is a choice.
    RowByRow,
    /// Rows visited where they lie.
    Borrowed,
    /// One large value.
    Value,
    /// Rows by COPY.
    Copy,
    /// Inserts, a thousand in a transaction and in a flight.
    Many,
    /// Inserts, each a transaction of its own, a thousand in flight.
    Pipelined,
}

/// How a task's figures are told.
pub(crate) struct Unit {
    /// What is counted.
    pub(crate) name: &'static str,
    /// How many make one unit.
    pub(crate) size: u32,
}

impl Task {
    const ALL: [Task; 10] = [
        Task::Ask,
        Task::Hear,
        Task::Owned,
        Task::Streamed,
        Task::RowByRow,
        Task::Borrowed,
        Task::Value,
        Task::Copy,
        Task::Many,
        Task::Pipelined,
    ];

    /// The tasks of a workload, or the one of this name.
    pub(crate) fn named(word: &str) -> Result<Vec<Task>, Failure> {
        Ok(match word {
            "d" => vec![Task::Owned, Task::Streamed, Task::RowByRow, Task::Borrowed],
            "f" => vec![Task::Copy, Task::Many, Task::Pipelined],
            _ => vec![word.parse()?],
        })
    }

    /// The word on the command line and in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Ask => "a",
            Task::Hear => "g",
            Task::Owned => "d-owned",
            Task::Streamed => "d-streamed",
            Task::RowByRow => "d-row-by-row",
            Task::Borrowed => "d-borrowed",
            Task::Value => "e",
            Task::Copy => "f-copy",
            Task::Many => "f-many",
            Task::Pipelined => "f-pipelined",
        }
    }

    /// How often it is done when nothing else is said.
    pub(crate) fn default_size(self) -> u32 {
        match self {
            Task::Ask | Task::Hear | Task::Many | Task::Pipelined => 20_000,
            Task::Value => 50_000_000,
            _ => 100_000,
        }
    }

    /// How often it is done in the two runs whose counts are subtracted.
    pub(crate) fn sizes(self) -> (u32, u32) {
        match self {
            Task::Value => (10_000_000, 50_000_000),
            Task::Ask | Task::Hear | Task::Many | Task::Pipelined => (2_000, 12_000),
            _ => (20_000, 100_000),
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Task::Ask => Unit { name: "query", size: 1 },
            Task::Hear => Unit { name: "notification", size: 1 },
            Task::Value => Unit { name: "KB", size: 1_000 },
            _ => Unit { name: "row", size: 1 },
        }
    }

    /// The contenders that are measured by default.
    pub(crate) fn contenders(self) -> Vec<Contender> {
        let mut all = Contender::default_list();
        all.retain(|contender| self != Task::Hear || *contender != Contender::Sqlx);
        all
    }

    /// Whether the fake server has answers for it.
    pub(crate) fn can_be_faked(self) -> bool {
        !matches!(self, Task::Copy | Task::Many | Task::Pipelined)
    }

    /// Does it, on a connection of its own, and returns what it cost.
    pub(crate) async fn perform(
        self,
        contender: Contender,
        target: Target,
        size: u32,
    ) -> Result<Cost, Failure> {
        match self {
            Task::Ask | Task::Hear => contender.ask(self, target, 0, size).await,
            Task::Owned | Task::Streamed | Task::RowByRow | Task::Borrowed => {
                workload_d::perform(self, contender, target, size).await
            }
            Task::Value => workload_e::perform(contender, target, size).await,
            Task::Copy | Task::Many | Task::Pipelined => {
                workload_f::perform(self, contender, target, size).await
            }
        }
    }

    /// Makes the tables that it needs, in a real server.
    pub(crate) async fn prepare(self, target: Target, sizes: &[u32]) -> Result<(), Failure> {
        match self {
            Task::Ask | Task::Hear => Ok(()),
            Task::Owned | Task::Streamed | Task::RowByRow | Task::Borrowed => {
                workload_d::prepare(target, sizes).await
            }
            Task::Value => workload_e::prepare(target, sizes).await,
            Task::Copy | Task::Many | Task::Pipelined => workload_f::prepare(target).await,
        }
    }
}

impl FromStr for Task {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Task, Failure> {
        let found = Task::ALL.into_iter().find(|task| task.name() == word);
        found.ok_or_else(|| {
            let names: Vec<&str> = Task::ALL.iter().map(|task| task.name()).collect();
            format!("{word} is not a task; there are {}", names.join(", ")).into()
        })
    }
}
