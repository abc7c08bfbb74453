//! The order and the times of attempts, in virtual time.

use std::collections::{HashMap, HashSet};

use txpostgres_session::ServerError;

use super::*;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
        Self { hosts: Hosts::new(endpoints, None), began: Instant::now() }
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
    run.hosts.connected(second);
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
fn a_reachable_host_is_not_forsaken() {
    let [a, b] = ["a", "b"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone()]);
    let first = run.begins(0, &a);
    run.hosts.connected(first);
    run.waits(4_999, None);
    run.hosts.failed(first, Error::new(ErrorKind::Timeout, "5 s"));
    run.begins(5_000, &b);
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
    let told: Vec<_> = error.attempts().iter().map(|attempt| attempt.endpoint()).collect();
    assert_eq!(told, [a.to_string(), b.to_string()]);
}

/// It was preferred, and has the password already.
#[test]
fn a_host_that_logs_in_may_end_in_spite_of_a_refusal() {
    let [a, b, c] = ["a", "b", "c"].map(endpoint);
    let mut run = Run::new(vec![a.clone(), b.clone(), c.clone()]);
    let first = run.begins(0, &a);
    let second = run.begins(250, &b);
    run.hosts.connected(second);
    run.hosts.connected(first);
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
    run.hosts.connected(first);
    assert!(run.hosts.set_aside(first));
    let second = run.begins(9, &b);
    run.hosts.connected(second);
    assert!(!run.hosts.set_aside(second), "one is enough");
    let third = run.begins(20, &c);
    // A host that does not answer has its time, and no more.
    run.waits(20, Some(270));
    assert!(matches!(run.next(270), HostStep::UseSecondChoice));
    // One that has answered is waited for.
    run.hosts.connected(third);
    run.waits(280, None);
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
    let mut hosts = Hosts::new(hosts, seed);
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

// --- Any hosts ---

/// What a host or an address does.
#[derive(Debug, Clone)]
struct Behaviour {
    /// When there is a TCP connection, or the host refuses it. `None`: never.
    answers: Option<Duration>,
    outcome: Outcome,
    /// How long the login takes.
    login: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Refused,
    Accepted,
    Second,
    Passing,
    Permanent,
    Silent,
}

struct World {
    rng: Rng,
    now: Duration,
    names: HashMap<Endpoint, (Duration, Vec<Endpoint>)>,
    behaviours: HashMap<Endpoint, Behaviour>,
    /// What happens next, unordered: time, attempt, what.
    events: Vec<(Duration, AttemptId, Told)>,
    /// When each attempt that has no TCP connection began.
    unanswered: HashMap<AttemptId, Duration>,
    logging_in: HashSet<AttemptId>,
    begun: Vec<Endpoint>,
    has_second: bool,
    has_permanent: bool,
}

#[derive(Debug, Clone)]
enum Told {
    Addresses(Vec<Endpoint>),
    Connected(Outcome, Duration),
    Ended(Outcome),
    TimedOut,
}

impl World {
    fn new(seed: u64) -> (Self, Vec<Endpoint>) {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            now: Duration::ZERO,
            names: HashMap::new(),
            behaviours: HashMap::new(),
            events: Vec::new(),
            unanswered: HashMap::new(),
            logging_in: HashSet::new(),
            begun: Vec::new(),
            has_second: false,
            has_permanent: false,
        };
        let mut endpoints = Vec::new();
        for number in 0..world.rng.usize(1..5) {
            let host = format!("h{number}");
            if world.rng.bool() {
                let addresses: Vec<_> =
                    (1..world.rng.u8(1..5)).map(|last| address(&host, last)).collect();
                for address in &addresses {
                    world.behave(address);
                }
                let takes = world.time(600);
                world.names.insert(name(&host), (takes, addresses));
                endpoints.push(name(&host));
            } else {
                world.behave(&endpoint(&host));
                endpoints.push(endpoint(&host));
            }
        }
        (world, endpoints)
    }

    fn time(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(0..most))
    }

    fn behave(&mut self, endpoint: &Endpoint) {
        let outcomes = [
            Outcome::Refused,
            Outcome::Accepted,
            Outcome::Second,
            Outcome::Passing,
            Outcome::Permanent,
            Outcome::Silent,
        ];
        let outcome = outcomes[self.rng.usize(..outcomes.len())];
        let answers = (self.rng.u8(0..4) > 0).then(|| self.time(600));
        let login = self.time(700);
        self.behaviours.insert(endpoint.clone(), Behaviour { answers, outcome, login });
    }

    /// The rules of an attempt that begins, checked from what the world knows.
    fn begins(&mut self, id: AttemptId, endpoint: &Endpoint) {
        assert!(!self.begun.contains(endpoint), "{endpoint} is tried twice");
        assert!(self.logging_in.is_empty(), "{endpoint} begins while another one logs in");
        assert!(!self.has_permanent, "{endpoint} begins after a refusal that it would repeat");
        for since in self.unanswered.values() {
            assert!(*since + ATTEMPT_DELAY <= self.now, "{endpoint} begins too early");
        }
        self.begun.push(endpoint.clone());
        self.unanswered.insert(id, self.now);
        let timeout = self.now + CONNECT_TIMEOUT;
        if let Some((takes, addresses)) = self.names.get(endpoint) {
            self.events.push((self.now + *takes, id, Told::Addresses(addresses.clone())));
            return;
        }
        let Behaviour { answers, outcome, login } = self.behaviours[endpoint].clone();
        self.events.push((timeout, id, Told::TimedOut));
        if let Some(answers) = answers {
            let told = match outcome {
                Outcome::Refused => Told::Ended(outcome),
                outcome => Told::Connected(outcome, login),
            };
            self.events.push((self.now + answers, id, told));
        }
    }

    fn is_over(&mut self, id: AttemptId) {
        self.unanswered.remove(&id);
        self.logging_in.remove(&id);
        self.events.retain(|(_, of, _)| *of != id);
    }

    /// The next event until then.
    fn event(&mut self, until: Option<Duration>) -> Option<(AttemptId, Told)> {
        let place = (0..self.events.len()).min_by_key(|place| self.events[*place].0);
        let at = place.map(|place| self.events[place].0);
        match (at, until) {
            (None, None) => panic!("it waits for ever"),
            (at, Some(until)) if at.is_none_or(|at| until < at) => {
                assert!(until > self.now, "it waits for the past");
                self.now = until;
                None
            }
            _ => {
                let (at, id, told) = self.events.remove(place.unwrap());
                self.now = self.now.max(at);
                Some((id, told))
            }
        }
    }
}

/// Runs to the end: each rule is checked on the way, and the end against what the hosts are.
fn run(seed: u64) {
    let (mut world, endpoints) = World::new(seed);
    let shuffle = world.rng.bool().then_some(seed);
    let mut hosts = Hosts::new(endpoints.clone(), shuffle);
    let start = Instant::now();
    loop {
        let until = match hosts.next(start + world.now) {
            HostStep::Resolve(id, endpoint) | HostStep::Connect(id, endpoint) => {
                world.begins(id, &endpoint);
                continue;
            }
            HostStep::UseSecondChoice => {
                assert!(world.has_second && !world.has_permanent && world.logging_in.is_empty());
                let patience = |since: &Duration| *since + ATTEMPT_DELAY <= world.now;
                assert!(world.unanswered.values().all(patience));
                return check_all_begun(&world, &endpoints);
            }
            HostStep::GiveUp(error) => {
                assert!(world.logging_in.is_empty() && world.unanswered.is_empty());
                assert_eq!(is_permanent(&error), world.has_permanent);
                assert!(world.has_permanent || !world.has_second);
                if !world.has_permanent {
                    check_all_begun(&world, &endpoints);
                }
                return;
            }
            HostStep::Wait(until) => until.map(|until| until - start),
        };
        // It waits for no longer than there is a reason to.
        if world.logging_in.is_empty() && (until.is_none() || world.unanswered.is_empty()) {
            assert!(!world.unanswered.is_empty() && !world.has_second);
            check_all_begun(&world, &endpoints);
        }
        let Some((id, told)) = world.event(until) else {
            continue;
        };
        match told {
            Told::Addresses(addresses) => {
                world.is_over(id);
                hosts.resolved(id, addresses);
            }
            Told::Connected(outcome, login) => {
                world.unanswered.remove(&id);
                world.logging_in.insert(id);
                if outcome != Outcome::Silent {
                    world.events.push((world.now + login, id, Told::Ended(outcome)));
                }
                hosts.connected(id);
            }
            Told::TimedOut => {
                world.is_over(id);
                hosts.failed(id, Error::new(ErrorKind::Timeout, "too long"));
            }
            Told::Ended(outcome) => {
                world.is_over(id);
                match outcome {
                    // What came first is used.
                    Outcome::Accepted => return,
                    Outcome::Second => {
                        let is_kept = !world.has_second && !world.has_permanent;
                        assert_eq!(hosts.set_aside(id), is_kept);
                        world.has_second = true;
                    }
                    Outcome::Permanent => {
                        hosts.failed(id, from_server("28P01"));
                        world.has_permanent = true;
                        let dropped: Vec<_> = world.unanswered.keys().copied().collect();
                        for id in dropped {
                            assert!(!hosts.is_running(id));
                            world.is_over(id);
                        }
                    }
                    _ => hosts.failed(id, unreachable()),
                }
            }
        }
    }
}

fn check_all_begun(world: &World, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        assert!(world.begun.contains(endpoint), "{endpoint} was never tried");
        // Of a name that is not found yet the addresses are not known.
        let Some((_, addresses)) = world.names.get(endpoint) else {
            continue;
        };
        let is_found = addresses.iter().any(|address| world.begun.contains(address));
        let all = addresses.iter().all(|address| world.begun.contains(address));
        assert!(!is_found || all, "an address of {endpoint} was never tried");
    }
}

#[test]
fn any_hosts_are_tried_once_and_in_time() {
    for seed in 0..20_000 {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "the seed is {seed}");
    }
}
