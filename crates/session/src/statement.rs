//! Prepared statements, and which of them the server still knows.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock, Weak};

use lru::LruCache;
use postgres_types::Type;

use crate::catalog::{Doubt, is_unresolved};
use crate::encode::{ALL_BINARY, Binding, bind_head, result_formats};
use crate::limits;
use crate::row::{Column, Format};

/// A statement as the server described it.
#[derive(Debug)]
pub struct Statement {
    name: String,
    sql: Arc<str>,
    parameters: Vec<Type>,
    columns: Option<Arc<[Column]>>,
    /// The same columns, all of them in text; made when first asked for.
    text_columns: OnceLock<Option<Arc<[Column]>>>,
    bind_head: Vec<u8>,
    /// Which parameters can be given as text only; empty if none of them.
    text_only: Box<[bool]>,
    /// How each `Bind` of it ends, unless all columns come in binary.
    result_formats: Option<Vec<u8>>,
    /// Of the types that were looked up for it.
    doubt: Option<Doubt>,
}

impl Statement {
    /// `columns` are in the format to ask for.
    pub(crate) fn new(
        name: String,
        sql: Arc<str>,
        parameters: Vec<Type>,
        columns: Option<Arc<[Column]>>,
    ) -> Self {
        // The server has counted them in 16 bits.
        let bind_head = bind_head(&name, parameters.len()).unwrap_or_default();
        let result_formats = columns
            .as_deref()
            .filter(|columns| columns.iter().any(|column| column.format() == Format::Text))
            .map(result_formats);
        Self {
            name,
            sql,
            parameters,
            columns,
            text_columns: OnceLock::new(),
            bind_head,
            text_only: Box::default(),
            result_formats,
            doubt: None,
        }
    }

    /// The same statement, to be described anew when the types that it uses are in doubt.
    #[must_use]
    pub(crate) fn with_doubt(mut self, doubt: &Doubt) -> Self {
        let columns = self.columns().iter().map(Column::type_);
        let uses_others = self.parameters.iter().chain(columns).any(is_of_the_database);
        self.doubt = uses_others.then(|| doubt.clone());
        self
    }

    /// Whether a value was met that is not what its type is taken for.
    #[inline]
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.as_ref().is_some_and(Doubt::is_raised)
    }

    /// Its types are not what the server takes them for.
    pub(crate) fn raise_doubt(&self) {
        if let Some(doubt) = &self.doubt {
            doubt.raise();
        }
    }

    /// How each `Bind` of it ends: the formats of its columns.
    #[inline]
    pub(crate) fn result_formats(&self) -> &[u8] {
        self.result_formats.as_deref().unwrap_or(ALL_BINARY)
    }

    pub(crate) fn text_columns(&self) -> Option<Arc<[Column]>> {
        let in_text = || {
            let columns = self.columns.as_ref()?;
            Some(columns.iter().map(|column| column.in_format(Format::Text)).collect())
        };
        self.text_columns.get_or_init(in_text).clone()
    }

    /// The same statement, some of whose parameters can be given as text only.
    #[must_use]
    pub(crate) fn with_text_only(mut self, text_only: Box<[bool]>) -> Self {
        self.text_only = text_only;
        self
    }

    /// What all `Bind`s of it have in common.
    #[inline]
    pub(crate) fn binding(&self) -> Binding<'_> {
        Binding {
            head: &self.bind_head,
            types: &self.parameters,
            text_only: &self.text_only,
            results: self.result_formats(),
        }
    }

    /// Its name on the server; empty when it is sent anew with each call.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The types of its parameters.
    pub fn parameters(&self) -> &[Type] {
        &self.parameters
    }

    /// The columns of its rows; empty if it returns none.
    pub fn columns(&self) -> &[Column] {
        self.columns.as_deref().unwrap_or(&[])
    }

    pub(crate) fn shared_columns(&self) -> Option<Arc<[Column]>> {
        self.columns.clone()
    }
}

/// Whether the type is one that had to be looked up.
fn is_of_the_database(ty: &Type) -> bool {
    !is_unresolved(ty) && Type::from_oid(ty.oid()).is_none()
}

/// What a session knows of the statements it has seen: the least recently used one is forgotten first.
///
/// With room for some, they are kept prepared on the server under names of ours. With room for none (for poolers that
/// give each transaction another server) nothing is kept there; only the types of their parameters are remembered here.
#[derive(Debug)]
pub(crate) struct StatementCache {
    known: LruCache<Arc<str>, Arc<Statement>>,
    /// The one that was used last, found without hashing.
    last: Option<Arc<Statement>>,
    keeps_names: bool,
    tag: u64,
    names_given: u64,
    to_close: Vec<Forgotten>,
}

/// A name on the server that nobody will ask for again.
#[derive(Debug)]
struct Forgotten {
    name: String,
    /// Its statement, as long as a query is on its way to run it.
    statement: Weak<Statement>,
}

impl Forgotten {
    fn may_be_closed(&self) -> bool {
        self.statement.strong_count() == 0
    }
}

impl StatementCache {
    /// `tag` makes the names of this session unlike those of others: behind a pooler a server may hold statements of
    /// both, and to run somebody else's must not be possible.
    pub(crate) fn new(capacity: usize, tag: u64) -> Self {
        let room = NonZeroUsize::new(capacity)
            .or(NonZeroUsize::new(limits::STATEMENT_CACHE))
            .unwrap_or(NonZeroUsize::MIN);
        Self {
            known: LruCache::new(room),
            last: None,
            tag,
            keeps_names: capacity > 0,
            names_given: 0,
            to_close: Vec::new(),
        }
    }

    /// Lends out what is known of a statement; give it back by [`give_back`](Self::give_back), so that it is found at once
    /// when it comes again.
    #[inline]
    pub(crate) fn lend(&mut self, sql: &str) -> Option<Arc<Statement>> {
        match self.last.take() {
            Some(last) if *last.sql == *sql => Some(last),
            _ => self.known.get(sql).cloned(),
        }
    }

    /// Whether a statement is known, and as it is now.
    pub(crate) fn knows(&mut self, sql: &str) -> bool {
        self.known.peek(sql).is_some_and(|statement| !statement.is_in_doubt())
    }

    /// Takes back what was lent out.
    #[inline]
    pub(crate) fn give_back(&mut self, statement: Arc<Statement>) {
        self.last = Some(statement);
    }

    #[cfg(test)]
    fn get(&mut self, sql: &str) -> Option<Arc<Statement>> {
        self.lend(sql)
    }

    /// A name for a statement that is worth keeping on the server, else the empty one.
    pub(crate) fn name_for(&mut self, sql: &str) -> String {
        if !self.keeps_names || !is_worth_keeping(sql) {
            return String::new();
        }
        self.names_given += 1;
        // Of one length whatever the tag is, so that what a session sends is too.
        format!("txpg_{:016x}_{}", self.tag, self.names_given)
    }

    /// Remembers a statement, if it can be of use again.
    pub(crate) fn insert(&mut self, statement: Arc<Statement>) {
        if !is_worth_keeping(&statement.sql) {
            return;
        }
        self.last = None;
        if let Some((_, forgotten)) = self.known.push(Arc::clone(&statement.sql), statement) {
            self.close(&forgotten);
        }
    }

    /// Forgets this statement; the server no longer has it, or has another idea of it.
    pub(crate) fn forget(&mut self, sql: &str) {
        self.last = None;
        if let Some(forgotten) = self.known.pop(sql) {
            self.close(&forgotten);
        }
    }

    /// What this statement's types were taken for is not so.
    pub(crate) fn doubt(&self, sql: &str) {
        if let Some(statement) = self.known.peek(sql) {
            statement.raise_doubt();
        }
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&mut self) {
        self.last = None;
        while let Some((_, forgotten)) = self.known.pop_lru() {
            self.close(&forgotten);
        }
    }

    /// The server may have a statement of this name that nobody will ask for again. Closing one that does not exist is
    /// no error (manual, section 54.2.3).
    pub(crate) fn discard(&mut self, name: &str) {
        if !name.is_empty() {
            self.to_close.push(Forgotten { name: name.to_owned(), statement: Weak::new() });
        }
    }

    /// The same, once no query holds the statement any more: one that was described in a first flight is yet to be run
    /// in a second one.
    pub(crate) fn close(&mut self, statement: &Arc<Statement>) {
        if !statement.name.is_empty() {
            let name = statement.name.clone();
            self.to_close.push(Forgotten { name, statement: Arc::downgrade(statement) });
        }
    }

    /// Up to `limit` names to close with the next request.
    pub(crate) fn names_to_close(&self, limit: u8) -> impl Iterator<Item = &str> {
        let free = self.to_close.iter().filter(|forgotten| forgotten.may_be_closed());
        free.take(limit.into()).map(|forgotten| forgotten.name.as_str())
    }

    /// The first `count` of them have been told to the server.
    pub(crate) fn closed(&mut self, mut count: u8) {
        if count == 0 {
            return;
        }
        self.to_close.retain(|forgotten| {
            let told = count > 0 && forgotten.may_be_closed();
            count -= u8::from(told);
            !told
        });
    }
}

/// Whether a statement will plausibly come again and gains by being prepared: those that the planner plans. The others
/// (DDL, SET, BEGIN …) are sent unnamed, and long texts are mostly made by a program.
pub(crate) fn is_worth_keeping(sql: &str) -> bool {
    if sql.len() > limits::CACHED_STATEMENT_BYTES {
        return false;
    }
    let word = first_word(sql);
    ["select", "insert", "update", "delete", "merge", "with", "values", "table"]
        .iter()
        .any(|planned| word.eq_ignore_ascii_case(planned))
}

/// Whether a statement is a COPY, whose data would be taken for other requests, or these for its data.
pub(crate) fn is_copy(sql: &str) -> bool {
    first_word(sql).eq_ignore_ascii_case("copy")
}

/// The word that a statement begins with, behind comments (manual, section 4.1.5) and parentheses.
fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = after_comment(comment);
        } else {
            return sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        }
    }
}

/// What follows a comment whose beginning was read; others may lie in it.
fn after_comment(mut sql: &str) -> &str {
    let mut open = 1_usize;
    while open > 0 {
        let Some(at) = sql.find(['*', '/']) else {
            return "";
        };
        let rest = sql.get(at..).unwrap_or_default();
        (open, sql) = match rest.get(..2) {
            Some("/*") => (open + 1, rest.get(2..).unwrap_or_default()),
            Some("*/") => (open - 1, rest.get(2..).unwrap_or_default()),
            _ => (open, rest.get(1..).unwrap_or_default()),
        };
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(cache: &mut StatementCache, sql: &str) -> Arc<Statement> {
        let name = cache.name_for(sql);
        Arc::new(Statement::new(name, sql.into(), Vec::new(), None))
    }

    #[test]
    fn the_least_recently_used_goes_first_and_is_closed() {
        let mut cache = StatementCache::new(2, 0xab);
        for sql in ["select 1", "select 2"] {
            let statement = statement(&mut cache, sql);
            cache.insert(statement);
        }
        assert!(cache.get("select 1").is_some());
        let third = statement(&mut cache, "select 3");
        cache.insert(third);
        assert!(cache.get("select 2").is_none());
        assert!(cache.get("select 1").is_some());
        assert_eq!(cache.names_to_close(8).collect::<Vec<_>>(), ["txpg_00000000000000ab_2"]);
        cache.closed(1);
        cache.forget_all();
        assert_eq!(cache.names_to_close(8).count(), 2);
    }

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        for sql in [
            "COPY t from stdin",
            " \n\t copy t to stdout",
            "-- a comment\ncopy(select 1) to stdout",
            "--\r--\n-- x\n/* a /* nested */ one, 1 * 2 / 3 */copy t from stdin",
            "/**/copy",
            "/* ö *//*/**/*/ copy",
        ] {
            assert!(is_copy(sql), "{sql}");
        }
        for sql in [
            "",
            "copying",
            "select copy",
            "-- copy",
            "/* copy",
            "/* */",
            "/* /* */ copy",
            "\"copy\"",
            "/ copy",
            "ö",
        ] {
            assert!(!is_copy(sql), "{sql}");
        }
    }

    #[test]
    fn what_a_query_holds_is_not_closed() {
        let mut cache = StatementCache::new(1, 0xab);
        let held = statement(&mut cache, "select 1");
        cache.insert(Arc::clone(&held));
        for sql in ["select 2", "select 3"] {
            let statement = statement(&mut cache, sql);
            cache.insert(statement);
        }
        assert_eq!(cache.names_to_close(8).collect::<Vec<_>>(), ["txpg_00000000000000ab_2"]);
        drop(held);
        assert_eq!(
            cache.names_to_close(8).collect::<Vec<_>>(),
            ["txpg_00000000000000ab_1", "txpg_00000000000000ab_2"]
        );
        cache.closed(1);
        assert_eq!(cache.names_to_close(8).collect::<Vec<_>>(), ["txpg_00000000000000ab_2"]);
    }

    #[test]
    fn without_room_nothing_is_named() {
        let mut cache = StatementCache::new(0, 0xab);
        let first = statement(&mut cache, "select 1");
        assert_eq!(first.name(), "");
        cache.insert(first);
        assert!(cache.get("select 1").is_some());
        cache.forget_all();
        assert_eq!(cache.names_to_close(8).count(), 0);
    }

    #[test]
    fn keeps_what_is_planned() {
        for sql in [
            "SELECT 1",
            " \n(select 1)",
            "with x as (select 1) table x",
            "Insert into t",
            "-- name: GetPerson\n((select 1))",
        ] {
            assert!(is_worth_keeping(sql), "{sql}");
        }
        for sql in [
            "",
            "begin",
            "create table selects ()",
            "selection",
            "-- select\nset a = 1",
            "set a = 1",
        ] {
            assert!(!is_worth_keeping(sql), "{sql}");
        }
        assert!(!is_worth_keeping(&format!("select '{}'", "x".repeat(20_000))));
    }
}
