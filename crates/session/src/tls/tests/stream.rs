//! What goes over the connection: bytes cut anywhere, alerts, damage, versions, names, our own
//! certificate.

use std::io::{Read as _, Write as _};

use sha2::{Digest as _, Sha256, Sha384};

use super::*;
use crate::auth::Channel;
use crate::config::{Password, SslNegotiation, TlsVersion};

#[test]
fn what_a_login_is_bound_to() {
    let end_point = |identity: &Identity| {
        let options = options(SslMode::Require, Root::None);
        let pair = connect(&options, &Site::new(identity), "x").unwrap();
        match pair.client.channel() {
            Channel::Tls { server_end_point } => server_end_point,
            Channel::Plain => panic!(),
        }
    };
    let ca = authority("ours");
    let p256 = ca.sign(params(&["localhost"], "x"));
    assert_eq!(end_point(&p256), Some(Sha256::digest(&p256.certificate).to_vec()));

    // What counts is how the certificate is signed, not what key it has.
    let signer = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = authority("x").params;
        let certificate = params.self_signed(&key).unwrap();
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key, params }
    };
    let p384 = signer(&rcgen::PKCS_ECDSA_P384_SHA384).sign(params(&["localhost"], "x"));
    assert_eq!(end_point(&p384), Some(Sha384::digest(&p384.certificate).to_vec()));
    let ed25519 = signer(&rcgen::PKCS_ED25519).sign(params(&["localhost"], "x"));
    assert_eq!(end_point(&ed25519), None);
    let key_only = ca.sign_by(params(&["localhost"], "x"), &rcgen::PKCS_ED25519);
    assert!(end_point(&key_only).is_some());
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let verify = options(SslMode::VerifyFull, ca.root());
    for versions in [ONLY_12, ONLY_13] {
        let mut site = Site::new(&good);
        site.versions = versions;
        let mut pair = Pair::new(&verify, &site, "localhost").unwrap();
        pair.step = 1;
        assert_eq!(pair.client.alpn_is_postgresql(), None);
        // Given before the handshake, it waits for its end.
        pair.client.send(b"early").unwrap();
        pair.run().unwrap();
        assert_eq!(pair.client.alpn_is_postgresql(), Some(true));
        let answer = vec![b'x'; 100_000];
        pair.server.set_buffer_limit(None);
        pair.server.writer().write_all(&answer).unwrap();
        pair.server.send_close_notify();
        pair.run().unwrap();
        assert!(pair.received == answer);
        assert!(pair.client.is_closed());
        let mut asked = [0; 5];
        pair.server.reader().read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"early");
        pair.client.receive(b"after the end", &mut pair.received).unwrap();
        assert!(pair.received == answer);
        pair.client.close();
        pair.deliver();
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn large_sends_arrive() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let verify = options(SslMode::VerifyFull, ca.root());
    let mut pair = connect(&verify, &Site::new(&good), "localhost").unwrap();
    let question = vec![b'q'; 300_000];
    pair.client.send(&question).unwrap();
    let mut bytes = Vec::new();
    pair.client.output(&mut bytes);
    let mut arrived = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        pair.server.read_tls(&mut rest).unwrap();
        pair.server.process_new_packets().unwrap();
        let _ = pair.server.reader().read_to_end(&mut arrived);
    }
    assert!(arrived == question);
}

#[test]
fn garbage() {
    let settings = TlsSettings::build(&options(SslMode::Require, Root::None)).unwrap();
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EFATAL: sorry, too many clients already",
        &[0xff; 64],
        &[0x16, 3, 3, 0, 4, 1, 0, 0, 0],
    ] {
        let mut tls = Tls::new(&settings, "localhost").unwrap();
        let result = tls.receive(bytes, &mut Vec::new());
        fails(result, ErrorKind::Protocol, "what the server sent is not TLS", "");
        let again = tls.receive(b"more", &mut Vec::new());
        assert!(again.is_err());
    }
}

/// What was whole before the damage is delivered, however the bytes are cut.
#[test]
fn a_record_that_was_changed() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let verify = options(SslMode::VerifyFull, ca.root());
    for step in [1, usize::MAX] {
        let mut pair = connect(&verify, &Site::new(&good), "localhost").unwrap();
        pair.server.writer().write_all(b"genuine").unwrap();
        let mut bytes = pair.collect();
        pair.server.writer().write_all(b"changed").unwrap();
        let mut second = pair.collect();
        *second.last_mut().unwrap() ^= 1;
        bytes.extend(second);
        let mut received = Vec::new();
        let result = bytes
            .chunks(step.min(bytes.len()))
            .try_for_each(|piece| pair.client.receive(piece, &mut received));
        fails(result, ErrorKind::Tls, "changed on the way", "");
        assert_eq!(received, b"genuine");
        assert!(pair.deliver() > 0, "an alert");
    }
}

/// Its contents are those of no key.
const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";

#[test]
fn client_certificates() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let mine = ca.sign(params(&[], "alice"));
    let stranger = authority("theirs").sign(params(&[], "alice"));
    let namesake = authority("ours").sign(params(&[], "alice"));
    for (versions, missing) in [(ONLY_13, "demands a client certificate"), (ONLY_12, "the server")]
    {
        let mut site = Site::new(&good);
        site.versions = versions;
        site.demands = Some(&ca);
        let mut verify = options(SslMode::VerifyFull, ca.root());
        let result = connect(&verify, &site, "localhost");
        fails(result, ErrorKind::Tls, missing, "sslcert");
        verify.client = Some(mine.client());
        assert!(connect(&verify, &site, "localhost").is_ok());
        verify.client_required = true;
        assert!(connect(&verify, &site, "localhost").is_ok());
        site.demands = None;
        fails(connect(&verify, &site, "localhost"), ErrorKind::Tls, "did not ask", "ssl_ca_file");
        site.demands = Some(&ca);
        verify.client_required = false;
        verify.client = Some(stranger.client());
        let result = connect(&verify, &site, "localhost");
        fails(result, ErrorKind::Tls, "our certificate", "sslcert");
        verify.client = Some(namesake.client());
        let result = connect(&verify, &site, "localhost");
        fails(result, ErrorKind::Tls, "wrong signature on our certificate", "sslcert");
    }

    let mut verify = options(SslMode::VerifyFull, ca.root());
    let mut client = mine.client();
    client.key = stranger.client().key;
    for (client, text, hint) in [
        (client, "\"my.crt\" does not match private key file \"my.key\"", ""),
        (
            ClientCertificate { key: Password::from(ENCRYPTED), ..mine.client() },
            "\"my.key\" is encrypted, and no password was given for it",
            "sslpassword",
        ),
        (
            ClientCertificate {
                key: Password::from(ENCRYPTED),
                key_password: Some(Password::from("hush")),
                ..mine.client()
            },
            "\"my.key\" is encrypted and cannot be read",
            "",
        ),
        (
            ClientCertificate { key: Password::from("hush"), ..mine.client() },
            "has no private key in it",
            "PEM",
        ),
        (
            ClientCertificate { certificate: b"text".to_vec(), ..mine.client() },
            "\"my.crt\" has no certificate in it",
            "PEM",
        ),
    ] {
        assert!(!format!("{client:?}").contains("PRIVATE KEY"));
        verify.client = Some(client);
        let result = TlsSettings::build(&verify);
        let error = fails(result, ErrorKind::Config, text, hint);
        assert!(!format!("{error:#}").contains("hush"));
    }
}

#[test]
fn direct_negotiation_needs_alpn() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let mut site = Site::new(&good);
    let mut verify = options(SslMode::VerifyFull, ca.root());
    verify.negotiation = SslNegotiation::Direct;
    let pair = connect(&verify, &site, "localhost").unwrap();
    assert_eq!(pair.client.alpn_is_postgresql(), Some(true));
    site.alpn = false;
    let result = connect(&verify, &site, "localhost");
    fails(result, ErrorKind::Tls, "ALPN", "sslnegotiation=postgres");
    verify.negotiation = SslNegotiation::Postgres;
    let pair = connect(&verify, &site, "localhost").unwrap();
    assert_eq!(pair.client.alpn_is_postgresql(), Some(false));
}

#[test]
fn versions() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    let mut site = Site::new(&good);
    site.versions = ONLY_12;
    let mut options = options(SslMode::Require, Root::None);
    options.min_version = Some(TlsVersion::V1_3);
    let result = connect(&options, &site, "localhost");
    fails(result, ErrorKind::Tls, "in common", "ssl_min_protocol_version");
    options.min_version = None;
    options.max_version = Some(TlsVersion::V1_2);
    assert!(connect(&options, &site, "localhost").is_ok());
    options.min_version = Some(TlsVersion::V1_3);
    let result = TlsSettings::build(&options);
    fails(result, ErrorKind::Config, "no TLS version", "TLSv1.2");
}

#[test]
fn the_name_is_sent_only_when_it_may_be() {
    let ca = authority("ours");
    let good = ca.sign(params(&["localhost"], "x"));
    for (sni, host, name) in [
        (true, "db.example.com", Some("db.example.com")),
        (false, "db.example.com", None),
        (true, "127.0.0.1", None),
        (true, "::1", None),
        (true, "", None),
        (true, "a b", None),
    ] {
        let mut options = options(SslMode::Require, Root::None);
        options.sni = sni;
        let pair = connect(&options, &Site::new(&good), host).unwrap();
        assert_eq!(pair.server.server_name(), name);
    }
}

proptest::proptest! {
    /// A certificate that was changed anywhere is read or not, and nothing worse.
    #[test]
    fn damaged_certificates(at in 0..2000_usize, byte in 0..=255_u8, cut in 0..2000_usize) {
        let mut bytes = CERTIFICATE.clone();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - (cut % length) * usize::from(cut % 2 == 0));
        if let Some(certificate) = x509::Certificate::read(&bytes) {
            let _ = (certificate.names(), certificate.is_for("localhost"), certificate.end_point());
        }
    }

    /// Whatever a server sends first.
    #[test]
    fn damaged_handshakes(at in 0..4000_usize, byte in 0..=255_u8, step in 1..900_usize) {
        let options = options(SslMode::Require, Root::None);
        let mut pair = Pair::new(&options, &Site::new(&SITE), "localhost").unwrap();
        pair.deliver();
        let mut bytes = pair.collect();
        let length = bytes.len();
        bytes[at % length] = byte;
        for piece in bytes.chunks(step) {
            if let Err(error) = pair.client.receive(piece, &mut pair.received) {
                let kind = error.kind();
                proptest::prop_assert!(matches!(kind, ErrorKind::Tls | ErrorKind::Protocol));
            }
        }
    }
}
