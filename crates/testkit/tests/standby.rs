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

/// Each of the two is the primary in turn, and what was committed by either stays.
#[test]
fn a_former_primary_comes_back_as_a_standby() {
    let one = Cluster::builder().setting("synchronous_commit", "on").start().unwrap();
    one.sql("create table t (n int)").unwrap();
    let other = Cluster::builder().standby_of(&one).start().unwrap();
    let port = one.port();
    // A planned switchover, with two standbys for a while.
    one.set_synchronous(Some(&other)).unwrap();
    one.sql("insert into t values (1)").unwrap();
    one.demote(&other).unwrap();
    one.sql("insert into t values (0)").unwrap_err();
    other.promote().unwrap();
    other.sql("insert into t values (2)").unwrap();
    other.set_synchronous(Some(&one)).unwrap();
    other.wait_for_replay(&one).unwrap();
    let count = "select pg_is_in_recovery(), count(*) from t";
    assert_eq!(one.sql(count).unwrap(), "t|2");
    // A crash, and a failover.
    other.kill_postmaster().unwrap();
    one.promote().unwrap();
    one.sql("insert into t values (3)").unwrap();
    other.rejoin(&one).unwrap();
    one.set_synchronous(Some(&other)).unwrap();
    one.sql("insert into t values (4)").unwrap();
    one.wait_for_replay(&other).unwrap();
    assert_eq!(other.sql(count).unwrap(), "t|4");
    assert_eq!(one.port(), port);
    assert_eq!(one.sql("show synchronous_commit").unwrap(), "on");
}
