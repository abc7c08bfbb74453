//! A secret that does not print itself.

use std::fmt;
use std::sync::Arc;

/// A password: bytes, mostly text. Its `Debug` shows nothing of it, not even its length.
///
/// ```
/// use txpostgres_session::config::Password;
///
/// let password = Password::from("hunter2");
/// assert_eq!(format!("{password:?}"), "Password(..)");
/// assert_eq!(password.as_bytes(), b"hunter2");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it. PostgreSQL has no empty passwords: it is as none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: AsRef<[u8]>> From<T> for Password {
    fn from(secret: T) -> Self {
        Self(secret.as_ref().into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
