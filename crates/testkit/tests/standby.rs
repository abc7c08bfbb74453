//! A standby follows its primary, and becomes one.

#![allow(clippy::unwrap_used, reason = "tests")]

use txpostgres_testkit::{Cluster, StopMode};

#[test]
fn a_standby_follows_and_is_promoted() {
    let primary = Cluster::builder().setting("max_connections", "120").start().unwrap();
    primary.sql("create table t (n int); insert into t values (1)").unwrap();
    let standby = Cluster::builder().standby_of(&primary).start().unwrap();
    let count = "select pg_is_in_recovery(), count(*) from t";
    assert_eq!(standby.sql(count).unwrap(), "t|1");
    assert_ne!(standby.port(), primary.port());
    standby.sql("insert into t values (2)").unwrap_err();

    primary.sql("insert into t values (2)").unwrap();
    primary.wait_for_replay(&standby).unwrap();
    assert_eq!(standby.sql(count).unwrap(), "t|2");

    // A commit that has returned is on the standby, whatever happens to the primary.
    primary.set_synchronous(Some(&standby)).unwrap();
    primary.sql("insert into t values (3)").unwrap();
    primary.stop(StopMode::Immediate).unwrap();
    standby.promote().unwrap();
    assert_eq!(standby.sql(count).unwrap(), "f|3");
    standby.sql("insert into t values (4)").unwrap();
}

#[test]
fn a_commit_waits_for_a_synchronous_standby_and_for_no_other() {
    let primary = Cluster::builder().start().unwrap();
    let standby = Cluster::builder().standby_of(&primary).start().unwrap();
    primary.set_synchronous(Some(&standby)).unwrap();
    standby.stop(StopMode::Fast).unwrap();
    let waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep'";
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| primary.sql("create table t (n int)"));
        let pid = loop {
            match primary.sql(waiting).unwrap() {
                none if none.is_empty() => std::thread::yield_now(),
                pid => break pid,
            }
        };
        // That ends the wait with a warning: the commit has happened.
        primary.sql(&format!("select pg_cancel_backend({pid})")).unwrap();
        commit.join().unwrap().unwrap();
    });
    primary.set_synchronous(None).unwrap();
    primary.sql("insert into t values (1)").unwrap();
    standby.start_again().unwrap();
    primary.wait_for_replay(&standby).unwrap();
}
