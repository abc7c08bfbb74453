//! A database that belongs to one test.

use crate::address::Address;
use crate::setup_error::SetupError;

/// A new database on a server. When this value is dropped, so is the database; connections to it
/// are ended.
#[derive(Debug)]
pub struct Database {
    address: Address,
    name: String,
}

impl Database {
    pub(crate) fn create(address: Address, name: String) -> Result<Self, SetupError> {
        address.sql(&format!("CREATE DATABASE {name}"))?;
        Ok(Self { address, name })
    }

    /// The name of the database, which needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server it is on.
    pub fn server(&self) -> &Address {
        &self.address
    }

    /// A connection string for TCP, as the superuser.
    pub fn dsn(&self) -> String {
        self.address.dsn_of(self.address.host(), self.address.user(), &self.name)
    }

    /// A connection string for the Unix socket, as the superuser.
    pub fn unix_dsn(&self) -> String {
        let folder = self.address.socket_dir().to_string_lossy();
        self.address.dsn_of(&folder, self.address.user(), &self.name)
    }

    /// Runs statements here; see [`Address::sql`].
    pub fn sql(&self, sql: &str) -> Result<String, SetupError> {
        self.address.sql_in(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may be gone, and the database with it.
        self.address.sql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).ok();
    }
}
