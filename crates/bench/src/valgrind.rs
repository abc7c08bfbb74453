//! Instructions and allocations for each query or row, counted by valgrind at two sizes; connecting
//! and warming up cost the same at both and cancel out.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::commands::ALONE;
use crate::contenders::Contender;
use crate::runtime::Runtime;
use crate::table::{Table, ratio, thousands};
use crate::target::Target;
use crate::task::Task;

/// What valgrind counted over one run.
#[derive(Clone, Copy)]
struct Count {
    instructions: f64,
    allocations: f64,
}

/// One row for each contender.
pub(crate) fn count_all(
    task: Task,
    contenders: &[Contender],
    runtime: Runtime,
    target: &Target,
) -> Result<Table, Failure> {
    let mut counts = Vec::new();
    let sizes = task.sizes();
    for &contender in contenders {
        let (small, large) = (
            count(task, contender, runtime, sizes.0, target)?,
            count(task, contender, runtime, sizes.1, target)?,
        );
        let more = f64::from(sizes.1 - sizes.0) / f64::from(task.unit().size);
        let count = Count {
            instructions: (large.instructions - small.instructions) / more,
            allocations: (large.allocations - small.allocations) / more,
        };
        counts.push((contender, count));
    }
    let of = |wanted| {
        let found = counts.iter().find(|(contender, _)| *contender == wanted);
        found.map(|(_, count)| count.instructions)
    };
    let (raw, peer) = (of(Contender::Raw), of(Contender::TokioPostgres));
    let mut table = Table::new(&["", "instructions", "× raw", "× tp", "allocations"]);
    for (contender, count) in &counts {
        table.row(vec![
            contender.name().to_owned(),
            thousands(count.instructions),
            ratio(count.instructions, raw),
            ratio(count.instructions, peer),
            format!("{:.2}", count.allocations),
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
) -> Result<Count, Failure> {
    let file = std::env::temp_dir().join(format!("txpostgres-{}.callgrind", std::process::id()));
    let out = format!("--callgrind-out-file={}", file.display());
    let run = |arguments: &[&str]| -> Result<String, Failure> {
        let mut command = Command::new("valgrind");
        command.args(arguments);
        alone(&mut command, (task, size), contender, runtime, target).map(|(_, log)| log)
    };
    run(&["--tool=callgrind", &out])?;
    let instructions = callgrind_total(&std::fs::read_to_string(&file)?);
    std::fs::remove_file(&file)?;
    let log = run(&["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"])?;
    Ok(Count {
        instructions: instructions.ok_or("callgrind wrote no total")?,
        allocations: heap_total(&log).ok_or("memcheck wrote no total")?,
    })
}

/// Runs `bench one` below `tool`; what was written to standard output and standard error.
pub(crate) fn alone(
    tool: &mut Command,
    (task, size): (Task, u32),
    contender: Contender,
    runtime: Runtime,
    target: &Target,
) -> Result<(String, String), Failure> {
    let name = Path::new(tool.get_program()).display().to_string();
    let output = tool
        .arg(std::env::current_exe()?)
        .args([ALONE, "--task", task.name(), "--contender", contender.name()])
        .args(["--runtime", runtime.name(), "--dsn", &target.dsn()])
        .args(["--size", &size.to_string()])
        .output()
        .map_err(|failure| match failure.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{name} is not installed (Debian: apt-get install {name})")
            }
            _ => format!("{name}: {failure}"),
        })?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), log))
    } else {
        Err(format!("{} below {name}: {}\n{log}", contender.name(), output.status).into())
    }
}

/// The total of a file that callgrind wrote. `totals:` counts what `summary:` does, and is there
/// for several threads too.
fn callgrind_total(file: &str) -> Option<f64> {
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    line?.split_whitespace().next()?.parse().ok()
}

/// The allocations that memcheck tells of in its last lines.
fn heap_total(log: &str) -> Option<f64> {
    let (_, after) = log.split_once("total heap usage: ")?;
    let (allocations, _) = after.split_once(" allocs")?;
    allocations.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{callgrind_total, heap_total};

    #[test]
    fn the_totals_are_found() {
        assert_eq!(callgrind_total("events: Ir\nsummary: 12345\n"), Some(12345.0));
        assert_eq!(callgrind_total("fn=(1)\n3 4\n\ntotals: 99\n"), Some(99.0));
        assert_eq!(callgrind_total("events: Ir\n"), None);
        let log = "==1==   total heap usage: 1,234 allocs, 1,200 frees, 5 bytes allocated\n";
        assert_eq!(heap_total(log), Some(1234.0));
    }
}
