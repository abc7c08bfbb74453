//! A chain of certificates as plain data, which the cases change before it is written.

use std::sync::Arc;

use super::der::{
    bits, boolean, general_names, integer, name, named_bits, octets, oid, sequence, time, tlv,
};
use super::keys::{Key, Kind, Signing, key};

/// Dates that hold, that have passed, that are to come.
pub(super) const VALID: [&str; 2] = ["200101000000Z", "491231235959Z"];
pub(super) const PAST: [&str; 2] = ["200101000000Z", "210101000000Z"];
pub(super) const FUTURE: [&str; 2] = ["450101000000Z", "491231235959Z"];

pub(super) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(super) const KEY_USAGE: &str = "2.5.29.15";
pub(super) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub(super) const ALTERNATIVE_NAMES: &str = "2.5.29.17";
pub(super) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(super) const SUBJECT_KEY: &str = "2.5.29.14";
pub(super) const AUTHORITY_KEY: &str = "2.5.29.35";
pub(super) const DISTRIBUTION_POINTS: &str = "2.5.29.31";

/// Bits of keyUsage.
pub(super) const DIGITAL_SIGNATURE: u8 = 0;
pub(super) const KEY_ENCIPHERMENT: u8 = 2;
pub(super) const KEY_AGREEMENT: u8 = 4;
pub(super) const CERT_SIGN: u8 = 5;
pub(super) const CRL_SIGN: u8 = 6;

/// An extension: object identifier, whether it is critical, contents.
pub(super) type Extension = (String, bool, Vec<u8>);

/// One certificate.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) subject: String,
    /// The certificate whose key signs, by its place.
    pub(super) signer: usize,
    /// The name of the issuer, if it is not the signer's subject.
    pub(super) issuer: Option<String>,
    pub(super) version: u8,
    pub(super) serial: u8,
    pub(super) key: (Kind, usize),
    pub(super) signing: Option<Signing>,
    pub(super) dates: [&'static str; 2],
    pub(super) extensions: Vec<Extension>,
    /// Whether its signature is changed.
    pub(super) is_forged: bool,
}

impl Spec {
    fn new(subject: &str, place: usize, signer: usize) -> Self {
        Self {
            subject: subject.to_owned(),
            signer,
            issuer: None,
            version: 3,
            serial: u8::try_from(place + 1).unwrap(),
            key: (Kind::P256, place),
            signing: None,
            dates: VALID,
            extensions: Vec::new(),
            is_forged: false,
        }
    }

    /// A server's certificate for `localhost`.
    pub(super) fn leaf(place: usize, signer: usize) -> Self {
        let mut spec = Self::new("CN=server", place, signer);
        spec.set(ALTERNATIVE_NAMES, false, sequence(&[&general_names(&["DNS:localhost"])]));
        spec
    }

    /// An authority with all that one should have.
    pub(super) fn authority(subject: &str, place: usize, signer: usize) -> Self {
        let mut spec = Self::new(subject, place, signer);
        spec.set(BASIC_CONSTRAINTS, true, sequence(&[&boolean(true)]));
        spec.usage(&[CERT_SIGN, CRL_SIGN]);
        spec
    }

    /// Puts an extension in, in place of the one that there is.
    pub(super) fn set(&mut self, kind: &str, is_critical: bool, contents: Vec<u8>) {
        self.remove(kind);
        self.extensions.push((kind.to_owned(), is_critical, contents));
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.extensions.retain(|(found, ..)| found != kind);
    }

    /// keyUsage with these bits.
    pub(super) fn usage(&mut self, set: &[u8]) {
        self.set(KEY_USAGE, true, named_bits(set));
    }

    /// extendedKeyUsage.
    pub(super) fn extended_usage(&mut self, uses: &[&str]) {
        let uses: Vec<u8> = uses.iter().flat_map(|dotted| oid(dotted)).collect();
        self.set(EXTENDED_KEY_USAGE, false, sequence(&[&uses]));
    }

    /// basicConstraints with CA:TRUE or CA:FALSE and a path length.
    pub(super) fn basic(&mut self, is_authority: bool, path_length: Option<u8>) {
        let flag = if is_authority { boolean(true) } else { Vec::new() };
        let length = path_length.map(integer).unwrap_or_default();
        self.set(BASIC_CONSTRAINTS, true, sequence(&[&flag, &length]));
    }

    /// subjectAltName.
    pub(super) fn alternative_names(&mut self, names: &[&str]) {
        self.set(ALTERNATIVE_NAMES, false, sequence(&[&general_names(names)]));
    }

    /// nameConstraints.
    pub(super) fn constraints(&mut self, permitted: &[&str], excluded: &[&str]) {
        let part = |number: u8, names: &[&str]| {
            let subtrees: Vec<u8> =
                names.iter().flat_map(|name| sequence(&[&general_names(&[name])])).collect();
            if names.is_empty() { Vec::new() } else { tlv(0xa0 | number, &[&subtrees]) }
        };
        let contents = sequence(&[&part(0, permitted), &part(1, excluded)]);
        self.set(NAME_CONSTRAINTS, true, contents);
    }

    /// Of version 1, without extensions.
    pub(super) fn version_1(&mut self) {
        self.version = 1;
        self.extensions.clear();
    }

    pub(super) fn key(&self) -> Arc<Key> {
        key(self.key.0, self.key.1)
    }
}

/// A revocation list.
#[derive(Debug, Clone)]
pub(super) struct ListSpec {
    /// The certificate whose name it has, and that whose key signs it.
    pub(super) issuer: usize,
    pub(super) signer: usize,
    pub(super) signing: Option<Signing>,
    /// This update and the next.
    pub(super) dates: [&'static str; 2],
    /// Serial numbers with the extensions of their entries.
    pub(super) revoked: Vec<(u8, Vec<Extension>)>,
    pub(super) extensions: Vec<Extension>,
}

impl ListSpec {
    pub(super) fn of(issuer: usize) -> Self {
        Self {
            issuer,
            signer: issuer,
            signing: None,
            dates: VALID,
            revoked: Vec::new(),
            extensions: Vec::new(),
        }
    }

    pub(super) fn revoke(&mut self, serial: u8) {
        self.revoked.push((serial, Vec::new()));
    }

    pub(super) fn set(&mut self, kind: &str, is_critical: bool, contents: Vec<u8>) {
        self.extensions.push((kind.to_owned(), is_critical, contents));
    }
}

/// Where a client finds the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    Nowhere,
    /// `sslcrl`.
    File,
    /// `sslcrldir`, with the names that `openssl rehash` gives.
    Folder,
    /// `sslcrldir`, with names of no list.
    FolderOfOtherNames,
    /// `~/.postgresql/root.crl`.
    Home,
    /// The file of `sslrootcert`, and none of their own.
    Root,
    /// The file of `sslrootcert`, and a `sslcrldir` without any.
    RootAndFolder,
}

/// All that a case is made of.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// The server's certificate first, its root last.
    pub(super) specs: Vec<Spec>,
    /// Which of them the server sends, in order.
    pub(super) sent: Vec<usize>,
    /// Which of them are in `sslrootcert`.
    pub(super) roots: Vec<usize>,
    pub(super) lists: Vec<ListSpec>,
    pub(super) where_lists_are: Lists,
    pub(super) host: &'static str,
    pub(super) only_tls12: bool,
}

impl Chain {
    /// A server's certificate below so many authorities; 0 for a self-signed one.
    pub(super) fn of(authorities: usize) -> Self {
        let mut specs = vec![Spec::leaf(0, usize::from(authorities > 0))];
        for place in 1..=authorities {
            let is_root = place == authorities;
            let subject =
                if is_root { "O=tests/CN=root".into() } else { format!("CN=between {place}") };
            specs.push(Spec::authority(&subject, place, if is_root { place } else { place + 1 }));
        }
        Self {
            sent: (0..authorities.max(1)).collect(),
            roots: vec![authorities],
            specs,
            lists: Vec::new(),
            where_lists_are: Lists::Nowhere,
            host: "localhost",
            only_tls12: false,
        }
    }

    pub(super) fn leaf(&mut self) -> &mut Spec {
        &mut self.specs[0]
    }

    pub(super) fn root(&mut self) -> &mut Spec {
        self.specs.last_mut().unwrap()
    }

    /// The issuer of the server's certificate.
    pub(super) fn issuer(&mut self) -> &mut Spec {
        let place = 1.min(self.specs.len() - 1);
        &mut self.specs[place]
    }

    /// Lists of all authorities, in a file.
    pub(super) fn with_lists(&mut self) -> &mut Self {
        let first = 1.min(self.specs.len() - 1);
        self.lists = (first..self.specs.len()).map(ListSpec::of).collect();
        self.where_lists_are = Lists::File;
        self
    }

    /// The kinds of keys and signatures, everywhere.
    pub(super) fn all_keys(&mut self, kind: Kind, signing: Option<Signing>) {
        for (place, spec) in self.specs.iter_mut().enumerate() {
            spec.key = (kind, place);
            spec.signing = signing;
        }
    }

    /// Whether the program `openssl` must help to make it, or to look for its lists.
    pub(super) fn needs_openssl(&self) -> bool {
        let has_key = |kind: Kind| {
            matches!(kind, Kind::P256 | Kind::P384 | Kind::P521 | Kind::Rsa | Kind::Ed25519)
        };
        let signs = |signer: usize, signing: Option<Signing>| match signing {
            None => true,
            Some(Signing::Rsa(hash)) => matches!(hash, 256 | 384 | 512),
            Some(signing) => signing == self.specs[signer].key().kind.default_signing(),
        };
        let is_made =
            self.specs.iter().all(|spec| has_key(spec.key.0) && signs(spec.signer, spec.signing))
                && self.lists.iter().all(|list| signs(list.signer, list.signing));
        !is_made || self.where_lists_are == Lists::Folder
    }

    fn issuer_name(&self, spec: &Spec) -> Vec<u8> {
        name(spec.issuer.as_ref().unwrap_or(&self.specs[spec.signer].subject))
    }

    /// The certificate at this place, in DER.
    pub(super) fn certificate(&self, place: usize) -> Vec<u8> {
        let spec = &self.specs[place];
        let signer = self.specs[spec.signer].key();
        let signing = spec.signing.unwrap_or_else(|| signer.kind.default_signing());
        let version =
            if spec.version == 1 { Vec::new() } else { tlv(0xa0, &[&integer(spec.version - 1)]) };
        let contents = sequence(&[
            &version,
            &integer(spec.serial),
            &signing.identifier(),
            &self.issuer_name(spec),
            &sequence(&[&time(spec.dates[0]), &time(spec.dates[1])]),
            &name(&spec.subject),
            &spec.key().info,
            &extensions(3, &spec.extensions),
        ]);
        signed(&contents, &signer, signing, spec.is_forged)
    }

    /// A revocation list, in DER.
    pub(super) fn list(&self, list: &ListSpec) -> Vec<u8> {
        let signer = self.specs[list.signer].key();
        let signing = list.signing.unwrap_or_else(|| signer.kind.default_signing());
        let entries: Vec<u8> = list
            .revoked
            .iter()
            .flat_map(|(serial, more)| {
                sequence(&[&integer(*serial), &time(VALID[0]), &inner_extensions(more)])
            })
            .collect();
        let entries = if entries.is_empty() { entries } else { sequence(&[&entries]) };
        let next = if list.dates[1].is_empty() { Vec::new() } else { time(list.dates[1]) };
        let contents = sequence(&[
            &integer(1),
            &signing.identifier(),
            &name(&self.specs[list.issuer].subject),
            &time(list.dates[0]),
            &next,
            &entries,
            &extensions(0, &list.extensions),
        ]);
        signed(&contents, &signer, signing, false)
    }
}

fn inner_extensions(list: &[Extension]) -> Vec<u8> {
    let all: Vec<u8> = list
        .iter()
        .flat_map(|(kind, is_critical, contents)| {
            let critical = if *is_critical { boolean(true) } else { Vec::new() };
            sequence(&[&oid(kind), &critical, &octets(contents)])
        })
        .collect();
    if list.is_empty() { all } else { sequence(&[&all]) }
}

fn extensions(number: u8, list: &[Extension]) -> Vec<u8> {
    if list.is_empty() { Vec::new() } else { tlv(0xa0 | number, &[&inner_extensions(list)]) }
}

pub(super) fn signed(contents: &[u8], signer: &Key, signing: Signing, is_forged: bool) -> Vec<u8> {
    let mut signature = signer.sign(signing, contents);
    if is_forged {
        // Still a whole signature, of something else.
        signature = signer.sign(signing, b"something else");
    }
    sequence(&[contents, &signing.identifier(), &bits(&signature)])
}
