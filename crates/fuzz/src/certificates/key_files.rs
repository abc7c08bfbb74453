//! Private keys of ours, in every form that is read, damaged as text and as DER.

use proptest::prelude::*;
use proptest::sample::Index;
use txpostgres_session::config::{Password, SslMode};
use txpostgres_session::tls::{ClientCertificate, TlsOptions, TlsSettings};

use crate::probe::Probe;

/// One key of an elliptic curve: PKCS #8, traditional, encrypted in five ways; and its certificate.
/// `openssl` has made them for this file, and they are used nowhere else.
const FILE: &str = include_str!("keys.pem");

/// What those that are encrypted are encrypted with.
const PASSWORD: &str = "open sesame";

/// A file with a key.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    which: Index,
    change: Vec<(Index, Change)>,
    password: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Change {
    /// In the text.
    Character(char),
    Remove(usize),
    Repeat(usize),
    /// Another key's text comes in.
    Other(Index),
}

pub(super) fn damaged() -> impl Strategy<Value = Damaged> {
    let change = prop_oneof![
        3 => any::<char>().prop_map(Change::Character),
        3 => "[A-Za-z0-9+/=\n,:-]".prop_map(|text| Change::Character(text.chars().next().unwrap())),
        1 => (1..70_usize).prop_map(Change::Remove),
        1 => (1..70_usize).prop_map(Change::Repeat),
        1 => any::<Index>().prop_map(Change::Other),
    ];
    let password = prop::sample::select(vec![Some(PASSWORD), Some(PASSWORD), None, Some("")]);
    (any::<Index>(), prop::collection::vec((any::<Index>(), change), 0..3), password)
        .prop_map(|(which, change, password)| Damaged { which, change, password })
}

/// The keys, and the certificate.
fn parts() -> (Vec<&'static str>, &'static str) {
    let at = FILE.find("-----BEGIN CERTIFICATE").unwrap();
    let (keys, certificate) = FILE.split_at(at);
    let mut all: Vec<&str> = Vec::new();
    let mut rest = keys;
    while let Some(end) = rest.find("-----END ") {
        let end = end + rest[end..].find('\n').unwrap() + 1;
        all.push(&rest[..end]);
        rest = &rest[end..];
    }
    (all, certificate)
}

impl Damaged {
    pub(super) fn check(&self, probe: &mut Probe) {
        let (keys, certificate) = parts();
        let mut text: Vec<char> = keys[self.which.index(keys.len())].chars().collect();
        for (at, change) in &self.change {
            let at = at.index(text.len() + 1);
            let until = |count: usize| at..(at + count).min(text.len());
            match change {
                Change::Character(new) => {
                    if let Some(old) = text.get_mut(at) {
                        *old = *new;
                    }
                }
                Change::Remove(count) => drop(text.drain(until(*count))),
                Change::Repeat(count) => {
                    let copy = text[until(*count)].to_vec();
                    drop(text.splice(at..at, copy));
                }
                Change::Other(which) => {
                    drop(text.splice(at..at, keys[which.index(keys.len())].chars()));
                }
            }
        }
        let text: String = text.into_iter().collect();
        let client = ClientCertificate {
            certificate: certificate.as_bytes().to_vec(),
            certificate_name: "my.crt".into(),
            key: Password::from(&text),
            key_password: self.password.map(Password::from),
            key_name: "my.key".into(),
        };
        let options =
            TlsOptions { sslmode: SslMode::Require, client: Some(client), ..TlsOptions::default() };
        match TlsSettings::build(&options) {
            Ok(_) => probe.reached("key: read"),
            Err(error) => {
                let said = format!("{error:#} {error:?}");
                assert!(!said.contains(PASSWORD), "the password is shown: {said}");
                let mut secrets = text.lines().filter(|line| line.len() > 40);
                assert!(!secrets.any(|line| said.contains(line)), "the key is shown: {said}");
                probe.reached("key: refused");
            }
        }
        let is_whole = self.change.is_empty() && self.password == Some(PASSWORD);
        assert!(!is_whole || TlsSettings::build(&options).is_ok(), "a good key is refused");
    }
}
