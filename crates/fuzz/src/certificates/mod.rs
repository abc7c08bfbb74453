//! Certificates, revocation lists and private keys, damaged.
//!
//! The chains are those of the table of `crates/txpostgres/tests/certificates`, made by its
//! generator with keys that are the same each time. A rustls server shows them to our end of the
//! handshake.
//!
//! Checked: no panic; memory and errors are bounded; a certificate or a list that is needed, whose
//! signed part or signature was changed and not signed again, is never accepted; a certificate
//! without the host's name is not accepted; the password of a key is in no error.

#[path = "../../../txpostgres/tests/certificates/chain.rs"]
#[allow(dead_code)]
mod chain;
#[path = "../../../txpostgres/tests/certificates/changes.rs"]
mod changes;
#[path = "../../../txpostgres/tests/certificates/der.rs"]
mod der;
mod edit;
mod handshake;
mod key_files;
mod keys;
#[path = "../../../txpostgres/tests/certificates/kinds.rs"]
mod kinds;
mod known;
#[path = "../../../txpostgres/tests/certificates/revocation.rs"]
mod revocation;
#[path = "../../../txpostgres/tests/certificates/shapes.rs"]
mod shapes;

use std::fmt;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::probe::Probe;
use crate::target::{Cases, Checked};
use edit::Edit;
use handshake::{Shown, Verdict};
use known::{KNOWN, Known};

#[derive(Debug, Clone)]
enum Case {
    Chain(Damaged),
    Key(key_files::Damaged),
}

/// What is damaged of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Sent,
    Root,
    List,
}

/// A chain of which a part is damaged.
#[derive(Clone)]
struct Damaged {
    known: &'static Known,
    part: Part,
    which: Index,
    edits: Vec<(Index, Edit)>,
    /// Whether the key of its issuer signs what has become of it.
    is_signed: bool,
    only_tls12: bool,
}

impl fmt::Debug for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Damaged")
            .field("chain", &self.known.name)
            .field("part", &self.part)
            .field("which", &self.which)
            .field("edits", &self.edits)
            .field("is_signed", &self.is_signed)
            .field("only_tls12", &self.only_tls12)
            .finish()
    }
}

pub(crate) const EXPECTED: &[&str] = &[
    "forged: refused",
    "forged list: refused",
    "key: read",
    "key: refused",
    "not needed: accepted",
    "not needed: refused",
    "root: accepted",
    "root: refused",
    "root: not read",
    "signed: accepted",
    "signed: refused",
    "signed list: accepted",
    "signed list: refused",
    "signed list: not read",
];

/// Bytes that both ends of a handshake take.
const ITSELF: usize = 4 << 20;
const FACTOR: usize = 256;

/// Bytes of an error: it names certificates, each of which may have long names.
const ERROR: usize = 16 * 1024;

pub(crate) fn cases() -> Box<dyn Cases> {
    let part = prop_oneof![4 => Just(Part::Sent), 1 => Just(Part::Root), 2 => Just(Part::List)];
    let edits = prop::collection::vec((any::<Index>(), edit::any_edit()), 1..4);
    let chain = (0..KNOWN.len(), part, any::<Index>(), edits, any::<bool>(), any::<bool>())
        .prop_map(|(known, part, which, edits, is_signed, only_tls12)| {
            let known = &KNOWN[known];
            let part =
                if part == Part::List && known.shown.lists.is_none() { Part::Sent } else { part };
            Case::Chain(Damaged { known, part, which, edits, is_signed, only_tls12 })
        });
    let strategy = prop_oneof![12 => chain, 1 => key_files::damaged().prop_map(Case::Key)];
    Box::new(Checked { strategy, check })
}

fn check(case: &Case, probe: &mut Probe) {
    match case {
        Case::Chain(damaged) => damaged.check(probe),
        Case::Key(damaged) => damaged.check(probe),
    }
}

/// The parts of a certificate or a list that count: what is signed, and the signature.
fn signed_parts(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let [contents, _, signature] = edit::children(bytes)?.try_into().ok()?;
    Some((contents, signature))
}

impl Damaged {
    fn check(&self, probe: &mut Probe) {
        let Some((shown, kind)) = self.show() else { return probe.reached("chain: without lists") };
        let most = ITSELF + FACTOR * shown.size();
        let verdict = probe.within("a handshake", most, || shown.judge());
        if let Verdict::Refused(said) | Verdict::NotRead(said) = &verdict {
            assert!(said.len() < ERROR, "an error of {} bytes", said.len());
            let is_shown = |c: char| !c.is_control() || c == '\n';
            assert!(said.chars().all(is_shown), "control characters in {said:?}");
        }
        let accepted = verdict == Verdict::Accepted;
        assert!(!(accepted && kind.starts_with("forged")), "what was forged is accepted");
        assert!(!accepted || shown.names_host(), "a certificate without the host is accepted");
        let what = match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused(_) => "refused",
            Verdict::NotRead(_) if kind == "forged" || kind == "forged list" => "refused",
            Verdict::NotRead(_) => "not read",
        };
        probe.coverage.count_name(kind, &format!(": {what}"));
    }

    /// What is shown, and what kind of thing that is.
    fn show(&self) -> Option<(Shown, &'static str)> {
        let known = self.known;
        let mut shown = known.shown.clone();
        shown.only_tls12 = self.only_tls12;
        let (list, needed) = match self.part {
            Part::Sent => (&mut shown.sent, &known.needed),
            Part::Root => (&mut shown.roots, &known.no_roots),
            Part::List => (shown.lists.as_mut()?, &known.needed_lists),
        };
        if list.is_empty() {
            return None;
        }
        let at = self.which.index(list.len());
        let old = list[at].clone();
        let mut new = edit::apply(&old, &self.edits);
        let place = match self.part {
            Part::Sent => Some(known.chain.specs[known.chain.sent[at]].signer),
            Part::Root => Some(known.chain.specs[known.chain.roots[at]].signer),
            Part::List => Some(known.chain.lists[at].signer),
        };
        let mut is_signed = false;
        if self.is_signed
            && let Some((contents, _)) = signed_parts(&new)
            && let Some(signer) = place
        {
            let key = known.chain.specs[signer].key();
            new = chain::signed(&contents, &key, key.kind.default_signing(), false);
            is_signed = true;
        }
        let is_changed = signed_parts(&new) != signed_parts(&old);
        list[at] = new;
        let kind = match self.part {
            Part::Root => "root",
            Part::List if is_signed => "signed list",
            Part::Sent if is_signed => "signed",
            _ if !is_changed || !needed[at] => "not needed",
            Part::List => "forged list",
            Part::Sent => "forged",
        };
        Some((shown, kind))
    }
}
