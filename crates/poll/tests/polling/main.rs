//! Connections that are polled: against real servers and scripted ones.
//!
//! `support` waits with `poll(2)`, and measures that no poll blocks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod any_order;
mod beside_libpq;
mod cancelling;
mod connecting;
mod endings;
mod examples;
mod statements;
mod support;
