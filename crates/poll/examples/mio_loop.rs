//! A connection in the event loop of mio, which is edge-triggered: the registration is renewed
//! after each poll.
//!
//! ```sh
//! cargo run -p txpostgres-poll --example mio_loop -- "host=localhost user=postgres"
//! ```

use std::error::Error;
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use txpostgres_poll::{Connection, PollState};

const CONNECTION: Token = Token(0);

/// Polls the connection whenever mio says that its descriptor is ready, until it is done.
fn finish(poll: &mut Poll, connection: &mut Connection) -> Result<(), Box<dyn Error>> {
    let mut events = Events::with_capacity(8);
    loop {
        let interest = match connection.poll()? {
            PollState::Ok => return Ok(()),
            PollState::Read => Interest::READABLE,
            PollState::Write => Interest::WRITABLE,
        };
        let fileno = connection.fileno().ok_or("the connection is closed")?.as_raw_fd();
        // While the connection is being opened the descriptor may be another one each time. A
        // new registration tells of what is ready already.
        let mut source = SourceFd(&fileno);
        poll.registry().register(&mut source, CONNECTION, interest)?;
        let left = connection.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, left)?;
        poll.registry().deregister(&mut source)?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dsn = std::env::args().nth(1).unwrap_or_default();
    let mut poll = Poll::new()?;
    let mut connection = Connection::connect_start(dsn.as_str())?;
    finish(&mut poll, &mut connection)?;
    connection.execute("select n, n * n from generate_series(1, $1::int4) n", (5,))?;
    finish(&mut poll, &mut connection)?;
    for row in &connection.take_rows() {
        println!("{} squared is {}", row.get::<i32>(0)?, row.get::<i32>(1)?);
    }
    Ok(())
}
