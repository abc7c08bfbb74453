//! The example of a service, started for a person who wants to try it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use txpostgres_testkit::Cluster;

use crate::run::{cargo, succeed};

const SERVICE: [&str; 2] = ["-p", "txpostgres-example-service"];

/// Runs `examples/service` on a throw-away server, until ctrl-c.
pub(crate) fn service() -> Result<(), String> {
    println!("Building the service. The first time takes a minute or two.");
    succeed(&mut cargo(["build", "--quiet"].into_iter().chain(SERVICE)))?;
    // Taken before there is anything that a signal could leave behind.
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    let handle = signals.handle();
    let cluster = Cluster::builder().start().map_err(|error| error.to_string())?;
    let mut command = cargo(["run", "--quiet"].into_iter().chain(SERVICE));
    // Not in our group: ctrl-c reaches us, and we pass it on once.
    command.process_group(0).env("DATABASE_URL", cluster.dsn()).env("LISTEN", "127.0.0.1:0");
    let mut service = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let pid = Pid::from_child(&service);
    let passing_on = thread::spawn(move || {
        for _ in &mut signals {
            kill_process(pid, Signal::TERM).ok();
        }
    });
    if let Some(address) = address(&mut service) {
        invite(&address, &cluster.dsn());
    }
    let status = service.wait();
    handle.close();
    passing_on.join().map_err(|_| "the thread panicked".to_owned())?;
    drop(cluster);
    println!("\nThe service has ended, and its server is gone, with everything in it.");
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the service: {status}")),
        Err(error) => Err(format!("the service: {error}")),
    }
}

/// Where the service listens; `None` if it has ended before.
fn address(service: &mut Child) -> Option<String> {
    let mut line = String::new();
    BufReader::new(service.stdout.take()?).read_line(&mut line).ok()?;
    Some(line.trim().strip_prefix("listening on ")?.to_owned())
}

fn invite(address: &str, dsn: &str) {
    println!(
        "\
The service listens on {address}. In another terminal:

curl -N {address}/events
curl --json '{{\"owner\":\"Ada\",\"balance\":100}}' {address}/accounts
printf 'owner,balance\\nGrace,5\\nLinus,7\\n' | curl --data-binary @- {address}/accounts.csv
curl -X PUT --json '{{\"payer\":1,\"payee\":2,\"amount\":30}}' -i {address}/transfers/first
curl {address}/accounts.csv
curl {address}/health

Its database: psql '{dsn}'
Ctrl-C ends both.
"
    );
}
