//! A connection of a pool that a caller has for itself.

use std::fmt;
use std::ops::Deref;

use super::permit::Permit;
use crate::connection::Connection;

/// A connection of a pool that is yours alone until you drop it: see
/// [`ConnectionPool::get`](crate::ConnectionPool::get).
///
/// It dereferences to a [`Connection`]. When it is dropped it goes back to the pool, at once if the
/// server has said that it is idle. What is still running is awaited in the background for up to a
/// second and then cancelled; a transaction that was left open is rolled back; what cannot be
/// cleaned up is closed and replaced.
///
/// A clone of the [`Connection`] that is kept beyond that uses the connection together with the
/// next caller.
#[doc(alias = "PoolConnection")]
#[doc(alias = "Object")]
pub struct PooledConnection {
    /// `None` once it was taken out.
    permit: Option<Permit>,
    connection: Connection,
}

impl PooledConnection {
    pub(super) fn new(permit: Permit) -> Self {
        let connection = permit.member.connection.clone();
        Self { permit: Some(permit), connection }
    }

    /// Takes the connection out of the pool, which may open another one in its place. It is no
    /// longer replaced when it is lost.
    pub fn detach(mut self) -> Connection {
        if let Some(permit) = self.permit.take() {
            permit.discard();
        }
        self.connection.clone()
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        super::permit::finish(&mut self.permit);
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledConnection").field(&self.connection).finish()
    }
}
