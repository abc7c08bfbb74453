//! What a proxy does to a connection, as the two sides see it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use txpostgres_testkit::{Direction, Proxy};

/// A server that says everything back, and a proxy in front of it.
fn echo() -> (TcpListener, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in accepting.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut answer = stream.try_clone().unwrap();
                std::io::copy(&mut stream, &mut answer).ok();
            });
        }
    });
    let proxy = Proxy::to(listener.local_addr().unwrap()).unwrap();
    (listener, proxy)
}

fn client(proxy: &Proxy) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    say(&mut client, b"hello");
    client
}

fn say(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

#[test]
fn bytes_pass_and_are_counted() {
    let (_server, proxy) = echo();
    let mut client = client(&proxy);
    let big: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut writing = client.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writing.write_all(&big).unwrap());
        let mut answer = vec![0; big.len()];
        client.read_exact(&mut answer).unwrap();
        assert!(answer == big);
    });
    assert_eq!(proxy.passed(Direction::ToServer), 1_000_005);
    assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));
}

#[test]
fn cut_is_an_end_and_reset_is_an_error() {
    let (_server, proxy) = echo();
    let mut one = client(&proxy);
    proxy.cut();
    assert_eq!(one.read(&mut [0]).unwrap(), 0);
    let mut two = client(&proxy);
    proxy.reset();
    assert_eq!(two.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((proxy.connections(), proxy.accepted()), (0, 2));
    client(&proxy);
}

#[test]
fn cut_in_the_middle_of_an_answer() {
    let (_server, proxy) = echo();
    let mut client = client(&proxy);
    proxy.cut_after(Direction::ToClient, 3);
    client.write_all(b"abcdef").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"abc");
}

#[test]
fn a_stall_holds_back_one_way_until_it_flows() {
    let (_server, proxy) = echo();
    let mut client = client(&proxy);
    let passed = proxy.passed(Direction::ToServer);
    proxy.stall(Direction::ToClient);
    client.write_all(b"x").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(proxy.passed(Direction::ToServer), passed + 1);
    proxy.flow(Direction::ToClient);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_delay_delays_and_a_split_splits() {
    let (_server, proxy) = echo();
    let mut client = client(&proxy);
    proxy.delay(Direction::ToServer, Duration::from_millis(60));
    let began = Instant::now();
    say(&mut client, b"slow");
    assert!(began.elapsed() >= Duration::from_millis(60));
    proxy.delay(Direction::ToServer, Duration::ZERO);
    proxy.split(Direction::ToClient, 1);
    say(&mut client, b"in pieces");
}

#[test]
fn refused_and_accepted_again() {
    let (_server, proxy) = echo();
    let mut kept = client(&proxy);
    proxy.refuse();
    let error = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    say(&mut kept, b"still here");
    proxy.accept_again().unwrap();
    client(&proxy);
    let address = proxy.address();
    drop(proxy);
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    TcpStream::connect(address).unwrap_err();
}
