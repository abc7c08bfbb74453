//! Settings, from the environment.

use std::env;
use std::str::FromStr;
use std::time::Duration;

/// What can be set from outside.
pub(crate) struct Settings {
    /// `DATABASE_URL`: a URI or a connection string. Without it libpq's variables count (`PGHOST`,
    /// `PGUSER`, …).
    pub(crate) database: String,
    /// `LISTEN`: an address and a port; port 0 is any free one.
    pub(crate) listen: String,
    /// `POOL_MAX`: how many connections short requests share.
    pub(crate) pool_max: usize,
    /// `ACQUIRE_SECONDS`: how long a request waits for a connection. Less than clients and load
    /// balancers wait for an answer, so that it is this service that says why there is none.
    pub(crate) acquire: Duration,
}

impl Settings {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Ok(Self {
            database: env::var("DATABASE_URL").unwrap_or_default(),
            listen: env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned()),
            pool_max: parsed("POOL_MAX", 10)?,
            acquire: Duration::from_secs(parsed("ACQUIRE_SECONDS", 5)?),
        })
    }
}

/// The value of a variable, or the default if it is not set.
fn parsed<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    let Ok(text) = env::var(name) else { return Ok(default) };
    text.parse().map_err(|_| format!("{name} is not a number that fits: {text:?}"))
}
