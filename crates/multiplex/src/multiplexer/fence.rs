//! A session whose server has lost the role that was asked for is ended at once, without a query:
//! PostgreSQL 14 and later report a change of role, and any server refuses writes with `25006`.

use txpostgres_policy::RoleVerdict;
use txpostgres_session::config::TargetSessionAttrs;
use txpostgres_session::{Error, ErrorKind, SqlState, TransactionStatus};

use super::Multiplexer;

impl Multiplexer {
    /// The server must keep the role that this setting asks for. `Any` is no demand.
    pub fn set_wanted_role(&mut self, wanted: TargetSessionAttrs) {
        self.wanted_role = wanted;
    }

    /// The server reports a parameter anew.
    #[cold]
    pub(super) fn parameter_changed(&mut self, name: &str) {
        if !matches!(name, "in_hot_standby" | "default_transaction_read_only") {
            return;
        }
        let Some(session) = &mut self.session else { return };
        let verdict = RoleVerdict::from_reported(self.wanted_role, |name| session.parameter(name));
        if let RoleVerdict::Refuse(role) = verdict {
            session.lost(lost_its_role(role));
        }
    }

    /// A request has failed with this error. A server that was to be one that can be written to,
    /// and says that it cannot, has lost its role; unless the transaction was to be read-only, or
    /// was begun by a statement, which may have asked for that.
    #[cold]
    pub(super) fn check_role(&mut self, error: &Error, status: TransactionStatus) {
        if self.wanted_role != TargetSessionAttrs::ReadWrite
            || error.sqlstate() != Some(SqlState::READ_ONLY_SQL_TRANSACTION)
        {
            return;
        }
        let is_asked_for = match &self.transaction {
            Some(transaction) => transaction.is_read_only(),
            None => status != TransactionStatus::Idle,
        };
        if let Some(session) = self.session.as_mut().filter(|_| !is_asked_for) {
            let reason = lost_its_role("read only");
            session.lost(match error.server() {
                Some(server) => reason.with_server(server.clone()),
                None => reason,
            });
        }
    }
}

fn lost_its_role(role: &str) -> Error {
    Error::new(
        ErrorKind::Lost,
        format!("the server is {role} now, and another role was asked for (target_session_attrs)"),
    )
    .of_changed_role()
}
