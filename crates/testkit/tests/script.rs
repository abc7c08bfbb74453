//! Scripts say what they are told to, and notice a client that departs from them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use txpostgres_testkit::{Script, ScriptedServer, backend};

const STARTUP: &[u8] = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const CANCEL_REQUEST: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x67\x01\x02\x03\x04";

fn ask(client: &mut (impl Read + Write), question: &[u8], answer: &[u8]) {
    client.write_all(question).unwrap();
    let mut got = vec![0; answer.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, answer);
}

#[test]
fn a_whole_dialog() {
    let query = b"Q\0\0\0\x0dselect 1\0";
    let answer = [
        backend::row_description(&[("x", 23)], 0),
        backend::data_row(&[Some(b"1")]),
        backend::ready(b'I'),
    ]
    .concat();
    let script = Script::new()
        .welcome()
        .expect_message(b'Q')
        .send(&answer)
        .expect(b"X\0\0\0\x04")
        .expect_end();
    let server = script.play().unwrap();
    let mut client = TcpStream::connect(server.address()).unwrap();
    ask(&mut client, SSL_REQUEST, b"N");
    ask(&mut client, STARTUP, &backend::welcome());
    ask(&mut client, query, &answer);
    client.write_all(b"X\0\0\0\x04").unwrap();
    drop(client);
    let received = server.finish().unwrap();
    assert_eq!(received, [[SSL_REQUEST, STARTUP, query, b"X\0\0\0\x04"].concat()]);
}

#[test]
fn the_same_over_a_unix_socket() {
    let server = Script::new().welcome().close().play_unix().unwrap();
    let folder = server.socket_dir().unwrap().to_owned();
    let mut client = UnixStream::connect(folder.join(".s.PGSQL.5432")).unwrap();
    ask(&mut client, STARTUP, &backend::welcome());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    server.finish().unwrap();
    assert!(!folder.exists());
}

#[test]
fn a_departure_is_told_with_its_place() {
    let server = Script::new().expect_startup().expect_message(b'Q').play().unwrap();
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.write_all(&[STARTUP, b"X\0\0\0\x04"].concat()).unwrap();
    let wanted = "connection 1, step 2: expected message Q, received message X; all that came: \
                  b\"\\x00\\x00\\x00\\x11\\x00\\x03\\x00\\x00user\\x00me\\x00\\x00X\\x00\\x00\\x00\\x04\"";
    assert_eq!(server.finish().unwrap_err().to_string(), wanted);

    let server = Script::new().expect(b"abc").play().unwrap();
    TcpStream::connect(server.address()).unwrap().write_all(b"ab").unwrap();
    let error = server.finish().unwrap_err().to_string();
    assert!(
        error.starts_with("connection 1, step 1: expected b\"abc\", but the client hung up"),
        "{error}"
    );

    let server = Script::new().play().unwrap();
    assert_eq!(server.finish().unwrap_err().to_string(), "connection 1, which was never made");
}

#[test]
fn a_script_is_bounded() {
    let server = Script::new().expect(b"abc").within(Duration::from_millis(50)).play().unwrap();
    let _client = TcpStream::connect(server.address()).unwrap();
    let began = Instant::now();
    let error = server.finish().unwrap_err().to_string();
    assert!(error.contains("expected b\"abc\", and it did not come in time"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn silence_ends_with_the_test() {
    let server = Script::new().silence(Duration::from_secs(9)).play().unwrap();
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    client.write_all(b"anybody?").unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let began = Instant::now();
    assert_eq!(server.finish().unwrap(), [b"anybody?"]);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn slow_bytes_come_one_by_one_and_a_reset_is_one() {
    let script =
        Script::new().send_slowly(b"abc", 1, Duration::from_millis(15)).expect(b"!").reset();
    let server = script.play().unwrap();
    let mut client = TcpStream::connect(server.address()).unwrap();
    let mut buffer = [0; 8];
    for _ in 0..3 {
        assert_eq!(client.read(&mut buffer).unwrap(), 1);
    }
    client.write_all(b"!").unwrap();
    let error = client.read(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    server.finish().unwrap();
}

#[test]
fn a_cancel_comes_on_a_connection_of_its_own() {
    let query = Script::new().welcome().expect_message(b'Q').silence(Duration::from_secs(5));
    let cancel = Script::new().expect_cancel_request();
    let server = ScriptedServer::tcp(vec![query, cancel]).unwrap();
    let mut client = TcpStream::connect(server.address()).unwrap();
    ask(&mut client, STARTUP, &backend::welcome());
    client.write_all(b"Q\0\0\0\x05\0").unwrap();
    let mut other = TcpStream::connect(server.address()).unwrap();
    other.write_all(CANCEL_REQUEST).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    let received = server.finish().unwrap();
    assert_eq!(received.get(1).unwrap(), CANCEL_REQUEST);
}
