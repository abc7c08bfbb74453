//! Several hosts and several addresses: which one is taken, what is said of the others, and what is left of them.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use txpostgres::config::{Config, Endpoint, Host};
use txpostgres::{
    ByteStream, Connection, Dial, DialFuture, ErrorKind, FailedAttempt, ResolveFuture, Sockets,
    SqlState,
};
use txpostgres_testkit::{Cluster, Script, ScriptedServer, StopMode, backend, shared};

use crate::support::{assert_works, bounded, eventually, free_port, refusal};

/// Several ports of this machine.
fn at(ports: &[u16], more: &str) -> String {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("host={hosts} port={ports} user=postgres dbname=postgres sslmode=disable {more}")
}

async fn port_of(connection: &Connection) -> u16 {
    let rows = bounded(connection.run_query("select inet_server_port()", ())).await.unwrap();
    rows.first().unwrap().get::<i32>(0).unwrap().try_into().unwrap()
}

// --- Roles ---

const ROLES: [&str; 6] = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];

#[tokio::test]
async fn a_server_of_the_wanted_role_is_found() {
    let primary = Cluster::builder().start().unwrap();
    let standby = Cluster::builder().standby_of(&primary).start().unwrap();
    let (first, second) = (primary.port(), standby.port());
    for (role, wanted) in ROLES.into_iter().zip([
        None,
        Some(first),
        Some(second),
        Some(first),
        Some(second),
        Some(second),
    ]) {
        for ports in [[first, second], [second, first]] {
            let dsn = at(&ports, &format!("target_session_attrs={role}"));
            let connection = bounded(Connection::open(&dsn)).await.unwrap();
            assert_eq!(port_of(&connection).await, wanted.unwrap_or(ports[0]), "{dsn}");
            bounded(connection.close()).await;
        }
    }
    // A standby is not there, so that a primary will do.
    for ports in [[free_port().await, first], [first, free_port().await], [first, first]] {
        let dsn = at(&ports, "target_session_attrs=prefer-standby");
        let connection = bounded(Connection::open(&dsn)).await.unwrap();
        assert_eq!(port_of(&connection).await, first);
        bounded(connection.close()).await;
    }
    // No session is left at servers that were looked at.
    let sessions = "select count(*) from pg_stat_activity
        where usename = 'postgres' and backend_type = 'client backend'";
    for cluster in [&primary, &standby] {
        eventually("no session is left", || cluster.sql(sessions).unwrap() == "0").await;
    }

    for (role, port, is) in [
        ("read-write", second, "a standby"),
        ("primary", second, "a standby"),
        ("read-only", first, "read-write"),
        ("standby", first, "a primary"),
    ] {
        let error = refusal(at(&[port], &format!("target_session_attrs={role}"))).await;
        assert_eq!(error.kind(), ErrorKind::Connect);
        let wanted =
            format!("127.0.0.1:{port} is {is}, and target_session_attrs={role} was asked for");
        assert_eq!(error.to_string(), wanted);
        assert!(error.attempts().is_empty() && error.is_retryable());
    }
    // What the session itself is told to be counts too.
    let read_only = "target_session_attrs=read-write options='-c default_transaction_read_only=on'";
    let error = refusal(at(&[first], read_only)).await;
    assert!(error.to_string().contains(" is read only, and "), "{error}");
    let closed = free_port().await;
    let error = refusal(at(&[closed, first, second], read_only)).await;
    let said: Vec<_> = error.attempts().iter().map(|one| one.endpoint().to_owned()).collect();
    assert_eq!(said, [closed, first, second].map(|port| format!("127.0.0.1:{port}")));
    let text = error.to_string();
    let wanted = format!(
        "no host accepted the connection: cannot connect to 127.0.0.1:{closed}: Connection refused"
    );
    assert!(text.starts_with(&wanted), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{first} is read only, ")), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{second} is a standby, ")), "{text}");
    assert!(std::error::Error::source(&error).is_some());

    // After a failover the string finds the new primary.
    let dsn = at(&[first, second], "target_session_attrs=read-write");
    primary.stop(StopMode::Immediate).unwrap();
    standby.promote().unwrap();
    let connection = bounded(Connection::open(&dsn)).await.unwrap();
    assert_eq!(port_of(&connection).await, second);
    bounded(connection.run_operation("create table t ()", ())).await.unwrap();
}

/// A server before version 14 reports nothing, and is asked.
#[tokio::test]
async fn a_server_that_does_not_report_its_role_is_asked() {
    let welcome = || {
        let old = [
            backend::auth_ok(),
            backend::parameter_status("server_version", "13.9"),
            backend::parameter_status("client_encoding", "UTF8"),
            backend::key_data(4711, &[1, 2, 3, 4]),
            backend::ready(b'I'),
        ];
        Script::new().expect_startup().send(old.concat()).expect_message(b'Q')
    };
    let answer = |value: &str| {
        [
            backend::row_description(&[("x", 25)], 0),
            backend::data_row(&[Some(value.as_bytes())]),
            backend::command_complete("SELECT 1"),
            backend::ready(b'I'),
        ]
        .concat()
    };
    let read_only = "SHOW transaction_read_only";
    let recovery = "SELECT pg_catalog.pg_is_in_recovery()";
    for (role, asked, value, is) in [
        ("read-write", read_only, "off", None),
        ("read-write", read_only, "on", Some("is read only")),
        ("read-only", read_only, "on", None),
        ("read-only", read_only, "off", Some("is read-write")),
        ("primary", recovery, "f", None),
        ("primary", recovery, "t", Some("is a standby")),
        ("standby", recovery, "t", None),
        ("standby", recovery, "f", Some("is a primary")),
        ("prefer-standby", recovery, "t", None),
        ("prefer-standby", recovery, "f", None),
        ("primary", recovery, "maybe", Some("has not told its role")),
    ] {
        let script = welcome().send(answer(value));
        let server = script.expect_message(b'X').expect_end().play().unwrap();
        let dsn = format!("{} target_session_attrs={role}", server.dsn());
        let outcome = bounded(Connection::open(dsn)).await;
        match (outcome, is) {
            (Ok(connection), None) => bounded(connection.close()).await,
            (Err(error), Some(is)) => assert!(error.to_string().contains(is), "{error}"),
            (outcome, is) => panic!("{role}, {value}: {outcome:?} and not {is:?}"),
        }
        let received = &server.finish().unwrap()[0];
        let shows = |text: &str| received.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(shows(asked), "{role}: {received:?}");
    }
    // An error in place of an answer, and the end of the connection, lead to the next host.
    for refuses in [
        welcome()
            .send([backend::error("42883", "no such function"), backend::ready(b'I')].concat())
            .expect_message(b'X'),
        welcome().send(backend::fatal("28000", "go away")),
        welcome().close(),
    ] {
        let server = refuses.play().unwrap();
        let dsn = at(&[server.port(), shared().port()], "target_session_attrs=primary");
        assert_works(&bounded(Connection::open(dsn)).await.unwrap()).await;
        server.finish().unwrap();
    }
}

/// Two primaries are looked at before a standby is found: one was set aside, the other one not.
#[tokio::test]
async fn servers_that_are_not_used_are_told_goodbye() {
    let primary = || Script::new().welcome().expect_message(b'X').expect_end().play().unwrap();
    let standby = [
        backend::auth_ok(),
        backend::parameter_status("in_hot_standby", "on"),
        backend::parameter_status("client_encoding", "UTF8"),
        backend::key_data(815, &[1, 2, 3, 4]),
        backend::ready(b'I'),
    ];
    let (one, two) = (primary(), primary());
    let third = Script::new().expect_startup().send(standby.concat()).expect_message(b'X');
    let third = third.play().unwrap();
    let ports = [one.port(), two.port(), third.port()];
    let dsn = at(&ports, "target_session_attrs=prefer-standby");
    let connection = bounded(Connection::open(dsn)).await.unwrap();
    assert_eq!(connection.backend_pid(), Some(815));
    one.finish().unwrap();
    two.finish().unwrap();
    bounded(connection.close()).await;
    third.finish().unwrap();
}

// --- Errors ---

/// A host that must not be asked.
struct Untouched(TcpListener);

impl Untouched {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn check(&self, because: &str) {
        let error = self.0.accept().expect_err(because);
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn what_concerns_the_client_is_told_and_no_other_host_is_asked() {
    let fatal = |code: &str| Script::new().expect_startup().send(backend::fatal(code, "no"));
    let asks = Script::new().expect_startup().send(backend::auth_cleartext());
    for (name, script, more, kind) in [
        ("a wrong password", fatal("28P01"), "", ErrorKind::Server),
        ("pg_hba.conf", fatal("28000"), "", ErrorKind::Server),
        ("an unknown database", fatal("3D000"), "", ErrorKind::Server),
        ("no right to connect", fatal("42501"), "", ErrorKind::Server),
        ("an unknown parameter", fatal("42704"), "", ErrorKind::Server),
        ("a weak method", asks, "require_auth=scram-sha-256", ErrorKind::Authentication),
        (
            "no TLS",
            Script::new().expect_ssl_request().send(b"N"),
            "sslmode=require",
            ErrorKind::Tls,
        ),
        (
            "no PostgreSQL",
            Script::new().expect_startup().send(b"HTTP/1.1"),
            "",
            ErrorKind::Protocol,
        ),
    ] {
        let other = Untouched::new();
        let server = script.play().unwrap();
        let dsn = at(&[server.port(), other.port()], &format!("password=hunter2 {more}"));
        let error = refusal(dsn).await;
        assert_eq!(error.kind(), kind, "{name}: {error}");
        other.check(name);
        let [attempt] = error.attempts() else { panic!("{name}: {error}") };
        let endpoint = format!("127.0.0.1:{}", server.port());
        assert_eq!(attempt.endpoint(), endpoint);
        assert_eq!(attempt.error().sqlstate(), error.sqlstate());
        assert!(
            error
                .to_string()
                .starts_with(&format!("no host accepted the connection: {endpoint}: "))
        );
        assert!(!format!("{error:#} {error:?}").contains("hunter2"));
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn what_concerns_the_host_leads_to_the_next_one() {
    let fatal = |code: &str| Script::new().expect_startup().send(backend::fatal(code, "not now"));
    for (name, script) in [
        ("starting up", fatal("57P03")),
        ("full", fatal("53300")),
        ("shutting down", fatal("57P01")),
        ("a pooler without servers", fatal("08P01")),
        ("closed at once", Script::new().close()),
        ("closed in the login", Script::new().expect_startup().send(backend::auth_ok()).close()),
        ("reset in the login", Script::new().expect_startup().reset()),
    ] {
        let server = script.play().unwrap();
        let dsn = at(&[server.port(), shared().port()], "");
        let connection = bounded(Connection::open(dsn)).await;
        assert_works(&connection.unwrap_or_else(|error| panic!("{name}: {error}"))).await;
    }
    // The last error counts, if none is permanent.
    let [one, two] = ["53300", "57P03"].map(|code| fatal(code).play().unwrap());
    let error = refusal(at(&[one.port(), two.port()], "")).await;
    assert_eq!(error.sqlstate(), Some(SqlState::CANNOT_CONNECT_NOW));
    assert!(error.is_retryable());
    let codes: Vec<_> = error.attempts().iter().map(|one| one.error().sqlstate()).collect();
    assert_eq!(codes, [Some(SqlState::TOO_MANY_CONNECTIONS), Some(SqlState::CANNOT_CONNECT_NOW)]);
}

// --- Time ---

/// A host whose dialing never ends, and one in memory that welcomes us.
#[derive(Clone, Default)]
struct DeadFirst {
    /// When each host was dialed.
    dialed: Arc<Mutex<Vec<(u16, Instant)>>>,
    /// Attempts at the dead host that go on.
    pending: Arc<AtomicUsize>,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const DEAD: u16 = 1;

impl Dial for DeadFirst {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, _: &'a Config) -> DialFuture<'a> {
        self.dialed.lock().unwrap().push((endpoint.port, Instant::now()));
        if endpoint.port == DEAD {
            self.pending.fetch_add(1, Ordering::Relaxed);
            let pending = Counted(Arc::clone(&self.pending));
            return Box::pin(async move {
                let _pending = pending;
                std::future::pending().await
            });
        }
        Box::pin(async {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut startup = [0; 1024];
                let _ = theirs.read(&mut startup).await;
                theirs.write_all(&backend::welcome()).await.unwrap();
                while theirs.read(&mut startup).await.is_ok_and(|count| count > 0) {}
            });
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }
}

/// In virtual time, so that it is exact.
#[tokio::test(start_paused = true)]
async fn a_dead_host_costs_a_quarter_of_a_second() {
    for (ports, role, dead_ones) in [
        (vec![DEAD, 2], "any", 1),
        (vec![DEAD, DEAD, DEAD, 2], "any", 3),
        (vec![DEAD, 2], "prefer-standby", 1),
        (vec![2, DEAD], "prefer-standby", 1),
        (vec![2, DEAD], "any", 0),
    ] {
        let dial = DeadFirst::default();
        let connection = Connection::builder().connection_factory(dial.clone()).build();
        let began = Instant::now();
        let more = format!("connect_timeout=0 target_session_attrs={role}");
        connection.connect(at(&ports, &more)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(250) * dead_ones, "{ports:?} {role}");
        assert_eq!(dial.pending.load(Ordering::Relaxed), 0, "the dead hosts are left");
        let dialed: Vec<_> = dial.dialed.lock().unwrap().iter().map(|(port, _)| *port).collect();
        let all_but_rest = if role == "any" && ports[0] == 2 { 1 } else { ports.len() };
        assert_eq!(dialed, ports[..all_but_rest]);
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_are_all_dead_have_their_time_side_by_side() {
    let dial = DeadFirst::default();
    let connection = Connection::builder().connection_factory(dial.clone()).build();
    let began = Instant::now();
    let error = connection.connect(at(&[DEAD; 3], "connect_timeout=5")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.attempts().len(), 3);
    assert_eq!(began.elapsed(), Duration::from_millis(5_500));
    assert_eq!(dial.pending.load(Ordering::Relaxed), 0);
}

/// A real listener that answers no more: its queue is full. Without a time limit, only the next
/// host can end this.
#[tokio::test]
async fn a_host_whose_queue_is_full_is_left_for_the_next() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let deaf = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&deaf, Duration::from_millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue is never full");
    }
    let dsn = at(&[deaf.port(), shared().port()], "connect_timeout=0");
    assert_works(&bounded(Connection::open(dsn)).await.unwrap()).await;
}

// --- Addresses ---

/// Knows the addresses of names, and refuses to dial or dials.
#[derive(Clone, Default)]
struct Resolver {
    addresses: Vec<IpAddr>,
    dials: bool,
    resolved: Arc<AtomicUsize>,
    dialed: Arc<Mutex<Vec<Endpoint>>>,
}

impl Dial for Resolver {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        self.dialed.lock().unwrap().push(endpoint.clone());
        if self.dials {
            return Sockets.dial(endpoint, config);
        }
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn resolve<'a>(&'a self, endpoint: &'a Endpoint, _: &'a Config) -> ResolveFuture<'a> {
        self.resolved.fetch_add(1, Ordering::Relaxed);
        let Host::Tcp(name) = &endpoint.host else { panic!("{endpoint} needs no lookup") };
        let found = self.addresses.iter().map(|addr| {
            let host = Host::Addr { name: Some(name.clone()), addr: *addr };
            Endpoint { host, port: endpoint.port }
        });
        let found: Vec<_> = found.collect();
        Box::pin(async { Ok(found) }) as Pin<Box<_>>
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_tried_at_each_connect() {
    // The server listens at the last one.
    let addresses = ["127.0.0.3", "127.0.0.2", "127.0.0.1"].map(|text| text.parse().unwrap());
    let dial = Resolver { addresses: addresses.to_vec(), dials: true, ..Resolver::default() };
    let connection = Connection::builder().connection_factory(dial.clone()).build();
    let dsn = format!("host=db.test port={} user=postgres sslmode=disable", shared().port());
    for round in 1..3 {
        bounded(connection.connect(&dsn)).await.unwrap();
        assert_works(&connection).await;
        bounded(connection.close()).await;
        assert_eq!(dial.resolved.load(Ordering::Relaxed), round);
        assert_eq!(dial.dialed.lock().unwrap().len(), 3 * round);
    }
    let port = free_port().await;
    let dsn = format!("host=db.test port={port} user=postgres");
    let error = bounded(connection.connect(dsn)).await.unwrap_err();
    let said: Vec<_> = error.attempts().iter().map(FailedAttempt::endpoint).collect();
    assert_eq!(said, addresses.map(|addr: IpAddr| format!("db.test ({addr}:{port})")));
    // The system's own names.
    let local = Connection::open(format!(
        "host=localhost port={} user=postgres sslmode=disable",
        shared().port()
    ));
    assert_works(&bounded(local).await.unwrap()).await;
}

#[tokio::test]
async fn hosts_and_addresses_are_tried_by_chance_if_asked_to() {
    let addresses: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()).into();
    let order = async |more: &str| {
        let dial = Resolver { addresses: addresses.clone(), ..Resolver::default() };
        let connection = Connection::builder().connection_factory(dial.clone()).build();
        let dsn = format!("host=db.test,10.0.0.9 user=postgres {more}");
        bounded(connection.connect(dsn)).await.unwrap_err();
        let dialed = dial.dialed.lock().unwrap();
        dialed
            .iter()
            .map(|endpoint| match &endpoint.host {
                Host::Addr { addr, .. } => addr.to_string(),
                host => panic!("{host:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let given = "10.0.0.1 10.0.0.2 10.0.0.9";
    let mut seen = std::collections::HashSet::new();
    // Four orders: that one is missing after 400 times has a chance of 4 * 0.75^400 < 10^-49.
    for _ in 0..400 {
        assert_eq!(order("load_balance_hosts=disable").await, given);
        seen.insert(order("load_balance_hosts=random").await);
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            given,
            "10.0.0.2 10.0.0.1 10.0.0.9",
            "10.0.0.9 10.0.0.1 10.0.0.2",
            "10.0.0.9 10.0.0.2 10.0.0.1"
        ]
    );
}

// --- Security ---

/// The first host is dead or asks for too little; the second one is held to the same.
#[tokio::test]
async fn every_host_is_held_to_the_same_security_settings() {
    let asks = || Script::new().expect_startup().send(backend::auth_cleartext()).expect_end();
    let no_tls = || Script::new().expect_ssl_request().send(b"N").expect_end();
    let closed = free_port().await;
    for (script, more, kind) in [
        (asks(), "require_auth=scram-sha-256", ErrorKind::Authentication),
        (no_tls(), "sslmode=require", ErrorKind::Tls),
        (no_tls(), "sslmode=verify-full sslrootcert=system", ErrorKind::Tls),
    ] {
        let server: ScriptedServer = script.play().unwrap();
        let dsn = at(&[closed, server.port()], &format!("password=hunter2 {more}"));
        let error = refusal(dsn).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.attempts().len(), 2);
        server.finish().unwrap();
    }
}
