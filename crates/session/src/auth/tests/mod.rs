//! Whole logins against a small server.

mod refusals;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::key::hmac;
use super::*;

const NONCE: [u8; NONCE_BYTES] = *b"eighteen bytes: 18";
const SALT: &[u8] = b"0123456789abcdef";

fn login() -> Login {
    Login {
        user: "alice".into(),
        password: Some(Password::from("pencil")),
        require_auth: RequireAuth::default(),
        channel_binding: ChannelBinding::Prefer,
        keys: KeyCache::default(),
        min_scram_iterations: 0,
        over_network: true,
        verifies_server: false,
    }
}

fn start(login: &Login) -> Authentication {
    Authentication::new(login.clone(), NONCE)
}

fn tls() -> Channel {
    Channel::Tls { server_end_point: Some(vec![7; 32]) }
}

fn tls_without_hash() -> Channel {
    Channel::Tls { server_end_point: None }
}

fn message(code: u32, rest: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), rest].concat()
}

const OK: [u8; 4] = [0; 4];

fn sasl(names: &[&str]) -> Vec<u8> {
    let list = [names, &["", ""]].concat().join("\0");
    message(10, list.as_bytes())
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
    heard: String,
    said: String,
}

impl Server {
    fn new(password: &'static str) -> Self {
        Self {
            password,
            iterations: 4096,
            mechanism: String::new(),
            heard: String::new(),
            said: String::new(),
        }
    }

    fn nonce(&self) -> &str {
        self.heard.split_once("n=,r=").unwrap().1
    }

    fn gs2(&self) -> &str {
        self.heard.split_once("n=,r=").unwrap().0
    }

    fn begin(&mut self, body: &[u8]) {
        let end = body.iter().position(|&byte| byte == 0).unwrap();
        self.mechanism = String::from_utf8(body[..end].to_vec()).unwrap();
        let (length, text) = body[end + 1..].split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, text.len());
        self.heard = String::from_utf8(text.to_vec()).unwrap();
    }

    fn first(&mut self) -> Vec<u8> {
        let salt = BASE64.encode(SALT);
        self.said = format!("r={}SERVER,s={salt},i={}", self.nonce(), self.iterations);
        message(11, self.said.as_bytes())
    }

    /// Checks the proof and what the login is bound to.
    fn last(&self, body: &[u8], channel: &Channel) -> Option<Vec<u8>> {
        let text = str::from_utf8(body).unwrap();
        let (without_proof, proof) = text.rsplit_once(",p=").unwrap();
        let hash: &[u8] = match channel {
            Channel::Tls { server_end_point: Some(hash) } if self.gs2().starts_with('p') => hash,
            _ => b"",
        };
        let bound_to = BASE64.encode([self.gs2().as_bytes(), hash].concat());
        assert_eq!(without_proof, format!("c={bound_to},r={}SERVER", self.nonce()));
        let key = KeyDerivation::new(self.password.as_bytes(), SALT, self.iterations).run();
        let bare = format!("n=,r={}", self.nonce());
        let signed = format!("{bare},{},{without_proof}", self.said);
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
    assert!(matches!(client.receive(&OK, channel), Ok(Step::Authenticated)));
    let gs2 = server.gs2().to_owned();
    (server.mechanism, gs2, derived)
}

/// RFC 7677, section 3; the name there is "user", which is part of what is signed.
#[test]
fn the_example_of_rfc_7677() {
    let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let key = KeyDerivation::new(b"pencil", &salt, 4096).run();
    let mut proof = hmac(&key.stored_key, signed.as_bytes());
    for (byte, key) in proof.iter_mut().zip(key.client_key) {
        *byte ^= key;
    }
    assert_eq!(BASE64.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
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
    let other = Login { password: Some(Password::from("crayon")), ..login };
    let (_, server, body, derived) = proof(&other, &Channel::Plain, plain);
    assert!(derived);
    assert!(server.last(&body, &Channel::Plain).is_none(), "wrong password");
}

/// What a login is told of, or refused for, whose server asks for so few iterations.
fn with_iterations(login: &Login, iterations: u32, channel: &Channel) -> Result<Vec<String>> {
    let mut client = start(login);
    let mut server = Server::new("pencil");
    server.iterations = iterations;
    server.begin(&sent(client.receive(&sasl(&["SCRAM-SHA-256"]), channel)));
    let Step::Derive(work) = client.receive(&server.first(), channel)? else { panic!() };
    let warnings = client.take_warnings();
    let body = sent(client.derived(work.run()));
    assert!(server.last(&body, channel).is_some());
    Ok(warnings)
}

#[test]
fn few_iterations_are_told_or_refused() {
    let plain = Channel::Plain;
    let login = login();
    let verified = Login { verifies_server: true, ..login.clone() };
    let local = Login { over_network: false, ..login.clone() };
    for (login, iterations, channel, warns) in [
        (&login, 1, &plain, true),
        (&login, 4095, &plain, true),
        (&login, 4096, &plain, false),
        (&login, 4095, &tls_without_hash(), true),
        (&verified, 1, &tls_without_hash(), false),
        // Verified it would be with TLS, which there is not.
        (&verified, 1, &plain, true),
        (&local, 1, &plain, false),
    ] {
        let warnings = with_iterations(login, iterations, channel).unwrap();
        assert_eq!(warnings.len(), usize::from(warns), "{iterations} {channel:?}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.contains(&format!("for {iterations} SCRAM"))));
    }
    let strict = Login { min_scram_iterations: 4096, ..verified };
    assert!(with_iterations(&strict, 4096, &tls_without_hash()).is_ok());
    let refused = with_iterations(&strict, 4095, &tls_without_hash());
    fails(refused, ErrorKind::Authentication, "asks for 4095 SCRAM iterations");
}

/// A password that can be read on the way is told of, and only then.
#[test]
fn passwords_that_can_be_read_on_the_way_are_told() {
    let login = login();
    let local = Login { over_network: false, ..login.clone() };
    let (plain, encrypted) = (Channel::Plain, tls());
    for (asked, what) in
        [(message(3, b""), "in clear text"), (message(5, &[1, 2, 3, 4]), "an MD5 hash")]
    {
        for (login, channel, warns) in
            [(&login, &plain, true), (&login, &encrypted, false), (&local, &plain, false)]
        {
            let mut client = start(login);
            sent(client.receive(&asked, channel));
            let warnings = client.take_warnings();
            assert_eq!(warnings.len(), usize::from(warns), "{warnings:?}");
            assert!(warnings.iter().all(|text| text.contains(what) && !text.contains("pencil")));
            assert!(client.take_warnings().is_empty(), "told once");
        }
    }
    // What is refused was not sent.
    let mut strict = login;
    strict.require_auth = "!password".parse().unwrap();
    let mut client = start(&strict);
    assert!(client.receive(&message(3, b""), &plain).is_err());
    assert!(client.take_warnings().is_empty());
}

#[test]
fn trust_cleartext_and_md5() {
    let login = login();
    let mut trust = start(&login);
    assert!(matches!(trust.receive(&OK, &Channel::Plain), Ok(Step::Authenticated)));

    let mut clear = start(&login);
    let body = sent(clear.receive(&message(3, b""), &Channel::Plain));
    assert_eq!(body, b"pencil\0");
    assert!(matches!(clear.receive(&OK, &Channel::Plain), Ok(Step::Authenticated)));

    let mut md5 = start(&login);
    let body = sent(md5.receive(&message(5, &[1, 2, 3, 4]), &Channel::Plain));
    assert!(body.starts_with(b"md5") && body.ends_with(b"\0") && body.len() == 36);
    assert!(matches!(md5.receive(&OK, &Channel::Plain), Ok(Step::Authenticated)));
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
