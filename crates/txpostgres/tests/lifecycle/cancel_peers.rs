//! Cancels of servers that are deaf, unreachable, without a key, or behind TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use txpostgres::config::{Config, Endpoint, Host};
use txpostgres::{ByteStream, Connection, Delivery, Dial, DialFuture, Error, ErrorKind, Sockets};
use txpostgres_testkit::{Cluster, Direction, Proxy, Script, TlsCertificates, backend, shared};

use crate::support::around::{Around, Wrapped};
use crate::support::{LATE, assert_works, bounded, connected, through, until_session};

const LONG: &str = "select pg_sleep(60)";
const LIMIT: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_millis(300);

fn impatient() -> Connection {
    Connection::builder().cancel_grace(GRACE).build()
}

fn assert_in_time(began: Instant, wanted: Duration) {
    let took = began.elapsed();
    assert!(took >= wanted && took < wanted + LATE, "{took:?} instead of {wanted:?}");
}

/// A server that hears nothing, neither the statement's connection nor the one for the cancel: the call is back in time, and
/// other connections do not feel it.
#[tokio::test]
async fn a_deaf_server_is_given_up_in_time() {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = impatient();
    bounded(connection.connect(through(&proxy, &database))).await.unwrap();
    let other = bounded(Connection::open(database.dsn())).await.unwrap();
    assert_works(&connection).await;
    proxy.stall(Direction::ToServer);
    proxy.stall(Direction::ToClient);

    let began = Instant::now();
    let deaf = connection.run_query(LONG, ()).timeout(LIMIT);
    let others = async {
        let (mut count, mut slowest) = (0, Duration::ZERO);
        while began.elapsed() < LIMIT + GRACE {
            let asked = Instant::now();
            other.run_query("select 1", ()).await.unwrap();
            slowest = slowest.max(asked.elapsed());
            count += 1;
        }
        (count, slowest)
    };
    let behind = async {
        tokio::time::sleep(LIMIT * 2).await;
        connection.run_query("select 1", ()).await
    };
    let (outcome, behind, (count, slowest)) =
        bounded(async { tokio::join!(deaf, behind, others) }).await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
    let text = "the time limit of 50ms passed, and the connection was given up: ";
    assert!(error.to_string().starts_with(text), "{error}");
    assert_in_time(began, LIMIT + GRACE);
    assert!(count > 20 && slowest < GRACE / 2, "{count} answers, the slowest after {slowest:?}");
    let behind = behind.unwrap_err();
    assert_eq!((behind.kind(), behind.delivery()), (ErrorKind::Lost, Delivery::NotSent));
    assert!(connection.is_closed());
}

/// The deadline of an interaction holds as well, whatever it is doing.
#[tokio::test]
async fn an_interaction_with_a_deaf_server_ends_in_time() {
    for statement in [true, false] {
        let database = shared().database().unwrap();
        let proxy = Proxy::to_port(database.server().port()).unwrap();
        let connection = impatient();
        bounded(connection.connect(through(&proxy, &database))).await.unwrap();
        let began = Instant::now();
        let outcome = bounded(connection.interaction().timeout(LIMIT * 4).run(async |cursor| {
            cursor.run_query("select 1", ()).await?;
            proxy.stall(Direction::ToServer);
            proxy.stall(Direction::ToClient);
            if statement {
                cursor.run_query(LONG, ()).await?;
            }
            // Elsewhere, or at once to COMMIT.
            Ok::<_, Error>(())
        }))
        .await;
        let error = outcome.unwrap_err();
        let wanted = if statement { ErrorKind::Timeout } else { ErrorKind::CommitUnknown };
        assert_eq!(error.kind(), wanted, "{error:?}");
        assert_in_time(began, LIMIT * 4 + GRACE);
    }
}

fn welcome_without_key() -> Vec<u8> {
    [backend::auth_ok(), backend::parameter_status("client_encoding", "UTF8"), backend::ready(b'I')]
        .concat()
}

/// Some poolers give no key. A cancel says so and the call goes on; a time limit holds all the same.
#[tokio::test]
async fn without_a_key_a_cancel_says_so() {
    let answer = [backend::command_complete("SELECT 0"), backend::ready(b'I')].concat();
    let server = Script::new()
        .expect_startup()
        .send(welcome_without_key())
        .expect_message(b'Q')
        .send_slowly(answer, 100, Duration::from_millis(100))
        .expect_message(b'Q')
        .silence(Duration::from_secs(5))
        .play()
        .unwrap();
    let connection = impatient();
    bounded(connection.connect(server.dsn())).await.unwrap();
    let mut call = connection.run_script("select 1");
    let handle = call.cancel_handle();
    let cancel = async {
        tokio::task::yield_now().await;
        connection.cancel(&handle).await
    };
    let (outcome, cancelled) = bounded(async { tokio::join!(call, cancel) }).await;
    let error = cancelled.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    let text = "the server gave no key to cancel with, so it cannot be told";
    assert_eq!(error.to_string(), text);
    outcome.unwrap();

    let began = Instant::now();
    let error = bounded(connection.run_script("select 2").timeout(LIMIT)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
    assert_in_time(began, LIMIT + GRACE);
    server.finish().unwrap();
}

/// The second connection cannot be made: nothing was sent that could hit anybody, so the connection is kept.
#[tokio::test]
async fn a_cancel_that_cannot_be_sent_leaves_the_statement() {
    let database = shared().database().unwrap();
    let proxy = Proxy::to_port(database.server().port()).unwrap();
    let connection = impatient();
    bounded(connection.connect(through(&proxy, &database))).await.unwrap();
    proxy.refuse();
    let mut call = connection.run_query("select pg_sleep(0.8)", ());
    let handle = call.cancel_handle();
    let cancel = async {
        tokio::task::yield_now().await;
        connection.cancel(&handle).await
    };
    let (outcome, cancelled) = bounded(async { tokio::join!(call, cancel) }).await;
    let error = cancelled.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("cannot connect to"), "{error}");
    outcome.unwrap();
    assert_works(&connection).await;
}

/// The cancel was sent, and the server does not hang up: it may hit anything later, so nothing is sent any more.
#[tokio::test]
async fn a_cancel_that_is_not_acknowledged_costs_the_connection() {
    let answer = [backend::command_complete("SELECT 0"), backend::ready(b'I')].concat();
    let session = Script::new()
        .welcome()
        .expect_message(b'Q')
        .send_slowly(answer, 100, Duration::from_millis(100))
        // Not one more request.
        .expect_end();
    let cancel = Script::new().expect_cancel_request().silence(Duration::from_secs(5));
    let server = txpostgres_testkit::ScriptedServer::tcp(vec![session, cancel]).unwrap();
    let connection = impatient();
    bounded(connection.connect(server.dsn())).await.unwrap();
    let began = Instant::now();
    let mut call = connection.run_script("select 1");
    let handle = call.cancel_handle();
    let cancel = async {
        tokio::task::yield_now().await;
        connection.cancel(&handle).await
    };
    let following = async {
        tokio::task::yield_now().await;
        connection.run_script("select 2").await
    };
    let (outcome, cancelled, following) =
        bounded(async { tokio::join!(call, cancel, following) }).await;
    outcome.unwrap();
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Timeout);
    assert_in_time(began, GRACE);
    let error = following.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::NotSent));
    let text = "a cancel was sent, and whether it has arrived is unknown";
    assert_eq!(error.to_string(), text);
    server.finish().unwrap();
}

// --- Where the cancel goes, and how ---

/// What was dialed, and what was written to each stream.
#[derive(Default)]
struct Record {
    endpoints: Vec<Endpoint>,
    written: Vec<Vec<u8>>,
}

/// Dials as usual, and writes down what is said.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Record>>);

impl Dial for Recorder {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint, config: &'a Config) -> DialFuture<'a> {
        Box::pin(async move {
            let stream = Sockets.dial(endpoint, config).await?;
            let mut record = self.0.lock().unwrap();
            record.endpoints.push(endpoint.clone());
            record.written.push(Vec::new());
            let number = record.written.len() - 1;
            let recorded = Recorded { stream, number, record: Arc::clone(&self.0) };
            Ok(Box::new(Wrapped(recorded)) as Box<dyn ByteStream>)
        })
    }
}

struct Recorded {
    stream: Box<dyn ByteStream>,
    number: usize,
    record: Arc<Mutex<Record>>,
}

impl Around for Recorded {
    fn inside(&mut self) -> Pin<&mut dyn ByteStream> {
        Pin::new(&mut *self.stream)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.inside().poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            let number = self.number;
            self.record.lock().unwrap().written[number].extend(&bytes[..count]);
        }
        written
    }

    fn peer(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer_address()
    }
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const CANCEL_CODE: &[u8] = b"\x04\xd2\x16\x2e";

/// Connects, cancels a statement, and gives what was dialed and written.
async fn recorded_cancel(dsn: &str) -> Record {
    let recorder = Recorder::default();
    let connection = Connection::builder().connection_factory(recorder.clone()).build();
    bounded(connection.connect(dsn)).await.unwrap();
    let error = bounded(connection.run_query(LONG, ()).timeout(LIMIT)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Answered));
    assert_works(&connection).await;
    bounded(connection.close()).await;
    std::mem::take(&mut *recorder.0.lock().unwrap())
}

fn shows_a_cancel(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == CANCEL_CODE)
}

/// With the same checks of the certificate, too: a cancel must not go to somebody else either.
#[tokio::test]
async fn the_cancel_is_encrypted_if_the_session_is() {
    let cluster = Cluster::builder().tls(TlsCertificates::good().unwrap()).start().unwrap();
    let root = cluster.root_certificate().unwrap();
    let dsn = format!("{} sslmode=verify-full sslrootcert={}", cluster.dsn(), root.display());
    let record = recorded_cancel(&dsn).await;
    assert!(record.written.len() > 1);
    for written in &record.written {
        assert!(written.starts_with(SSL_REQUEST), "it begins with {:?}", &written[..8]);
        assert!(!shows_a_cancel(&written[8..]), "the key can be read");
    }
    let plain = recorded_cancel(&format!("{} sslmode=disable", cluster.dsn())).await;
    assert!(plain.written[1..].iter().all(|written| shows_a_cancel(written)));
}

/// A name may mean another server the next time it is looked up.
#[tokio::test]
async fn the_cancel_goes_to_the_address_of_the_session() {
    let database = shared().database().unwrap();
    let record = recorded_cancel(&format!("{} host=localhost", database.dsn())).await;
    assert_eq!(record.endpoints[0].host, Host::Tcp("localhost".to_owned()));
    for endpoint in &record.endpoints[1..] {
        let Host::Addr { addr, .. } = &endpoint.host else {
            panic!("{endpoint:?} would be looked up again");
        };
        assert!(addr.is_loopback());
        assert_eq!(endpoint.port, database.server().port());
    }
}

#[tokio::test]
async fn a_unix_socket_is_cancelled_through_itself() {
    let database = shared().database().unwrap();
    let record = recorded_cancel(&database.unix_dsn()).await;
    assert_eq!(record.endpoints.first(), record.endpoints.last());
    assert!(shows_a_cancel(&record.written[1]));
}

/// Protocol 3.2 has keys of up to 256 bytes.
#[tokio::test]
async fn a_cancel_works_in_each_protocol() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    for version in ["3.0", "latest"] {
        let dsn = format!("{} max_protocol_version={version}", database.dsn());
        let _ = recorded_cancel(&dsn).await;
    }
    until_session(&database, pid, "state is distinct from 'active'").await;
}
