//! Reconnection: a connection that is found dead is opened again, told what the last session was
//! told, and given to recovery handlers before anything else uses it.
//!
//! ```no_run
//! # async fn example() -> txpostgres::Result<()> {
//! use std::time::Duration;
//! use txpostgres::Connection;
//!
//! let connection = Connection::builder()
//!     .reconnecting()
//!     .wait_for_recovery(Duration::from_secs(5))
//!     .build();
//! connection.connect("host=db1,db2 target_session_attrs=read-write").await?;
//! # Ok(()) }
//! ```
//!
//! [`DeadConnectionDetector`] is what decides: which errors are a death, how long to wait between
//! attempts, what is done before and after. Each of its steps can be [overridden](Overrides). It
//! works for other things than a [`Connection`](crate::Connection) as well: see [`Reconnectable`].
//!
//! See [the guide](crate::guide::reconnecting).

mod detector;
mod handlers;
mod link;
mod overrides;
mod run;
mod state;

use std::time::Duration;

use txpostgres_session::Error;

pub use detector::{CheckedError, ConnectionDead, DeadConnectionDetector, DetectorBuilder};
pub use handlers::{RecoveryHandler, RecoveryHandlerId};
pub use link::Reconnectable;
pub(crate) use link::{BoxFuture, Link};
pub use overrides::{Base, Overrides, Overriding};
pub use state::{ConnectionState, ConnectionStates};

use crate::retrying::{SimpleBackoffIterator, simple_backoff_iterator};

/// Whether this error means that the connection is dead: the default of a detector.
///
/// The end of the stream, a reset, every `FATAL` and `PANIC`, a peer that breaks the protocol and a
/// failed attempt to connect are deaths. A deadlock, a serialization failure, a time limit, a lock
/// that is not available, any other `ERROR`, and a cancel by the user are not.
///
/// ```
/// use txpostgres::reconnection::default_death_checker;
/// use txpostgres::{Error, ErrorKind};
///
/// assert!(default_death_checker(&Error::new(ErrorKind::Lost, "connection reset by peer")));
/// assert!(!default_death_checker(&Error::new(ErrorKind::Cancelled, "as asked")));
/// ```
#[doc(alias = "defaultDeathChecker")]
pub fn default_death_checker(error: &Error) -> bool {
    txpostgres_policy::is_death(error)
}

/// The delays of a detector that is given none: at once, then 1.7 s, growing by the factor 1.7 to
/// 10 s, without end, and with jitter.
///
/// ```
/// use std::time::Duration;
/// use txpostgres::reconnection::default_reconnection_iterator;
///
/// let mut delays = default_reconnection_iterator().jitter(0.0);
/// assert_eq!(delays.next(), Some(Duration::ZERO));
/// assert_eq!(delays.next(), Some(Duration::from_millis(1_700)));
/// assert_eq!(delays.nth(100), Some(Duration::from_secs(10)));
/// ```
#[doc(alias = "defaultReconnectionIterator")]
pub fn default_reconnection_iterator() -> SimpleBackoffIterator {
    simple_backoff_iterator().max_delay(Duration::from_secs(10)).factor(1.7).max_retries(None)
}

/// The delays of [`ConnectionBuilder::reconnecting`](crate::ConnectionBuilder::reconnecting): at
/// once, then growing to 200 ms, and after about a minute as
/// [`default_reconnection_iterator`] has it.
///
/// Most outages are a restart or a failover, and last seconds: then a service is back 200 ms after
/// its server. One that lasts longer is not met with five attempts a second.
///
/// ```
/// use std::time::Duration;
/// use txpostgres::reconnection::brisk_reconnection_iterator;
///
/// let delays: Vec<Duration> = brisk_reconnection_iterator().take(400).collect();
/// assert_eq!(delays[0], Duration::ZERO);
/// assert!(delays[..300].iter().all(|delay| *delay <= Duration::from_millis(200)));
/// assert_eq!(delays[399], Duration::from_secs(10));
/// ```
pub fn brisk_reconnection_iterator() -> impl Iterator<Item = Duration> + Send {
    let brisk = simple_backoff_iterator()
        .initial_delay(Duration::from_millis(30))
        .max_delay(Duration::from_millis(200))
        .factor(1.7)
        .max_retries(BRISK_ATTEMPTS);
    brisk.chain(default_reconnection_iterator().now(false))
}

/// How many attempts are made with short delays: 300, about a minute.
const BRISK_ATTEMPTS: u32 = 300;
