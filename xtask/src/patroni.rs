//! Two PostgreSQL nodes under Patroni, with etcd and `HAProxy`: a throw-away cluster that is
//! highly available by what others have built.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a cluster may take to have a leader and a synchronous standby: 120 s.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

/// A node: its server, and the Patroni that keeps it.
struct Node {
    name: &'static str,
    port: u16,
    rest: u16,
    patroni: Child,
}

/// See the module's text. Dropped, it ends, and nothing is left of it.
pub(crate) struct Stack {
    home: PathBuf,
    programs: PathBuf,
    nodes: Vec<Node>,
    others: Vec<Child>,
    /// The port of `HAProxy`, which leads to the leader.
    pub(crate) front: u16,
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

/// A command that runs as the user of Debian's PostgreSQL, if we are root.
fn as_server(program: impl AsRef<Path>) -> Command {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(program.as_ref());
        command
    } else {
        Command::new(program.as_ref())
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener.and_then(|listener| listener.local_addr()).map_err(text)?.port();
    }
    Ok(ports)
}

impl Stack {
    /// Starts all of it, and waits until it has a leader and a synchronous standby.
    pub(crate) fn start() -> Result<Self, String> {
        let asked = Command::new("pg_config").arg("--bindir").output().map_err(text)?;
        let programs = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
        let home = std::env::temp_dir().join(format!("txpostgres-cluster-{}", std::process::id()));
        fs::create_dir_all(&home).map_err(text)?;
        // The server's user must reach it, which may not be ours.
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).map_err(text)?;
        let [etcd, peer, front, port_0, rest_0, port_1, rest_1] = free_ports()?;
        let mut stack = Self { home, programs, nodes: Vec::new(), others: Vec::new(), front };
        let url = format!("http://127.0.0.1:{etcd}");
        let peers = format!("http://127.0.0.1:{peer}");
        let mut command = as_server("etcd");
        command.arg("--data-dir").arg(stack.home.join("etcd"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers]);
        let child = stack.spawn("etcd", &mut command)?;
        stack.others.push(child);
        wait("etcd does not listen", || TcpStream::connect(("127.0.0.1", etcd)).is_ok())?;
        for (name, port, rest) in [("p0", port_0, rest_0), ("p1", port_1, rest_1)] {
            let settings = stack.settings(name, port, rest, etcd);
            let path = stack.home.join(format!("{name}.yml"));
            fs::write(&path, settings).map_err(text)?;
            let patroni = stack.spawn(name, as_server("patroni").arg(&path))?;
            stack.nodes.push(Node { name, port, rest, patroni });
            if name == "p0" {
                wait("Patroni starts no leader", || stack.leader().is_some())?;
            }
        }
        let path = stack.home.join("haproxy.cfg");
        fs::write(&path, stack.front_settings()).map_err(text)?;
        let child = stack.spawn("haproxy", as_server("haproxy").arg("-f").arg(&path))?;
        stack.others.push(child);
        stack.settle()?;
        Ok(stack)
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Result<Child, String> {
        let log = File::create(self.home.join(format!("{name}.log"))).map_err(text)?;
        command.stdout(log.try_clone().map_err(text)?).stderr(log);
        command.spawn().map_err(|error| format!("{name}: {error}"))
    }

    fn settings(&self, name: &str, port: u16, rest: u16, etcd: u16) -> String {
        let (home, programs) = (self.home.display(), self.programs.display());
        format!(
            "scope: demo
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{wal_log_hints: 'on', wal_retrieve_retry_interval: 100ms, unix_socket_directories: ''}}
  initdb: [ {{encoding: UTF8}}, {{auth: trust}}, {{username: postgres}} ]
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: {home}/{name}
  bin_dir: {programs}
  pgpass: {home}/pgpass-{name}
  authentication:
    superuser: {{username: postgres, password: x}}
    replication: {{username: postgres, password: x}}
  pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
"
        )
    }

    fn front_settings(&self) -> String {
        let mut settings = format!(
            "defaults
  mode tcp
  timeout connect 1s
  timeout check 1s
  timeout client 1h
  timeout server 1h
listen leader
  bind 127.0.0.1:{}
  option httpchk GET /primary
  http-check expect status 200
  default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
",
            self.front
        );
        for Node { name, port, rest, .. } in &self.nodes {
            let _ = writeln!(settings, "  server {name} 127.0.0.1:{port} check port {rest}");
        }
        settings
    }

    /// The ports of both servers.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// The number of the node that takes writes.
    pub(crate) fn leader(&self) -> Option<usize> {
        let asked = "select not pg_is_in_recovery()";
        self.nodes.iter().position(|node| self.sql(node.port, asked).as_deref() == Ok("t"))
    }

    /// The port of the node that takes writes.
    pub(crate) fn leader_port(&self) -> Result<u16, String> {
        let leader = self.leader().and_then(|leader| self.nodes.get(leader));
        leader.map(|node| node.port).ok_or_else(|| "there is no leader".to_owned())
    }

    /// Waits until Patroni itself says that there are a leader and a synchronous standby: it
    /// refuses a switchover before.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let is_settled = || {
            let said = self.nodes.first().and_then(|node| call(node.rest, "GET", "/cluster", ""));
            let said: Value = serde_json::from_str(&said?).ok()?;
            let members = said.get("members")?.as_array()?;
            let mut roles: Vec<_> =
                members.iter().filter_map(|member| member.get("role")?.as_str()).collect();
            roles.sort_unstable();
            Some(roles == ["leader", "sync_standby"])
        };
        wait("Patroni does not settle", || is_settled() == Some(true))
    }

    /// Has the standby become the leader. Returns when it has taken a write.
    pub(crate) fn switch_over(&self) -> Result<(), String> {
        let old = self.leader().ok_or("there is no leader")?;
        let names: Vec<_> = self.nodes.iter().map(|node| node.name).collect();
        let (Some(from), Some(to)) = (self.nodes.get(old), self.nodes.get(1 - old)) else {
            return Err(format!("two nodes are needed: {names:?}"));
        };
        let asked = format!("{{\"leader\": \"{}\", \"candidate\": \"{}\"}}", from.name, to.name);
        let rest = from.rest;
        // Answered at the end of the switchover, and the first write may come before.
        let asking = std::thread::spawn(move || call(rest, "POST", "/switchover", &asked));
        let outcome = self.until_writes(to.port);
        drop(asking.join());
        outcome
    }

    /// Kills the leader's server and its Patroni. Returns when the other node has taken a write.
    pub(crate) fn kill_leader(&mut self) -> Result<(), String> {
        let old = self.leader().ok_or("there is no leader")?;
        let Some(node) = self.nodes.get_mut(old) else { return Err("there is no leader".into()) };
        node.patroni.kill().map_err(text)?;
        node.patroni.wait().map_err(text)?;
        let pid_file = self.home.join(node.name).join("postmaster.pid");
        let pid = fs::read_to_string(pid_file).map_err(text)?;
        kill("-KILL", pid.lines().next().unwrap_or_default());
        let port = self.nodes.get(1 - old).map_or(0, |node| node.port);
        self.until_writes(port)
    }

    fn until_writes(&self, port: u16) -> Result<(), String> {
        let write = "insert into canary default values";
        wait("no node takes writes", || self.sql(port, write).is_ok())
    }

    /// The answer of one of the servers.
    pub(crate) fn sql(&self, port: u16, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-XqAt", "-h", "127.0.0.1", "-U", "postgres", "-c", sql, "-p"]);
        let output = psql.arg(port.to_string()).env("PGCONNECT_TIMEOUT", "2");
        let output = output.stdin(Stdio::null()).output().map_err(text)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Patroni stops its server.
        for node in &mut self.nodes {
            kill("-TERM", &node.patroni.id().to_string());
            let until = Instant::now() + Duration::from_secs(15);
            while matches!(node.patroni.try_wait(), Ok(None)) && Instant::now() < until {
                sleep(POLL);
            }
            node.patroni.kill().ok();
            node.patroni.wait().ok();
            let data = self.home.join(node.name);
            if data.join("postmaster.pid").exists() {
                let mut stop = as_server(self.programs.join("pg_ctl"));
                stop.args(["-m", "immediate", "-D"]).arg(&data).arg("stop");
                stop.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
            }
        }
        for child in &mut self.others {
            child.kill().ok();
            child.wait().ok();
        }
        fs::remove_dir_all(&self.home).ok();
    }
}

fn kill(signal: &str, pid: &str) {
    Command::new("kill").args([signal, pid]).stderr(Stdio::null()).status().ok();
}

fn wait(otherwise: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > until {
            return Err(format!("{otherwise} within {PATIENCE:?}"));
        }
        sleep(POLL);
    }
    Ok(())
}

/// The body of an answer of Patroni's REST interface.
fn call(port: u16, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}
