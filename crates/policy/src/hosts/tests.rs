//! The order and the times of attempts, in virtual time.

mod any_hosts;

use std::collections::{HashMap, HashSet};

use txpostgres_session::ServerError;

use super::*;

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        host: Host::Addr { name: Some(name.to_owned()), addr: [10, 0, 0, 1].into() },
        port: 1,
    }
}

fn name(name: &str) -> Endpoint {
    Endpoint { host: Host::Tcp(name.to_owned()), port: 1 }
}

fn address(of: &str, last: u8) -> Endpoint {
    Endpoint {
        host: Host::Addr { name: Some(of.to_owned()), addr: [10, 0, 0, last].into() },
        port: 1,
    }
}

fn unreachable() -> Error {
    Error::new(ErrorKind::Connect, "refused")
}

fn from_server(code: &str) -> Error {
    Error::from_server(ServerError::parse(format!("VFATAL\0C{code}\0Mno\0\0").as_bytes()))
}

/// Hosts and a clock.
struct Run {
    hosts: Hosts,
    began: Instant,
}

impl Run {
    fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { hosts: Hosts::new(endpoints, None, LOGIN_DELAY), began: Instant::now() }
    }

    fn connected(&mut self, millis: u64, id: AttemptId) {
        self.hosts.connected(id, self.began + Duration::from_millis(millis));
    }

    fn next(&mut self, millis: u64) -> HostStep {
        self.hosts.next(self.began + Duration::from_millis(millis))
    }

    /// The attempt that begins now, which is the one at `wanted`.
    fn begins(&mut self, millis: u64, wanted: &Endpoint) -> AttemptId {
        match self.next(millis) {
            HostStep::Connect(id, endpoint) | HostStep::Resolve(id, endpoint) => {
                assert_eq!(endpoint, *wanted);
                id
            }
            step => panic!("{step:?} and not {wanted}"),
        }
    }

    /// Nothing begins now, nor before `until`.
    fn waits(&mut self, millis: u64, until: Option<u64>) {
        let until = until.map(|millis| self.began + Duration::from_millis(millis));
        match self.next(millis) {
            HostStep::Wait(wakes) => assert_eq!(wakes, until),
            step => panic!("{step:?}"),
        }
    }

    fn gives_up(&mut self, millis: u64) -> Error {
        match self.next(millis) {
            HostStep::GiveUp(error) => error,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_dead_host_costs_a_quarter_of_a_second() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    run.begins(0, &a);
    run.waits(0, Some(250));
    run.waits(249, Some(250));
    let second = run.begins(250, &b);
    run.waits(250, Some(500));
    run.connected(400, second);
    run.waits(400, Some(1_400));
    run.begins(1_400, &c);
    run.waits(10_000, None);
}

#[test]
fn a_host_that_fails_is_followed_at_once() {
    let [a, b] = ["a", "b"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone()]);
    let first = run.begins(0, &a);
    run.hosts.failed(first, unreachable());
    let second = run.begins(3, &b);
    run.hosts.failed(second, unreachable());
    let error = run.gives_up(3);
    assert_eq!(error.attempts().len(), 2);
    assert_eq!(error.kind(), ErrorKind::Connect);
}

/// Its turn is over as soon as the newest attempt has failed, although an older one goes on.
#[test]
fn the_turn_of_a_dead_host_is_not_waited_for_twice() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    run.begins(0, &a);
    let second = run.begins(250, &b);
    run.hosts.failed(second, unreachable());
    run.begins(251, &c);
}

#[test]
fn a_reachable_host_has_a_second_to_log_in() {
    let [a, b] = ["a", "b"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone()]);
    let first = run.begins(0, &a);
    run.connected(10, first);
    run.waits(1_009, Some(1_010));
    run.begins(1_010, &b);
    assert!(run.hosts.is_running(first), "it may still be the first");
}

#[test]
fn the_addresses_of_a_name_take_its_place() {
    let (db, other) = (name("db"), endpoint("other"));
    let mut run = Run::new(vec![db.clone(), other.clone()]);
    let lookup = run.begins(0, &db);
    let [one, two] = [1, 2].map(|last| address("db", last));
    run.hosts.resolved(lookup, vec![one.clone(), two.clone(), one.clone()]);
    run.begins(2, &one);
    run.waits(2, Some(252));
    run.begins(252, &two);
    run.begins(502, &other);
    run.waits(502, None);
}

#[test]
fn a_name_that_is_found_late_keeps_its_place() {
    let (db, b, c) = (name("db"), endpoint("b"), endpoint("c"));
    let mut run = Run::new(vec![db.clone(), b.clone(), c.clone()]);
    let lookup = run.begins(0, &db);
    run.waits(0, Some(250));
    run.begins(250, &b);
    let one = address("db", 1);
    run.hosts.resolved(lookup, vec![one.clone()]);
    run.waits(260, Some(500));
    run.begins(500, &one);
    run.begins(750, &c);
}

#[test]
fn a_name_without_addresses_has_failed() {
    let db = name("db");
    let mut run = Run::new(vec![db.clone()]);
    let lookup = run.begins(0, &db);
    run.hosts.resolved(lookup, Vec::new());
    assert_eq!(run.gives_up(0).to_string(), "the name has no address");
}

#[test]
fn a_refusal_that_others_would_repeat_ends_the_attempts() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    let first = run.begins(0, &a);
    let second = run.begins(250, &b);
    run.hosts.failed(second, from_server("28P01"));
    assert!(!run.hosts.is_running(first), "no other host gets the password");
    let error = run.gives_up(251);
    assert_eq!(error.sqlstate().unwrap().as_str(), "28P01");
    let told: Vec<_> = error.attempts().iter().map(FailedAttempt::endpoint).collect();
    assert_eq!(told, [a.to_string(), b.to_string()]);
}

/// It was preferred, and has the password already.
#[test]
fn a_host_that_logs_in_may_end_in_spite_of_a_refusal() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    let first = run.begins(0, &a);
    let second = run.begins(250, &b);
    run.connected(260, second);
    run.connected(270, first);
    run.hosts.failed(second, from_server("3D000"));
    assert!(run.hosts.is_running(first));
    run.waits(300, None);
    run.hosts.failed(first, unreachable());
    assert_eq!(run.gives_up(301).sqlstate().unwrap().as_str(), "3D000");
}

#[test]
fn a_second_choice_is_used_when_no_attempt_may_begin() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    let first = run.begins(0, &a);
    run.connected(0, first);
    assert!(run.hosts.set_aside(first));
    let second = run.begins(9, &b);
    run.connected(10, second);
    assert!(!run.hosts.set_aside(second), "one is enough");
    let third = run.begins(20, &c);
    // A host that does not answer has its time, and no more.
    run.waits(20, Some(270));
    assert!(matches!(run.next(270), HostStep::UseSecondChoice));
    // One that has answered has a second to log in.
    run.connected(275, third);
    run.waits(280, Some(1_275));
    run.hosts.failed(third, unreachable());
    assert!(matches!(run.next(290), HostStep::UseSecondChoice));
}

#[test]
fn a_single_host_has_its_own_error() {
    let a = endpoint("a");
    let mut run = Run::new(vec![a.clone()]);
    let first = run.begins(0, &a);
    run.waits(0, None);
    run.hosts.failed(first, from_server("3D000"));
    let error = run.gives_up(1);
    assert!(error.attempts().is_empty());
    assert_eq!(error.to_string(), "FATAL 3D000: no");
}

#[test]
fn what_the_host_cannot_help_is_permanent() {
    for code in ["08P01", "53300", "57P01", "57P03", "58030", "XX000"] {
        assert!(!is_permanent(&from_server(code)), "{code}");
    }
    for code in ["28P01", "28000", "3D000", "42501", "55000", "0A000", "22023"] {
        assert!(is_permanent(&from_server(code)), "{code}");
    }
    for kind in [ErrorKind::Tls, ErrorKind::Authentication, ErrorKind::Protocol, ErrorKind::Config]
    {
        assert!(is_permanent(&Error::new(kind, "no")), "{kind:?}");
    }
    for kind in [ErrorKind::Connect, ErrorKind::Lost, ErrorKind::Timeout] {
        assert!(!is_permanent(&Error::new(kind, "no")), "{kind:?}");
    }
}

/// The order in which everything is tried if nothing answers.
fn order(seed: Option<u64>) -> Vec<Endpoint> {
    let hosts = vec![name("db"), endpoint("a"), endpoint("b")];
    let mut hosts = Hosts::new(hosts, seed, LOGIN_DELAY);
    let now = Instant::now();
    let mut order = Vec::new();
    loop {
        match hosts.next(now) {
            HostStep::Resolve(id, _) => {
                hosts.resolved(id, (1..=3).map(|last| address("db", last)).collect());
            }
            HostStep::Connect(id, endpoint) => {
                order.push(endpoint);
                hosts.failed(id, unreachable());
            }
            HostStep::GiveUp(_) => return order,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn hosts_and_addresses_are_shuffled_by_the_seed() {
    let as_given = order(None);
    assert_eq!(as_given[..3], [1, 2, 3].map(|last| address("db", last)));
    assert_eq!(as_given[3..], ["a", "b"].map(endpoint));
    let mut seen: HashMap<Vec<Endpoint>, u32> = HashMap::new();
    for seed in 0..3600 {
        let order = order(Some(seed));
        assert_eq!(order.iter().collect::<HashSet<_>>().len(), 5);
        // Addresses of a name stay together.
        let places = order.iter().enumerate().filter(|(_, one)| one.to_string().contains("db"));
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        assert_eq!(places[2] - places[0], 2, "{order:?}");
        *seen.entry(order).or_default() += 1;
    }
    assert_eq!(order(Some(5)), order(Some(5)));
    // 3! orders of the hosts and 3! of the addresses, 100 times each.
    assert_eq!(seen.len(), 36);
    assert!(seen.values().all(|count| (50..200).contains(count)), "{seen:?}");
}
