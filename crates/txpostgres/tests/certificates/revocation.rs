//! Revocation lists: present, missing, old, of another, in parts.

use super::chain::{
    AUTHORITY_KEY, CERT_SIGN, CRL_SIGN, Chain, DISTRIBUTION_POINTS, FUTURE, ListSpec, Lists, PAST,
    SUBJECT_KEY,
};
use super::der::{general_name, integer, name, octets, sequence, tlv};
use super::keys::{Kind, Signing};
use super::shapes::{Case, Change, product};

const SCOPE: &str = "2.5.29.28";
const DELTA: &str = "2.5.29.27";
const NUMBER: &str = "2.5.29.20";

/// issuingDistributionPoint with this contents.
fn scope(chain: &mut Chain, contents: &[u8]) {
    let value = sequence(&[contents]);
    chain.with_lists().lists[0].set(SCOPE, true, value);
}

/// `[0]` around the full name of a distribution point.
fn point(uri: &str) -> Vec<u8> {
    tlv(0xa0, &[&tlv(0xa0, &[&general_name(&format!("URI:{uri}"))])])
}

/// The leaf says where its list is.
fn points(chain: &mut Chain, contents: &[&[u8]]) {
    let all: Vec<u8> = contents.iter().flat_map(|point| sequence(&[point])).collect();
    chain.leaf().set(DISTRIBUTION_POINTS, false, sequence(&[&all]));
}

/// Each of the changes to each of the plain shapes.
pub(super) fn revocation() -> Vec<Case> {
    product("revocation", CHANGES)
}

const CHANGES: &[Change] = &[
    ("lists of all", |chain| _ = chain.with_lists()),
    ("lists of all in a folder", |chain| chain.with_lists().where_lists_are = Lists::Folder),
    ("lists of all in a folder under other names", |chain| {
        chain.with_lists().where_lists_are = Lists::FolderOfOtherNames;
    }),
    ("lists of all at home", |chain| chain.with_lists().where_lists_are = Lists::Home),
    ("lists of all in the root file alone", |chain| {
        chain.with_lists().where_lists_are = Lists::Root;
    }),
    ("leaf revoked in the root file alone", |chain| {
        chain.with_lists().lists[0].revoke(1);
        chain.where_lists_are = Lists::Root;
    }),
    ("lists of all in the root file, an empty folder", |chain| {
        chain.with_lists().where_lists_are = Lists::RootAndFolder;
    }),
    ("leaf revoked", |chain| chain.with_lists().lists[0].revoke(1)),
    ("leaf revoked in a folder", |chain| {
        chain.with_lists().lists[0].revoke(1);
        chain.where_lists_are = Lists::Folder;
    }),
    ("leaf revoked at home", |chain| {
        chain.with_lists().lists[0].revoke(1);
        chain.where_lists_are = Lists::Home;
    }),
    ("others revoked", |chain| {
        for serial in [3, 7, 200] {
            chain.with_lists().lists[0].revoke(serial + 20);
        }
    }),
    ("issuer revoked", |chain| chain.with_lists().lists.last_mut().unwrap().revoke(2)),
    ("root revoked", |chain| {
        let serial = chain.root().serial;
        chain.with_lists().lists.last_mut().unwrap().revoke(serial);
    }),
    ("no list of the issuer", |chain| _ = chain.with_lists().lists.remove(0)),
    ("no list of the root", |chain| _ = chain.with_lists().lists.pop()),
    ("list expired", |chain| chain.with_lists().lists[0].dates = PAST),
    ("list not yet", |chain| chain.with_lists().lists[0].dates = FUTURE),
    ("list without an end", |chain| {
        chain.with_lists().lists[0].dates = ["200101000000Z", ""];
    }),
    ("list with a date that is none", |chain| {
        chain.with_lists().lists[0].dates = ["200101000000Z", "4912312359Z"];
    }),
    ("an old list and a new one", |chain| {
        let mut old = chain.with_lists().lists[0].clone();
        old.dates = PAST;
        chain.lists.insert(0, old);
    }),
    ("an older list has it, the newer does not", |chain| {
        let mut older = chain.with_lists().lists[0].clone();
        older.dates = ["190101000000Z", "491231235959Z"];
        older.revoke(1);
        chain.lists.insert(0, older);
    }),
    ("the newer list has it", |chain| {
        let mut newer = chain.with_lists().lists[0].clone();
        newer.dates = ["210101000000Z", "491231235959Z"];
        newer.revoke(1);
        chain.lists.push(newer);
    }),
    ("list signed by another", |chain| {
        let mut stranger = chain.root().clone();
        stranger.key = (Kind::P256, 40);
        chain.specs.push(stranger);
        let signer = chain.specs.len() - 1;
        chain.roots = vec![signer - 1];
        let list = ListSpec { signer, ..ListSpec::of(1.min(signer - 1)) };
        chain.lists = (1.min(signer - 1)..signer).map(ListSpec::of).collect();
        chain.lists[0] = list;
        chain.where_lists_are = Lists::File;
    }),
    ("list of another issuer", |chain| {
        chain.with_lists().lists[0].issuer = 0;
    }),
    ("list by SHA-384", |chain| {
        chain.with_lists().lists[0].signing = Some(Signing::Ecdsa(384));
    }),
    ("list by SHA-1", |chain| {
        chain.with_lists().lists[0].signing = Some(Signing::Ecdsa(1));
    }),
    ("issuer without cRLSign", |chain| {
        chain.with_lists();
        chain.issuer().usage(&[CERT_SIGN]);
    }),
    ("issuer without keyUsage", |chain| {
        chain.with_lists();
        chain.issuer().remove("2.5.29.15");
    }),
    ("issuer with cRLSign alone", |chain| {
        chain.with_lists();
        chain.issuer().usage(&[CRL_SIGN]);
    }),
    ("list for users", |chain| scope(chain, &tlv(0x81, &[&[0xff]]))),
    ("list for authorities", |chain| scope(chain, &tlv(0x82, &[&[0xff]]))),
    ("list for attributes", |chain| scope(chain, &tlv(0x85, &[&[0xff]]))),
    ("list for users and authorities", |chain| {
        scope(chain, &[tlv(0x81, &[&[0xff]]), tlv(0x82, &[&[0xff]])].concat());
    }),
    ("list for some reasons", |chain| scope(chain, &tlv(0x83, &[&[6, 0x40]]))),
    ("indirect list", |chain| scope(chain, &tlv(0x84, &[&[0xff]]))),
    ("list of a distribution point", |chain| scope(chain, &point("http://x/"))),
    ("list of the distribution point", |chain| {
        scope(chain, &point("http://x/"));
        points(chain, &[&point("http://y/"), &point("http://x/")]);
    }),
    ("list of another distribution point", |chain| {
        scope(chain, &point("http://x/"));
        points(chain, &[&point("http://y/")]);
    }),
    ("a distribution point and a plain list", |chain| {
        chain.with_lists();
        points(chain, &[&point("http://y/")]);
    }),
    ("a distribution point for some reasons", |chain| {
        chain.with_lists();
        points(chain, &[&[point("http://y/"), tlv(0x81, &[&[6, 0x40]])].concat()]);
    }),
    ("a distribution point of another issuer", |chain| {
        chain.with_lists();
        let issuer = tlv(0xa2, &[&tlv(0xa4, &[&name("CN=another")])]);
        points(chain, &[&[point("http://y/"), issuer].concat()]);
    }),
    ("a distribution point without anything", |chain| {
        chain.with_lists();
        points(chain, &[&[]]);
    }),
    ("delta list alone", |chain| {
        let list = &mut chain.with_lists().lists[0];
        list.set(NUMBER, false, integer(2));
        list.set(DELTA, true, integer(1));
    }),
    ("delta list has it", |chain| {
        let mut delta = chain.with_lists().lists[0].clone();
        chain.lists[0].set(NUMBER, false, integer(1));
        delta.set(NUMBER, false, integer(2));
        delta.set(DELTA, true, integer(1));
        delta.revoke(1);
        chain.lists.push(delta);
    }),
    ("unknown critical in list", |chain| {
        chain.with_lists().lists[0].set("1.2.3.4", true, vec![5, 0]);
    }),
    ("unknown in list", |chain| {
        chain.with_lists().lists[0].set("1.2.3.4", false, vec![5, 0]);
    }),
    ("unknown critical in an entry", |chain| {
        let entry = (99, vec![("1.2.3.4".to_owned(), true, vec![5, 0])]);
        chain.with_lists().lists[0].revoked.push(entry);
    }),
    ("taken off the list", |chain| {
        let reason = vec![("2.5.29.21".to_owned(), false, vec![10, 1, 8])];
        chain.with_lists().lists[0].revoked.push((1, reason));
    }),
    ("revoked for a reason", |chain| {
        let reason = vec![("2.5.29.21".to_owned(), false, vec![10, 1, 1])];
        chain.with_lists().lists[0].revoked.push((1, reason));
    }),
    ("revoked, of another issuer", |chain| {
        let issuer = sequence(&[&general_name("dir:CN=another")]);
        let issuer = vec![("2.5.29.29".to_owned(), true, issuer)];
        chain.with_lists().lists[0].revoked.push((1, issuer));
    }),
    ("list by key identifier", |chain| {
        chain.issuer().set(SUBJECT_KEY, false, octets(&[1]));
        let identifier = sequence(&[&tlv(0x80, &[&[1]])]);
        chain.with_lists().lists[0].set(AUTHORITY_KEY, false, identifier);
    }),
    ("list by another key identifier", |chain| {
        chain.issuer().set(SUBJECT_KEY, false, octets(&[1]));
        let identifier = sequence(&[&tlv(0x80, &[&[2]])]);
        chain.with_lists().lists[0].set(AUTHORITY_KEY, false, identifier);
    }),
];
