//! Two connections and a timer in one loop around `poll(2)`: the first asks a question every 200
//! ms, the second hears what it says.
//!
//! ```sh
//! cargo run -p txpostgres-poll --example poll_loop -- "host=localhost user=postgres"
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use txpostgres_poll::{Connection, Connector, PollState, Pollable};

const TURNS: u32 = 5;
const INTERVAL: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn Error>> {
    // Files are read and names are looked up here; what follows never blocks but in `poll(2)`.
    let dsn = std::env::args().nth(1).unwrap_or_default();
    let connector = Connector::new(dsn.as_str())?;
    let mut speaker = connector.connect_start()?;
    let mut listener = connector.connect_start()?;
    let mut listens = false;
    let mut turns = 0;
    let mut tick = Instant::now();
    let mut heard = 0;
    while heard < TURNS {
        let states = [speaker.poll()?, listener.poll()?];
        for notification in listener.notifies() {
            println!("heard {}", notification.payload());
            heard += 1;
        }
        if states[1] == PollState::Ok && !listens {
            listener.send_query("listen ticks")?;
            listens = true;
            continue;
        }
        let listener_is_idle = listens && states[1] == PollState::Ok;
        if states[0] == PollState::Ok && listener_is_idle && turns < TURNS && tick <= Instant::now()
        {
            for row in &speaker.take_rows() {
                println!("answered: {}", row.get::<&str>(0)?);
            }
            turns += 1;
            tick += INTERVAL;
            speaker.execute("select pg_notify('ticks', $1)::text", (turns.to_string(),))?;
            continue;
        }
        wait(&[(&speaker, states[0]), (&listener, states[1])], tick)?;
    }
    Ok(())
}

/// Waits until one of them is to be polled, or until `tick`.
fn wait(polled: &[(&Connection, PollState)], tick: Instant) -> Result<(), Box<dyn Error>> {
    let mut descriptors = Vec::new();
    let mut until = tick;
    for (connection, state) in polled {
        // An idle connection may still be told something.
        let events = if *state == PollState::Write { PollFlags::OUT } else { PollFlags::IN };
        if let Some(fileno) = connection.fileno() {
            descriptors.push(PollFd::from_borrowed_fd(fileno, events));
        }
        until = Pollable::deadline(*connection).map_or(until, |deadline| deadline.min(until));
    }
    // After the last tick only the descriptors count.
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let limit = Timespec::try_from(left)?;
    match rustix::event::poll(&mut descriptors, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
