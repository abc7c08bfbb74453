//! Workloads d, e and f: rounds in which each contender has its turn, in a process of its own so
//! that no contender inherits another's memory, and the medians of what they cost.

use std::process::Command;

use crate::Failure;
use crate::contenders::Contender;
use crate::runtime::Runtime;
use crate::stopwatch::{Cost, median};
use crate::table::{Table, ratio, thousands};
use crate::target::Target;
use crate::task::Task;
use crate::valgrind::alone;

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) task: Task,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: u32,
    pub(crate) size: u32,
}

/// Medians over the rounds. Times are in microseconds for each unit, memory in bytes for all.
struct Figures {
    wall: f64,
    cpu: f64,
    peak: f64,
    /// From the fastest round to the slowest, beside the median.
    spread: f64,
}

impl Plan {
    /// Runs the plan on one runtime.
    pub(crate) fn run(&self, runtime: Runtime, target: &Target) -> Result<Table, Failure> {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); self.contenders.len()];
        for _ in 0..self.rounds {
            for (&contender, costs) in self.contenders.iter().zip(&mut costs) {
                // `env` only runs what follows.
                let (printed, _) = alone(
                    &mut Command::new("env"),
                    (self.task, self.size),
                    contender,
                    runtime,
                    target,
                )?;
                costs.push(printed.parse()?);
            }
        }
        let units = f64::from(self.size) / f64::from(self.task.unit().size);
        let figures: Vec<Figures> = costs.iter().map(|costs| Figures::new(costs, units)).collect();
        Ok(self.table(&figures))
    }

    fn table(&self, figures: &[Figures]) -> Table {
        let of = |wanted| {
            let at = self.contenders.iter().position(|&contender| contender == wanted)?;
            figures.get(at)
        };
        let (raw, tp, sqlx) =
            (of(Contender::Raw), of(Contender::TokioPostgres), of(Contender::Sqlx));
        let (rate_heading, rate): (String, fn(&Figures) -> f64) = match self.task {
            // A kilobyte a microsecond is a gigabyte a second.
            Task::Value => ("MB/s".into(), |figures| 1e3 / figures.wall),
            _ => (format!("{}s/s", self.task.unit().name), |figures| 1e6 / figures.wall),
        };
        let beside = |what: &str, whom: &str| format!("{what} × {whom}");
        let short_rate = rate_heading.as_str();
        let mut table = Table::new(&[
            "",
            short_rate,
            "spread",
            "CPU µs",
            "peak MB",
            &beside(short_rate, "tp"),
            &beside("CPU", "raw"),
            &beside("CPU", "tp"),
            &beside("CPU", "sqlx"),
        ]);
        for (contender, figures) in self.contenders.iter().zip(figures) {
            let cpu = |base: Option<&Figures>| ratio(figures.cpu, base.map(|base| base.cpu));
            table.row(vec![
                contender.name().to_owned(),
                thousands(rate(figures)),
                format!("{:.0} %", figures.spread * 100.0),
                format!("{:.3}", figures.cpu),
                format!("{:.1}", figures.peak / 1e6),
                ratio(rate(figures), tp.map(rate)),
                cpu(raw),
                cpu(tp),
                cpu(sqlx),
            ]);
        }
        table
    }
}

impl Figures {
    fn new(costs: &[Cost], units: f64) -> Figures {
        let walls = costs.iter().map(|cost| cost.wall.as_secs_f64() * 1e6 / units);
        let wall = median(walls.clone());
        Figures {
            wall,
            cpu: median(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e6 / units)),
            peak: median(costs.iter().map(|cost| cost.peak as f64)),
            spread: (walls.clone().fold(0.0, f64::max) - walls.fold(f64::MAX, f64::min)) / wall,
        }
    }
}
