//! SCRAM's slow key: derived beside the event loop, and once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use txpostgres::{Connection, ErrorKind};

use super::server::{PASSWORD, Server, newer};

/// What we compute at most, and 25 times what PostgreSQL asks for by itself.
const ITERATIONS: u32 = 100_000;

/// A server that asks for as much as we give, and one more; both tests may say so.
fn slow() -> Option<&'static Server> {
    static ONCE: Once = Once::new();
    let server = newer()?;
    ONCE.call_once(|| {
        for (user, iterations) in [("slow", ITERATIONS), ("too_slow", ITERATIONS + 1)] {
            let change = change(user);
            server.cluster.sql(&format!("set scram_iterations = {iterations}; {change}")).unwrap();
        }
    });
    Some(server)
}

/// The same password with a new salt.
fn change(user: &str) -> String {
    format!("alter role {user} password '{PASSWORD}'")
}

/// By address: looking up a name would take a thread, and threads are counted here.
fn conninfo(server: &Server, user: &str) -> String {
    let port = server.cluster.port();
    format!("host=127.0.0.1 port={port} dbname=postgres user={user} password='{PASSWORD}'")
}

/// A runtime of one thread, with a count of the threads that it started beside, and of those that have ended.
fn counted() -> (Runtime, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::<[AtomicUsize; 2]>::default();
    let (started, ended) = (Arc::clone(&counts), Arc::clone(&counts));
    let runtime = Builder::new_current_thread()
        .enable_all()
        // They end at once, so that the next one is a new one.
        .thread_keep_alive(Duration::from_millis(1))
        .on_thread_start(move || {
            started[0].fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(move || {
            ended[1].fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    (runtime, counts)
}

/// How many derivations there were, each on a thread that has ended by now.
fn derivations(counts: &[AtomicUsize; 2]) -> usize {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let [started, ended] = [0, 1].map(|which| counts[which].load(Ordering::SeqCst));
        if started == ended {
            return started;
        }
        assert!(Instant::now() < patience, "a thread does not end");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_key_is_derived_once_for_each_connection() {
    let Some(server) = slow() else { return };
    let conninfo = conninfo(server, "scram");
    let (runtime, counts) = counted();
    let connection = Connection::new();
    for _ in 0..3 {
        runtime.block_on(async {
            connection.connect(&conninfo).await.unwrap();
            connection.close().await;
        });
        assert_eq!(derivations(&counts), 1);
    }
    // A wrong password is another key, and is not remembered.
    for wanted in [2, 3] {
        let wrong = conninfo.replace(PASSWORD, "wrong");
        let error = runtime.block_on(connection.connect(wrong)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(derivations(&counts), wanted);
    }
    // The right one still is; and nobody else knows it.
    runtime.block_on(connection.connect(&conninfo)).unwrap();
    assert_eq!(derivations(&counts), 3);
    runtime.block_on(Connection::open(&conninfo)).unwrap();
    assert_eq!(derivations(&counts), 4);
    // So does a new password, with its new salt.
    server.cluster.sql(&change("scram")).unwrap();
    runtime.block_on(connection.close());
    runtime.block_on(connection.connect(&conninfo)).unwrap();
    assert_eq!(derivations(&counts), 5);
}

/// How long opening a connection takes, and the longest silence of the event loop meanwhile.
async fn silence(conninfo: &str) -> (Duration, Duration) {
    let began = Instant::now();
    let connecting = Connection::open(conninfo);
    tokio::pin!(connecting);
    let (mut longest, mut last) = (Duration::ZERO, began);
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
            connection = &mut connecting => {
                connection.unwrap();
                return (began.elapsed(), longest);
            }
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
}

#[test]
fn the_event_loop_goes_on_while_a_key_is_derived() {
    let Some(server) = slow() else { return };
    let conninfo = conninfo(server, "slow");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // A machine that does something else now and then is forgiven; a derivation in the loop would be most of it, always.
    let goes_on = (0..5).any(|_| {
        let (all, longest) = runtime.block_on(silence(&conninfo));
        println!("connected in {all:?}; the longest silence of the loop was {longest:?}");
        longest < all / 4
    });
    assert!(goes_on);
}

#[tokio::test]
async fn too_many_iterations_are_refused_at_once() {
    let Some(server) = slow() else { return };
    let error = Connection::open(conninfo(server, "too_slow")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(error.to_string(), "the server asks for more than 100000 SCRAM iterations");
    assert!(error.hint().unwrap().contains("scram_iterations"));
}
