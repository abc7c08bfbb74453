//! Throw-away PostgreSQL servers to test against, and peers that misbehave on request.
//!
//! * [`shared()`]: the default server that all tests of a run share. Take a [`Database`] of your
//!   own from it.
//! * [`Cluster`]: a server for a single test, with settings, `pg_hba` lines, TLS or a major version
//!   of its own, which can be stopped, killed and frozen; [`Builder::standby_of`] makes a standby.
//! * [`Script`]: a peer that plays a dialog byte by byte, with [`backend`] for its messages.
//! * [`Pooler`]: PgBouncer or Pgpool-II between client and server, if it is installed.
//! * [`Proxy`]: a proxy between client and server that cuts, resets, stalls and delays.
//!
//! Everything here blocks and uses plain threads, so it serves tests of any kind, and it depends on
//! no other crate of this workspace. It works on Unix only.
//!
//! ```no_run
//! let database = txpostgres_testkit::shared().database()?;
//! database.sql("create table t (id int)")?;
//! println!("connect to {}", database.dsn());
//! # Ok::<(), txpostgres_testkit::SetupError>(())
//! ```

mod account;
mod address;
pub mod backend;
mod builder;
mod cluster;
mod database;
mod errand;
mod fetch;
mod install;

mod places;
mod player;
mod pooler;
mod proxy;
mod script;
mod scripted_server;
mod setup_error;
mod shared;
mod standby;
mod template;
mod tls;
mod watchdog;

pub use address::Address;
pub use builder::Builder;
pub use cluster::{Cluster, StopMode};
pub use database::Database;
pub use install::Install;
pub use pooler::{Pooler, Pooling};
pub use proxy::{Direction, Proxy};
pub use script::Script;
pub use scripted_server::{Mismatch, ScriptedServer};
pub use setup_error::SetupError;
pub use shared::{SERVER_VARIABLE, Shared, shared};
pub use tls::{ClientFiles, TlsCertificates};
