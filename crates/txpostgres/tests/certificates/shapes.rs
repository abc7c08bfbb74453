//! Shapes of chains: who signed whom, what is sent and what is known.

use super::chain::{AUTHORITY_KEY, BASIC_CONSTRAINTS, Chain, PAST, SUBJECT_KEY, Spec};
use super::der::{name, octets, sequence, tlv};
use super::keys::Kind;

/// A case: its name and its chain.
pub(super) type Case = (String, Chain);

/// The plain ones, which everything else is done to.
pub(super) const PLAIN: [(&str, usize); 4] =
    [("self-signed", 0), ("direct", 1), ("intermediate", 2), ("two intermediates", 3)];

/// A change to a chain.
pub(super) type Change = (&'static str, fn(&mut Chain));

/// Each of these done to each of the plain shapes.
pub(super) fn product(dimension: &str, changes: &[Change]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, authorities) in PLAIN {
        for (what, change) in changes {
            let mut chain = Chain::of(authorities);
            change(&mut chain);
            cases.push((format!("{dimension}: {shape}, {what}"), chain));
        }
    }
    cases
}

/// Shapes that are not plain.
pub(super) fn shapes() -> Vec<Case> {
    let mut cases: Vec<Case> =
        PLAIN.iter().map(|(name, count)| ((*name).to_owned(), Chain::of(*count))).collect();
    let mut add = |name: &str, authorities: usize, change: &dyn Fn(&mut Chain)| {
        let mut chain = Chain::of(authorities);
        change(&mut chain);
        cases.push((name.to_owned(), chain));
    };
    sent_and_known(&mut add);
    authorities(&mut add);
    same_names(&mut add);
    cases.into_iter().map(|(name, chain)| (format!("shape: {name}"), chain)).collect()
}

type Add<'a> = dyn FnMut(&str, usize, &dyn Fn(&mut Chain)) + 'a;

fn sent_and_known(add: &mut Add<'_>) {
    add("the root is sent, too", 2, &|chain| chain.sent = vec![0, 1, 2]);
    add("an intermediate is missing", 2, &|chain| chain.sent = vec![0]);
    add("an intermediate is in the root file", 2, &|chain| {
        chain.sent = vec![0];
        chain.roots = vec![2, 1];
    });
    add("an intermediate is the only root", 2, &|chain| chain.roots = vec![1]);
    add("an intermediate is the only root, and the real one is sent", 2, &|chain| {
        chain.roots = vec![1];
        chain.sent = vec![0, 1, 2];
    });
    add("in the wrong order", 3, &|chain| chain.sent = vec![0, 2, 1]);
    add("one is sent twice", 2, &|chain| chain.sent = vec![0, 1, 1, 0]);
    add("a stranger is sent, too", 2, &|chain| {
        chain.specs.push(Spec::authority("CN=stranger", 3, 3));
        chain.sent = vec![0, 3, 1];
    });
    add("the leaf is in the root file", 1, &|chain| chain.roots = vec![0]);
    add("the leaf and its root are in the root file", 1, &|chain| chain.roots = vec![0, 1]);
    add("another root is known", 1, &|chain| {
        chain.specs.push(Spec::authority("CN=another", 2, 2));
        chain.roots = vec![2];
    });
    add("self-signed, and not known", 0, &|chain| {
        chain.specs.push(Spec::authority("CN=another", 1, 1));
        chain.roots = vec![1];
    });
    add("the root is sent and not known", 1, &|chain| {
        chain.specs.push(Spec::authority("CN=another", 2, 2));
        chain.sent = vec![0, 1];
        chain.roots = vec![2];
    });
    add("the wrong host", 1, &|chain| chain.host = "db.bank.test");
    add("a leaf that is forged", 1, &|chain| chain.leaf().is_forged = true);
    add("an intermediate that is forged", 2, &|chain| chain.issuer().is_forged = true);
    add("a root that is forged", 1, &|chain| chain.root().is_forged = true);
    add("self-signed and forged", 0, &|chain| chain.root().is_forged = true);
    add("of 12 certificates", 11, &|_| ());
    add("TLS 1.2", 2, &|chain| chain.only_tls12 = true);
}

fn authorities(add: &mut Add<'_>) {
    // Two servers that are pinned: the key of one makes a certificate for the other.
    let pinned = |says: Option<bool>| {
        move |chain: &mut Chain| {
            let root = chain.root();
            root.extensions.clear();
            root.alternative_names(&["DNS:a.example"]);
            if let Some(says) = says {
                root.basic(says, None);
            }
        }
    };
    add("a pinned server signs, CA:FALSE", 1, &pinned(Some(false)));
    add("a pinned server signs, CA:TRUE", 1, &pinned(Some(true)));
    add("a pinned server signs, without basicConstraints", 1, &pinned(None));
    add("a pinned server signs version 1, CA:FALSE", 1, &|chain| {
        pinned(Some(false))(chain);
        chain.leaf().version_1();
        chain.leaf().subject = "CN=localhost".into();
    });
    add("a leaf signs another", 2, &|chain| {
        let issuer = chain.issuer();
        *issuer = Spec::leaf(1, 2);
        issuer.subject = "CN=a leaf".into();
    });
    for (name, authorities, places) in [
        ("version 1: leaf", 1, &[0][..]),
        ("version 1: leaf behind an intermediate", 2, &[0]),
        ("version 1: intermediate", 2, &[1]),
        ("version 1: root", 1, &[1]),
        ("version 1: root above an intermediate", 2, &[2]),
        ("version 1: all", 1, &[0, 1]),
        ("version 1: all of three", 2, &[0, 1, 2]),
        ("version 1: self-signed", 0, &[0]),
    ] {
        add(name, authorities, &|chain| {
            for place in places {
                chain.specs[*place].version_1();
            }
            if places.contains(&0) {
                chain.leaf().subject = "CN=localhost".into();
            }
        });
    }
    add("version 1 with extensions: leaf", 1, &|chain| chain.leaf().version = 1);
    add("version 1 with extensions: intermediate", 2, &|chain| chain.issuer().version = 1);
    add("version 2: leaf", 1, &|chain| chain.leaf().version = 2);
    add("a leaf with CA:TRUE", 1, &|chain| chain.leaf().basic(true, None));
    add("a leaf with CA:TRUE behind an intermediate", 2, &|chain| chain.leaf().basic(true, None));
    add("a leaf with CA:FALSE", 1, &|chain| chain.leaf().basic(false, None));
    add("a leaf with CA:FALSE and a path length", 1, &|chain| chain.leaf().basic(false, Some(0)));
    add("self-signed with CA:TRUE", 0, &|chain| chain.leaf().basic(true, None));
    add("self-signed with CA:FALSE", 0, &|chain| chain.leaf().basic(false, None));
}

fn same_names(add: &mut Add<'_>) {
    add("authority and leaf of one subject", 1, &|chain| {
        chain.leaf().subject = "CN=localhost".into();
        chain.root().subject = "CN=localhost".into();
    });
    add("authority and leaf of one subject, with key identifiers", 1, &|chain| {
        chain.leaf().subject = "CN=localhost".into();
        chain.root().subject = "CN=localhost".into();
        identify(chain);
    });
    add("leaf and intermediate of one subject", 2, &|chain| {
        chain.leaf().subject = "CN=one".into();
        chain.issuer().subject = "CN=one".into();
    });
    add("all of one subject", 2, &|chain| {
        for spec in &mut chain.specs {
            spec.subject = "CN=one".into();
        }
        identify(chain);
    });
    add("a mimic of the root", 0, &|chain| {
        let mut root = chain.specs[0].clone();
        root.key = (Kind::P256, 7);
        root.signer = 1;
        chain.specs.push(root);
        chain.roots = vec![1];
    });
    for (name, first, second) in [
        ("two roots of one name, the right one first", 1, 2),
        ("two roots of one name, the right one second", 2, 1),
    ] {
        for (more, way) in [("", 0), (", with key identifiers", 1), (", one expired", 2)] {
            add(&format!("{name}{more}"), 1, &|chain| {
                let subject = chain.root().subject.clone();
                let mut other = Spec::authority(&subject, 2, 2);
                if way == 2 {
                    other.dates = PAST;
                }
                chain.specs.push(other);
                chain.roots = vec![first, second];
                if way == 1 {
                    identify(chain);
                }
            });
        }
    }
    add("another root of the name is known", 1, &|chain| {
        let subject = chain.root().subject.clone();
        chain.specs.push(Spec::authority(&subject, 2, 2));
        chain.roots = vec![2];
    });
    add("the names differ in case and spaces", 2, &|chain| {
        chain.leaf().issuer = Some("CN=~BETWEEN  1".into());
        chain.issuer().issuer = Some("O=Tests/CN=~ ROOT".into());
    });
    add("the names differ", 1, &|chain| chain.leaf().issuer = Some("CN=root".into()));
    add("a root without a name", 1, &|chain| chain.root().subject = String::new());
    add("a leaf without a name", 1, &|chain| chain.leaf().subject = String::new());
    for (what, key, serial, issuer) in [
        ("the right key", 1, None, None),
        ("another key", 9, None, None),
        ("the right serial number", 1, Some(2), Some("O=tests/CN=root")),
        ("another serial number", 1, Some(9), Some("O=tests/CN=root")),
        ("another issuer", 1, Some(2), Some("CN=another")),
    ] {
        add(&format!("authorityKeyIdentifier means {what}"), 1, &|chain| {
            chain.root().set(SUBJECT_KEY, false, octets(&[1]));
            let serial = serial.map(|serial: u8| tlv(0x82, &[&[serial]])).unwrap_or_default();
            let issuer =
                issuer.map(|issuer| tlv(0xa1, &[&tlv(0xa4, &[&name(issuer)])])).unwrap_or_default();
            let contents = sequence(&[&tlv(0x80, &[&[key]]), &issuer, &serial]);
            chain.leaf().set(AUTHORITY_KEY, false, contents);
        });
    }
    cross_signed(add);
    add("a root that signed itself by another key", 1, &|chain| {
        chain.root().set(SUBJECT_KEY, false, octets(&[1]));
        chain.root().set(AUTHORITY_KEY, false, sequence(&[&tlv(0x80, &[&[2]])]));
    });
    add("a negative path length", 1, &|chain| {
        let contents = sequence(&[&[1, 1, 0xff], &[2, 1, 0xff]]);
        chain.root().set(BASIC_CONSTRAINTS, true, contents);
    });
    add("a serial number of 0", 1, &|chain| chain.leaf().serial = 0);
}

/// An intermediate twice: once signed by an old root that nobody knows, once by ours.
fn cross_signed(add: &mut Add<'_>) {
    for (name, sent, roots) in [
        ("cross-signed, both sent", vec![0, 3, 1], vec![2]),
        ("cross-signed, the known way only", vec![0, 1], vec![2]),
        ("cross-signed, the unknown way only", vec![0, 3], vec![2]),
        ("cross-signed, the intermediate is a root, too", vec![0, 3], vec![2, 1]),
        ("cross-signed, both roots known", vec![0, 3, 1], vec![2, 4]),
    ] {
        add(name, 2, &|chain| {
            let mut other = chain.specs[1].clone();
            other.signer = 4;
            other.serial = 77;
            chain.specs.push(other);
            chain.specs.push(Spec::authority("CN=old root", 4, 4));
            chain.sent.clone_from(&sent);
            chain.roots.clone_from(&roots);
        });
    }
}

/// Key identifiers for all.
pub(super) fn identify(chain: &mut Chain) {
    let identifier = |place: usize| [u8::try_from(place).unwrap(); 4];
    for spec in &mut chain.specs {
        let own = identifier(spec.key.1);
        let signer = identifier(spec.signer);
        if spec.version == 3 {
            spec.set(SUBJECT_KEY, false, octets(&own));
            spec.set(AUTHORITY_KEY, false, sequence(&[&tlv(0x80, &[&signer])]));
        }
    }
}
