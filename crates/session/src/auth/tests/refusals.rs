//! Everything that a login refuses, by kind and text.

use super::*;
use crate::config::AuthenticationMethod as Method;

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
    for password in [None, Some(Password::from(""))] {
        let mut login = login();
        login.password = password;
        for body in [message(3, b""), message(5, b"salt"), sasl(&["SCRAM-SHA-256"])] {
            let error = start(&login).receive(&body, &Channel::Plain).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication);
            assert_eq!(error.to_string(), "the server asks for a password and none was given");
            for word in ["password=", "PGPASSWORD", "~/.pgpass"] {
                assert!(error.hint().unwrap().contains(word));
            }
        }
    }
    let mut login = login();
    login.password = Some(Password::from("a\0b"));
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
    let long = "x".repeat(limits::SCRAM_FIELD_BYTES);
    for (text, reason) in [
        (String::new(), "has no nonce"),
        (format!("r={ours}"), "has no salt"),
        (format!("r={ours},s=QQ==,i=1"), "does not extend ours"),
        ("r=other,s=QQ==,i=1".into(), "does not extend ours"),
        (format!("r={ours}\u{7f},s=QQ==,i=1"), "unprintable"),
        (format!("r={ours}{long},s=QQ==,i=1"), "nonce that is too long"),
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
    fails(error, refused, "the server refused the login (SCRAM: invalid-proof)");
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
    fails(client.receive(&message(3, b""), &plain), protocol, "out of turn");
    for code in [11, 12] {
        let result = start(&login()).receive(&message(code, b"v="), &plain);
        fails(result, protocol, "out of turn");
    }

    let key = || KeyDerivation::new(b"", b"", 1).run();
    fails(start(&login()).derived(key()), protocol, "not requested");
    let mut client = start(&login());
    let mut server = Server::new("pencil");
    server.begin(&sent(client.receive(&sasl(offered), &plain)));
    client.receive(&server.first(), &plain).unwrap();
    fails(client.derived(key()), protocol, "not requested");
}
