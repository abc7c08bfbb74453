//! Servers that do not let us in, and no server at all: what is said, how soon, and that the next attempt may succeed.

use std::time::{Duration, Instant};

use txpostgres::{Connection, Delivery, ErrorKind, SqlState};
use txpostgres_testkit::{Cluster, TlsCertificates, shared};

use crate::support::{assert_works, bounded, free_port, refusal};

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let cluster = Cluster::builder()
        .hba("host all old 127.0.0.1/32 md5")
        .hba("host all new 127.0.0.1/32 scram-sha-256")
        .start()
        .unwrap();
    for (user, method) in [("old", "md5"), ("new", "scram-sha-256")] {
        let create = format!(
            "set password_encryption = '{method}'; create role {user} login password 'r1ght'"
        );
        cluster.sql(&create).unwrap();
        let dsn = cluster.dsn_of("127.0.0.1", user, "postgres");
        // Whatever else the server asked for would be another error.
        let dsn = format!("{dsn} require_auth={method} passfile=/dev/null");
        let connection = Connection::new();
        let error = bounded(connection.connect(format!("{dsn} password=wr0ng"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.sqlstate(), Some(SqlState::INVALID_PASSWORD));
        assert_eq!(
            error.to_string(),
            format!("FATAL 28P01: password authentication failed for user \"{user}\"")
        );
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(!error.is_retryable());
        assert!(!format!("{error:#} {error:?}").contains("wr0ng"));
        assert!(connection.is_closed());

        let error = bounded(connection.connect(&*dsn)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert_eq!(error.to_string(), "the server asks for a password and none was given");

        bounded(connection.connect(format!("{dsn} password=r1ght"))).await.unwrap();
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn an_unknown_database_or_user_is_named() {
    let server = shared();
    let connection = Connection::new();
    let dsn = server.dsn_of("127.0.0.1", "postgres", "nowhere");
    let error = bounded(connection.connect(dsn)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_CATALOG_NAME));
    assert_eq!(error.to_string(), "FATAL 3D000: database \"nowhere\" does not exist");
    assert!(!error.is_retryable());

    let dsn = server.dsn_of("127.0.0.1", "nobody", "postgres");
    let error = bounded(connection.connect(dsn)).await.unwrap_err();
    assert_eq!(error.to_string(), "FATAL 28000: role \"nobody\" does not exist");

    bounded(connection.connect(server.dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    // A label of more than 63 bytes is refused before any name server is asked.
    let host = format!("{}.invalid", "x".repeat(64));
    let error = refusal(format!("host={host} user=postgres connect_timeout=10")).await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot connect to {host}:5432: ")), "{text}");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn a_port_with_nothing_behind_it_is_named() {
    let port = free_port().await;
    let connection = Connection::new();
    let before = Instant::now();
    let dsn = format!("host=127.0.0.1 port={port} user=postgres");
    let error = bounded(connection.connect(dsn)).await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(5));
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot connect to 127.0.0.1:{port}: Connection refused")),
        "{text}"
    );
    assert!(error.is_retryable());

    let error = bounded(connection.connect("host=/nonexistent user=postgres")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    let wanted = "cannot connect to /nonexistent/.s.PGSQL.5432: No such file or directory";
    assert!(text.starts_with(wanted), "{text}");

    bounded(connection.connect(shared().dsn())).await.unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn of_several_hosts_the_first_that_lets_us_in_is_taken() {
    let (closed, open) = (free_port().await, shared().port());
    let dsn = |ports: &str| format!("host=127.0.0.1,127.0.0.1 port={ports} user=postgres");
    let connection = Connection::open(dsn(&format!("{closed},{open}"))).await.unwrap();
    assert_works(&connection).await;
    let error = refusal(dsn(&format!("{closed},{closed}"))).await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.attempts().len(), 2);
}

#[tokio::test]
async fn a_server_out_of_connections_is_one_to_try_again() {
    let cluster = Cluster::builder()
        .setting("max_connections", "6")
        .setting("superuser_reserved_connections", "3")
        .start()
        .unwrap();
    cluster.sql("create role plain login").unwrap();
    let dsn = cluster.dsn_of("127.0.0.1", "plain", "postgres");
    let mut open = Vec::new();
    let error = loop {
        match bounded(Connection::open(&dsn)).await {
            Ok(connection) => open.push(connection),
            Err(error) => break error,
        }
    };
    assert_eq!(open.len(), 3);
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.sqlstate(), Some(SqlState::TOO_MANY_CONNECTIONS));
    // The rest of the text differs between versions.
    let text = error.to_string();
    assert!(
        text.starts_with("FATAL 53300: remaining connection slots are reserved for "),
        "{text}"
    );
    assert!(error.is_retryable());
    for connection in &open {
        assert_works(connection).await;
    }
    // The place is free as soon as `close` returns.
    open.pop().unwrap().close().await;
    assert_works(&bounded(Connection::open(&dsn)).await.unwrap()).await;
}

#[tokio::test]
async fn tls_that_is_required_and_refused() {
    for mode in ["require", "verify-full sslrootcert=system"] {
        let dsn = format!("{} sslmode={mode}", shared().dsn());
        let error = refusal(dsn).await;
        assert_eq!(error.kind(), ErrorKind::Tls, "{mode}");
        let wanted = "the server does not offer TLS, and sslmode requires it";
        assert_eq!(error.to_string(), wanted, "{mode}");
        assert!(error.hint().unwrap().contains("sslmode"));
    }
    let preferred = format!("{} sslmode=prefer", shared().dsn());
    let connection = bounded(Connection::open(preferred)).await.unwrap();
    assert!(!connection.is_encrypted());
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_server_that_wants_tls_says_so() {
    let cluster = Cluster::builder()
        .tls(TlsCertificates::good().unwrap())
        .hba("hostssl all all 127.0.0.1/32 trust")
        .start()
        .unwrap();
    let error = refusal(format!("{} sslmode=disable", cluster.dsn())).await;
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(
        error.to_string(),
        "FATAL 28000: no pg_hba.conf entry for host \"127.0.0.1\", user \"postgres\", \
         database \"postgres\", no encryption"
    );
    for mode in ["allow", "prefer", "require"] {
        let dsn = format!("{} sslmode={mode}", cluster.dsn());
        let connection = bounded(Connection::open(dsn)).await.unwrap();
        assert!(connection.is_encrypted(), "{mode}");
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn certificates_that_are_not_to_be_trusted() {
    for (certificates, wanted, mode_that_works) in [
        (
            TlsCertificates::wrong_name().unwrap(),
            "the server's certificate is not for \"127.0.0.1\" (it is for ",
            "verify-ca",
        ),
        (
            TlsCertificates::expired().unwrap(),
            "the server's certificate (CN=testkit server) expired on 2001-01-01T00:00:00Z",
            "prefer",
        ),
    ] {
        let cluster = Cluster::builder().tls(certificates).start().unwrap();
        let root = cluster.root_certificate().unwrap();
        let root = root.display();
        let connection = Connection::new();
        let dsn = format!("{} sslmode=verify-full sslrootcert={root}", cluster.dsn());
        let error = bounded(connection.connect(dsn)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(error.to_string().starts_with(wanted), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(error.delivery(), Delivery::NotSent);

        let dsn = format!("{} sslmode={mode_that_works} sslrootcert={root}", cluster.dsn());
        bounded(connection.connect(dsn)).await.unwrap();
        assert_works(&connection).await;
    }
}
