//! System calls for each query or row, counted by strace at two sizes. Only the client is traced:
//! the server is not its child.

use std::collections::BTreeMap;
use std::process::Command;

use crate::Failure;
use crate::contenders::Contender;
use crate::runtime::Runtime;
use crate::table::Table;
use crate::target::Target;
use crate::task::Task;
use crate::valgrind::alone;

/// Calls rarer than this, for each query, are start-up noise.
const NOISE: f64 = 0.005;

/// One row for each contender.
pub(crate) fn count_all(
    task: Task,
    contenders: &[Contender],
    runtime: Runtime,
    target: &Target,
) -> Result<Table, Failure> {
    let mut table = Table::new(&["", "calls", "which"]);
    let sizes = task.sizes();
    let more = f64::from(sizes.1 - sizes.0) / f64::from(task.unit().size);
    for &contender in contenders {
        let small = count(task, contender, runtime, sizes.0, target)?;
        let mut calls = count(task, contender, runtime, sizes.1, target)?;
        for (name, calls) in &mut calls {
            *calls -= small.get(name).unwrap_or(&0.0);
            *calls /= more;
        }
        let mut calls: Vec<(String, f64)> = calls.into_iter().collect();
        calls.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        let which: Vec<String> = calls
            .iter()
            .filter(|(_, calls)| *calls >= NOISE)
            .map(|(name, calls)| format!("{name} {calls:.2}"))
            .collect();
        table.row(vec![
            contender.name().to_owned(),
            format!("{:.2}", calls.iter().map(|(_, calls)| calls).sum::<f64>()),
            which.join(", "),
        ]);
    }
    Ok(table)
}

fn count(
    task: Task,
    contender: Contender,
    runtime: Runtime,
    size: u32,
    target: &Target,
) -> Result<BTreeMap<String, f64>, Failure> {
    let mut command = Command::new("strace");
    command.args(["-f", "-c"]);
    let (_, log) = alone(&mut command, (task, size), contender, runtime, target)?;
    let calls = summary(&log);
    if calls.is_empty() {
        return Err(format!("strace wrote no summary:\n{log}").into());
    }
    Ok(calls)
}

/// The columns of `strace -c`: share, seconds, microseconds each, calls, errors if any, name.
fn summary(log: &str) -> BTreeMap<String, f64> {
    let mut calls = BTreeMap::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(count), Some(name)) = (words.get(3), words.last()) else {
            continue;
        };
        if let Ok(count) = count.parse()
            && *name != "total"
        {
            calls.insert((*name).to_owned(), count);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn the_summary_is_read() {
        let log = "strace: Process 7 attached\n\
             % time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n \
             96.63    0.029900        2990        10         1 recvfrom\n  \
             3.37    0.001042           2       521           mmap\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.030942          58       531         1 total\n";
        let calls: Vec<(String, f64)> = summary(log).into_iter().collect();
        assert_eq!(calls, [("mmap".into(), 521.0), ("recvfrom".into(), 10.0)]);
    }
}
