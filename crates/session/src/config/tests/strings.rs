//! What strings mean, and what errors say: tables.

use std::time::Duration;

use super::*;

#[test]
fn both_forms_say_the_same() {
    for (string, uri) in [
        ("", "postgresql://"),
        ("host=db", "postgres://db"),
        ("host=db user=me password=x", "postgresql://me:x@db"),
        ("host=db user=me", "postgresql://me:@db"),
        ("host=db port=1 dbname=app", "postgresql://db:1/app"),
        ("host=a,b port=1,2", "postgresql://a:1,b:2"),
        ("host=::1,fe80::2 port=1,5432", "postgresql://[::1]:1,[fe80::2]"),
        ("host=/var/run dbname=app", "postgresql://%2Fvar%2Frun/app"),
        ("host=@abstract", "postgresql://%40abstract"),
        ("host=/run", "postgresql:///?host=/run"),
        ("user=me password='p@s/s:w?d%'", "postgresql://me:p%40s%2Fs%3Aw%3Fd%25@"),
        ("host=db sslmode=require", "postgresql://db?ssl=true"),
        ("host=db sslmode=require", "postgresql://db?requiressl=1"),
        ("sslmode=prefer", "requiressl=0"),
        ("host=new", "postgresql://old/?host=new"),
        ("password=x", "postgresql://?pass%77ord=x"),
        ("application_name='a b'", "postgresql:///?application_name=a%20b&"),
        ("dbname='a/b'", "postgresql:///a/b"),
        ("user=me", "\n postgresql://me@ \n"),
        ("user='it\\'s \\\\' dbname=''", r"user=it\'s\ \\ dbname="),
        ("user=b", "  user = a   user='b'"),
        ("user=a dbname=b", "user='a'dbname=b"),
    ] {
        assert_eq!(read(string), read(uri), "{uri:?}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn what_errors_say() {
    for (text, message) in [
        ("host", r#"missing "=" after "host""#),
        ("host=ü localhost x", r#"missing "=" after the word at character 8"#),
        ("hots=x", r#"unknown keyword "hots" (did you mean "host"?)"#),
        ("Host=x", r#"unknown keyword "Host" (did you mean "host"?)"#),
        ("pasword=x", r#"the 1st keyword is unknown (did you mean "password"?)"#),
        ("database=x", r#"unknown keyword "database" (did you mean "dbname"?)"#),
        ("ssl_mode=x", r#"unknown keyword "ssl_mode" (did you mean "sslmode"?)"#),
        ("colour=x", r#"unknown keyword "colour""#),
        ("=x", r#"a keyword is missing before "=""#),
        ("user='x", "the quoted value of user has no closing quote"),
        ("foo='x", "a quoted value has no closing quote"),
        ("host= user=me", "the value of host is missing; an empty one is written ''"),
        (
            "password=my secret",
            r#"missing "=" after the word that follows the value of password; a value with spaces or quotes is written 'like\'this'"#,
        ),
        ("password=my sec=ret", "the 2nd keyword is unknown"),
        (
            "sslmode=requre",
            r#"invalid value "requre" for sslmode: expected disable, allow, prefer, require, verify-ca, verify-full"#,
        ),
        ("port=0", r#"invalid value "0" for port: expected a port number from 1 to 65535"#),
        ("port=65536", r#"invalid value "65536" for port: expected a port number from 1 to 65535"#),
        ("port='1 password=x'", "invalid value for port: expected a port number from 1 to 65535"),
        ("connect_timeout=5s", r#"invalid value "5s" for connect_timeout: expected an integer"#),
        (
            "connect_timeout=2147483648",
            r#"invalid value "2147483648" for connect_timeout: expected an integer"#,
        ),
        (
            "hostaddr=db",
            r#"invalid value "db" for hostaddr: expected IP addresses; names go to host"#,
        ),
        // libpq takes no blanks there. One alone was an address that is none, printed as nothing.
        ("hostaddr=' '", "invalid value for hostaddr: expected IP addresses; names go to host"),
        (
            "hostaddr='::1, ::1'",
            "invalid value for hostaddr: expected IP addresses; names go to host",
        ),
        (
            "host=user@db",
            r#"invalid value for host: expected host names, addresses, or paths that begin with "/" or "@""#,
        ),
        ("sslsni=yes", r#"invalid value "yes" for sslsni: expected 0 or 1"#),
        (
            "client_encoding=latin1",
            r#"invalid value "latin1" for client_encoding: expected UTF8: text is exchanged as UTF-8 only"#,
        ),
        (
            "require_auth=md5,!password",
            r#"invalid value for require_auth: expected either every method has a "!", or none"#,
        ),
        (
            "require_auth=md5,md5",
            r#"invalid value "md5,md5" for require_auth: expected each method at most once"#,
        ),
        (
            "require_auth=foo",
            r#"invalid value "foo" for require_auth: expected methods between commas, all or none after a "!": none, password, md5, scram-sha-256, gss, sspi"#,
        ),
        (
            "max_protocol_version=3.1",
            r#"invalid value "3.1" for max_protocol_version: expected 3.0, 3.2, latest"#,
        ),
        (
            "ssl_max_protocol_version=TLSv1.1",
            r#"invalid value "TLSv1.1" for ssl_max_protocol_version: expected TLSv1.2, TLSv1.3"#,
        ),
        (
            "gssencmode=require",
            "gssencmode is not supported: there is no GSSAPI here, so it cannot be required",
        ),
        (
            "replication=database",
            "replication is not supported: replication connections take another protocol",
        ),
        ("scram_client_key=x", "scram_client_key is not supported: give the password"),
        ("user=a\0b", "the connection string has a NUL in it"),
        (
            "postgress://h",
            r#"in the connection URI: the URI's beginning "postgress://" is not known: expected "postgresql://" or "postgres://""#,
        ),
        (
            "jdbc:postgresql://u:se=cret@h",
            r#"in the connection URI: the URI's beginning is not known: expected "postgresql://" or "postgres://""#,
        ),
        (
            "postgres://u:se@cret@h",
            r#"in the connection URI: the host has an "@" in it; in a user name or password it is written %40"#,
        ),
        (
            "postgres://u:se/cret@h",
            "in the connection URI: invalid port: expected a number from 1 to 65535; a \"/\" in a user name or password is written %2F",
        ),
        (
            "postgres://u:secret",
            "in the connection URI: invalid port: expected a number from 1 to 65535",
        ),
        (
            "postgres://u:se%zzcret@h",
            r#"in the connection URI: a "%" without two hexadecimal digits (a percent sign is written %25) in password"#,
        ),
        ("postgres://h/?options=%00", "in the connection URI: a NUL (%00) in options"),
        (
            "postgres://h/?options=%ff",
            "in the connection URI: a percent-encoded byte that is not UTF-8 in options",
        ),
        ("postgres://h/a b", "in the connection URI: a space (it is written %20) in dbname"),
        ("postgres://[::1/", r#"in the connection URI: the IPv6 address has no closing "]""#),
        ("postgres://[]/", r#"in the connection URI: the IPv6 address "[]" is empty"#),
        (
            "postgres://[::1]x/",
            r#"in the connection URI: unexpected text after the IPv6 address "[::1]": expected ":" and a port, "/", "?" or ",""#,
        ),
        ("postgres://h?user", r#"in the connection URI: missing "=" in parameter 1"#),
        ("postgres://h?password=se&cret", r#"in the connection URI: missing "=" in parameter 2"#),
        (
            "postgres://h?pass%77ord=se=cret",
            r#"in the connection URI: the value of password has an "=" in it: it is written %3D"#,
        ),
        (
            "postgres://h?ssl=maybe",
            r#"in the connection URI: unknown keyword "ssl" (did you mean "sslmode"?)"#,
        ),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text:?}");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[test]
fn what_does_not_go_together() {
    for (text, message) in [
        (
            "sslrootcert=system sslmode=verify-ca",
            "sslmode verify-ca is too weak for sslrootcert=system: only verify-full checks the host name",
        ),
        (
            "sslnegotiation=direct",
            "sslmode prefer is too weak for sslnegotiation=direct: at least require is needed",
        ),
        (
            "min_protocol_version=3.2 max_protocol_version=3.0",
            "min_protocol_version 3.2 is above max_protocol_version 3.0",
        ),
        (
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=tlsv1.2",
            "ssl_min_protocol_version TLSv1.3 is above ssl_max_protocol_version TLSv1.2",
        ),
        (
            "min_scram_iterations=100001",
            "min_scram_iterations 100001 is above 100000, which are the most that are computed",
        ),
        (
            "host=a,b port=1,2,3",
            "3 ports for 2 hosts: give one port for all hosts, or one for each",
        ),
        ("service=x", r#"service "x" is not defined in any service file"#),
    ] {
        assert_eq!(refusal(text, &World::default()), message, "{text:?}");
    }
    for text in [
        "sslrootcert=system",
        "sslrootcert=system sslnegotiation=direct",
        "sslmode=require sslnegotiation=direct",
        "gssencmode=disable krbsrvname=x gsslib=x gssdelegation=1 sslcompression=1 replication=off sslcrl=''",
        "ssl_min_protocol_version=TLSv1 require_auth=!none max_protocol_version=latest",
    ] {
        resolved(text, &World::default());
    }
    let mut config = Config::new();
    config.user("a\0b");
    assert_eq!(config.validate().unwrap_err().to_string(), "the value of user has a NUL in it");
    for (name, value) in [("", "x"), ("a\0", "x"), ("a", "\0"), ("User", "x"), ("_pq_.x", "1")] {
        let mut config = Config::new();
        config.runtime_parameter(name, value);
        assert!(config.validate().is_err(), "{name:?} {value:?}");
    }
}

#[test]
fn defaults_and_numbers() {
    let config = Config::new();
    assert_eq!(config.get_sslmode(), SslMode::Prefer);
    assert_eq!(config.get_connect_timeout(), Some(Duration::from_secs(30)));
    for (text, newest) in [
        ("", ProtocolVersion::V3_0),
        ("max_protocol_version=latest", ProtocolVersion::V3_2),
        ("max_protocol_version=3.2", ProtocolVersion::V3_2),
        // As libpq: who asks for 3.2 at least would get nothing otherwise.
        ("min_protocol_version=3.2", ProtocolVersion::V3_2),
    ] {
        assert_eq!(read(text).get_max_protocol_version(), newest, "{text:?}");
    }
    assert!(config.get_keepalives() && config.get_sslsni());
    assert_eq!(read("sslrootcert=system").get_sslmode(), SslMode::VerifyFull);
    for (text, time) in [("0", None), ("-1", None), ("1", Some(1)), (" 5 ", Some(5))] {
        let mut config = Config::new();
        config.set("connect_timeout", text).unwrap();
        assert_eq!(config.get_connect_timeout(), time.map(Duration::from_secs));
    }
    let config = read("keepalives=0 keepalives_idle=0 keepalives_count=0 tcp_user_timeout=1500");
    assert!(!config.get_keepalives());
    assert_eq!((config.get_keepalives_idle(), config.get_keepalives_count()), (None, None));
    assert_eq!(config.get_tcp_user_timeout(), Some(Duration::from_millis(1500)));
    assert_eq!(read("statement_cache_size=0").get_statement_cache_size(), 0);
    assert_eq!(read("max_answer_bytes=5000000000").get_max_answer_bytes(), 5_000_000_000);
    assert!(read("").get_pipelining() && !read("pipelining=0").get_pipelining());
    assert_eq!(config.get_min_scram_iterations(), 0);
    assert_eq!(read("min_scram_iterations=4096").get_min_scram_iterations(), 4096);
}

/// A separator that was lost, in whatever place: the password is neither in the error nor in what
/// `Debug` shows of a configuration.
#[test]
fn a_lost_separator_shows_no_password() {
    let words = [
        "password",
        "Password",
        "PASSWORD",
        "pasword",
        "passwrod",
        "passwd",
        "pass",
        "pwd",
        "sslpassword",
        "ssl-password",
        "sslpasword",
        "oauth_client_secret",
        "scram_client_key",
    ];
    for word in words {
        for text in [
            format!("{word}hunter2=x"),
            format!("host=h {word}hunter2=x user=me"),
            format!("user=me port=5432{word}=hunter2"),
            format!("port=5432{word}hunter2"),
            format!("sslmode=require{word}hunter2 user=me"),
            format!("postgresql://h/db?{word}hunter2=x"),
            format!("postgresql://h/db?user=me&{word}hunter2=x"),
            format!("postgresql://h/db?sslmode=require{word}hunter2"),
            format!("postgresql://h:5432{word}hunter2/db"),
        ] {
            let error = Config::parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter"), "{text}: {error}");
        }
        let error = Config::new().set(&format!("{word}hunter2"), "x").unwrap_err();
        assert!(!error.to_string().contains("hunter"), "{word}: {error}");
    }
    // What is misspelt is still shown; if it is a secret's name, then what was meant.
    for word in ["colour", "usr", "pot", "apname"] {
        let error = Config::parse(&format!("{word}=x")).unwrap_err();
        assert!(error.to_string().contains(&format!("\"{word}\"")), "{error}");
    }
    for word in ["pasword", "passwd", "pwd", "pass", "Password"] {
        let error = Config::parse(&format!("{word}=x")).unwrap_err();
        assert!(error.to_string().contains("did you mean \"password\"?"), "{error}");
    }
}

/// Where a secret's name is in a text, no word of the text is shown: what stands where a keyword or
/// a value is expected may be the secret. The place is told instead.
#[test]
fn a_secrets_name_hides_the_words_of_its_text() {
    for (text, message) in [
        ("sslcert ='/a/b\tpassword='zQ9vXk=x'", "the 2nd keyword is unknown"),
        ("sslcert=a/bpassword= zQ9vXk=x", "the 2nd keyword is unknown"),
        ("zQ9vXk=x password=y", "the 1st keyword is unknown"),
        ("user=me pass%77ord=x", "the 2nd keyword is unknown (did you mean \"password\"?)"),
        (
            "user=me port=zQ9vXk password=x",
            "invalid value for port: expected a port number from 1 to 65535",
        ),
        (
            "hostaddr=zQ9vXk sslPASSword=x",
            "invalid value for hostaddr: expected IP addresses; names go to host",
        ),
        (
            "service=xpassword=zQ9vXk",
            "the service (not shown: it has a secret's name in it) is not defined in any service file",
        ),
        (
            "service=x servicefile=/a/password=zQ9vXk",
            "service file \"(not shown: it has a secret's name in it)\" not found",
        ),
        (
            "postgresql://h?user=me&pa%73sword=x&zQ9vXk=x",
            "in the connection URI: parameter 3 is unknown",
        ),
        ("postgresql://me:1@5?zQ9vXk=x@h", "in the connection URI: parameter 1 is unknown"),
    ] {
        let error =
            Config::parse(text).and_then(|config| config.resolve(&World::default())).unwrap_err();
        assert_eq!(error.to_string(), message, "{text:?}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("zQ9vXk"), "{shown}");
    }
    let error = Config::parse("zQ9vXk=x password=y").unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("not shown")), "{error:?}");
    let error = Config::parse("port=zQ9vXk password=y").unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("not shown")), "{error:?}");
    let socket = read("host=/tmp/password=zQ9vXk").endpoints().unwrap().remove(0);
    assert_eq!(socket.to_string(), "(not shown: it has a secret's name in it)/.s.PGSQL.5432");
    assert_eq!(read("host=compass").endpoints().unwrap().remove(0).to_string(), "compass:5432");
    let config = read("service=xpassword=zQ9vXk passfile=/home/me/.pgpass");
    let shown = format!("{config:?}");
    assert!(!shown.contains("zQ9vXk") && shown.contains("/home/me/.pgpass"), "{shown}");
    let world = World::default().var("PGPORT", "zQ9vXk password=x");
    assert!(!refusal("", &world).contains("zQ9vXk"));
    let file = "[s]\npassword=\nzQ9vXk=x";
    let world = World::default().file("/home/me/.pg_service.conf", file);
    assert_eq!(
        refusal("service=s", &world),
        r#"service file "/home/me/.pg_service.conf", line 3: the keyword is unknown"#
    );
}

#[test]
fn an_allow_list_holds_for_both_forms() {
    let allowed = ["host", "sslmode"];
    for text in ["host=a requiressl=1", "postgres://a?ssl=true", "postgres://a"] {
        assert!(Config::parse_allowing(text, &allowed).is_ok(), "{text}");
    }
    for text in [
        "host=a user=x",
        "postgres://u@a",
        "postgres://a:1",
        "postgres://a/db",
        "postgres://a?pass%77ord=x",
    ] {
        let error = Config::parse_allowing(text, &allowed).unwrap_err();
        assert!(error.to_string().contains("is not allowed here: only host, sslmode"), "{error}");
    }
    let error = Config::parse_allowing("", &["hots"]).unwrap_err();
    assert_eq!(error.to_string(), r#"unknown keyword "hots" (did you mean "host"?)"#);
}

#[test]
fn debug_shows_no_secrets() {
    let config =
        read("host=db password=hunter2 sslpassword=hunter3").resolve(&World::default()).unwrap();
    assert_eq!(
        format!("{config:?}"),
        r#"Config { host: "db", password: (..), sslpassword: (..), resolved: true }"#
    );
}

#[test]
fn every_keyword_is_once_in_the_table() {
    for (number, keyword) in KEYWORDS.iter().enumerate() {
        assert!(KEYWORDS.iter().skip(number + 1).all(|other| other.name != keyword.name));
        assert!(keyword.get(&Config::new()).is_none(), "{}", keyword.name);
    }
}
