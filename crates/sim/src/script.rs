//! A run as text: settings, callers, steps. What was found is committed in this form.
//!
//! ```text
//! # Why this script is here.
//! set down 4096 end close
//! caller 1
//!   interaction t2 handle {
//!     query t3 insert ms 300
//!   }
//! caller 2
//!   query t4 by rows 3
//! do
//!   poll 1
//!   flow
//!   drop 1
//! ```

use std::fmt;

use crate::callers::{End, Kind, Op};
use crate::plan::{Caller, Plan, Settings};
use crate::server::Work;
use crate::step::Step;

/// A plan and the steps that were taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.plan.settings)?;
        for caller in &self.plan.callers {
            writeln!(f, "caller {}", caller.id)?;
            for op in &caller.ops {
                write_op(f, op, 1)?;
            }
        }
        writeln!(f, "do")?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        Ok(())
    }
}

fn write_op(f: &mut fmt::Formatter<'_>, op: &Op, depth: usize) -> fmt::Result {
    let margin = "  ".repeat(depth);
    if op.body.is_empty() {
        return writeln!(f, "{margin}{op}");
    }
    writeln!(f, "{margin}{op} {{")?;
    for inner in &op.body {
        write_op(f, inner, depth + 1)?;
    }
    writeln!(f, "{margin}}}")
}

impl Script {
    /// Reads a script; says which line cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut has_steps = false;
        let mut open: Vec<Op> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let bad = || format!("line {}: {line}", index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if has_steps {
                script.steps.push(Step::parse(line).ok_or_else(bad)?);
            } else if line == "do" {
                has_steps = true;
            } else if let Some(words) = line.strip_prefix("set ") {
                script.plan.settings = Settings::parse(words).ok_or_else(bad)?;
            } else if let Some(number) = line.strip_prefix("caller ") {
                let id = number.parse().map_err(|_| bad())?;
                script.plan.callers.push(Caller { id, ops: Vec::new() });
            } else if line == "}" {
                let op = open.pop().ok_or_else(bad)?;
                place(&mut script, &mut open, op).ok_or_else(bad)?;
            } else if let Some(line) = line.strip_suffix(" {") {
                open.push(parse_op(line).ok_or_else(bad)?);
            } else {
                let op = parse_op(line).ok_or_else(bad)?;
                place(&mut script, &mut open, op).ok_or_else(bad)?;
            }
        }
        Ok(script)
    }
}

/// Puts an operation where it belongs: into the one that is open, or the last caller.
fn place(script: &mut Script, open: &mut [Op], op: Op) -> Option<()> {
    match open.last_mut() {
        Some(outer) => outer.body.push(op),
        None => script.plan.callers.last_mut()?.ops.push(op),
    }
    Some(())
}

fn parse_op(line: &str) -> Option<Op> {
    let mut words = line.split_whitespace();
    let kind = Kind::of_word(words.next()?)?;
    let id = words.next()?.strip_prefix('t')?.parse().ok()?;
    let mut op = Op::new(id, kind);
    let mut of_work = Vec::new();
    let (mut inserts, mut by_parameter) = (false, false);
    while let Some(word) = words.next() {
        match word {
            "insert" => inserts = true,
            "by" => by_parameter = true,
            "handle" => op.handle = true,
            "drops" => op.drops = true,
            "limit" => op.limit = Some(words.next()?.parse().ok()?),
            "take" => op.take = Some(words.next()?.parse().ok()?),
            "bytes" => op.bytes = Some(words.next()?.parse().ok()?),
            "count" => op.count = words.next()?.parse().ok()?,
            "of" => op.of = words.next()?.parse().ok()?,
            "end" => {
                let word = words.next()?;
                op.end = End::ALL.iter().find(|(_, known)| *known == word)?.0;
            }
            other => of_work.push(other),
        }
    }
    let token = if by_parameter { "$1".to_owned() } else { op.token().to_string() };
    let words = std::iter::once(token.as_str()).chain(of_work);
    op.work = Work::parse(inserts, words)?;
    Some(op)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_is_written() {
        let text = "\
set down 4096 end close
caller 1
  interaction t2 handle {
    query t3 insert ms 300 fail commit
    stream t4 by rows 3 width 9 shift $2 take 1 bytes 100
  }
caller 2
  join t5 {
    copy_in t6 count 3 end dropped
    subscribe t7 count 2 of 1
  }
do
  poll 1
  limit 0 3 4
  calm
";
        let script = Script::parse(text).unwrap();
        assert_eq!(Script::parse(&script.to_string()), Ok(script.clone()));
        assert_eq!(script.plan.callers.len(), 2);
        assert_eq!(script.steps.len(), 3);
        assert!(Script::parse("caller 1\n  nonsense t1").is_err());
    }
}
