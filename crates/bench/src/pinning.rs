//! Client and server on one core: the wall time of a round trip then no longer depends on where the
//! kernel happens to put the two.

use crate::Failure;
use crate::target::Target;

/// Pins this process, and with it every thread and process it starts from now on.
#[cfg(target_os = "linux")]
pub(crate) fn pin_this_process() -> Result<(), Failure> {
    pin(nix::unistd::Pid::from_raw(0)).map(drop)
}

/// A server that keeps to one core until this is dropped.
#[cfg(target_os = "linux")]
pub(crate) struct PinnedServer {
    process: nix::unistd::Pid,
    before: nix::sched::CpuSet,
}

#[cfg(target_os = "linux")]
impl PinnedServer {
    /// Pins the process that listens on the socket; the backends it starts from now on inherit it.
    pub(crate) fn new(target: &Target) -> Result<PinnedServer, Failure> {
        let path = target.socket();
        let process = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?
            .block_on(async { tokio::net::UnixStream::connect(path).await?.peer_cred() })?
            .pid()
            .ok_or("the kernel does not say whose socket this is")?;
        let process = nix::unistd::Pid::from_raw(process);
        let before = pin(process).map_err(|failure| {
            format!(
                "cannot pin the server, process {process} ({failure}): \
                 run as its user or as root"
            )
        })?;
        Ok(PinnedServer { process, before })
    }
}

#[cfg(target_os = "linux")]
impl Drop for PinnedServer {
    fn drop(&mut self) {
        let _ = nix::sched::sched_setaffinity(self.process, &self.before);
    }
}

/// Leaves `process` the last of the cores that this process may use; where it was allowed before.
/// The last, because interrupts tend to go to the first.
#[cfg(target_os = "linux")]
fn pin(process: nix::unistd::Pid) -> Result<nix::sched::CpuSet, Failure> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};

    let ours = sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rfind(|&core| ours.is_set(core) == Ok(true));
    let mut one = CpuSet::new();
    one.set(last.ok_or("this process may run nowhere")?)?;
    let before = sched_getaffinity(process)?;
    sched_setaffinity(process, &one)?;
    Ok(before)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_this_process() -> Result<(), Failure> {
    Err("--pin needs Linux".into())
}

#[cfg(not(target_os = "linux"))]
pub(crate) struct PinnedServer;

#[cfg(not(target_os = "linux"))]
impl PinnedServer {
    pub(crate) fn new(_: &Target) -> Result<PinnedServer, Failure> {
        Err("--pin needs Linux".into())
    }
}
