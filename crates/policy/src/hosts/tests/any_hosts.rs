//! Any hosts: random sets of them, each run to its end in virtual time, against rules that the
//! world keeps by itself.

use super::*;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// When each attempt that logs in had its TCP connection.
    logging_in: HashMap<AttemptId, Duration>,
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
            logging_in: HashMap::new(),
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
        let login = self.time(2_000);
        self.behaviours.insert(endpoint.clone(), Behaviour { answers, outcome, login });
    }

    /// The rules of an attempt that begins, checked from what the world knows.
    fn begins(&mut self, id: AttemptId, endpoint: &Endpoint) {
        assert!(!self.begun.contains(endpoint), "{endpoint} is tried twice");
        assert!(!self.has_permanent, "{endpoint} begins after a refusal that it would repeat");
        assert!(self.turn().is_none_or(|turn| turn <= self.now), "{endpoint} begins too early");
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

    /// Until when the attempts that run are waited for alone.
    fn turn(&self) -> Option<Duration> {
        let unanswered = self.unanswered.values().map(|since| *since + ATTEMPT_DELAY);
        unanswered.chain(self.logging_in.values().map(|since| *since + LOGIN_DELAY)).max()
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
    let mut hosts = Hosts::new(endpoints.clone(), shuffle, LOGIN_DELAY);
    let start = Instant::now();
    loop {
        let until = match hosts.next(start + world.now) {
            HostStep::Resolve(id, endpoint) | HostStep::Connect(id, endpoint) => {
                world.begins(id, &endpoint);
                continue;
            }
            HostStep::UseSecondChoice => {
                assert!(world.has_second && !world.has_permanent);
                assert!(world.turn().is_none_or(|turn| turn <= world.now));
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
        if world.has_permanent {
            assert!(until.is_none() && !world.logging_in.is_empty());
        } else if until.is_none() {
            assert!(world.turn().is_some() && !world.has_second);
            check_all_begun(&world, &endpoints);
        } else {
            assert_eq!(until, world.turn());
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
                world.logging_in.insert(id, world.now);
                if outcome != Outcome::Silent {
                    world.events.push((world.now + login, id, Told::Ended(outcome)));
                }
                hosts.connected(id, start + world.now);
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
