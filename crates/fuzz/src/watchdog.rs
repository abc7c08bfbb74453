//! Ends the process when a case does not end.
//!
//! ```text
//!   begin ──▶ RUNNING(target, seed, since) ──▶ end
//!                     │ longer than LIMIT
//!                     ▼
//!                told and over
//! ```

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long a case may take; each takes milliseconds at most.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The case that runs.
static RUNNING: Mutex<Option<(&str, u64, Instant)>> = Mutex::new(None);

/// Where each case is written down before it runs.
static LOG: Mutex<Option<File>> = Mutex::new(None);

/// Watches the cases from now on. Each is noted in the file `log` before it runs, for the case that
/// takes the process with it: a stack that overflows, memory that is not there.
///
/// # Errors
///
/// The file cannot be made.
///
/// # Panics
///
/// Another thread panicked while it noted a case.
pub fn watch(log: &Path) -> std::io::Result<()> {
    *LOG.lock().unwrap() = Some(File::create(log)?);
    thread::spawn(|| {
        loop {
            thread::sleep(LIMIT / 20);
            let running = *RUNNING.lock().unwrap();
            if let Some((target, seed, since)) = running
                && since.elapsed() > LIMIT
            {
                eprintln!("fuzz: {target}: seed {seed}: it has not ended after {LIMIT:?}");
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

pub(crate) fn begin(target: &'static str, seed: u64) {
    *RUNNING.lock().unwrap() = Some((target, seed, Instant::now()));
    if let Some(log) = LOG.lock().unwrap().as_mut() {
        // Of one length, so that nothing of the last one is left.
        let noted = log.seek(SeekFrom::Start(0)).and_then(|_| writeln!(log, "{target} {seed:<20}"));
        noted.expect("the seed is noted");
    }
}

pub(crate) fn end() {
    *RUNNING.lock().unwrap() = None;
}
