//! A function or a procedure by its name: what SQL calls it.

use std::fmt::Write as _;

use txpostgres_session::{Answer, Result, Row};

use crate::call::Call;
use crate::caller::Caller;
use crate::name::Name;

/// The routines of a name, and the modes of their arguments in order: `i`n, `o`ut, `b`oth, `v`ariadic, `t`able
/// (manual, section 53.39, `pg_proc`). Without modes all of them are `i`n.
const LOOKUP: &str = "\
select p.prokind = 'p', \
       coalesce(pg_catalog.array_to_string(p.proargmodes, ''), \
                pg_catalog.repeat('i', p.pronargs::pg_catalog.int4)), \
       p.pronargdefaults::pg_catalog.int4 \
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
where p.proname = $1::pg_catalog.text \
  and case when $2::pg_catalog.text is null then pg_catalog.pg_function_is_visible(p.oid) \
           else n.nspname = $2::pg_catalog.text end \
order by p.oid";

/// One routine of the name asked for.
struct Routine {
    is_procedure: bool,
    modes: String,
    defaults: i32,
}

impl Routine {
    fn read(row: Row<'_>) -> Result<Self> {
        let (is_procedure, modes, defaults) = row.decode()?;
        Ok(Self { is_procedure, modes, defaults })
    }

    /// Whether it can be called with so many values.
    fn takes(&self, values: usize) -> bool {
        let given = self.modes.chars().filter(|&mode| is_given(mode)).count();
        let defaults = usize::try_from(self.defaults).unwrap_or(0);
        self.modes.contains('v') && values + 1 >= given
            || (given.saturating_sub(defaults)..=given).contains(&values)
    }
}

fn is_given(mode: char) -> bool {
    matches!(mode, 'i' | 'b' | 'v')
}

/// The statement that calls the routine with so many values.
pub(crate) async fn call_of(caller: Caller, name: Name<'_>, values: usize) -> Result<String> {
    let call = Call::new(Ok(caller), LOOKUP, (name.name, name.schema));
    let rows = call.answer(Answer::take_rows).await?;
    let routines = rows.iter().map(Routine::read).collect::<Result<Vec<_>>>()?;
    let procedure = routines.iter().find(|routine| routine.is_procedure && routine.takes(values));
    let function = routines.iter().any(|routine| !routine.is_procedure && routine.takes(values));
    let mut sql = String::new();
    // If there is no such routine the server finds the words for it.
    let procedure = procedure.filter(|_| !function);
    sql.push_str(if procedure.is_some() { "call " } else { "select * from " });
    name.push_to(&mut sql)?;
    push_arguments(&mut sql, procedure.map_or("", |procedure| &procedure.modes), values);
    Ok(sql)
}

/// `($1, $2, …)`. A procedure's `out` arguments have to be there too, with NULL for a value.
fn push_arguments(sql: &mut String, modes: &str, values: usize) {
    let mut number = 0;
    let mut arguments = Vec::new();
    let mut modes = modes.chars();
    loop {
        match modes.next() {
            Some('o') => arguments.push("null".to_owned()),
            Some(_) if number == values => {}
            _ if number < values => {
                number += 1;
                arguments.push(format!("${number}"));
            }
            _ => break,
        }
    }
    let _ = write!(sql, "({})", arguments.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(modes: &str, values: usize) -> String {
        let mut sql = String::new();
        push_arguments(&mut sql, modes, values);
        sql
    }

    #[test]
    fn what_goes_out_has_its_place() {
        assert_eq!(arguments("", 0), "()");
        assert_eq!(arguments("", 2), "($1, $2)");
        assert_eq!(arguments("iob", 2), "($1, null, $2)");
        assert_eq!(arguments("oo", 0), "(null, null)");
        assert_eq!(arguments("iv", 4), "($1, $2, $3, $4)");
        // The last one has a default.
        assert_eq!(arguments("ii", 1), "($1)");
    }
}
