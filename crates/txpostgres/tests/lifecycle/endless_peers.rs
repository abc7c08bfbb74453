//! Peers that talk without end: a turn of reading ends nevertheless, and other tasks of the thread
//! run.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use txpostgres::Connection;
use txpostgres_testkit::backend;

use crate::support::patience::{runtime, without_hanging};
use crate::support::polls::touch;

/// Bytes that may be read between two turns of another task: 1 MiB, sixteen reads of 64 KiB.
const TURN: u64 = 1024 * 1024;

/// Bytes of one round of tiny notices, with its number at the end.
const ROUND: usize = 16 * 1024;

/// A server that welcomes its client, waits for its first message, and sends tiny notices and the
/// number of each round of them until it is told to stop.
struct Chatterbox {
    port: u16,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Chatterbox {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 4096];
            assert!(stream.read(&mut heard).unwrap() > 0);
            stream.write_all(&backend::welcome()).unwrap();
            assert!(stream.read(&mut heard).unwrap() > 0);
            let said = talk(&mut stream, &told);
            // A client without a call closes without reading what is still on its way.
            assert!(said.is_ok() || told.load(Ordering::SeqCst), "{said:?}");
            // Until the client has hung up.
            while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
        });
        Self { port, enough, thread }
    }
}

fn talk(stream: &mut TcpStream, enough: &AtomicBool) -> std::io::Result<()> {
    let notice = backend::report_of(b'N', &[(b'M', "")]);
    let round = notice.repeat(ROUND / notice.len());
    for number in 1_u64.. {
        if enough.load(Ordering::SeqCst) {
            break;
        }
        stream.write_all(&round)?;
        stream.write_all(&backend::parameter_status("round", &number.to_string()))?;
    }
    stream.write_all(&backend::command_complete("SELECT 0"))?;
    stream.write_all(&backend::ready(b'I'))
}

/// The last round that the client has read.
fn round(connection: &Connection) -> u64 {
    connection.parameter("round").map_or(0, |number| number.parse().unwrap())
}

/// Lets the tasks have their turn that are ready now; `yield_now` would wait for more than that.
async fn behind_the_others() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The most bytes that were read between two turns of this task: until there are too many, or in
/// twelve turns.
async fn longest_turn(connection: &Connection) -> u64 {
    let (mut longest, mut turns) = (0, 0);
    let mut before = round(connection);
    while turns < 12 && longest <= TURN {
        behind_the_others().await;
        let now = round(connection);
        if now > before {
            longest = longest.max((now - before) * ROUND as u64);
            turns += 1;
        }
        before = now;
    }
    longest
}

/// Reads beside a task that looks on, on one thread: `waits` says whether a call waits meanwhile.
fn read_without_end(waits: bool) {
    let longest = without_hanging(Duration::from_secs(60), move |_| {
        runtime(0).block_on(async {
            let server = Chatterbox::start();
            let dsn = format!("host=127.0.0.1 port={} user=me sslmode=disable", server.port);
            let connection = Connection::open(dsn).await.unwrap();
            let asking = connection.clone();
            let mut call = Box::pin(async move { asking.run_script("talk").await });
            let waiting = if waits {
                tokio::spawn(call)
            } else {
                // Sent and dropped: only the connection itself reads.
                assert!(touch(call.as_mut()).is_pending());
                drop(call);
                tokio::spawn(std::future::ready(Ok(Vec::new())))
            };
            let looking = connection.clone();
            let longest = tokio::spawn(async move { longest_turn(&looking).await }).await.unwrap();
            server.enough.store(true, Ordering::SeqCst);
            waiting.await.unwrap().unwrap();
            connection.close().await;
            server.thread.join().unwrap();
            longest
        })
    });
    assert!(longest <= TURN, "{longest} bytes were read in one turn");
}

#[test]
fn a_call_that_waits_lets_other_tasks_run_while_a_peer_talks_without_end() {
    read_without_end(true);
}

#[test]
fn a_connection_without_a_call_lets_other_tasks_run_while_a_peer_talks_without_end() {
    read_without_end(false);
}
