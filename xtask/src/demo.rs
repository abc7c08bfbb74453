//! A tour of the library for users who have just cloned the repository.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use txpostgres_testkit::{Cluster, StopMode};

use crate::run::{cargo, seconds, succeed};

const TOUR: [&str; 4] = ["-p", "txpostgres", "--example", "tour"];

/// Runs `examples/tour` on the given server, or on a throw-away one.
pub(crate) fn demo(dsn: Option<&str>) -> Result<(), String> {
    // Not a release build: from an empty target folder that takes far longer than the tour.
    println!("Building the tour. The first time takes a minute or two.");
    succeed(&mut cargo(["build", "--quiet"].into_iter().chain(TOUR)))?;
    let began = Instant::now();
    let cluster = match dsn {
        Some(_) => None,
        None => Some(Cluster::builder().start().map_err(|error| error.to_string())?),
    };
    let own = cluster.as_ref().map(|cluster| cluster.dsn());
    if let Some(cluster) = &cluster {
        let took = seconds(began.elapsed());
        println!("A throw-away PostgreSQL {} is up after {took}.\n", cluster.major());
    }
    let dsn = dsn.or(own.as_deref()).unwrap_or_default();
    // Not as an argument: `ps` shows arguments to all users, and our error message shows them too.
    let mut tour = cargo(["run", "--quiet"].into_iter().chain(TOUR));
    tour.env("TXPOSTGRES_DSN", dsn);
    let Some(cluster) = cluster else { return succeed(&mut tour) };
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    tour.env("TXPOSTGRES_TOUR_RESTART", address.to_string());
    thread::scope(|scope| {
        let restarting = scope.spawn(|| restart_when_asked(&listener, &cluster));
        let outcome = succeed(&mut tour);
        // The tour may have ended before it asked.
        drop(TcpStream::connect(address));
        outcome.and(restarting.join().map_err(|_| "the thread panicked".to_owned())?)
    })?;
    drop(cluster);
    println!("\nThe server is gone again, with everything in it.");
    Ok(())
}

/// Restarts the server once, when the tour connects here, and hangs up when it is up again.
fn restart_when_asked(listener: &TcpListener, cluster: &Cluster) -> Result<(), String> {
    let (asking, _) = listener.accept().map_err(|error| error.to_string())?;
    let restarted = cluster.restart(StopMode::Fast).map_err(|error| error.to_string());
    drop(asking);
    restarted
}
