//! Which certificates are trusted, which are refused, and how it is said.

use rcgen::date_time_ymd;

use super::*;

const MODES: [SslMode; 5] =
    [SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

/// What psql says, too: with a root the chain is checked in every mode, the name in `verify-full`.
#[test]
fn the_table_of_modes() {
    let ca = authority("ours");
    let other = authority("theirs");
    let good = ca.sign(params(&["localhost"], "x"));
    let mut old = params(&["localhost"], "x");
    old.not_before = date_time_ymd(2019, 1, 1);
    old.not_after = date_time_ymd(2020, 1, 1);
    let expired = ca.sign(old);
    let mut new = params(&["localhost"], "x");
    new.not_before = date_time_ymd(2200, 1, 1);
    new.not_after = date_time_ymd(2300, 1, 1);
    let early = ca.sign(new);
    let alone = self_signed(params(&["localhost"], "alone"));
    let stranger = other.sign(params(&["localhost"], "x"));

    for mode in MODES {
        let verify = options(mode, ca.root());
        let tls = ErrorKind::Tls;
        assert!(connect(&verify, &Site::new(&good), "localhost").is_ok());
        let result = connect(&verify, &Site::new(&good), "db2");
        if mode == SslMode::VerifyFull {
            let text = "certificate is not for \"db2\" (it is for \"localhost\")";
            fails(result, tls, text, "hostaddr");
        } else {
            assert!(result.is_ok());
        }
        for (identity, text, hint) in [
            (&expired, "expired on 2020-01-01T00:00:00Z", "a new one"),
            (&early, "not valid before 2200-01-01", "clocks"),
            (&alone, "is self-signed, and not one of \"root.crt\"", "sslrootcert"),
            (&stranger, "not signed by an authority of \"root.crt\"", "sslrootcert"),
        ] {
            let result = connect(&verify, &Site::new(identity), "localhost");
            fails(result, tls, text, hint);
            let trusting = options(mode, Root::None);
            match mode {
                SslMode::VerifyCa | SslMode::VerifyFull => {
                    let result = TlsSettings::build(&trusting);
                    fails(result, ErrorKind::Config, "needs a root", "sslrootcert");
                }
                _ => assert!(connect(&trusting, &Site::new(identity), "db2").is_ok()),
            }
        }
    }
}

#[test]
fn a_self_signed_certificate_may_be_its_own_root() {
    for ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut with = params(&["localhost"], "alone");
        with.is_ca = ca;
        let alone = self_signed(with.clone());
        let verify = options(SslMode::VerifyFull, alone.root());
        assert!(connect(&verify, &Site::new(&alone), "localhost").is_ok());
        let result = connect(&verify, &Site::new(&alone), "db2");
        fails(result, ErrorKind::Tls, "not for \"db2\"", "hostaddr");
        // The same name is not the same certificate.
        let impostor = self_signed(with.clone());
        let result = connect(&verify, &Site::new(&impostor), "localhost");
        fails(result, ErrorKind::Tls, "is self-signed", "");
        with.not_after = date_time_ymd(2020, 1, 1);
        let expired = self_signed(with);
        let verify = options(SslMode::VerifyCa, expired.root());
        let result = connect(&verify, &Site::new(&expired), "localhost");
        fails(result, ErrorKind::Tls, "expired on 2020-01-01", "");
    }
}

/// psql 15 refuses this as well: only a certificate that signed itself can stand for itself.
#[test]
fn a_signed_certificate_is_not_its_own_root() {
    let ca = authority("ours");
    let leaf = ca.sign(params(&["localhost"], "x"));
    let verify = options(SslMode::VerifyCa, leaf.root());
    let result = connect(&verify, &Site::new(&leaf), "localhost");
    fails(result, ErrorKind::Tls, "is in \"root.crt\", and its authority (CN=ours) is not", "");
}

#[test]
fn names_as_libpq_sees_them() {
    let ca = authority("ours");
    let verify = options(SslMode::VerifyFull, ca.root());
    for (alternative, common_name, host, ok) in [
        (&["127.0.0.1"][..], "x", "127.0.0.1", true),
        (&["127.0.0.1"], "x", "127.0.0.2", false),
        (&["::1"], "x", "::1", true),
        (&["*.example.com"], "x", "db.example.com", true),
        (&["*.example.com"], "x", "a.db.example.com", false),
        (&["localhost"], "x", "LOCALHOST", true),
        (&["localhost"], "x", "localhost.", true),
        (&["my_db"], "x", "my_db", true),
        // The common name counts only without an alternative name of the host's kind.
        (&[], "localhost", "localhost", true),
        (&[], "*.example.com", "db.example.com", true),
        (&[], "localhost", "db2", false),
        (&[], "127.0.0.1", "127.0.0.1", true),
        (&["db2"], "localhost", "localhost", false),
        (&["127.0.0.1"], "localhost", "localhost", true),
        (&["db2"], "127.0.0.1", "127.0.0.1", true),
    ] {
        let identity = ca.sign(params(alternative, common_name));
        let result = connect(&verify, &Site::new(&identity), host);
        assert_eq!(result.is_ok(), ok, "{alternative:?} {common_name} {host}");
        if let Err(error) = result {
            assert!(error.to_string().contains("it is for \""), "{error}");
        }
    }
    for (host, text) in [("", "needs a host name"), ("a b", "\"a b\" is no host name")] {
        let good = ca.sign(params(&["localhost"], "x"));
        let result = connect(&verify, &Site::new(&good), host);
        fails(result, ErrorKind::Tls, text, "verify-ca");
        let lax = options(SslMode::VerifyCa, ca.root());
        assert!(connect(&lax, &Site::new(&good), host).is_ok());
    }
}

/// Two parts of DER: a tag and the length of what follows it.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let header = match value.len() {
        0..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [header, value].concat()
}

/// A certificate of version 1, as `openssl x509 -req` of OpenSSL 3.0 makes it: no extensions, so no
/// alternative names.
fn version_1(ca: &Identity, common_name: &str, years: [u8; 2]) -> Identity {
    use rcgen::{PublicKeyData as _, SigningKey as _};
    let key = KeyPair::generate().unwrap();
    let algorithm = der(0x30, &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let name = |text: &str| {
        let pair = der(0x30, &[&[0x06, 3, 0x55, 4, 3], &der(0x0c, &[text.as_bytes()])]);
        der(0x30, &[&der(0x31, &[&pair])])
    };
    let Some(rcgen::DnValue::Utf8String(issuer)) =
        ca.params.distinguished_name.get(&DnType::CommonName)
    else {
        panic!()
    };
    let date = |year: &[u8]| der(0x17, &[year, b"0101000000Z"]);
    let signed = der(
        0x30,
        &[
            &[0x02, 1, 1],
            &algorithm,
            &name(issuer),
            &der(0x30, &[&date(b"19"), &date(&years)]),
            &name(common_name),
            &key.subject_public_key_info(),
        ],
    );
    let signature = ca.key.sign(&signed).unwrap();
    let whole = der(0x30, &[&signed, &algorithm, &der(0x03, &[&[0], &signature])]);
    Identity {
        certificate: whole.into(),
        pem: String::new(),
        key,
        params: CertificateParams::default(),
    }
}

#[test]
fn version_1_is_as_good_as_in_libpq() {
    let ca = authority("ours");
    let other = authority("ours");
    let identity = version_1(&ca, "localhost", *b"49");
    for versions in [ONLY_12, ONLY_13] {
        let mut site = Site::new(&identity);
        site.versions = versions;
        for mode in MODES {
            assert!(connect(&options(mode, ca.root()), &site, "localhost").is_ok());
            let result = connect(&options(mode, other.root()), &site, "localhost");
            fails(result, ErrorKind::Tls, "not signed by an authority", "");
        }
        assert!(connect(&options(SslMode::Prefer, Root::None), &site, "x").is_ok());
    }
    let full = options(SslMode::VerifyFull, ca.root());
    let result = connect(&full, &Site::new(&identity), "db2");
    fails(result, ErrorKind::Tls, "(it is for \"localhost\")", "");
    let expired = version_1(&ca, "localhost", *b"20");
    let result = connect(&full, &Site::new(&expired), "localhost");
    fails(result, ErrorKind::Tls, "expired on 2020-01-01", "");
}

/// The server shows a certificate whose key it does not have.
#[test]
fn a_stolen_certificate_is_refused_in_every_mode() {
    let ca = authority("ours");
    for identity in [ca.sign(params(&["localhost"], "x")), version_1(&ca, "x", *b"49")] {
        let thief = Identity { key: KeyPair::generate().unwrap(), ..identity };
        for versions in [ONLY_12, ONLY_13] {
            let mut site = Site::new(&thief);
            site.versions = versions;
            let trusting = options(SslMode::Require, Root::None);
            let result = connect(&trusting, &site, "localhost");
            fails(result, ErrorKind::Tls, "does not belong to its key", "");
        }
    }
}

#[test]
fn roots() {
    let build = |mode, root| TlsSettings::build(&options(mode, root));
    let pem = |text: &str| Root::Pem { pem: text.into(), name: "root.crt".into() };
    let kind = ErrorKind::Config;
    let result = build(SslMode::VerifyCa, pem("nothing"));
    fails(result, kind, "\"root.crt\" has no certificate in it", "PEM");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let result = build(SslMode::VerifyCa, pem(broken));
    fails(result, kind, "\"root.crt\" cannot be used", "");
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let result = build(SslMode::VerifyCa, pem(broken));
    fails(result, kind, "\"root.crt\" is not in PEM", "");
    for mode in [SslMode::Prefer, SslMode::Require, SslMode::VerifyCa] {
        let result = build(mode, Root::System);
        fails(result, kind, "too weak for sslrootcert=system", "verify-full");
    }
    let disabled = build(SslMode::Disable, Root::System).unwrap();
    assert!(!disabled.offers_tls());
    // Several in one file, and text between them.
    let (first, second) = (authority("first"), authority("second"));
    let both = pem(&format!("first\n{}second\n{}", first.pem, second.pem));
    let good = second.sign(params(&["localhost"], "x"));
    let verify = options(SslMode::VerifyFull, both);
    assert!(connect(&verify, &Site::new(&good), "localhost").is_ok());
}
