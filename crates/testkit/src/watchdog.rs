//! Ensures that a cluster does not outlive the processes that use it, however they end.
//!
//! A shell waits for the end of a pipe whose other end we hold. The system closes our end when we
//! end, be it by returning, by a panic, by `abort` or by `SIGKILL`; then the shell stops the server
//! and removes the folder. An alternative that was rejected: `PR_SET_PDEATHSIG` needs `unsafe`,
//! works on Linux only, is tied to the thread that spawned the server instead of the process, and
//! would not remove the folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::fetch::run;
use crate::setup_error::{Doing, SetupError};

const SCRIPT: &str = include_str!("watchdog.sh");

/// How long an unused shared cluster is kept: longer than cargo needs from one test binary to the
/// next.
const LINGER_SECONDS: &str = "5";

#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    /// The end of the pipe whose closing the watchdog waits for; none when the cluster is shared.
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Watches a cluster that is needed as long as the returned value lives.
    pub(crate) fn of_private(base: &Path, account: Account) -> Result<Self, SetupError> {
        let mut shell = spawn(base, account, Stdio::piped())?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Watches a cluster that is needed as long as any process has [joined](join).
    pub(crate) fn of_shared(base: &Path, account: Account) -> Result<(Self, Joined), SetupError> {
        run(account.command("mkfifo", base).args(["-m", "600"]).arg(base.join("alive")))?;
        let mut shell = spawn(base, account, Stdio::null())?;
        let patience = Instant::now() + Duration::from_secs(5);
        loop {
            // The pipe cannot be opened before the shell reads from it.
            if let Some(joined) = join(base) {
                return Ok((Self { shell, pipe: None }, joined));
            }
            if Instant::now() > patience {
                shell.kill().ok();
                return Err(SetupError::new("the watchdog of the shared server did not start"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Releases the cluster, and waits until its folder is removed.
    pub(crate) fn release(mut self) {
        drop(self.pipe.take());
        self.shell.wait().ok();
    }
}

/// A share in a cluster: the cluster lives as long as it does.
#[derive(Debug)]
pub(crate) struct Joined {
    _pipe: File,
}

/// Takes a share in the cluster of this folder, if there is one. Read its address *after* joining:
/// the watchdog removes the address before it looks for new shares a last time, so one of the two
/// always sees the other.
pub(crate) fn join(base: &Path) -> Option<Joined> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let mut pipe =
        OpenOptions::new().write(true).custom_flags(nonblocking).open(base.join("alive")).ok()?;
    pipe.write_all(b".").ok()?;
    Some(Joined { _pipe: pipe })
}

fn spawn(base: &Path, account: Account, stdin: Stdio) -> Result<Child, SetupError> {
    account
        .command("/bin/sh", Path::new("/"))
        .args(["-c", SCRIPT, "txpostgres-testkit-watchdog"])
        .arg(base)
        .arg(LINGER_SECONDS)
        .stdin(stdin)
        // If these stayed open, a test runner would wait for the watchdog.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C in the terminal must end the tests only; the watchdog notices their end through
        // the pipe.
        .process_group(0)
        .spawn()
        .doing(|| "cannot run /bin/sh".to_owned())
}
