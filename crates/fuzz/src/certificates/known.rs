//! The chains of the table as they are, and what of them is needed.

use std::sync::LazyLock;

use super::chain::{Chain, Lists};
use super::handshake::{Shown, Verdict};
use super::{changes, revocation, shapes};

/// A chain that is whole.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) chain: Chain,
    pub(super) shown: Shown,
    /// For each certificate that is sent, and each list, whether the chain is refused without it.
    pub(super) needed: Vec<bool>,
    pub(super) needed_lists: Vec<bool>,
    /// For each root that none is: its signature is not looked at.
    pub(super) no_roots: Vec<bool>,
}

/// All of the table. Every key signs by Ed25519, or not at all.
pub(super) static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let dimensions = [
        shapes::shapes(),
        changes::algorithms(),
        changes::dates(),
        changes::uses(),
        changes::fields(),
        changes::constraints(),
        revocation::revocation(),
    ];
    dimensions.into_iter().flatten().map(|(name, chain)| Known::new(name, chain)).collect()
});

impl Known {
    fn new(name: String, chain: Chain) -> Self {
        let all: Vec<_> = (0..chain.specs.len()).map(|place| chain.certificate(place)).collect();
        let of = |places: &[usize]| places.iter().map(|place| all[*place].clone()).collect();
        let has_lists = !matches!(chain.where_lists_are, Lists::Nowhere);
        let lists = has_lists.then(|| chain.lists.iter().map(|list| chain.list(list)).collect());
        let shown = Shown {
            sent: of(&chain.sent),
            roots: of(&chain.roots),
            lists,
            host: chain.host,
            only_tls12: chain.only_tls12,
            key: chain.specs[chain.sent[0]].key(),
        };
        let is_accepted = shown.judge() == Verdict::Accepted;
        let needed = (0..shown.sent.len()).map(|at| {
            let mut less = shown.clone();
            less.sent.remove(at);
            at == 0 || (is_accepted && less.judge() != Verdict::Accepted)
        });
        let needed = needed.collect();
        let needed_lists = (0..shown.lists.as_ref().map_or(0, Vec::len)).map(|at| {
            let mut less = shown.clone();
            less.lists.as_mut().map(|lists| lists.remove(at));
            is_accepted && less.judge() != Verdict::Accepted
        });
        let needed_lists = needed_lists.collect();
        let no_roots = vec![false; shown.roots.len()];
        Self { name, chain, shown, needed, needed_lists, no_roots }
    }
}
