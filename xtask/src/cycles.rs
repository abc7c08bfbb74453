//! Import cycles: files that import each other can be understood, tested and moved only together.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Use;

/// The largest circle that a crate may have, in files.
const LARGEST: usize = 3;

/// The packages that this is asked of.
const PACKAGES: [&str; 4] =
    ["txpostgres", "txpostgres-multiplex", "txpostgres-policy", "txpostgres-session"];

/// Every circle of more files than are allowed, with the imports that it consists of.
pub(crate) fn wrong_cycles(package: &str, src: &str, uses: &[Use]) -> Vec<String> {
    if !PACKAGES.contains(&package) {
        return Vec::new();
    }
    let cycles = cycles(uses).into_iter().filter(|files| files.len() > LARGEST);
    cycles.map(|files| told(package, src, &files, uses)).collect()
}

fn told(package: &str, src: &str, files: &BTreeSet<&str>, uses: &[Use]) -> String {
    let number = files.len();
    let within = uses
        .iter()
        .filter(|used| files.contains(used.from.as_str()) && files.contains(used.to.as_str()));
    let arrows = within
        .map(|Use { from, to, line, path }| format!("\n    {src}/{from}:{line}: {path} (in {to})"));
    let head = format!("{package}: {number} files import each other (at most {LARGEST} may):");
    core::iter::once(head).chain(arrows).collect()
}

/// The sets of files in which each can be reached from each other one.
fn cycles(uses: &[Use]) -> Vec<BTreeSet<&str>> {
    let mut onwards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for used in uses {
        onwards.entry(&used.from).or_default().insert(&used.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        onwards.keys().map(|file| (*file, reachable(file, &onwards))).collect();
    let mut cycles: Vec<BTreeSet<&str>> = Vec::new();
    for (file, reached_from_it) in &reached {
        if cycles.iter().any(|cycle| cycle.contains(file)) || !reached_from_it.contains(file) {
            continue;
        }
        let leads_back = |other: &&str| reached.get(other).is_some_and(|all| all.contains(file));
        cycles.push(reached_from_it.iter().copied().filter(leads_back).collect());
    }
    cycles
}

fn reachable<'a>(
    file: &'a str,
    onwards: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in onwards.get(file).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(arrows: &[(&str, &str)]) -> Vec<Use> {
        let used = |(from, to): &(&str, &str)| Use {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            line: 7,
            path: "crate::x".to_owned(),
        };
        arrows.iter().map(used).collect()
    }

    #[test]
    fn three_files_may_and_four_may_not() {
        let three = uses(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")]);
        assert!(wrong_cycles("txpostgres", "src", &three).is_empty());
        let four = uses(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("d", "e")]);
        let wrong = wrong_cycles("txpostgres", "src", &four);
        let first = "txpostgres: 4 files import each other (at most 3 may):";
        let second = "    src/a:7: crate::x (in b)";
        let lines: Vec<_> = wrong.iter().flat_map(|told| told.lines()).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines.get(..2).unwrap(), [first, second]);
        assert!(wrong_cycles("txpostgres-testkit", "src", &four).is_empty());
    }

    #[test]
    fn circles_that_meet_are_one() {
        let eight = uses(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("d", "c")]);
        let found = cycles(&eight);
        assert_eq!(found, [BTreeSet::from(["a", "b", "c"])]);
        let two = uses(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")]);
        assert_eq!(cycles(&two).len(), 2);
    }
}
