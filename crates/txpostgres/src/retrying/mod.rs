//! Calls that are retried after delays, until one succeeds or there is a reason to stop.
//!
//! It works for any asynchronous call with any error, not only for those of this crate.
//!
//! ```
//! use std::io;
//! use std::time::Duration;
//! use txpostgres::retrying::{RetryingCall, simple_backoff_iterator};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> io::Result<()> {
//! # let mut answers = [Err(io::ErrorKind::ConnectionRefused.into()), Ok("hello")].into_iter();
//! # let mut fetch = || std::future::ready(answers.next().unwrap());
//! let backoff = simple_backoff_iterator().max_delay(Duration::from_secs(10)).max_retries(5);
//! let page = RetryingCall::new(|| fetch())
//!     .start(backoff, |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
//!     .await?;
//! assert_eq!(page, "hello");
//! # Ok(()) }
//! ```
//!
//! See [the guide](crate::guide::retrying).

mod backoff;
mod call;
#[cfg(test)]
mod tests;
mod verdict;

#[doc(inline)]
pub use txpostgres_policy::SimpleBackoffIterator;

pub use backoff::{BackoffHandle, simple_backoff_iterator};
pub use call::RetryingCall;
pub use verdict::Verdict;
