//! The protocol's messages: their bytes in both directions, and which one may come when.

pub(crate) mod encode;
pub(crate) mod expect;
pub(crate) mod phase;
pub(crate) mod startup;
pub(crate) mod wire;
