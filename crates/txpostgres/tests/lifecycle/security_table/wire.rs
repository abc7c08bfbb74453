//! What is on the wire, and what is not: names, versions, and passwords that nobody may see.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use txpostgres::config::{Config, Endpoint};
use txpostgres::{ByteStream, Connection, Dial, DialFuture, ErrorKind, Result, Sockets};
use txpostgres_testkit::Cluster;

use super::server::{PASSWORD, Server, Shown, newer, standing};
use crate::support::around::{Around, Wrapped};

/// What was sent and what was received.
#[derive(Debug, Clone, Default)]
struct Record(Arc<Mutex<[Vec<u8>; 2]>>);

/// A stream that is written down.
struct Recorded {
    stream: Box<dyn ByteStream>,
    record: Record,
}

impl Dial for Record {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            Ok(Box::new(Wrapped(Recorded { stream, record: self.clone() })) as Box<dyn ByteStream>)
        })
    }
}

impl Around for Recorded {
    fn inside(&mut self) -> Pin<&mut dyn ByteStream> {
        Pin::new(&mut *self.stream)
    }

    fn read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.inside().poll_read(cx, into))?;
        self.record.0.lock().unwrap()[1].extend_from_slice(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(self.inside().poll_write(cx, bytes))?;
        self.record.0.lock().unwrap()[0].extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }
}

/// Opens a connection: what was sent and received until it was open or refused.
async fn open(conninfo: &str) -> (Result<Connection>, Vec<u8>, Vec<u8>) {
    let record = Record::default();
    let connection = Connection::builder().connection_factory(record.clone()).build();
    let opened = connection.connect(conninfo).await.map(|()| connection);
    let [sent, received] = record.0.lock().unwrap().clone();
    (opened, sent, received)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn the_host_is_named_only_if_it_may_be() {
    let server = standing();
    let conninfo = format!("{} sslmode=require", server.conninfo("trust"));
    for (more, named) in [("", true), ("sslsni=1", true), ("sslsni=0", false)] {
        let (opened, sent, _) = open(&format!("{conninfo} {more}")).await;
        assert!(opened.unwrap().is_encrypted());
        assert_eq!(contains(&sent, b"localhost"), named, "{more}");
    }
    // An address is not a name.
    let (opened, sent, _) = open(&conninfo.replace("host=localhost", "host=127.0.0.1")).await;
    assert!(opened.unwrap().is_encrypted());
    assert!(!contains(&sent, b"127.0.0.1"));
}

/// `SSLRequest` (manual, section 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[tokio::test]
async fn nothing_follows_a_request_for_tls_that_is_refused() {
    let mut server = Server::start(Cluster::builder());
    server.show(Shown::Nothing);
    let start = format!("{} password='{PASSWORD}'", server.conninfo("password"));
    for mode in ["require", "verify-ca", "verify-full"] {
        let conninfo = format!("{start} sslmode={mode} {}", server.root());
        let (opened, sent, received) = open(&conninfo).await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Tls, "{mode}");
        assert_eq!((sent.as_slice(), received.as_slice()), (&SSL_REQUEST[..], &b"N"[..]), "{mode}");
    }
}

#[tokio::test]
async fn no_password_is_sent_where_another_method_is_required() {
    let server = standing();
    let secret = PASSWORD.as_bytes();
    for user in ["password", "md5", "trust", "scram"] {
        let start = format!("{} password='{PASSWORD}' sslmode=disable", server.conninfo(user));
        let (opened, sent, _) = open(&start).await;
        assert!(opened.is_ok());
        // Clear text is what its name says, or the rest proves nothing.
        assert_eq!(contains(&sent, secret), user == "password");

        let not_this = if user == "trust" { "none" } else { user.trim_end_matches("-sha-256") };
        let not_this = if user == "scram" { "scram-sha-256" } else { not_this };
        for demand in [format!("require_auth=!{not_this}"), "channel_binding=require".to_owned()] {
            let (opened, sent, _) = open(&format!("{start} {demand}")).await;
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::Authentication, "{user} {demand}");
            // After the startup message, whose length comes first, there is nothing.
            let length = u32::from_be_bytes(sent[..4].try_into().unwrap());
            assert_eq!(sent.len(), usize::try_from(length).unwrap(), "{user} {demand}");
        }
    }
}

/// The length of the key in the `BackendKeyData` among the messages that the server sent.
fn key_length(mut messages: &[u8]) -> usize {
    loop {
        let length = u32::from_be_bytes(messages[1..5].try_into().unwrap());
        let length = usize::try_from(length).unwrap();
        if messages[0] == b'K' {
            return length - 8;
        }
        messages = &messages[1 + length..];
    }
}

#[tokio::test]
async fn protocol_3_2_is_spoken_when_asked_for_and_has_long_keys() {
    let Some(server) = newer() else { return };
    let older = standing();
    let agree = older.cluster.major() >= 18;
    for (server, more, asked, key) in [
        (server, "", 0, 4),
        (server, "max_protocol_version=latest", 2, 32),
        (server, "min_protocol_version=3.2", 2, 32),
        (server, "max_protocol_version=3.0", 0, 4),
        (older, "", 0, 4),
        (older, "max_protocol_version=latest", 2, if agree { 32 } else { 4 }),
        (older, "max_protocol_version=3.0", 0, 4),
    ] {
        let conninfo = format!("{} sslmode=disable {more}", server.conninfo("trust"));
        let (opened, sent, received) = open(&conninfo).await;
        let connection = opened.unwrap();
        assert_eq!(sent[4..8], [0, 3, 0, asked], "{more}");
        assert_eq!(key_length(&received), key, "{more}");
        let rows = connection.run_query("select pg_backend_pid()", ()).await.unwrap();
        let pid: i32 = rows.first().unwrap().get(0).unwrap();
        assert_eq!(connection.backend_pid(), Some(pid));
        connection.close().await;
    }
}
