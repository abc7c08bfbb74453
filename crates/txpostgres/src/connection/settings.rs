//! Settings of a connection's sessions, which each new session is told.

use std::fmt::Write as _;
use std::sync::Arc;

use txpostgres_session::{Result, quote_ident, quote_literal};

use super::{Connection, Handle};
use crate::driver::{Call, Scope};
#[cfg(doc)]
use crate::{Error, ErrorKind};

/// Settings.
impl Connection {
    /// Sets a run-time parameter of the server for this connection, as `SET name TO value` does,
    /// and remembers it: when the connection is opened again, by its detector or by
    /// [`connect`](Self::connect), the new session has the setting before anything else uses it. A
    /// setting that the new server refuses makes the attempt fail.
    ///
    /// A SET in SQL text is not remembered, and RESET, DISCARD ALL or another SET in SQL text do
    /// not change what is remembered. Behind a pooler in transaction mode no setting lasts.
    ///
    /// ```no_run
    /// # async fn example(connection: txpostgres::Connection) -> txpostgres::Result<()> {
    /// connection.set("search_path", "app, public").await?;
    /// connection.set("lock_timeout", "2s").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] for a parameter or a value that does not exist; and the errors of
    /// [`run_query`](Self::run_query). Nothing is remembered then.
    #[doc(alias = "set_config")]
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.run_query("select pg_catalog.set_config($1, $2, false)", (name, value)).await?;
        let mut settings = self.handle.settings.lock();
        settings.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        settings.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Sets a run-time parameter back to what it was when the session began, and forgets what was
    /// [set](Self::set).
    ///
    /// # Errors
    ///
    /// The errors of [`run_query`](Self::run_query), and [`ErrorKind::Request`] for a name that
    /// cannot be one.
    pub async fn reset(&self, name: &str) -> Result<()> {
        // A name with a dot is quoted part by part.
        let parts: Vec<String> = name.split('.').map(quote_ident).collect::<Result<_>>()?;
        self.run_script(&format!("RESET {}", parts.join("."))).await?;
        self.handle.settings.lock().retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Ok(())
    }

    /// The settings that are remembered, in the order in which they were made last.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.handle.settings.lock().clone()
    }
}

impl Handle {
    /// Makes the settings in the session of this number, in one request.
    pub(super) async fn make_settings(&self, generation: u64) -> Result<()> {
        let mut sql = String::new();
        for (name, value) in &*self.settings.lock() {
            let (name, value) = (quote_literal(name)?, quote_literal(value)?);
            sql.push_str(if sql.is_empty() { "select" } else { "," });
            let _ = write!(sql, " pg_catalog.set_config({name}, {value}, false)");
        }
        if sql.is_empty() {
            return Ok(());
        }
        let scope = Scope::Recovery(Arc::clone(&self.driver), generation);
        Call::script(Ok(scope), sql).answer(|_| ()).await
    }
}
