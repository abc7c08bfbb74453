//! Conversations as data, and how to hold one with a session that has no socket.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod damage;
pub mod dialog;
pub mod model;
pub mod pair;
pub mod player;
pub mod replay;
pub mod spoken;
pub mod watch;
pub mod words;
