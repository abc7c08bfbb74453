//! Scripts that found something once are run again, and a few seeds.

use std::fs;
use std::path::Path;

use txpostgres_sim::{Options, replay, run_seed};

/// A script whose fault is still there says so by a line `# open: Rule`.
#[test]
fn scripts_find_nothing_unless_their_fault_is_open() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(text.starts_with("# "), "{name}: its first line says why it is here");
        let open = text.lines().find_map(|line| line.strip_prefix("# open: "));
        let finding = replay(&text, &Options::default()).unwrap().finding;
        match (open, finding) {
            (None, None) => {}
            (Some(rule), Some(finding)) if finding.starts_with(rule) => {}
            (Some(rule), found) => wrong.push(format!("{name}: {rule} is open, and {found:?}")),
            (None, Some(finding)) => wrong.push(format!("{name}: {finding}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_seed_happens_the_same_way_each_time() {
    for seed in 1..=20 {
        let first = run_seed(seed, &Options::default());
        let second = run_seed(seed, &Options { verbose: true, ..Options::default() });
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.finding, None, "seed {seed}");
    }
}

#[test]
fn a_run_is_replayed_from_its_script() {
    for seed in 1..=20 {
        let run = run_seed(seed, &Options::default());
        let again = replay(&run.script, &Options::default()).unwrap();
        assert_eq!((run.hash, run.script), (again.hash, again.script), "seed {seed}");
    }
}
