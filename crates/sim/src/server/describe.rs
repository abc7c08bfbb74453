//! Describe: what a statement takes and returns.

use super::backend::{Backend, Outcome, Refusal, malformed};
use super::run::columns_of;
use super::statement::Statement;
use crate::wire::{self, Fields, Message};

impl Backend {
    pub(super) fn describe(&mut self, message: &Message) -> Outcome {
        let mut fields = Fields(&message.body);
        let what = fields.byte().ok_or(malformed())?;
        let name = fields.text().ok_or(malformed())?;
        let (prepared, formats) = if what == b'S' {
            let missing = Refusal("26000", "no such prepared statement", "FetchPreparedStatement");
            (self.prepared.get(name).ok_or(missing)?.clone(), Vec::new())
        } else {
            let missing = Refusal("34000", "no such portal", "exec_describe_portal_message");
            let portal = self.portals.get(name).ok_or(missing)?;
            (portal.prepared.clone(), portal.formats.clone())
        };
        if what == b'S' {
            let types: &[u32] = match (&prepared.statement, prepared.statement.parameters()) {
                (_, 0) => &[],
                (Statement::Notify, _) => &[wire::TEXT, wire::TEXT],
                (_, 1) => &[wire::TEXT],
                _ => &[wire::TEXT, wire::INT8],
            };
            self.output.put(0, |out| {
                wire::put(out, b't', |out| {
                    wire::put_short(out, types.len());
                    for oid in types {
                        wire::put_long(out, *oid);
                    }
                });
            });
        }
        match self.columns(&prepared.statement, prepared.shape) {
            Some(columns) => self.output.put(0, |out| wire::put_columns(out, &columns, &formats)),
            None => self.output.put_empty(b'n'),
        }
        Ok(())
    }

    /// The columns of a statement's rows, if it returns any.
    fn columns(&self, statement: &Statement, shape: u32) -> Option<Vec<(&'static str, u32)>> {
        match statement {
            Statement::Work(work) if !work.inserts => Some(columns_of(shape)),
            Statement::Fetch { name, moves: false, .. } => {
                self.cursors.get(name).map(|_| columns_of(0))
            }
            Statement::Notify => Some(vec![("pg_notify", wire::VOID)]),
            Statement::Columns(count) => {
                let columns = [("a", wire::TEXT), ("b", wire::INT8)];
                Some(columns.into_iter().take(*count).collect())
            }
            _ => None,
        }
    }
}
