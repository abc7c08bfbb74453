//! The faults: of the servers, of their processes, and of the lines to them.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use txpostgres::Connection;
use txpostgres_testkit::{Direction, SetupError, StopMode};

use crate::servers::{Servers, Takeover};
use crate::way::chosen;

/// The longest time that something is frozen, stalled or refused: 3 s.
const LONGEST: u64 = 3_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `pg_terminate_backend`.
    Terminate,
    /// `pg_cancel_backend`, a few times: of whatever runs.
    CancelByAnother,
    /// The backend is killed, and the server recovers.
    KillBackend,
    /// The backend is frozen for a while.
    FreezeBackend,
    FastRestart,
    ImmediateRestart,
    /// The first process of the server is killed, and it is started again.
    KillPostmaster,
    /// The first process is frozen for a while, and lines are cut: connections are accepted, and
    /// logins not answered.
    FreezePostmaster,
    /// Commits wait while the standby is away.
    RestartStandby,
    Cut,
    Reset,
    /// The line is cut in the middle of what goes over it.
    CutAmid,
    /// The present connections are deaf for ever.
    Deafen,
    /// New ones are deaf as well for a while.
    Blackhole,
    /// Nothing is passed on for a while, in one direction or both.
    Stall,
    /// Lines are cut, and new ones refused for a while.
    Refuse,
    /// From now on the line is slow, and cuts messages into pieces; or it is quick again.
    SlowLine,
    /// The standby takes over.
    TakeOver,
}

const WEIGHTS: [(Fault, u32); 18] = [
    (Fault::Terminate, 4),
    (Fault::CancelByAnother, 4),
    (Fault::KillBackend, 3),
    (Fault::FreezeBackend, 3),
    (Fault::FastRestart, 2),
    (Fault::ImmediateRestart, 2),
    (Fault::KillPostmaster, 2),
    (Fault::FreezePostmaster, 2),
    (Fault::RestartStandby, 2),
    (Fault::Cut, 3),
    (Fault::Reset, 3),
    (Fault::CutAmid, 6),
    (Fault::Deafen, 3),
    (Fault::Blackhole, 2),
    (Fault::Stall, 3),
    (Fault::Refuse, 2),
    (Fault::SlowLine, 3),
    (Fault::TakeOver, 4),
];

const TAKEOVERS: [(Takeover, u32); 5] = [
    (Takeover::Switchover, 1),
    (Takeover::Stopped, 1),
    (Takeover::Crashed, 1),
    (Takeover::Killed, 1),
    (Takeover::Late, 1),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn some_time(dice: &mut Rng) -> Duration {
    Duration::from_millis(dice.u64(50..LONGEST))
}

fn told(result: Result<(), SetupError>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

impl Fault {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        WEIGHTS.into_iter().map(|(fault, _)| fault)
    }

    /// One of these.
    pub(crate) fn choose(among: &[Self], dice: &mut Rng) -> Self {
        let is_among = |(fault, _): &(Self, u32)| among.contains(fault);
        let weights: Vec<_> = WEIGHTS.into_iter().filter(is_among).collect();
        chosen(&weights, dice).unwrap_or(Self::Cut)
    }

    /// Inflicts it, and waits for its end if it has one. Returns what exactly was done.
    pub(crate) fn inflict(
        self,
        servers: &mut Servers,
        connection: &Connection,
        dice: &mut Rng,
    ) -> Result<String, String> {
        match self {
            Self::Terminate | Self::CancelByAnother | Self::KillBackend | Self::FreezeBackend => {
                self.to_backend(servers, connection, dice)
            }
            Self::FastRestart
            | Self::ImmediateRestart
            | Self::KillPostmaster
            | Self::FreezePostmaster
            | Self::RestartStandby
            | Self::TakeOver => self.to_server(servers, dice),
            _ => self.to_line(servers, dice),
        }
    }

    /// The backend may be gone already: then nothing happens.
    fn to_backend(
        self,
        servers: &Servers,
        connection: &Connection,
        dice: &mut Rng,
    ) -> Result<String, String> {
        let cluster = &servers.primary.cluster;
        let Some(pid) = connection.backend_pid() else { return Ok("there is no backend".into()) };
        let gone = |error: SetupError| format!("backend {pid} is gone: {error}");
        match self {
            Self::Terminate => {
                let done = cluster.sql(&format!("select pg_terminate_backend({pid})"));
                Ok(done.map_or_else(gone, |_| format!("backend {pid}")))
            }
            Self::CancelByAnother => {
                let times = dice.u32(1..20);
                for _ in 0..times {
                    cluster.sql(&format!("select pg_cancel_backend({pid})")).ok();
                    sleep(Duration::from_millis(dice.u64(0..10)));
                }
                Ok(format!("backend {pid}, {times} times"))
            }
            Self::KillBackend => {
                if let Err(error) = cluster.kill_backend(pid) {
                    return Ok(gone(error));
                }
                // The server notices, and resets itself.
                sleep(Duration::from_millis(20));
                servers.primary.until_up()?;
                Ok(format!("backend {pid}"))
            }
            _ => {
                let time = some_time(dice);
                if let Err(error) = cluster.pause_backend(pid) {
                    return Ok(gone(error));
                }
                sleep(time);
                cluster.resume_backend(pid).ok();
                Ok(format!("backend {pid} for {time:.0?}"))
            }
        }
    }

    fn to_server(self, servers: &mut Servers, dice: &mut Rng) -> Result<String, String> {
        let cluster = &servers.primary.cluster;
        match self {
            Self::FastRestart => told(cluster.restart(StopMode::Fast))?,
            Self::ImmediateRestart => told(cluster.restart(StopMode::Immediate))?,
            Self::KillPostmaster => {
                told(cluster.kill_postmaster())?;
                told(cluster.start_again())?;
            }
            Self::FreezePostmaster => {
                let time = some_time(dice);
                told(cluster.pause_postmaster())?;
                servers.primary.proxy.cut();
                sleep(time);
                told(cluster.resume_postmaster())?;
                return Ok(format!("for {time:.0?}"));
            }
            Self::RestartStandby => {
                let time = Duration::from_millis(dice.u64(0..1_000));
                let standby = &servers.standby.cluster;
                told(standby.stop(StopMode::Immediate))?;
                sleep(time);
                told(standby.start_again())?;
                return Ok(format!("after {time:.0?}"));
            }
            _ => {
                let how = chosen(&TAKEOVERS, dice).unwrap_or(Takeover::Crashed);
                servers.change_places(how)?;
                return Ok(format!("{how:?}; port {} now", servers.primary.cluster.port()));
            }
        }
        Ok(String::new())
    }

    fn to_line(self, servers: &Servers, dice: &mut Rng) -> Result<String, String> {
        let proxy = &servers.primary.proxy;
        let time = some_time(dice);
        let direction = if dice.bool() { Direction::ToServer } else { Direction::ToClient };
        match self {
            Self::Reset => proxy.reset(),
            Self::CutAmid => {
                let bytes = dice.usize(0..3_000);
                proxy.cut_after(direction, bytes);
                return Ok(format!("{direction:?}, after {bytes} bytes"));
            }
            Self::Deafen => proxy.deafen(),
            Self::Blackhole => {
                // At once, or in the middle of a login.
                let after = dice.usize(0..500);
                proxy.deafen_new(Some(after));
                proxy.deafen();
                sleep(time);
                proxy.deafen_new(None);
                return Ok(format!("new ones after {after} bytes, for {time:.0?}"));
            }
            Self::Stall => {
                let both = dice.bool();
                proxy.stall(direction);
                if both {
                    proxy.stall(Direction::ToServer);
                    proxy.stall(Direction::ToClient);
                }
                sleep(time);
                proxy.flow(Direction::ToServer);
                proxy.flow(Direction::ToClient);
                let what = if both { "both ways".to_owned() } else { format!("{direction:?}") };
                return Ok(format!("{what}, for {time:.0?}"));
            }
            Self::Refuse => {
                proxy.refuse();
                proxy.cut();
                sleep(time);
                proxy.accept_again().map_err(|error| error.to_string())?;
                return Ok(format!("for {time:.0?}"));
            }
            Self::SlowLine => {
                if dice.bool() {
                    servers.heal_lines();
                    return Ok("quick again".to_owned());
                }
                let delay = Duration::from_millis(dice.u64(0..20));
                let piece = dice.usize(1..200);
                for direction in [Direction::ToServer, Direction::ToClient] {
                    proxy.delay(direction, delay);
                    proxy.split(direction, piece);
                }
                return Ok(format!("{delay:?}, {piece} bytes at once"));
            }
            _ => proxy.cut(),
        }
        Ok(String::new())
    }
}
