//! A caller in a queue, between the task that waits and whatever tells it.
//!
//! ```text
//!   New ──polled──▶ Since(waker) ──told──▶ Told ──polled──▶ New
//!    │                  │                    │
//!    └───── told ───────┼───────────────────▶┘
//!                       └─ leaves ──▶ Gone: what it is told after that comes back
//! ```
//!
//! Wakers are values here: they are woken and dropped outside of the lock that the caller is
//! behind.

/// See the module's text. `T` is what the caller is told, `W` a waker.
#[derive(Debug, Default)]
pub enum Waiting<T, W> {
    /// Its task has not waited yet.
    #[default]
    New,
    /// Its task waits, and is woken by this.
    Since(W),
    /// It was told something, which its task has not fetched yet.
    Told(T),
    /// It does not wait any more.
    Gone,
}

impl<T, W> Waiting<T, W> {
    /// Fetches what the caller was told; otherwise it waits with this waker. Returns also a waker
    /// that is not needed any more.
    pub fn poll(&mut self, waker: W) -> (Option<T>, Option<W>) {
        match std::mem::take(self) {
            Self::Told(told) => (Some(told), Some(waker)),
            Self::Gone => {
                *self = Self::Gone;
                (None, Some(waker))
            }
            Self::Since(before) => {
                *self = Self::Since(waker);
                (None, Some(before))
            }
            Self::New => {
                *self = Self::Since(waker);
                (None, None)
            }
        }
    }

    /// Tells the caller. Returns the waker of its task, if that waits.
    ///
    /// # Errors
    ///
    /// The caller has gone: what it should have been told comes back.
    pub fn tell(&mut self, told: T) -> Result<Option<W>, T> {
        match std::mem::replace(self, Self::Gone) {
            Self::Gone => Err(told),
            before => {
                *self = Self::Told(told);
                Ok(match before {
                    Self::Since(waker) => Some(waker),
                    _ => None,
                })
            }
        }
    }

    /// The caller does not wait any more. Returns what it was told and has not fetched, and its
    /// waker.
    pub fn leave(&mut self) -> (Option<T>, Option<W>) {
        match std::mem::replace(self, Self::Gone) {
            Self::Told(told) => (Some(told), None),
            Self::Since(waker) => (None, Some(waker)),
            Self::New | Self::Gone => (None, None),
        }
    }
}
