//! Cursors: of an interaction, and those that live in the server.

mod executed;
mod named;
mod named_drops;
mod named_moves;
mod named_names;
