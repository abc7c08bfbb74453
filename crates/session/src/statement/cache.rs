//! Which statements the server still knows: the least recently used one is evicted first.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use lru::LruCache;

use super::Statement;
use super::text::is_worth_keeping;
use crate::error::NAME_PREFIX;
use crate::limits;
use crate::request::Ticket;

/// What a session knows of the statements it has seen: the least recently used one is evicted
/// first.
///
/// With room for some, they are kept prepared on the server under names of ours. With room for none
/// (for poolers that give each transaction another server) nothing is kept there; only the types of
/// their parameters are remembered here.
#[derive(Debug)]
pub(crate) struct StatementCache {
    known: LruCache<Arc<str>, Arc<Statement>>,
    /// The one that was used last, found without hashing.
    last: Option<Arc<Statement>>,
    keeps_names: bool,
    tag: u64,
    names_given: u64,
    to_close: Vec<Evicted>,
    /// No request before this one has prepared a statement that the server still has.
    dropped_by: Option<Ticket>,
}

/// The name of a prepared statement that will not be used again.
#[derive(Debug)]
struct Evicted {
    name: String,
    /// Its statement, as long as a query is on its way to run it.
    statement: Weak<Statement>,
}

impl Evicted {
    fn may_be_closed(&self) -> bool {
        self.statement.strong_count() == 0
    }
}

impl StatementCache {
    /// `tag` makes the names of this session unlike those of others: behind a pooler a server may
    /// hold statements of several sessions, and one must not run another's.
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
            dropped_by: None,
        }
    }

    /// What is known of a statement; checked in again by [`check_in`](Self::check_in) it is found
    /// at once when it comes again.
    #[inline]
    pub(crate) fn check_out(&mut self, sql: &str) -> Option<Arc<Statement>> {
        match self.last.take() {
            Some(last) if *last.sql == *sql => Some(last),
            _ => self.known.get(sql).cloned(),
        }
    }

    /// Whether the server keeps statements under names of ours.
    #[inline]
    pub(crate) fn keeps_names(&self) -> bool {
        self.keeps_names
    }

    /// A statement that is known as it is now, to look at.
    pub(crate) fn known(&self, sql: &str) -> Option<&Statement> {
        self.known
            .peek(sql)
            .map(|statement| &**statement)
            .filter(|statement| statement.is_current())
    }

    /// Takes back what was checked out, if it is still in the cache.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn check_in(&mut self, statement: Arc<Statement>) {
        if statement.is_cached.load(Ordering::Relaxed) {
            self.last = Some(statement);
        }
    }

    #[cfg(test)]
    fn get(&mut self, sql: &str) -> Option<Arc<Statement>> {
        self.check_out(sql)
    }

    /// A name for a statement that is worth keeping on the server, else the empty one.
    pub(crate) fn name_for(&mut self, sql: &str) -> String {
        if !self.keeps_names || !is_worth_keeping(sql) {
            return String::new();
        }
        self.names_given += 1;
        // Of one length whatever the tag is, so that what a session sends is too.
        format!("{NAME_PREFIX}{:016x}_{}", self.tag, self.names_given)
    }

    /// Remembers a statement, if it can be of use again.
    pub(crate) fn insert(&mut self, statement: Arc<Statement>) {
        let is_nameless = self.keeps_names && statement.name.is_empty();
        if is_nameless || !is_worth_keeping(&statement.sql) {
            return;
        }
        self.last = None;
        statement.is_cached.store(true, Ordering::Relaxed);
        if let Some((_, evicted)) = self.known.push(Arc::clone(&statement.sql), statement) {
            self.close(&evicted);
        }
    }

    /// Forgets this statement; the server no longer has it, or has another idea of it.
    pub(crate) fn forget(&mut self, sql: &str) {
        self.last = None;
        if let Some(forgotten) = self.known.pop(sql) {
            forgotten.is_forgotten.store(true, Ordering::Relaxed);
            self.close(&forgotten);
        }
    }

    /// What this statement's types were taken for is not so.
    pub(crate) fn mark_stale(&self, sql: &str) {
        if let Some(statement) = self.known.peek(sql) {
            statement.mark_stale();
        }
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&mut self) {
        self.last = None;
        while let Some((_, forgotten)) = self.known.pop_lru() {
            forgotten.is_forgotten.store(true, Ordering::Relaxed);
            self.close(&forgotten);
        }
    }

    /// The server has dropped all prepared statements, by this request or before it. They are not
    /// closed; what an earlier request had prepared is not remembered any more.
    pub(crate) fn dropped_by(&mut self, ticket: Ticket) {
        self.last = None;
        self.dropped_by = Some(ticket);
        let held = self.to_close.iter().filter_map(|evicted| evicted.statement.upgrade());
        held.for_each(|statement| statement.is_forgotten.store(true, Ordering::Relaxed));
        while let Some((_, forgotten)) = self.known.pop_lru() {
            forgotten.is_cached.store(false, Ordering::Relaxed);
            forgotten.is_forgotten.store(true, Ordering::Relaxed);
        }
    }

    /// Whether what this request had prepared was dropped by a later one.
    pub(crate) fn has_dropped(&self, ticket: Ticket) -> bool {
        self.dropped_by.is_some_and(|dropped_by| ticket < dropped_by)
    }

    /// Closes the statement of this name, which will not be used again, if the server has it.
    /// Closing one that does not exist is no error (manual, section 54.2.3).
    pub(crate) fn discard(&mut self, name: &str) {
        if !name.is_empty() {
            self.to_close.push(Evicted { name: name.to_owned(), statement: Weak::new() });
        }
    }

    /// Closes a statement that is not in the cache, or not any more, once no query holds it: a
    /// query that has it planned or described is yet to run it.
    pub(crate) fn close(&mut self, statement: &Arc<Statement>) {
        statement.is_cached.store(false, Ordering::Relaxed);
        if !statement.name.is_empty() {
            let name = statement.name.clone();
            self.to_close.push(Evicted { name, statement: Arc::downgrade(statement) });
        }
    }

    /// Whether names are kept for closing; perhaps of statements that are yet to run.
    #[inline]
    pub(crate) fn has_names_to_close(&self) -> bool {
        !self.to_close.is_empty()
    }

    /// Up to `limit` names to close with the next request.
    pub(crate) fn names_to_close(&self, limit: u8) -> impl Iterator<Item = &str> {
        let free = self.to_close.iter().filter(|evicted| evicted.may_be_closed());
        free.take(limit.into()).map(|evicted| evicted.name.as_str())
    }

    /// The first `count` of them have been told to the server.
    pub(crate) fn closed(&mut self, mut count: u8) {
        if count == 0 {
            return;
        }
        self.to_close.retain(|evicted| {
            let told = count > 0 && evicted.may_be_closed();
            count -= u8::from(told);
            !told
        });
    }
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
}
