//! A limit for what must not hang: it fails with a message, also when a thread is blocked for good. And runtimes to hang in.

use std::fmt::Write;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// What is being tried, for the message.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<String>>);

impl Progress {
    pub(crate) fn now(&self, what: std::fmt::Arguments<'_>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clear();
        text.write_fmt(what).ok();
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `deed` on a thread of its own, which makes progress at least this often.
pub(crate) fn without_hanging<T: Send + 'static>(
    limit: Duration,
    deed: impl FnOnce(&Progress) -> T + Send + 'static,
) -> T {
    let progress = Progress::default();
    let (told, done) = (progress.clone(), channel());
    let deed = thread::spawn(move || {
        let output = deed(&told);
        done.0.send(()).ok();
        output
    });
    let mut last = progress.text();
    loop {
        match done.1.recv_timeout(limit) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let now = progress.text();
                assert!(now != last, "nothing has moved for {limit:?}: {now}");
                last = now;
            }
        }
    }
    deed.join().unwrap_or_else(|panic| {
        eprintln!("while trying: {}", progress.text());
        resume_unwind(panic)
    })
}

/// A runtime: with no worker threads everything happens on the caller's.
pub(crate) fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build().unwrap()
}
