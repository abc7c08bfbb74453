//! Whose turn it is: which interaction is inside, and which stream has the line for itself.

use super::Referee;
use super::book::Stage;
use super::judge::has_read;
use crate::finding::{Finding, Rule, found};
use crate::net::Net;

impl Referee {
    /// The closure of an interaction begins to run.
    pub(super) fn entered(&mut self, op: u32, read: u64, net: &Net) -> Result<(), Finding> {
        let is_outermost = self.book.get(op).is_some_and(|entry| entry.root.is_none());
        if let Some(entry) = self.book.get_mut(op) {
            entry.stage = Stage::Inside;
        }
        if !is_outermost {
            return Ok(());
        }
        let other = self.book.enter(op);
        let other = other.filter(|other| self.book.is_running(*other));
        let other = other.or_else(|| self.unfinished(read, net).find(|other| *other != op));
        match other {
            Some(other) if !self.causes.any() => {
                let why = format!("interactions t{other} and t{op} are inside at once");
                found(Rule::Isolation, why)
            }
            _ => Ok(()),
        }
    }

    /// The interactions that have a transaction of which the client has not read the answer that
    /// ends it.
    fn unfinished(&self, read: u64, net: &Net) -> impl Iterator<Item = u32> {
        let open = self.transactions.values();
        open.filter(move |open| !has_read(open.answered, read, net)).filter_map(|open| open.owner)
    }

    /// The interaction that is inside: its closure runs, or the client has not read the answer that
    /// ends its transaction. When its caller is told of that is another matter.
    pub(crate) fn inside(&self, net: &Net) -> Option<u32> {
        let read = net.session().map_or(0, |line| net.taken(line));
        let is_inside = |inside: &u32| {
            self.book.is_running(*inside) || self.unfinished(read, net).any(|it| it == *inside)
        };
        self.book.inside().filter(is_inside)
    }

    /// The stream or COPY that the server runs, or has run, and of which the client has not read
    /// the end: no other request leaves before that.
    pub(super) fn alone(&self, net: &Net) -> Option<u32> {
        let read = net.session().map_or(0, |line| net.taken(line));
        let is_open = |op: &u32| {
            let entry = self.book.get(*op);
            entry.is_some_and(|entry| entry.op.kind.is_exclusive() && entry.root.is_none())
        };
        let open = self.executions.iter().rev().filter(|(_, it)| !has_read(it.answered, read, net));
        open.map(|(token, _)| token.op).find(is_open)
    }
}
