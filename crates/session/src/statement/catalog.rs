//! The types that a database has beyond PostgreSQL's own, as far as this session has met them.
//!
//! An answer names types by number. What lies behind a number that PostgreSQL does not come with is
//! asked once, for all that are new in one question ([`LOOKUP`]), and remembered: enums,
//! composites, domains, ranges, multiranges, arrays, the types of extensions, and whatever these
//! are made of.
//!
//! What was remembered may be changed by DDL, and nothing tells. So code that meets a value that is
//! not what its type says raises the type's [`StaleFlag`], and the session looks everything up anew
//! when it is next asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use postgres_types::{Field, Kind, Type};

use crate::error::Result;
use crate::limits;
use crate::result::row::{Column, Format, Row, type_of};
use crate::result::rows::Rows;
use crate::result::stale_flag::StaleFlag;

/// Asks what is behind the numbers in `$1`, and behind whatever they are made of.
///
/// A recursive type is met once: `union` drops what was seen. Names and operators are qualified, so
/// that no `search_path` gives them another meaning. It needs nothing that PostgreSQL 14 does not
/// have.
pub(crate) const LOOKUP: &str = "\
with recursive needed(oid) as (
    select pg_catalog.unnest($1::pg_catalog.oid[])
  union
    select part.oid
      from needed
      join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) needed.oid
      cross join lateral (
            select t.typelem as oid
             where t.typcategory operator(pg_catalog.=) 'A'::pg_catalog.\"char\"
         union all
            select t.typbasetype
         union all
            select r.rngsubtype from pg_catalog.pg_range r
             where r.rngtypid operator(pg_catalog.=) t.oid or r.rngmultitypid operator(pg_catalog.=) t.oid
         union all
            select a.atttypid from pg_catalog.pg_attribute a
             where t.typtype operator(pg_catalog.=) 'c'::pg_catalog.\"char\"
               and a.attrelid operator(pg_catalog.=) t.typrelid
               and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
      ) part
     where part.oid operator(pg_catalog.<>) 0::pg_catalog.oid
)
select t.oid, n.nspname::pg_catalog.text, t.typname::pg_catalog.text,
       case when t.typtype operator(pg_catalog.=) 'b'::pg_catalog.\"char\"
             and t.typcategory operator(pg_catalog.=) 'A'::pg_catalog.\"char\"
             and t.typlen operator(pg_catalog.=) -1
             and t.typelem operator(pg_catalog.<>) 0::pg_catalog.oid
            then 'a'::pg_catalog.\"char\" else t.typtype end,
       t.typsend::pg_catalog.oid operator(pg_catalog.<>) 0::pg_catalog.oid,
       t.typreceive::pg_catalog.oid operator(pg_catalog.<>) 0::pg_catalog.oid,
       case t.typtype
         when 'b' then t.typelem when 'd' then t.typbasetype
         else (select r.rngsubtype from pg_catalog.pg_range r
                where r.rngtypid operator(pg_catalog.=) t.oid or r.rngmultitypid operator(pg_catalog.=) t.oid)
       end,
       array(select e.enumlabel::pg_catalog.text from pg_catalog.pg_enum e
              where e.enumtypid operator(pg_catalog.=) t.oid order by e.enumsortorder),
       array(select a.attname::pg_catalog.text from pg_catalog.pg_attribute a
              where t.typtype operator(pg_catalog.=) 'c'::pg_catalog.\"char\"
                and a.attrelid operator(pg_catalog.=) t.typrelid
                and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped order by a.attnum),
       array(select a.atttypid from pg_catalog.pg_attribute a
              where t.typtype operator(pg_catalog.=) 'c'::pg_catalog.\"char\"
                and a.attrelid operator(pg_catalog.=) t.typrelid
                and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped order by a.attnum)
  from needed
  join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) needed.oid
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) t.typnamespace
 limit 8192";

/// A type, and whether its values can be had and given in binary.
#[derive(Debug, Clone)]
struct Known {
    ty: Type,
    is_sent_in_binary: bool,
    is_received_in_binary: bool,
}

impl Known {
    /// A type that was not looked up.
    fn built_in(ty: Type) -> Self {
        let has_binary = built_in_has_binary(&ty);
        Self { ty, is_sent_in_binary: has_binary, is_received_in_binary: has_binary }
    }
}

/// What a session knows of the types that it has met.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    types: HashMap<u32, Known>,
    stale_flag: StaleFlag,
}

impl Catalog {
    /// Forgets everything; columns that are still around doubt for themselves.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The staleness flag, for holders of types that were looked up.
    pub(crate) fn stale_flag(&self) -> &StaleFlag {
        &self.stale_flag
    }

    /// Those types that are to be looked up, each once. With `anew` also those that are known; the
    /// second value says whether all are to be looked up.
    pub(crate) fn unknown<'t>(
        &self,
        types: impl IntoIterator<Item = &'t Type>,
        anew: bool,
    ) -> (Vec<u32>, bool) {
        let mut unknown = Vec::new();
        let mut seen = HashSet::new();
        for ty in types {
            let oid = ty.oid();
            if is_unresolved(ty) && seen.insert(oid) && (anew || !self.types.contains_key(&oid)) {
                unknown.push(oid);
            }
        }
        let are_all = unknown.len() == seen.len();
        (unknown, are_all)
    }

    /// Takes the answer to a [`LOOKUP`] of these numbers. If one of them is not the type that it
    /// was, those that are not in the answer are forgotten, and the statements that use them with
    /// them.
    pub(crate) fn learn(&mut self, asked: &[u32], rows: &Rows) -> Result<()> {
        let mut described = HashMap::new();
        for row in rows {
            let description = Description::read(&row)?;
            described.insert(description.oid, description);
        }
        if self.types.len() + asked.len() > limits::CATALOG_TYPES {
            self.types.clear();
        }
        let mut assembly = Assembly {
            described: &described,
            complete: HashMap::new(),
            path: Vec::new(),
            steps: limits::TYPE_STEPS,
        };
        let mut is_altered = false;
        let mut learnt = Vec::new();
        for &oid in asked.iter().take(limits::CATALOG_TYPES) {
            let (known, _) = assembly.build(oid);
            is_altered |= self.types.get(&oid).is_some_and(|before| before.ty != known.ty);
            learnt.push((oid, known));
        }
        if is_altered {
            self.stale_flag.mark_stale();
            self.forget();
        }
        self.types.extend(learnt);
        Ok(())
    }

    /// The types, as far as they are known now.
    pub(crate) fn resolve(&self, types: &mut [Type]) {
        for ty in types {
            if is_unresolved(ty)
                && let Some(known) = self.types.get(&ty.oid())
            {
                *ty = known.ty.clone();
            }
        }
    }

    /// The columns with their types, as far as they are known now.
    pub(crate) fn resolve_columns(&self, columns: Option<Arc<[Column]>>) -> Option<Arc<[Column]>> {
        let columns = columns?;
        if !columns.iter().any(|column| is_unresolved(column.type_())) {
            return Some(columns);
        }
        let resolved = columns.iter().map(|column| match self.types.get(&column.type_().oid()) {
            Some(known) => column.resolved(known.ty.clone(), self.stale_flag.clone()),
            None => column.clone(),
        });
        Some(resolved.collect())
    }

    /// The same columns in the formats to ask for: binary, or text where there is no binary. `any`:
    /// also where a value may be of any type, one of which turned out to have no binary form.
    pub(crate) fn in_best_format(
        &self,
        columns: Option<Arc<[Column]>>,
        any: bool,
    ) -> Option<Arc<[Column]>> {
        let columns = columns?;
        let best = |column: &Column| self.best_format(column, any);
        if columns.iter().all(|column| column.format() == best(column)) {
            return Some(columns);
        }
        Some(columns.iter().map(|column| column.in_format(best(column))).collect())
    }

    fn best_format(&self, column: &Column, any: bool) -> Format {
        let ty = column.type_();
        if any && may_hold_any(ty) {
            return Format::Text;
        }
        let is_sent_in_binary = match self.types.get(&ty.oid()) {
            Some(known) => known.is_sent_in_binary,
            None => built_in_has_binary(ty),
        };
        if is_sent_in_binary { Format::Binary } else { Format::Text }
    }
}

impl Catalog {
    /// Which of these parameters can be given as text only; empty if none of them. The server looks
    /// for the type's binary input also for a NULL.
    pub(crate) fn text_only(&self, parameters: &[Type]) -> Box<[bool]> {
        let is_text_only = |ty: &Type| match self.types.get(&ty.oid()) {
            Some(known) => !known.is_received_in_binary,
            None => !built_in_has_binary(ty),
        };
        if parameters.iter().any(is_text_only) {
            parameters.iter().map(is_text_only).collect()
        } else {
            Box::default()
        }
    }
}

/// Whether nothing is known of the type but its number. Every other type is in a schema.
#[inline]
pub(crate) fn is_unresolved(ty: &Type) -> bool {
    ty.schema().is_empty()
}

/// Whether only a value says of which types it is made.
fn may_hold_any(ty: &Type) -> bool {
    matches!(ty.kind(), Kind::Pseudo) || *ty == Type::RECORD_ARRAY
}

/// The types that PostgreSQL comes with have a binary form, but for those whose `typsend` and
/// `typreceive` are 0 in `pg_type.dat`.
fn built_in_has_binary(ty: &Type) -> bool {
    !matches!(*ty, Type::ACLITEM | Type::ACLITEM_ARRAY | Type::GTS_VECTOR | Type::GTS_VECTOR_ARRAY)
}

/// One row of the [`LOOKUP`].
struct Description {
    oid: u32,
    schema: String,
    name: String,
    kind: u8,
    is_sent_in_binary: bool,
    is_received_in_binary: bool,
    /// The type of its elements, its base type or that of its bounds.
    part: Option<u32>,
    labels: Vec<String>,
    fields: Vec<String>,
    field_types: Vec<u32>,
}

impl Description {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            oid: row.get(0)?,
            schema: row.get(1)?,
            name: row.get(2)?,
            kind: row.get::<i8>(3)?.cast_unsigned(),
            is_sent_in_binary: row.get(4)?,
            is_received_in_binary: row.get(5)?,
            part: row.get(6)?,
            labels: row.get(7)?,
            fields: row.get(8)?,
            field_types: row.get(9)?,
        })
    }
}

/// Types being put together from their descriptions.
struct Assembly<'a> {
    described: &'a HashMap<u32, Description>,
    /// Those that are finished and hold nothing that was cut off.
    complete: HashMap<u32, Known>,
    /// From the type that was asked for down to the one being built.
    path: Vec<u32>,
    /// How many types may still be built.
    steps: usize,
}

impl Assembly<'_> {
    /// The type, and whether something in it had to be cut off: a type that contains itself, or one
    /// nested too deep. What is cut off keeps its name, and reads as text or raw.
    fn build(&mut self, oid: u32) -> (Known, bool) {
        if let Some(ty) = Type::from_oid(oid) {
            return (Known::built_in(ty), false);
        }
        if let Some(known) = self.complete.get(&oid) {
            return (known.clone(), false);
        }
        let described = self.described;
        let Some(description) = described.get(&oid) else {
            return (Known::built_in(type_of(oid)), false);
        };
        let is_cut =
            self.path.contains(&oid) || self.path.len() >= limits::VALUE_DEPTH || self.steps == 0;
        if is_cut {
            return (description.known(Kind::Simple), true);
        }
        self.steps -= 1;
        self.path.push(oid);
        let mut parts = Parts { all_sent: true, all_received: true, is_cut: false, assembly: self };
        let mut known = description.known(parts.kind(description));
        known.is_sent_in_binary &= parts.all_sent;
        if description.kind == b'd' {
            known.is_received_in_binary &= parts.all_received;
        }
        let is_cut = parts.is_cut;
        self.path.pop();
        if !is_cut {
            self.complete.insert(oid, known.clone());
        }
        (known, is_cut)
    }
}

/// What a type is made of, and what it inherits from that.
struct Parts<'a, 'b> {
    assembly: &'a mut Assembly<'b>,
    all_sent: bool,
    all_received: bool,
    is_cut: bool,
}

impl Parts<'_, '_> {
    fn kind(&mut self, description: &Description) -> Kind {
        // The letters of `pg_type.typtype`, and `a` for arrays (manual, section 53.64).
        match (description.kind, description.part) {
            (b'a', Some(member)) => Kind::Array(self.part(member)),
            (b'd', Some(base)) => Kind::Domain(self.part(base)),
            (b'r', Some(bound)) => Kind::Range(self.part(bound)),
            (b'm', Some(bound)) => Kind::Multirange(self.part(bound)),
            (b'e', _) => Kind::Enum(description.labels.clone()),
            (b'c', _) => {
                let fields = description.fields.iter().zip(&description.field_types);
                Kind::Composite(
                    fields.map(|(name, &ty)| Field::new(name.clone(), self.part(ty))).collect(),
                )
            }
            (b'p', _) => Kind::Pseudo,
            _ => Kind::Simple,
        }
    }

    fn part(&mut self, oid: u32) -> Type {
        let (known, is_cut) = self.assembly.build(oid);
        self.all_sent &= known.is_sent_in_binary;
        self.all_received &= known.is_received_in_binary;
        self.is_cut |= is_cut;
        known.ty
    }
}

impl Description {
    /// The type as such, of this kind.
    fn known(&self, kind: Kind) -> Known {
        Known {
            ty: Type::new(self.name.clone(), self.oid, kind, self.schema.clone()),
            is_sent_in_binary: self.is_sent_in_binary,
            is_received_in_binary: self.is_received_in_binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composite(oid: u32, fields: &[u32]) -> (u32, Description) {
        let description = Description {
            oid,
            schema: "public".into(),
            name: format!("t{oid}"),
            kind: b'c',
            is_sent_in_binary: true,
            is_received_in_binary: true,
            part: None,
            labels: Vec::new(),
            fields: fields.iter().map(|oid| format!("f{oid}")).collect(),
            field_types: fields.to_vec(),
        };
        (oid, description)
    }

    fn build(described: &HashMap<u32, Description>, oid: u32) -> (Known, bool, usize) {
        let mut assembly = Assembly {
            described,
            complete: HashMap::new(),
            path: Vec::new(),
            steps: limits::TYPE_STEPS,
        };
        let (known, is_cut) = assembly.build(oid);
        (known, is_cut, limits::TYPE_STEPS - assembly.steps)
    }

    #[test]
    fn a_type_that_contains_itself_is_cut_off() {
        let described =
            HashMap::from([composite(70_001, &[23, 70_002]), composite(70_002, &[70_001])]);
        let (known, is_cut, _) = build(&described, 70_001);
        let Kind::Composite(fields) = known.ty.kind() else { panic!("{:?}", known.ty) };
        let Kind::Composite(inner) = fields[1].type_().kind() else { panic!("{fields:?}") };
        assert!(is_cut);
        assert_eq!((inner[0].type_().name(), inner[0].type_().kind()), ("t70001", &Kind::Simple));
    }

    #[test]
    fn neither_depth_nor_breadth_runs_away() {
        // Each holds the one before it twice: 2^10,000 paths if nothing were remembered, 10,000
        // levels if nothing were cut.
        let mut described: HashMap<_, _> =
            (1..10_000).map(|n| composite(70_000 + n, &[69_999 + n, 69_999 + n])).collect();
        described.extend([composite(70_000, &[23])]);
        let (_, is_cut, _) = build(&described, 79_999);
        assert!(is_cut);
        let (_, is_cut, steps) = build(&described, 70_050);
        assert_eq!((is_cut, steps), (false, 51));
        // Everything holds everything: nothing is complete, so the steps end it.
        let all: Vec<u32> = (70_000..70_040).collect();
        let described: HashMap<_, _> = all.iter().map(|&oid| composite(oid, &all)).collect();
        let (_, is_cut, steps) = build(&described, 70_000);
        assert_eq!((is_cut, steps), (true, limits::TYPE_STEPS));
    }

    #[test]
    fn what_is_made_of_text_only_comes_as_text() {
        let described =
            HashMap::from([composite(70_001, &[23, 1033]), composite(70_002, &[70_001])]);
        assert!(!build(&described, 70_002).0.is_sent_in_binary);
    }
}
