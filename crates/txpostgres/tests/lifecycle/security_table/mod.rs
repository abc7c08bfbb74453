//! Who is let in, and how: our verdict beside libpq's, cell by cell, against real servers.
//!
//! libpq is asked through the `psql` of the server's own release, with the same connection string.

mod cell;
mod deliberate;
mod edges;
mod environment;
mod keys;
mod newer;
mod server;
mod table;
mod texts;
mod wire;
