//! Calls of functions and procedures by name: finds the overloaded routine that is meant, and
//! writes the SQL.

use std::fmt::Write as _;

use bytes::BytesMut;
use txpostgres_session::types::{Format, ToSql, Type};
use txpostgres_session::value::write;
use txpostgres_session::{Answer, Error, ErrorKind, Params, Result, Row, SqlState};

use crate::driver::{Call, Scope};
use crate::query::Identifier;

/// The routines of a name, and the modes of their arguments in order: `i`n, `o`ut, `b`oth,
/// `v`ariadic, `t`able (manual, section 53.39, `pg_proc`); without modes all arguments are `i`n.
/// Then the types of the input arguments and the element type of the variadic one, as a cast has
/// them: with a modifier of -1, since `character` without one means a single character. Last the
/// kinds of these types: `p` is polymorphic, `d` is a domain.
const LOOKUP: &str = "\
select p.prokind = 'p', \
       coalesce(pg_catalog.array_to_string(p.proargmodes, ''), \
                pg_catalog.repeat('i', p.pronargs::pg_catalog.int4)), \
       p.pronargdefaults::pg_catalog.int4, \
       array(select pg_catalog.format_type(a.oid, -1) from pg_catalog.unnest(p.proargtypes::pg_catalog.oid[] || p.provariadic) \
               with ordinality a(oid, n) order by a.n), \
       array(select coalesce((select t.typtype::pg_catalog.text from pg_catalog.pg_type t where t.oid = a.oid), '') \
               from pg_catalog.unnest(p.proargtypes::pg_catalog.oid[] || p.provariadic) \
               with ordinality a(oid, n) order by a.n) \
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
where p.proname = $1::pg_catalog.text \
  and case when $2::pg_catalog.text is null then pg_catalog.pg_function_is_visible(p.oid) \
           else n.nspname = $2::pg_catalog.text end \
order by p.oid";

/// The most candidates that an error lists.
const LISTED: usize = 20;

/// One routine of the given name.
struct Routine {
    is_procedure: bool,
    modes: String,
    defaults: i32,
    /// The input arguments. The last is an element of the variadic argument; without such an
    /// argument it has no meaning.
    arguments: Vec<Argument>,
}

/// The type of an argument.
struct Argument {
    name: String,
    /// The type is polymorphic: the server infers it from the value, and a parameter does not tell
    /// its type.
    is_open: bool,
    is_domain: bool,
}

impl Routine {
    fn read(row: Row<'_>) -> Result<Self> {
        type Columns = (bool, String, i32, Vec<String>, Vec<String>);
        let (is_procedure, modes, defaults, names, kinds): Columns = row.decode()?;
        let arguments = names.into_iter().zip(kinds).map(|(name, kind)| {
            let (is_open, is_domain) = (kind == "p", kind == "d");
            Argument { name, is_open, is_domain }
        });
        let arguments = arguments.collect();
        Ok(Self { is_procedure, modes, defaults, arguments })
    }

    fn given(&self) -> usize {
        self.modes.chars().filter(|&mode| is_given(mode)).count()
    }

    fn is_variadic(&self) -> bool {
        self.modes.contains('v')
    }

    /// Whether it can be called with this number of values.
    fn takes(&self, values: usize) -> bool {
        let given = self.given();
        let defaults = usize::try_from(self.defaults).unwrap_or(0);
        self.is_variadic() && values + 1 >= given
            || (given.saturating_sub(defaults)..=given).contains(&values)
    }

    /// The argument that this value is for.
    fn argument(&self, value: usize) -> Option<&Argument> {
        if self.is_variadic() && value + 1 >= self.given() {
            self.arguments.last()
        } else {
            self.arguments.get(value)
        }
    }

    /// Whether the argument of one of the first `values` values is polymorphic.
    fn is_open(&self, values: usize) -> bool {
        (0..values).any(|value| self.argument(value).is_none_or(|argument| argument.is_open))
    }

    fn signature(&self, name: &str) -> String {
        let given = self.given();
        let types: Vec<String> = self
            .arguments
            .iter()
            .take(given)
            .enumerate()
            .map(|(index, argument)| {
                let variadic =
                    if self.is_variadic() && index + 1 == given { "variadic " } else { "" };
                format!("{variadic}{}", argument.name)
            })
            .collect();
        format!("{name}({})", types.join(", "))
    }
}

fn is_given(mode: char) -> bool {
    matches!(mode, 'i' | 'b' | 'v')
}

/// The statement that calls a routine.
pub(crate) struct Calling<'a> {
    pub(crate) sql: String,
    name: Identifier<'a>,
    /// The signatures of all routines of the name, for hints.
    signatures: String,
}

/// Builds the statement that calls the routine of this name with these values.
pub(crate) async fn calling<'a>(
    scope: Scope,
    name: Identifier<'a>,
    params: &impl Params,
) -> Result<Calling<'a>> {
    let values = params.with(|values| values.len());
    let call = Call::new(Ok(scope.clone()), LOOKUP, (name.name, name.schema));
    let rows = call.answer(Answer::take_rows).await?;
    let routines = rows.iter().map(Routine::read).collect::<Result<Vec<_>>>()?;
    let signatures = listed(&routines, name.name);
    let mut left: Vec<&Routine> = routines.iter().filter(|routine| routine.takes(values)).collect();
    let mut casts = Vec::new();
    if left.len() > 1 && values > 0 {
        let choose = |known: &[(String, Type)]| -> Vec<&Routine> {
            let fit = |routine: &&Routine| params.with(|values| fits(routine, values, known));
            left.iter().copied().filter(fit).collect()
        };
        let mut known = known_types(scope.clone(), &left, values, false).await?;
        let mut chosen = choose(&known);
        if chosen.is_empty() && known.iter().any(|(_, ty)| Type::from_oid(ty.oid()).is_none()) {
            // Types may have been altered since they were looked up.
            known = known_types(scope, &left, values, true).await?;
            chosen = choose(&known);
        }
        if !chosen.is_empty() {
            casts = common_casts(&chosen, values, &known)?;
            left = chosen;
        } else if !left.iter().any(|routine| routine.is_open(values)) {
            let what = format!("no routine \"{}\" takes these values", name.name);
            return Err(Error::new(ErrorKind::Parameter, what).with_hint(advice(&signatures)));
        }
    }
    let function = left.iter().any(|routine| !routine.is_procedure);
    // If there is no such routine, the error is left to the server.
    let procedure = left.first().filter(|_| !function);
    let mut sql = String::new();
    sql.push_str(if procedure.is_some() { "call " } else { "select * from " });
    name.push_to(&mut sql)?;
    push_arguments(&mut sql, procedure.map_or("", |procedure| &procedure.modes), values, &casts);
    Ok(Calling { sql, name, signatures })
}

impl Calling<'_> {
    /// Adds a hint that lists the routines to an error, if the server could not decide which one is
    /// meant.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let is_undecided = match error.server() {
            // An error from within a routine has a context.
            Some(server) => {
                server.context().is_none()
                    && matches!(
                        server.code(),
                        SqlState::UNDEFINED_FUNCTION
                            | SqlState::AMBIGUOUS_FUNCTION
                            | SqlState::INDETERMINATE_DATATYPE
                            | SqlState::DATATYPE_MISMATCH
                    )
            }
            None => error.kind() == ErrorKind::Parameter,
        };
        if !is_undecided {
            error
        } else if self.signatures.is_empty() {
            self.name.explain(error)
        } else {
            error.with_hint(advice(&self.signatures))
        }
    }
}

fn listed(routines: &[Routine], name: &str) -> String {
    let listed = routines.iter().take(LISTED).map(|routine| routine.signature(name));
    let mut listed = listed.collect::<Vec<_>>().join(", ");
    if routines.len() > LISTED {
        listed.push_str(", …");
    }
    listed
}

fn advice(signatures: &str) -> String {
    format!(
        "there is {signatures}; to choose one by types, write the call with casts, such as \
         `select * from f($1::int4)`, for `execute` or `run_query`"
    )
}

/// The types of the candidates' arguments, by their names in SQL; with `anew` looked up though they
/// may be known. Polymorphic types are left out.
async fn known_types(
    scope: Scope,
    candidates: &[&Routine],
    values: usize,
    anew: bool,
) -> Result<Vec<(String, Type)>> {
    let mut names: Vec<&str> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_open(values)) {
        for argument in (0..values).filter_map(|value| candidate.argument(value)) {
            if !names.contains(&argument.name.as_str()) {
                names.push(&argument.name);
            }
        }
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // The session looks up the types of columns that are described.
    let columns: Vec<String> = names.iter().map(|name| format!("null::{name}")).collect();
    let sql = format!("select {}", columns.join(", "));
    let call = Call::new(Ok(scope), sql, ()).describing();
    let call = if anew { call.looking_up_anew() } else { call };
    let described = call.answer(Answer::take_rows).await?;
    let types = described.columns().iter().map(|column| column.type_().clone());
    Ok(names.into_iter().map(str::to_owned).zip(types).collect())
}

/// Whether each of the values can be sent as the routine's argument.
fn fits(routine: &Routine, values: &[&(dyn ToSql + Sync)], known: &[(String, Type)]) -> bool {
    let mut scratch = BytesMut::new();
    values.iter().enumerate().all(|(index, value)| {
        let Some(argument) = routine.argument(index) else {
            return false;
        };
        let Some((_, ty)) = known.iter().find(|(name, _)| *name == argument.name) else {
            return false;
        };
        scratch.clear();
        // A value that is encoded as text fits any type: the server parses it.
        matches!(value.encode_format(ty), Format::Text) || write(*value, ty, &mut scratch).is_ok()
    })
}

/// The types to which the values are cast: each type that all of these routines agree on.
fn common_casts(
    routines: &[&Routine],
    values: usize,
    known: &[(String, Type)],
) -> Result<Vec<Option<String>>> {
    let common = |value: usize| {
        let mut arguments = routines.iter().map(|routine| routine.argument(value));
        let first = arguments.next()??;
        arguments.all(|other| other.is_some_and(|other| other.name == first.name)).then_some(first)
    };
    (0..values).map(|value| common(value).map(|common| cast(common, known)).transpose()).collect()
}

/// A cast to this type. A value for a domain is encoded as the domain's base type, so it is cast to
/// that first.
fn cast(argument: &Argument, known: &[(String, Type)]) -> Result<String> {
    let base = known.iter().find(|(name, _)| *name == argument.name && argument.is_domain);
    let mut cast = String::new();
    if let Some((_, base)) = base {
        Identifier { schema: Some(base.schema()), name: base.name() }.push_to(&mut cast)?;
        cast.push_str("::");
    }
    cast.push_str(&argument.name);
    Ok(cast)
}

/// Appends `($1, $2, …)`. The `out` arguments of a procedure must be present too, with NULL as
/// value.
fn push_arguments(sql: &mut String, modes: &str, values: usize, casts: &[Option<String>]) {
    let mut number = 0;
    let mut arguments = Vec::new();
    let mut modes = modes.chars();
    loop {
        match modes.next() {
            Some('o') => arguments.push("null".to_owned()),
            Some(_) if number == values => {}
            _ if number < values => {
                let cast = casts.get(number).and_then(Option::as_deref);
                number += 1;
                arguments.push(match cast {
                    Some(cast) => format!("${number}::{cast}"),
                    None => format!("${number}"),
                });
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
        push_arguments(&mut sql, modes, values, &[Some("int4".to_owned()), None]);
        sql
    }

    #[test]
    fn out_arguments_have_their_place() {
        assert_eq!(arguments("", 0), "()");
        assert_eq!(arguments("", 2), "($1::int4, $2)");
        assert_eq!(arguments("iob", 2), "($1::int4, null, $2)");
        assert_eq!(arguments("oo", 0), "(null, null)");
        assert_eq!(arguments("iv", 4), "($1::int4, $2, $3, $4)");
        // The last one has a default.
        assert_eq!(arguments("ii", 1), "($1::int4)");
    }
}
