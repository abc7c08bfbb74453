//! Scripts that found something once are run again.

use std::fs;
use std::path::Path;

use peak_alloc::PeakAlloc;
use txpostgres_sim::{Options, replay};

// One test in this file: another beside it would be counted as growth.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A script whose fault is still there says so by a line `# open: Rule`.
#[test]
fn scripts_find_nothing_unless_their_fault_is_open() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let options = Options { gauge: Some(|| ALLOCATED.current_usage()), ..Options::default() };
    let mut wrong = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(text.starts_with("# "), "{name}: its first line says why it is here");
        let open = text.lines().find_map(|line| line.strip_prefix("# open: "));
        let finding = replay(&text, &options).unwrap().finding;
        match (open, finding) {
            (None, None) => {}
            (Some(rule), Some(finding)) if finding.starts_with(rule) => {}
            (Some(rule), found) => wrong.push(format!("{name}: {rule} is open, and {found:?}")),
            (None, Some(finding)) => wrong.push(format!("{name}: {finding}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
