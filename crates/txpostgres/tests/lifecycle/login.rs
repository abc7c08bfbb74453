//! What is said to a server at the login, what is not, and what is told of it.

use txpostgres::{Connection, ErrorKind};
use txpostgres_testkit::{Cluster, Script, backend};

use crate::support::warnings::Warnings;
use crate::support::{bounded, refusal};

/// The StartupMessage of a client that asks for this minor version, up to its parameters.
fn asks_for(minor: u8) -> impl Fn(&[u8]) -> bool {
    move |sent| sent.get(4..8) == Some(&[0, 3, 0, minor])
}

/// Some peers neither know a newer version nor refuse it: Pgpool-II 4.3 refuses, others stand
/// still. libpq asks for 3.0 as well.
#[tokio::test]
async fn protocol_3_0_is_asked_for_unless_told_otherwise() {
    for (more, minor) in [
        ("", 0),
        ("max_protocol_version=3.0", 0),
        ("max_protocol_version=3.2", 2),
        ("max_protocol_version=latest", 2),
        ("min_protocol_version=3.2", 2),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dsn = format!("host=127.0.0.1 port={port} user=me sslmode=disable {more}");
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = [0; 8];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut sent).await.unwrap();
            sent
        };
        let (_, sent) = bounded(async { tokio::join!(Connection::open(dsn), peer) }).await;
        assert!(asks_for(minor)(&sent), "{more}: {sent:?}");
    }
}

/// Over plain TCP, what gives the password away is told of; with `require_auth` it is not sent.
#[tokio::test]
async fn a_password_in_clear_text_is_told_of_and_can_be_ruled_out() {
    for (method, asked, what) in [
        ("password", backend::auth_cleartext(), "the password in clear text"),
        ("md5", backend::auth_md5([1, 2, 3, 4]), "an MD5 hash"),
    ] {
        let script = || {
            Script::new()
                .expect_startup()
                .send(&asked)
                .expect_message(b'p')
                .send(backend::welcome())
        };
        let warnings = Warnings::listen();
        let server = script().play().unwrap();
        let dsn = format!("{} password=hunter2", server.dsn());
        bounded(Connection::open(&*dsn)).await.unwrap();
        let told = warnings.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(what) && told[0].contains("unencrypted"), "{told:?}");
        assert!(!told[0].contains("hunter2"));

        let server = script().play_unix().unwrap();
        bounded(Connection::open(format!("{} password=hunter2", server.dsn()))).await.unwrap();
        assert!(warnings.take().is_empty(), "no network lies between");

        let server = Script::new().expect_startup().send(&asked).expect_end().play().unwrap();
        let dsn = format!("{} password=hunter2 require_auth=!{method}", server.dsn());
        let error = refusal(dsn).await;
        assert_eq!(error.kind(), ErrorKind::Authentication);
        server.finish().unwrap();
        assert!(warnings.take().is_empty());
    }
}

/// The role's password is `hunter2`, hashed once only.
const ONE_ITERATION: &str = "SCRAM-SHA-256$1:c2l4dGVlbiBieXRlcy4uLg==\
    $0kngdLjDPpdMx6UH3ioevXohVGn0H45IcQd6i+/zUEU=:3Q4p0iXID0I5/12o+514IaY49SLR5UbnettM5V3L4wk=";

#[tokio::test]
async fn few_iterations_are_told_of_and_can_be_ruled_out() {
    let cluster =
        Cluster::builder().hba("host all all 127.0.0.1/32 scram-sha-256").start().unwrap();
    cluster
        .sql(&format!(
            "create role few login password '{ONE_ITERATION}';
             set password_encryption = 'scram-sha-256'; create role usual login password 'hunter2'"
        ))
        .unwrap();
    let dsn = |user| format!("{} password=hunter2", cluster.dsn_of("127.0.0.1", user, "postgres"));
    let warnings = Warnings::listen();
    bounded(Connection::open(dsn("usual"))).await.unwrap();
    assert!(warnings.take().is_empty());
    bounded(Connection::open(dsn("few"))).await.unwrap();
    let told = warnings.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("asked for 1 SCRAM iterations"), "{told:?}");

    let strict = |user| format!("{} min_scram_iterations=4096", dsn(user));
    bounded(Connection::open(strict("usual"))).await.unwrap();
    let error = refusal(strict("few")).await;
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(
        error.to_string(),
        "the server asks for 1 SCRAM iterations, and min_scram_iterations for 4096 at least"
    );
}
