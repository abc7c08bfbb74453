//! What is done to the plain shapes: algorithms, dates, uses, fields.

use super::chain::{
    BASIC_CONSTRAINTS, CERT_SIGN, CRL_SIGN, Chain, DIGITAL_SIGNATURE, FUTURE, KEY_AGREEMENT,
    KEY_ENCIPHERMENT, PAST, Spec,
};
use super::der::{boolean, named_bits, octets, oid, sequence};
use super::keys::{Kind, Signing};
use super::shapes::{Case, Change, product};

/// Keys and signatures for all certificates of a chain.
const ALGORITHMS: &[(&str, Kind, Option<Signing>)] = &[
    ("P-256", Kind::P256, None),
    ("P-384", Kind::P384, None),
    ("P-521", Kind::P521, None),
    ("RSA", Kind::Rsa, None),
    ("Ed25519", Kind::Ed25519, None),
    ("P-256 with SHA-384", Kind::P256, Some(Signing::Ecdsa(384))),
    ("P-256 with SHA-512", Kind::P256, Some(Signing::Ecdsa(512))),
    ("P-384 with SHA-256", Kind::P384, Some(Signing::Ecdsa(256))),
    ("P-384 with SHA-512", Kind::P384, Some(Signing::Ecdsa(512))),
    ("P-521 with SHA-256", Kind::P521, Some(Signing::Ecdsa(256))),
    ("P-521 with SHA-384", Kind::P521, Some(Signing::Ecdsa(384))),
    ("P-256 with SHA-224", Kind::P256, Some(Signing::Ecdsa(224))),
    ("P-521 with SHA-224", Kind::P521, Some(Signing::Ecdsa(224))),
    ("P-256 with SHA-1", Kind::P256, Some(Signing::Ecdsa(1))),
    ("RSA with SHA-384", Kind::Rsa, Some(Signing::Rsa(384))),
    ("RSA with SHA-512", Kind::Rsa, Some(Signing::Rsa(512))),
    ("RSA with SHA-224", Kind::Rsa, Some(Signing::Rsa(224))),
    ("RSA with SHA-1", Kind::Rsa, Some(Signing::Rsa(1))),
    ("RSA-PSS, salt 32", Kind::Rsa, Some(Signing::Pss(256, 32))),
    ("RSA-PSS, salt 222", Kind::Rsa, Some(Signing::Pss(256, 222))),
    ("RSA-PSS, salt 20", Kind::Rsa, Some(Signing::Pss(256, 20))),
    ("RSA-PSS, salt 33", Kind::Rsa, Some(Signing::Pss(256, 33))),
    ("RSA-PSS with SHA-384", Kind::Rsa, Some(Signing::Pss(384, 48))),
    ("RSA-PSS with SHA-512", Kind::Rsa, Some(Signing::Pss(512, 64))),
    ("RSA-PSS with SHA-512, salt 190", Kind::Rsa, Some(Signing::Pss(512, 190))),
    ("RSA-PSS with SHA-1", Kind::Rsa, Some(Signing::Pss(1, 20))),
    ("RSA of 1024 bits", Kind::Rsa1024, None),
    ("RSA of 3072 bits", Kind::Rsa3072, None),
    ("RSA-PSS key", Kind::RsaPss, None),
    ("RSA-PSS key, salt 222", Kind::RsaPss, Some(Signing::Pss(256, 222))),
    ("secp256k1", Kind::K256, None),
    ("P-224", Kind::P224, None),
    ("brainpoolP256r1", Kind::Brainpool, None),
    ("DSA", Kind::Dsa, None),
    ("Ed448", Kind::Ed448, None),
];

/// Each algorithm for the whole chain, for its authorities alone, and for the root alone.
pub(super) fn algorithms() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, signing) in ALGORITHMS {
        for (shape, authorities) in [("self-signed", 0), ("direct", 1), ("intermediate", 2)] {
            let mut chain = Chain::of(authorities);
            chain.all_keys(*kind, *signing);
            cases.push((format!("algorithm: {name}, {shape}"), chain.clone()));
            if authorities == 2 {
                chain.only_tls12 = true;
                cases.push((format!("algorithm: {name}, {shape}, TLS 1.2"), chain.clone()));
                chain.only_tls12 = false;
                chain.leaf().key = (Kind::P256, 0);
                cases.push((format!("algorithm: {name}, authorities"), chain.clone()));
                chain.issuer().key = (Kind::P256, 1);
                chain.leaf().signing = None;
                cases.push((format!("algorithm: {name}, root"), chain));
            }
        }
    }
    cases
}

pub(super) fn dates() -> Vec<Case> {
    let changes: &[Change] = &[
        ("leaf expired", |chain| chain.leaf().dates = PAST),
        ("leaf not yet", |chain| chain.leaf().dates = FUTURE),
        ("issuer expired", |chain| chain.issuer().dates = PAST),
        ("issuer not yet", |chain| chain.issuer().dates = FUTURE),
        ("root expired", |chain| chain.root().dates = PAST),
        ("root not yet", |chain| chain.root().dates = FUTURE),
        ("leaf without an end", |chain| chain.leaf().dates[1] = "99991231235959Z"),
        ("root begun before 1970", |chain| chain.root().dates[0] = "500101000000Z"),
        ("leaf with dates that are none", |chain| {
            chain.leaf().dates = ["200101000000Z", "4912312359Z"];
        }),
        ("root with dates that are none", |chain| {
            chain.root().dates = ["20010100000+Z", "491231235959Z"];
        }),
        ("leaf that ends before it begins", |chain| {
            chain.leaf().dates = ["491231235959Z", "200101000000Z"];
        }),
    ];
    let mut cases = product("dates", changes);
    // Version 1 has dates, too.
    for (what, change) in changes {
        let mut chain = Chain::of(1);
        chain.leaf().version_1();
        chain.leaf().subject = "CN=localhost".into();
        change(&mut chain);
        cases.push((format!("dates: version 1, {what}"), chain));
    }
    cases
}

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const ANY: &str = "2.5.29.37.0";
const NETSCAPE: &str = "2.16.840.1.113730.1.1";

pub(super) fn uses() -> Vec<Case> {
    let changes: &[Change] = &[
        ("leaf for digitalSignature", |chain| chain.leaf().usage(&[DIGITAL_SIGNATURE])),
        ("leaf for keyEncipherment", |chain| chain.leaf().usage(&[KEY_ENCIPHERMENT])),
        ("leaf for keyAgreement", |chain| chain.leaf().usage(&[KEY_AGREEMENT])),
        ("leaf for keyCertSign", |chain| chain.leaf().usage(&[CERT_SIGN])),
        ("leaf for cRLSign", |chain| chain.leaf().usage(&[CRL_SIGN])),
        ("leaf for nonRepudiation", |chain| chain.leaf().usage(&[1])),
        ("leaf for decipherOnly", |chain| chain.leaf().usage(&[8])),
        ("leaf for nothing", |chain| chain.leaf().usage(&[])),
        ("leaf for keyEncipherment, TLS 1.2", |chain| {
            chain.leaf().usage(&[KEY_ENCIPHERMENT]);
            chain.only_tls12 = true;
        }),
        ("RSA leaf for keyEncipherment, TLS 1.2", |chain| {
            chain.leaf().usage(&[KEY_ENCIPHERMENT]);
            chain.leaf().key = (Kind::Rsa, 0);
            chain.only_tls12 = true;
        }),
        ("leaf for servers", |chain| chain.leaf().extended_usage(&[SERVER_AUTH])),
        ("leaf for clients", |chain| chain.leaf().extended_usage(&[CLIENT_AUTH])),
        ("leaf for both", |chain| chain.leaf().extended_usage(&[CLIENT_AUTH, SERVER_AUTH])),
        ("leaf for any use", |chain| chain.leaf().extended_usage(&[ANY])),
        ("leaf for no use", |chain| chain.leaf().extended_usage(&[])),
        ("leaf for another use", |chain| chain.leaf().extended_usage(&["1.2.3.4"])),
        ("leaf for gated cryptography", |chain| {
            chain.leaf().extended_usage(&["1.3.6.1.4.1.311.10.3.3"]);
        }),
        ("issuer for digitalSignature", |chain| chain.issuer().usage(&[DIGITAL_SIGNATURE])),
        ("issuer for keyCertSign", |chain| chain.issuer().usage(&[CERT_SIGN])),
        ("issuer for cRLSign", |chain| chain.issuer().usage(&[CRL_SIGN])),
        ("issuer without keyUsage", |chain| chain.issuer().remove("2.5.29.15")),
        ("issuer for servers", |chain| chain.issuer().extended_usage(&[SERVER_AUTH])),
        ("issuer for clients", |chain| chain.issuer().extended_usage(&[CLIENT_AUTH])),
        ("root for digitalSignature", |chain| chain.root().usage(&[DIGITAL_SIGNATURE])),
        ("root for cRLSign", |chain| chain.root().usage(&[CRL_SIGN])),
        ("root without keyUsage", |chain| chain.root().remove("2.5.29.15")),
        ("root for clients", |chain| chain.root().extended_usage(&[CLIENT_AUTH])),
        ("issuer with CA:FALSE", |chain| chain.issuer().basic(false, None)),
        ("issuer without basicConstraints", |chain| chain.issuer().remove(BASIC_CONSTRAINTS)),
        ("issuer with nothing", |chain| chain.issuer().extensions.clear()),
        ("root with CA:FALSE", |chain| chain.root().basic(false, None)),
        ("root without basicConstraints", |chain| chain.root().remove(BASIC_CONSTRAINTS)),
        ("root with nothing", |chain| chain.root().extensions.clear()),
        ("leaf of Netscape for servers", |chain| netscape(chain.leaf(), &[1])),
        ("leaf of Netscape for clients", |chain| netscape(chain.leaf(), &[0])),
        ("root of Netscape for SSL alone", |chain| {
            chain.root().extensions.clear();
            netscape(chain.root(), &[5]);
        }),
        ("root of Netscape for mail alone", |chain| {
            chain.root().extensions.clear();
            netscape(chain.root(), &[6]);
        }),
        ("issuer of Netscape for SSL alone", |chain| {
            chain.issuer().extensions.clear();
            netscape(chain.issuer(), &[5]);
        }),
    ];
    product("uses", changes)
}

fn netscape(spec: &mut Spec, set: &[u8]) {
    spec.set(NETSCAPE, false, named_bits(set));
}

pub(super) fn fields() -> Vec<Case> {
    let changes: &[Change] = &[
        ("path length of root 0", |chain| chain.root().basic(true, Some(0))),
        ("path length of root 1", |chain| chain.root().basic(true, Some(1))),
        ("path length of issuer 0", |chain| chain.issuer().basic(true, Some(0))),
        ("path length of root 0, issuer self-issued", |chain| {
            chain.root().basic(true, Some(0));
            let subject = chain.root().subject.clone();
            chain.issuer().subject = subject;
            super::shapes::identify(chain);
        }),
        ("unknown critical in leaf", |chain| chain.leaf().set("1.2.3.4", true, vec![5, 0])),
        ("unknown critical in issuer", |chain| chain.issuer().set("1.2.3.4", true, vec![5, 0])),
        ("unknown critical in root", |chain| chain.root().set("1.2.3.4", true, vec![5, 0])),
        ("unknown in leaf", |chain| chain.leaf().set("1.2.3.4", false, vec![5, 0])),
        ("a critical policy in leaf", |chain| {
            let policy = sequence(&[&sequence(&[&oid("1.2.3.4")])]);
            chain.leaf().set("2.5.29.32", true, policy);
        }),
        ("a demand for a policy in issuer", |chain| {
            chain.issuer().set("2.5.29.36", true, sequence(&[&[0x80, 1, 0]]));
        }),
        ("a critical key identifier in leaf", |chain| {
            chain.leaf().set("2.5.29.14", true, octets(&[1]));
        }),
        ("keyUsage of leaf that cannot be read", |chain| {
            chain.leaf().set("2.5.29.15", false, vec![5, 0]);
        }),
        ("keyUsage of issuer that cannot be read", |chain| {
            chain.issuer().set("2.5.29.15", false, vec![5, 0]);
        }),
        ("basicConstraints of leaf that cannot be read", |chain| {
            chain.leaf().set(BASIC_CONSTRAINTS, false, sequence(&[&octets(b"x")]));
        }),
        ("subjectAltName of leaf that cannot be read", |chain| {
            chain.leaf().set("2.5.29.17", false, octets(b"x"));
        }),
        ("keyUsage of leaf twice", |chain| {
            chain.leaf().usage(&[DIGITAL_SIGNATURE]);
            let twice = chain.leaf().extensions.last().unwrap().clone();
            chain.leaf().extensions.push(twice);
        }),
        ("an unknown field of leaf twice", |chain| {
            for _ in 0..2 {
                chain.leaf().extensions.push(("1.2.3.4".into(), false, vec![5, 0]));
            }
        }),
        ("CA:FALSE of leaf spelled out", |chain| {
            chain.leaf().set(BASIC_CONSTRAINTS, false, sequence(&[&boolean(false)]));
        }),
        ("a proxy certificate", |chain| {
            let language = sequence(&[&oid("1.3.6.1.5.5.7.21.1")]);
            chain.leaf().remove("2.5.29.17");
            chain.leaf().subject = "CN=localhost".into();
            chain.leaf().set("1.3.6.1.5.5.7.1.14", true, sequence(&[&language]));
        }),
    ];
    product("fields", changes)
}

pub(super) fn constraints() -> Vec<Case> {
    let mut cases = Vec::new();
    let names: [(&str, &str, &[&str]); 6] = [
        ("an alternative name", "CN=server", &["DNS:db.bank.test"]),
        ("a common name", "CN=db.bank.test", &[]),
        ("a common name and an address", "CN=db.bank.test", &["IP:127.0.0.1"]),
        ("a common name and mail", "CN=db.bank.test/mail=me@bank.test", &["mail:me@bank.test"]),
        ("two common names", "CN=db.bank.test/CN=db.evil.test", &[]),
        ("a wildcard", "CN=server", &["DNS:*.bank.test"]),
    ];
    let limits: [(&str, &[&str], &[&str]); 17] = [
        ("within", &["DNS:bank.test"], &[]),
        ("within a dotted one", &["DNS:.bank.test"], &[]),
        ("within one of two", &["DNS:internal.example", "DNS:bank.test"], &[]),
        ("outside", &["DNS:internal.example"], &[]),
        ("beside", &["DNS:ank.test"], &[]),
        ("excluded", &[], &["DNS:bank.test"]),
        ("permitted and excluded", &["DNS:test"], &["DNS:BANK.test"]),
        ("all excluded", &[], &["DNS:"]),
        ("address within", &["IP:127.0.0.0.255.0.0.0"], &[]),
        ("address outside", &["IP:10.0.0.0.255.0.0.0"], &[]),
        ("address excluded", &[], &["IP:127.0.0.0.255.0.0.0"]),
        ("mail outside", &["mail:example.com"], &[]),
        ("mail within", &["mail:bank.test"], &[]),
        ("directory within", &["dir:CN=DB.bank.test", "dir:CN=server"], &[]),
        ("directory outside", &["dir:O=elsewhere"], &[]),
        ("directory excluded", &[], &["dir:CN=server", "dir:CN=db.bank.test"]),
        ("URI", &["URI:example.com"], &[]),
    ];
    for (authorities, place, whose) in [(1, 1, "root"), (2, 1, "issuer"), (2, 2, "root of three")] {
        for (what, subject, alternatives) in names {
            for (how, permitted, excluded) in limits {
                let mut chain = Chain::of(authorities);
                chain.host = "db.bank.test";
                let leaf = chain.leaf();
                subject.clone_into(&mut leaf.subject);
                leaf.extensions.clear();
                if !alternatives.is_empty() {
                    leaf.alternative_names(alternatives);
                }
                // Every other one of these has no extensions at all.
                if alternatives.is_empty() && place == 2 {
                    leaf.version_1();
                }
                chain.specs[place].constraints(permitted, excluded);
                cases.push((format!("constraints: {how}, {what}, in {whose}"), chain));
            }
        }
    }
    cases
}
