//! Connecting: with passwords and TLS, to hosts that refuse and hosts that are deaf.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use txpostgres_poll::{Connection, Connector, ErrorKind, PollState, SqlState};
use txpostgres_testkit::{Cluster, Direction, Proxy, TlsCertificates};

use crate::support::{connect, database, finish, unblocked};

#[test]
fn over_a_unix_socket_and_over_tcp() {
    let database = database();
    for dsn in [database.unix_dsn(), database.dsn()] {
        let mut connection = connect(dsn);
        connection.execute("select 1", ()).unwrap();
        finish(&mut connection).unwrap();
    }
}

#[test]
fn with_tls_and_a_password() {
    let cluster = Cluster::builder()
        .tls(TlsCertificates::good().unwrap())
        .setting("password_encryption", "scram-sha-256")
        .auth("scram-sha-256")
        .start()
        .unwrap();
    cluster.sql("create role scrammy login password 'pencil'").unwrap();
    let root = cluster.root_certificate().unwrap();
    let dsn = |password: &str| {
        format!(
            "host=localhost port={} user=scrammy dbname=postgres password={password} \
             sslmode=verify-full sslrootcert={}",
            cluster.port(),
            root.display()
        )
    };
    let connector = Connector::new(dsn("pencil")).unwrap();
    for _ in 0..2 {
        let mut connection = connector.connect_start().unwrap();
        finish(&mut connection).unwrap();
        assert!(connection.is_encrypted());
        connection.execute("select repeat('x', $1)", (1_000_000,)).unwrap();
        finish(&mut connection).unwrap();
        let rows = connection.take_rows();
        assert_eq!(rows.first().unwrap().get::<&str>(0).unwrap().len(), 1_000_000);
    }
    let mut wrong = Connection::connect_start(dsn("pen")).unwrap();
    let error = finish(&mut wrong).unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_PASSWORD));
    assert!(wrong.is_closed() && wrong.fileno().is_none());
}

#[test]
fn a_host_that_refuses_is_followed_by_the_next() {
    let database = database();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = database.server().port();
    connect(format!("{} host=127.0.0.1,127.0.0.1 port={nobody},{port}", database.dsn()));

    let mut nowhere =
        Connection::connect_start(format!("host=127.0.0.1 port={nobody} user=x")).unwrap();
    let error = finish(&mut nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");
    assert_eq!(nowhere.poll().unwrap_err().kind(), ErrorKind::Closed);
}

/// The deadline has the next host tried beside one that accepts and is silent; and without another
/// host it keeps `connect_timeout`.
#[test]
fn a_deaf_host_is_left_by_the_deadline() {
    let database = database();
    let port = database.server().port();
    let deaf = Proxy::to_port(port).unwrap();
    deaf.stall(Direction::ToServer);
    let deaf = deaf.port();
    connect(format!("{} host=127.0.0.1,127.0.0.1 port={deaf},{port}", database.dsn()));

    let dsn = format!("{} host=127.0.0.1 port={deaf} connect_timeout=2", database.dsn());
    let mut alone = Connection::connect_start(dsn).unwrap();
    let began = Instant::now();
    assert_eq!(finish(&mut alone).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_statement_has_to_wait_for_the_login() {
    let database = database();
    let mut connection = Connection::connect_start(database.dsn()).unwrap();
    assert_eq!(unblocked(&mut connection).unwrap(), PollState::Write);
    let error = connection.execute("select 1", ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    finish(&mut connection).unwrap();
}
