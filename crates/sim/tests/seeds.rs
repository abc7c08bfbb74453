//! A few seeds happen the same way each time, from their number and from their script. What they
//! find is told by `cargo xtask sim`.

use txpostgres_sim::{Options, replay, run_seed};

#[test]
fn a_seed_happens_the_same_way_each_time() {
    for seed in 1..=20 {
        let first = run_seed(seed, &Options::default());
        let second = run_seed(seed, &Options { verbose: true, ..Options::default() });
        assert_eq!((first.hash, first.finding), (second.hash, second.finding), "seed {seed}");
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
