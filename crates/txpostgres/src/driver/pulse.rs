//! Ticks for a task that looks at something now and then, at no cost between two of them.
//!
//! A timer of Tokio costs each query of a program that has no other timer some 200 instructions:
//! while any is registered, the runtime reads the clock and looks at its timers whenever it goes to
//! sleep. A thread that keeps the time costs nearly as much: the C library's system calls take
//! another way in a process with two threads. Linux has a timer that is a file (timerfd_create(2)),
//! which is one more descriptor that the runtime waits for anyway. Elsewhere it is Tokio's timer.

use std::time::Duration;

/// See the file's text.
pub(crate) struct Pulse {
    #[cfg(target_os = "linux")]
    timer: Option<linux::Timer>,
    interval: Duration,
}

impl Pulse {
    /// Ticks after this time, and again each time that it has passed. A program that was stopped
    /// for longer gets one tick for all of it.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            // Without a descriptor left, Tokio's timer does.
            #[cfg(target_os = "linux")]
            timer: linux::Timer::new(interval).ok(),
            interval,
        }
    }

    /// Waits for the next tick.
    pub(crate) async fn tick(&self) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && timer.tick().await.is_ok()
        {
            return;
        }
        tokio::time::sleep(self.interval).await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// For Tokio it is the end of a pipe that is read, which it is used like. (Its `AsyncFd`, which
    /// is for descriptors of any kind, needs unsafe code.)
    pub(super) struct Timer(Receiver);

    impl Timer {
        pub(super) fn new(interval: Duration) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            // Zero would disarm it.
            let interval = interval.max(Duration::from_millis(1));
            let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
            let spec = Itimerspec { it_interval: interval, it_value: interval };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
            Ok(Self(Receiver::from_owned_fd_unchecked(timer)?))
        }

        pub(super) async fn tick(&self) -> io::Result<()> {
            // How often it has ticked since the last time, as a number of eight bytes.
            let mut ticks = [0; 8];
            loop {
                self.0.readable().await?;
                match self.0.try_read(&mut ticks) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read.map(drop),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_ticks_in_time_and_makes_up_for_nothing() {
        let (began, interval) = (Instant::now(), Duration::from_millis(40));
        let pulse = Pulse::new(interval);
        pulse.tick().await;
        pulse.tick().await;
        assert!(began.elapsed() > Duration::from_millis(78));
        std::thread::sleep(interval * 3);
        let began = Instant::now();
        pulse.tick().await;
        pulse.tick().await;
        assert!(began.elapsed() > Duration::from_millis(1), "one tick for all that has passed");
    }
}
