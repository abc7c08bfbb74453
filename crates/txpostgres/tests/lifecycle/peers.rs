//! Peers that are not PostgreSQL, or that stop talking: found out at once, or when `connect_timeout` has passed.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use txpostgres::{Connection, Delivery, ErrorKind};
use txpostgres_testkit::{Cluster, Script, backend, shared};

use crate::support::{LATE, assert_works, bounded, impatient, refusal, welcomed};

/// What `select 'works'` is answered with.
fn works() -> Vec<u8> {
    [
        backend::parse_complete(),
        backend::bind_complete(),
        backend::row_description(&[("?column?", 25)], 1),
        backend::data_row(&[Some(b"works")]),
        backend::command_complete("SELECT 1"),
        backend::ready(b'I'),
    ]
    .concat()
}

/// Nobody was told a request, and the next connection works.
async fn found_out(dsn: &str, kind: ErrorKind, text: &str) {
    let before = Instant::now();
    let connection = Connection::new();
    let error = bounded(connection.connect(dsn)).await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(5), "found out after {:?}", before.elapsed());
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
    assert_eq!(error.delivery(), Delivery::NotSent);
    bounded(connection.connect(shared().dsn())).await.unwrap();
    assert_works(&connection).await;
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_http_server() {
    let server = Script::new().expect_startup().send(BAD_REQUEST).play().unwrap();
    let text = "what answers there is not a PostgreSQL server: its answer begins with 'H'";
    found_out(&server.dsn(), ErrorKind::Protocol, text).await;
    for mode in ["prefer", "require"] {
        let server = Script::new().expect_ssl_request().send(BAD_REQUEST).play().unwrap();
        let text = "what answers there is not a PostgreSQL server: \
                    it answered the request for TLS with 'H'";
        let dsn = format!("{} sslmode={mode}", server.dsn());
        found_out(&dsn, ErrorKind::Protocol, text).await;
    }
    // Others hang up on a line that they do not understand.
    for mode in ["prefer", "require"] {
        let server = Script::new().expect_ssl_request().play().unwrap();
        let text = "the server closed the connection during the login";
        let dsn = format!("{} sslmode={mode}", server.dsn());
        found_out(&dsn, ErrorKind::Connect, text).await;
    }
    let server = Script::new().expect_startup().reset().play().unwrap();
    let error = refusal(server.dsn()).await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(text.starts_with("the connection broke during the login: Connection reset"), "{text}");
}

#[tokio::test]
async fn an_echo_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.ok();
            });
        }
    });
    let dsn = format!("host=127.0.0.1 port={port} user=postgres");
    let plain = "what answers there is not a PostgreSQL server: its answer begins with '\\0'";
    found_out(&format!("{dsn} sslmode=disable"), ErrorKind::Protocol, plain).await;
    let asked = "what answers there is not a PostgreSQL server: \
                 it answered the request for TLS with '\\0'";
    found_out(&format!("{dsn} sslmode=require"), ErrorKind::Protocol, asked).await;
    found_out(&format!("{dsn} sslmode=prefer"), ErrorKind::Protocol, asked).await;
    let error = refusal(format!("{dsn} sslmode=require sslnegotiation=direct")).await;
    assert_eq!(error.kind(), ErrorKind::Tls);
    let text = "the server sent a message of TLS that is out of place";
    assert_eq!(error.to_string(), text);
    echo.abort();
}

#[tokio::test]
async fn a_server_that_wants_tls_from_the_first_byte() {
    // "unexpected message" or "protocol version", said in TLS.
    let alert = [0x15, 3, 3, 0, 2, 2, 70];
    let server = Script::new().expect_startup().send(alert).play().unwrap();
    let text = "what answers there is not a PostgreSQL server: its answer begins with '\\u{15}'";
    found_out(&server.dsn(), ErrorKind::Protocol, text).await;
    for mode in ["prefer", "require"] {
        let server = Script::new().expect_ssl_request().send(alert).play().unwrap();
        let text = "what answers there is not a PostgreSQL server: \
                    it answered the request for TLS with '\\u{15}'";
        let dsn = format!("{} sslmode={mode}", server.dsn());
        found_out(&dsn, ErrorKind::Protocol, text).await;
    }
}

#[tokio::test]
async fn a_server_that_greets_first() {
    // An SSH server's greeting begins as a server's consent to TLS does.
    let greeting = b"SSH-2.0-OpenSSH_9.2p1\r\n";
    let server = Script::new().send(greeting).silence(Duration::from_secs(9)).play().unwrap();
    let text = "what answers there is not a PostgreSQL server: its answer begins with 'S'";
    found_out(&server.dsn(), ErrorKind::Protocol, text).await;
    for mode in ["prefer", "require"] {
        let server = Script::new().send(greeting).silence(Duration::from_secs(9)).play().unwrap();
        let text =
            "bytes arrived before the TLS handshake that could have been put there by anyone";
        let dsn = format!("{} sslmode={mode}", server.dsn());
        found_out(&dsn, ErrorKind::Protocol, text).await;
    }
}

/// A handshake that was stuffed is an attack, or a server that is broken: `prefer` does not go on
/// in plain text with the password. In one segment the bytes are found out before the handshake, in
/// two by it.
#[tokio::test]
async fn a_stuffed_handshake_is_not_followed_by_plain_text() {
    let error = b"E\0\0\0\x20SFATAL\0C42501\0Msend me your password\0\0";
    let before = "bytes arrived before the TLS handshake that could have been put there by anyone";
    let within = "what the server sent is not TLS";
    let pause = Duration::from_millis(200);
    let at_once = Script::new().expect_ssl_request().send([b"S", &error[..]].concat());
    let in_two = Script::new().expect_ssl_request().send(b"S").expect([0x16]).send(error);
    for (script, text) in [(at_once, before), (in_two, within)] {
        let server = script.silence(pause).play().unwrap();
        let dsn = format!("{} sslmode=prefer password=hunter2", server.dsn());
        found_out(&dsn, ErrorKind::Protocol, text).await;
    }
}

/// Each of these begins well and then says nothing more.
fn silences() -> Vec<(&'static str, &'static str, Script)> {
    let scram = || Script::new().expect_startup().send(backend::auth_sasl(&["SCRAM-SHA-256"]));
    let settled = backend::parameter_status("server_version", "15.0");
    vec![
        ("accept", "disable", Script::new()),
        ("accept, TLS", "prefer", Script::new()),
        ("the request for TLS", "require", Script::new().expect_ssl_request()),
        ("S", "require", Script::new().expect_ssl_request().send(b"S")),
        (
            "half a TLS record",
            "require",
            Script::new()
                .expect_ssl_request()
                .send(b"S")
                .expect([0x16])
                .send([0x16, 3, 3, 0, 90, 2]),
        ),
        ("N", "prefer", Script::new().expect_ssl_request().send(b"N")),
        ("startup", "disable", Script::new().expect_startup()),
        ("half a message", "disable", Script::new().expect_startup().send([b'R', 0, 0])),
        ("a demand for a password", "disable", {
            Script::new().expect_startup().send(backend::auth_cleartext())
        }),
        ("md5", "disable", Script::new().expect_startup().send(backend::auth_md5([1; 4]))),
        ("SASL", "disable", scram()),
        ("SASL's first message", "disable", scram().expect_message(b'p')),
        ("AuthenticationOk", "disable", Script::new().expect_startup().send(backend::auth_ok())),
        ("a parameter", "disable", {
            Script::new().expect_startup().send(backend::auth_ok()).send(settled)
        }),
        ("all but ReadyForQuery", "disable", {
            let mut welcome = backend::welcome();
            welcome.truncate(welcome.len() - 6);
            Script::new().expect_startup().send(welcome)
        }),
        ("too slowly", "disable", {
            let slowly = Duration::from_millis(100);
            Script::new().expect_startup().send_slowly(backend::welcome(), 1, slowly)
        }),
    ]
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_in_time() {
    let limit = Duration::from_millis(400);
    let attempts: Vec<_> = silences()
        .into_iter()
        .map(|(after, mode, script)| {
            tokio::spawn(async move {
                let server = script.silence(Duration::from_secs(9)).play().unwrap();
                let dsn = format!("{} sslmode={mode} password=x", server.dsn());
                let before = Instant::now();
                let error = refusal(impatient(&dsn, limit)).await;
                let took = before.elapsed();
                assert_eq!(error.kind(), ErrorKind::Timeout, "{after}: {error}");
                let port = server.port();
                let wanted = format!(
                    "connecting to 127.0.0.1:{port} took longer than connect_timeout (400ms)"
                );
                assert_eq!(error.to_string(), wanted, "{after}");
                assert!(took >= limit && took < limit + LATE, "{after}: {took:?}");
                assert_eq!(error.delivery(), Delivery::NotSent, "{after}");
            })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap();
    }
}

#[tokio::test]
async fn a_frozen_server_is_left_in_time() {
    let cluster = Cluster::builder().start().unwrap();
    let connection = bounded(Connection::open(cluster.dsn())).await.unwrap();
    cluster.pause_postmaster().unwrap();
    let limit = Duration::from_millis(300);
    let before = Instant::now();
    let error = refusal(impatient(&cluster.dsn(), limit)).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(before.elapsed() < limit + LATE, "{:?}", before.elapsed());
    // Who is connected already does not notice.
    assert_works(&connection).await;
    cluster.resume_postmaster().unwrap();
    assert_works(&bounded(Connection::open(cluster.dsn())).await.unwrap()).await;
}

#[tokio::test]
async fn the_limit_holds_for_each_host() {
    let silent = Script::new().silence(Duration::from_secs(9)).play().unwrap();
    let ports = format!("{},{}", silent.port(), shared().port());
    let dsn = format!("host=127.0.0.1,127.0.0.1 port={ports} user=postgres sslmode=disable");
    let config = impatient(&dsn, Duration::from_millis(300));
    assert_works(&bounded(Connection::open(config)).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_trickles_is_understood() {
    let slowly = Duration::from_micros(100);
    let server = Script::new()
        .expect_startup()
        .send_slowly(backend::welcome(), 1, slowly)
        .expect_messages(b"PBDES")
        .send_slowly(works(), 1, slowly)
        .expect_message(b'X')
        .expect_end()
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    assert_works(&connection).await;
    assert_eq!(connection.backend_pid(), Some(4711));
    bounded(connection.close()).await;
    server.finish().unwrap();
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    for (wrong, text) in [
        (b"HTTP/1.1 500 Oops\r\n".to_vec(), "announced a message of kind 'H' with "),
        (backend::message(b'!', b""), "the server sent a message of the unknown kind '!'"),
        (backend::message_claiming(b'Z', 3, b"I"), "announced a message of kind 'Z' with 3 bytes"),
        (backend::data_row(&[Some(b"1")]), "the server sent a row that was not requested"),
        (backend::ready(b'I'), "the server sent 'Z' where Parse is owed"),
        (backend::command_complete("SELECT 1"), "the server sent 'C' where Parse is owed"),
    ] {
        let server = Script::new()
            .welcome()
            .expect_messages(b"PBDES")
            .send(wrong)
            .silence(Duration::from_secs(9))
            .play()
            .unwrap();
        let connection = welcomed(&server).await;
        let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert!(connection.is_closed());
        let error = bounded(connection.run_query("select 1", ())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionDead);
        assert!(error.to_string().contains(text), "{error}");
        // It is left, not only ignored.
        server.finish().unwrap();
        bounded(connection.connect(shared().dsn())).await.unwrap();
        assert_works(&connection).await;
    }
}
