//! Whole logins against a small server, and everything that is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::key::hmac;
use super::*;
use crate::config::AuthenticationMethod as Method;

const NONCE: [u8; NONCE_BYTES] = *b"eighteen bytes: 18";
const SALT: &[u8] = b"0123456789abcdef";

fn login() -> Login {
    Login {
        user: "alice".into(),
        password: Some(Secret::new("pencil")),
        require_auth: RequireAuth::default(),
        channel_binding: ChannelBinding::Prefer,
        keys: KeyCache::default(),
    }
}

fn start(login: &Login) -> Authentication {
    Authentication::new(login.clone(), NONCE)
}

fn tls() -> Channel {
    Channel::Tls {
        server_end_point: Some(vec![7; 32]),
    }
}

fn tls_without_hash() -> Channel {
    Channel::Tls {
        server_end_point: None,
    }
}

fn message(code: u32, rest: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), rest].concat()
}

const OK: [u8; 4] = [0; 4];

fn sasl(names: &[&str]) -> Vec<u8> {
    let list: String = names.iter().map(|name| format!("{name}\0")).collect();
    message(10, format!("{list}\0").as_bytes())
}

fn sent(step: Result<Step>) -> Vec<u8> {
    match step {
        Ok(Step::Send(body)) => body,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn fails<T: fmt::Debug>(result: Result<T>, kind: ErrorKind, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    assert!(!format!("{error:#}").contains("pencil"));
}

/// The server's half of SCRAM, with the wrong turns that the tests want.
struct Server {
    password: &'static str,
    iterations: u32,
    mechanism: String,
    client_first: String,
    server_first: String,
}

impl Server {
    fn new(password: &'static str) -> Self {
        Self {
            password,
            iterations: 4096,
            mechanism: String::new(),
            client_first: String::new(),
            server_first: String::new(),
        }
    }

    fn nonce(&self) -> &str {
        self.client_first.split_once("n=,r=").unwrap().1
    }

    fn gs2(&self) -> &str {
        self.client_first.split_once("n=,r=").unwrap().0
    }

    fn begin(&mut self, body: &[u8]) {
        let end = body.iter().position(|&byte| byte == 0).unwrap();
        self.mechanism = String::from_utf8(body[..end].to_vec()).unwrap();
        let (length, text) = body[end + 1..].split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, text.len());
        self.client_first = String::from_utf8(text.to_vec()).unwrap();
    }

    fn first(&mut self) -> Vec<u8> {
        let salt = BASE64.encode(SALT);
        self.server_first = format!("r={}SERVER,s={salt},i={}", self.nonce(), self.iterations);
        message(11, self.server_first.as_bytes())
    }

    /// Checks the proof and what the login is bound to.
    fn last(&self, body: &[u8], channel: &Channel) -> Option<Vec<u8>> {
        let text = str::from_utf8(body).unwrap();
        let (without_proof, proof) = text.rsplit_once(",p=").unwrap();
        let hash: &[u8] = match channel {
            Channel::Tls {
                server_end_point: Some(hash),
            } if self.gs2().starts_with('p') => hash,
            _ => b"",
        };
        let bound_to = BASE64.encode([self.gs2().as_bytes(), hash].concat());
        assert_eq!(
            without_proof,
            format!("c={bound_to},r={}SERVER", self.nonce())
        );
        let key = KeyDerivation::new(self.password.into(), SALT.to_vec(), self.iterations).run();
        let bare = format!("n=,r={}", self.nonce());
        let signed = format!("{bare},{},{without_proof}", self.server_first);
        let signature = hmac(&key.stored_key, signed.as_bytes());
        let proof = BASE64.decode(proof).unwrap();
        let matches = proof
            .iter()
            .zip(signature)
            .zip(key.client_key)
            .all(|((proof, signature), key)| proof ^ signature == key);
        let v = BASE64.encode(hmac(&key.server_key, signed.as_bytes()));
        (proof.len() == 32 && matches).then(|| message(12, format!("v={v}").as_bytes()))
    }
}

/// As far as the proof: the login, the server, and what the login sent.
fn proof(
    login: &Login,
    channel: &Channel,
    offered: &[&str],
) -> (Authentication, Server, Vec<u8>, bool) {
    let mut client = start(login);
    let mut server = Server::new("pencil");
    server.begin(&sent(client.receive(&sasl(offered), channel)));
    let (body, derived) = match client.receive(&server.first(), channel).unwrap() {
        Step::Derive(work) => {
            assert_eq!(work.iterations(), server.iterations);
            (sent(client.derived(work.run())), true)
        }
        Step::Send(body) => (body, false),
        other => panic!("{other:?}"),
    };
    (client, server, body, derived)
}

/// A whole login, which must succeed: mechanism, gs2 header, and whether a key was derived.
fn scram(login: &Login, channel: &Channel, offered: &[&str]) -> (String, String, bool) {
    let (mut client, server, body, derived) = proof(login, channel, offered);
    let last = server.last(&body, channel).expect("the proof is right");
    assert!(matches!(client.receive(&last, channel), Ok(Step::Wait)));
    assert!(matches!(
        client.receive(&OK, channel),
        Ok(Step::Authenticated)
    ));
    let gs2 = server.gs2().to_owned();
    (server.mechanism, gs2, derived)
}

/// RFC 7677, section 3; the name there is "user", which is part of what is signed.
#[test]
fn the_example_of_rfc_7677() {
    let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let key = KeyDerivation::new(b"pencil".to_vec(), salt, 4096).run();
    let mut proof = hmac(&key.stored_key, signed.as_bytes());
    for (byte, key) in proof.iter_mut().zip(key.client_key) {
        *byte ^= key;
    }
    assert_eq!(
        BASE64.encode(proof),
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(
        BASE64.encode(hmac(&key.server_key, signed.as_bytes())),
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
}

#[test]
fn scram_chooses_what_it_is_bound_to() {
    use ChannelBinding::{Disable, Prefer, Require};
    let plain = &["SCRAM-SHA-256"][..];
    let both = &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"][..];
    let plus = &["SCRAM-SHA-256-PLUS"][..];
    let bound = "p=tls-server-end-point,,";
    for (binding, channel, offered, mechanism, gs2) in [
        (Prefer, Channel::Plain, plain, "SCRAM-SHA-256", "n,,"),
        (Prefer, tls(), both, "SCRAM-SHA-256-PLUS", bound),
        (Prefer, tls(), plus, "SCRAM-SHA-256-PLUS", bound),
        (Prefer, tls(), plain, "SCRAM-SHA-256", "y,,"),
        (Prefer, tls_without_hash(), both, "SCRAM-SHA-256", "n,,"),
        (Prefer, tls_without_hash(), plain, "SCRAM-SHA-256", "n,,"),
        (Disable, tls(), both, "SCRAM-SHA-256", "n,,"),
        (Disable, tls(), plain, "SCRAM-SHA-256", "n,,"),
        (Require, tls(), both, "SCRAM-SHA-256-PLUS", bound),
    ] {
        let mut login = login();
        login.channel_binding = binding;
        let (m, g, _) = scram(&login, &channel, offered);
        assert_eq!((m.as_str(), g.as_str()), (mechanism, gs2), "{binding:?}");
    }
}

#[test]
fn a_key_is_derived_once_and_only_a_proved_one_is_kept() {
    let login = login();
    let plain = &["SCRAM-SHA-256"];
    let (mut client, server, body, derived) = proof(&login, &Channel::Plain, plain);
    assert!(derived);
    // The server went away before it proved itself: nothing is remembered.
    let (_, _, _, derived) = proof(&login, &Channel::Plain, plain);
    assert!(derived);
    let last = server.last(&body, &Channel::Plain).unwrap();
    client.receive(&last, &Channel::Plain).unwrap();
    let (_, _, derived) = scram(&login, &Channel::Plain, plain);
    assert!(!derived);
    let other = Login {
        password: Some(Secret::new("crayon")),
        ..login
    };
    let (_, server, body, derived) = proof(&other, &Channel::Plain, plain);
    assert!(derived);
    assert!(
        server.last(&body, &Channel::Plain).is_none(),
        "wrong password"
    );
}

#[test]
fn one_iteration_is_allowed() {
    let login = login();
    let mut client = start(&login);
    let mut server = Server::new("pencil");
    server.iterations = 1;
    server.begin(&sent(
        client.receive(&sasl(&["SCRAM-SHA-256"]), &Channel::Plain),
    ));
    let Ok(Step::Derive(work)) = client.receive(&server.first(), &Channel::Plain) else {
        panic!()
    };
    let body = sent(client.derived(work.run()));
    assert!(server.last(&body, &Channel::Plain).is_some());
}

#[test]
fn trust_cleartext_and_md5() {
    let login = login();
    let mut trust = start(&login);
    assert!(matches!(
        trust.receive(&OK, &Channel::Plain),
        Ok(Step::Authenticated)
    ));

    let mut clear = start(&login);
    let body = sent(clear.receive(&message(3, b""), &Channel::Plain));
    assert_eq!(body, b"pencil\0");
    assert!(matches!(
        clear.receive(&OK, &Channel::Plain),
        Ok(Step::Authenticated)
    ));

    let mut md5 = start(&login);
    let body = sent(md5.receive(&message(5, &[1, 2, 3, 4]), &Channel::Plain));
    assert!(body.starts_with(b"md5") && body.ends_with(b"\0") && body.len() == 36);
    assert!(matches!(
        md5.receive(&OK, &Channel::Plain),
        Ok(Step::Authenticated)
    ));
}

#[test]
fn require_auth_comes_before_everything() {
    let ask = |methods: &[Method], body: &[u8]| {
        let mut login = login();
        login.require_auth = RequireAuth::only(methods.iter().copied());
        start(&login).receive(body, &Channel::Plain)
    };
    let scram = &[Method::ScramSha256];
    let kind = ErrorKind::Authentication;
    let not_allowed = "which require_auth does not allow";
    for (body, text) in [
        (OK.to_vec(), "lets us in without asking for anything"),
        (message(3, b""), "in clear text"),
        (message(5, b"salt"), "an MD5 hash"),
        (message(7, b""), "GSSAPI"),
        (message(9, b""), "SSPI"),
    ] {
        fails(ask(scram, &body), kind, text);
        fails(ask(scram, &body), kind, not_allowed);
    }
    let body = sasl(&["SCRAM-SHA-256"]);
    fails(ask(&[Method::Md5], &body), kind, not_allowed);
    assert!(ask(scram, &body).is_ok());
    assert!(ask(&[Method::None], &OK).is_ok());

    let mut login = login();
    login.require_auth = RequireAuth::all_but([Method::Password, Method::Md5]);
    let ask = |body: &[u8]| start(&login).receive(body, &Channel::Plain);
    fails(ask(&message(3, b"")), kind, not_allowed);
    assert!(ask(&OK).is_ok());
    let error = ask(&message(5, b"salt")).unwrap_err();
    assert_eq!(error.hint(), Some("require_auth calls this method \"md5\""));
}

#[test]
fn channel_binding_require_is_kept() {
    let mut login = login();
    login.channel_binding = ChannelBinding::Require;
    let ask = |body: &[u8], channel: &Channel| start(&login).receive(body, channel);
    let both = sasl(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    let plain = sasl(&["SCRAM-SHA-256"]);
    let kind = ErrorKind::Authentication;
    for (body, channel, text) in [
        (OK.to_vec(), tls(), "lets us in without asking"),
        (message(3, b""), tls(), "in clear text"),
        (message(5, b"salt"), tls(), "an MD5 hash"),
        (plain.clone(), tls(), "does not offer SCRAM-SHA-256-PLUS"),
        (plain, Channel::Plain, "does not use TLS"),
        (both, tls_without_hash(), "names no hash"),
    ] {
        let result = ask(&body, &channel);
        fails(result, kind, "channel_binding=require cannot be kept");
        fails(ask(&body, &channel), kind, text);
    }
}

#[test]
fn mechanisms_that_cannot_be_used() {
    let kind = ErrorKind::Authentication;
    let ask = |names: &[&str], channel: &Channel| start(&login()).receive(&sasl(names), channel);
    fails(ask(&["OAUTHBEARER"], &tls()), kind, "no SASL mechanism");
    fails(ask(&[], &Channel::Plain), kind, "no SASL mechanism");
    let plus = &["SCRAM-SHA-256-PLUS"];
    fails(ask(plus, &Channel::Plain), kind, "without TLS");
    fails(ask(plus, &tls_without_hash()), kind, "no SASL mechanism");
    let mut login = login();
    login.channel_binding = ChannelBinding::Disable;
    let result = start(&login).receive(&sasl(plus), &tls());
    fails(result, kind, "no SASL mechanism");
}

#[test]
fn no_password() {
    for password in [None, Some(Secret::new(""))] {
        let mut login = login();
        login.password = password;
        for body in [
            message(3, b""),
            message(5, b"salt"),
            sasl(&["SCRAM-SHA-256"]),
        ] {
            let error = start(&login).receive(&body, &Channel::Plain).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication);
            assert_eq!(
                error.to_string(),
                "the server asks for a password and none was given"
            );
            for word in ["password=", "PGPASSWORD", "~/.pgpass"] {
                assert!(error.hint().unwrap().contains(word));
            }
        }
    }
    let mut login = login();
    login.password = Some(Secret::new("a\0b"));
    let result = start(&login).receive(&message(3, b""), &Channel::Plain);
    fails(result, ErrorKind::Authentication, "NUL");
}

#[test]
fn unsupported_methods_are_named() {
    for (code, name) in [
        (1, "Kerberos"),
        (2, "Kerberos"),
        (4, "crypt()"),
        (6, "SCM credentials"),
        (7, "GSSAPI"),
        (8, "GSSAPI"),
        (9, "SSPI"),
        (13, "code 13"),
        (u32::MAX, "code 4294967295"),
    ] {
        let ask = || start(&login()).receive(&message(code, b"x"), &Channel::Plain);
        fails(ask(), ErrorKind::Authentication, name);
        fails(ask(), ErrorKind::Authentication, "which is not supported");
        assert!(ask().unwrap_err().hint().unwrap().contains("scram-sha-256"));
    }
}

#[test]
fn wrong_lengths() {
    for body in [
        vec![],
        vec![0, 0, 0],
        message(0, b"x"),
        message(3, b"x"),
        message(5, b"sal"),
        message(5, b"salty"),
        message(10, b"SCRAM-SHA-256\0"),
    ] {
        let result = start(&login()).receive(&body, &Channel::Plain);
        fails(result, ErrorKind::Protocol, "wrong length");
    }
}

#[test]
fn bad_first_messages() {
    let ours = BASE64.encode(NONCE);
    let first = |text: &str| {
        let mut client = start(&login());
        sent(client.receive(&sasl(&["SCRAM-SHA-256"]), &Channel::Plain));
        client.receive(&message(11, text.as_bytes()), &Channel::Plain)
    };
    let long = "x".repeat(crate::limits::SCRAM_FIELD_BYTES);
    for (text, reason) in [
        (String::new(), "has no nonce"),
        (format!("r={ours}"), "has no salt"),
        (format!("r={ours},s=QQ==,i=1"), "does not extend ours"),
        ("r=other,s=QQ==,i=1".into(), "does not extend ours"),
        (format!("r={ours}\u{7f},s=QQ==,i=1"), "unprintable"),
        (
            format!("r={ours}{long},s=QQ==,i=1"),
            "nonce that is too long",
        ),
        (format!("m=x,r={ours}1,s=QQ==,i=1"), "demands an extension"),
        (format!("r={ours}1,i=1"), "has no salt"),
        (format!("r={ours}1,s=,i=1"), "has an empty salt"),
        (format!("r={ours}1,s=Q,i=1"), "salt that is not base64"),
        (format!("r={ours}1,s=QQ,i=1"), "salt that is not base64"),
        (format!("r={ours}1,s={long}1,i=1"), "salt that is too long"),
        (format!("r={ours}1,s=QQ=="), "has no iteration count"),
        (format!("r={ours}1,s=QQ==,i="), "not a number"),
        (format!("r={ours}1,s=QQ==,i=-1"), "not a number"),
        (format!("r={ours}1,s=QQ==,i=+1"), "not a number"),
        (format!("r={ours}1,s=QQ==,i=1\0"), "not a number"),
        (format!("r={ours}1,s=QQ==,i=0"), "count of 0"),
        (format!("r={ours}1,s=QQ==,i=01"), "begins with 0"),
        (format!("r={ours}1,s=QQ==,i=1,x=1"), "goes on after"),
    ] {
        fails(first(&text), ErrorKind::Protocol, reason);
    }
    for count in ["100001", "2147483648", "100000000000000000000"] {
        let result = first(&format!("r={ours}1,s=QQ==,i={count}"));
        let text = "more than 100000 SCRAM iterations";
        fails(result, ErrorKind::Authentication, text);
    }
    assert!(first(&format!("r={ours}1,s=QQ==,i=100000")).is_ok());
    let refusal = first("e=unknown-user\u{7},x");
    fails(refusal, ErrorKind::Authentication, "SCRAM: unknown-user)");

    let mut client = start(&login());
    sent(client.receive(&sasl(&["SCRAM-SHA-256"]), &Channel::Plain));
    let result = client.receive(&message(11, b"r=\xff"), &Channel::Plain);
    fails(result, ErrorKind::Protocol, "is not text");
}

#[test]
fn bad_last_messages() {
    let offered = &["SCRAM-SHA-256"];
    let login = login();
    let after = |change: &dyn Fn(String) -> String| {
        let (mut client, server, body, _) = proof(&login, &Channel::Plain, offered);
        let last = server.last(&body, &Channel::Plain).unwrap();
        let text = String::from_utf8(last[4..].to_vec()).unwrap();
        client.receive(&message(12, change(text).as_bytes()), &Channel::Plain)
    };
    let protocol = ErrorKind::Protocol;
    fails(after(&|_| String::new()), protocol, "has no signature");
    fails(after(&|v| format!("{v},{v}")), protocol, "goes on after");
    fails(after(&|v| v + "!"), protocol, "not base64");
    let refused = ErrorKind::Authentication;
    let proof_missing = "the server could not prove that it knows the password";
    let wrong = || BASE64.encode([0; 32]);
    fails(after(&|_| format!("v={}", wrong())), refused, proof_missing);
    fails(after(&|_| "v=".into()), refused, proof_missing);
    fails(after(&|_| "v=QQ==".into()), refused, proof_missing);
    let error = after(&|_| "e=invalid-proof".into());
    fails(
        error,
        refused,
        "the server refused the login (SCRAM: invalid-proof)",
    );
    // None of these left a key behind.
    assert!(proof(&login, &Channel::Plain, offered).3);
}

#[test]
fn messages_out_of_turn() {
    let plain = Channel::Plain;
    let offered = &["SCRAM-SHA-256"];
    let protocol = ErrorKind::Protocol;
    let refused = ErrorKind::Authentication;
    let without_proof = "without proving that it knows the password";

    let mut client = start(&login());
    sent(client.receive(&sasl(offered), &plain));
    fails(client.receive(&OK, &plain), refused, without_proof);
    fails(client.receive(&OK, &plain), protocol, "has failed before");

    let (mut client, ..) = proof(&login(), &plain, offered);
    fails(client.receive(&OK, &plain), refused, without_proof);

    let (mut client, server, body, _) = proof(&login(), &plain, offered);
    let last = server.last(&body, &plain).unwrap();
    client.receive(&last, &plain).unwrap();
    fails(client.receive(&last, &plain), protocol, "out of turn");

    let mut client = start(&login());
    client.receive(&OK, &plain).unwrap();
    for body in [OK.to_vec(), sasl(offered), message(3, b"")] {
        let mut client = start(&login());
        client.receive(&OK, &plain).unwrap();
        fails(client.receive(&body, &plain), protocol, "again after");
    }

    // A second question after the first was answered, such as for the password itself.
    let mut client = start(&login());
    sent(client.receive(&message(5, b"salt"), &plain));
    fails(
        client.receive(&message(3, b""), &plain),
        protocol,
        "out of turn",
    );
    for code in [11, 12] {
        let result = start(&login()).receive(&message(code, b"v="), &plain);
        fails(result, protocol, "out of turn");
    }

    let key = || KeyDerivation::new(vec![], vec![], 1).run();
    fails(start(&login()).derived(key()), protocol, "nobody asked for");
    let mut client = start(&login());
    let mut server = Server::new("pencil");
    server.begin(&sent(client.receive(&sasl(offered), &plain)));
    client.receive(&server.first(), &plain).unwrap();
    fails(client.derived(key()), protocol, "nobody asked for");
}

#[test]
fn nothing_is_shown() {
    let login = login();
    let text = format!("{login:?} {:?}", start(&login));
    assert!(!text.contains("pencil"), "{text}");
    let (client, ..) = proof(&login, &tls(), &["SCRAM-SHA-256-PLUS"]);
    assert_eq!(format!("{client:?}"), "Authentication(ProofSent)");
}

proptest! {
    /// Whatever comes, in whatever stage: an answer or an error, and nothing after an error.
    #[test]
    fn anything_may_come(
        stage in 0..5_usize,
        code in prop_oneof![0..14_u32, any::<u32>()],
        rest in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "(r=[ -~]{0,40}|v=[A-Za-z0-9=]{0,50}|[ -~]{0,20}),?(s=[A-Za-z0-9=]{0,8})?,?(i=[0-9]{0,12})?".prop_map(String::into_bytes),
        ],
    ) {
        let channel = tls();
        let mut client = start(&login());
        let mut server = Server::new("pencil");
        server.iterations = 2;
        if stage > 0 {
            server.begin(&sent(client.receive(&sasl(&["SCRAM-SHA-256"]), &channel)));
        }
        if stage > 1
            && let Step::Derive(work) = client.receive(&server.first(), &channel).unwrap()
            && stage > 2
        {
            let body = sent(client.derived(work.run()));
            if stage > 3 {
                let last = server.last(&body, &channel).unwrap();
                client.receive(&last, &channel).unwrap();
            }
        }
        let result = client.receive(&message(code, &rest), &channel);
        let again = client.receive(&message(code, &rest), &channel);
        prop_assert!(result.is_ok() || again.is_err());
    }
}
