//! Rounds in which each contender has its turn at a workload, and the medians of what they cost.

use crate::Failure;
use crate::contenders::Contender;
use crate::runtime::Runtime;
use crate::stopwatch::{Cost, median};
use crate::table::{Table, ratio, thousands};
use crate::target::Target;
use crate::task::Task;

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) task: Task,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: u32,
    pub(crate) queries: u32,
}

impl Plan {
    /// Runs the plan on one runtime.
    pub(crate) fn run(&self, runtime: Runtime, target: &Target) -> Result<Table, Failure> {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); self.contenders.len()];
        for _ in 0..self.rounds {
            for (contender, costs) in self.contenders.iter().zip(&mut costs) {
                let (warm_up, queries) = (self.queries.div_ceil(10), self.queries);
                costs.push(runtime.run(contender.ask(
                    self.task,
                    target.clone(),
                    warm_up,
                    queries,
                ))?);
            }
        }
        let figures: Vec<Figures> =
            costs.iter().map(|costs| Figures::new(costs, f64::from(self.queries))).collect();
        Ok(self.table(&figures))
    }

    fn table(&self, figures: &[Figures]) -> Table {
        let of = |wanted| {
            let at = self.contenders.iter().position(|&contender| contender == wanted)?;
            figures.get(at)
        };
        let (raw, peer) = (of(Contender::Raw), of(Contender::TokioPostgres));
        let mut table = Table::new(&[
            "",
            "q/s",
            "wall µs",
            "spread",
            "CPU µs",
            "sleeps",
            "q/s × raw",
            "q/s × tp",
            "CPU × raw",
            "CPU × tp",
        ]);
        for (contender, figures) in self.contenders.iter().zip(figures) {
            let rate = |figures: &Figures| 1e6 / figures.wall;
            table.row(vec![
                contender.name().to_owned(),
                thousands(rate(figures)),
                format!("{:.1}", figures.wall),
                format!("{:.0} %", figures.spread * 100.0),
                format!("{:.2}", figures.cpu),
                format!("{:.2}", figures.sleeps),
                ratio(rate(figures), raw.map(rate)),
                ratio(rate(figures), peer.map(rate)),
                ratio(figures.cpu, raw.map(|raw| raw.cpu)),
                ratio(figures.cpu, peer.map(|peer| peer.cpu)),
            ]);
        }
        table
    }
}

/// Medians over the rounds, for each query; times in microseconds.
struct Figures {
    wall: f64,
    cpu: f64,
    sleeps: f64,
    /// From the fastest round to the slowest, beside the median.
    spread: f64,
}

impl Figures {
    fn new(costs: &[Cost], queries: f64) -> Figures {
        let walls = costs.iter().map(|cost| cost.wall.as_secs_f64() * 1e6 / queries);
        let wall = median(walls.clone());
        Figures {
            wall,
            cpu: median(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e6 / queries)),
            sleeps: median(costs.iter().map(|cost| cost.sleeps as f64 / queries)),
            spread: (walls.clone().fold(0.0, f64::max) - walls.fold(f64::MAX, f64::min)) / wall,
        }
    }
}
