//! What comes from where: variables, files, the machine.

use super::*;

#[test]
fn precedence() {
    let world = World::default()
        .var("PGUSER", "variable")
        .var("PGDATABASE", "variable")
        .var("PGPORT", "3")
        .var("PGHOST", "variable")
        .var("PGAPPNAME", "")
        .var("PGSERVICE", "here")
        .file("/home/me/.pg_service.conf", "[other]\nuser=no\n[here]\n# comment\n  user=service\nuser=late\ndbname=service \n[x]\nport=no");
    let config = resolved("user=explicit fallback_application_name=fallback", &world);
    assert_eq!(config.get_user(), Some("explicit"));
    assert_eq!(config.get_dbname(), Some("service"));
    assert_eq!(config.get_ports(), [3]);
    assert_eq!(config.get_application_name(), Some("fallback"));
    assert_eq!(resolved("", &world).get_user(), Some("service"));
    // What is said to be empty is not asked for again.
    let config = resolved("host='' dbname='' user=x", &world);
    assert_eq!((config.get_hosts().len(), config.get_dbname()), (0, Some("x")));
    assert_eq!(resolved("", &World::default()).get_dbname(), Some("me"));
}

#[test]
fn resolving_twice_changes_nothing() {
    let world = World::default()
        .var("PGHOST", "a,b")
        .var("PGPASSWORD", "x")
        .file("/var/run/postgresql", "");
    let config = resolved("dbname=d", &world);
    assert_eq!(config.resolve(&world).unwrap(), config);
    assert_eq!(config.clone().into_config().unwrap(), config);
}

#[test]
fn service_files() {
    let world = |text: &str| World::default().file("/home/me/.pg_service.conf", text);
    for (text, message) in [
        ("[s]\nuser", r#"service file "/home/me/.pg_service.conf", line 2: missing "=""#),
        (
            "\n[s]\nusr=x",
            r#"service file "/home/me/.pg_service.conf", line 3: unknown keyword "usr" (did you mean "user"?)"#,
        ),
        (
            "[s]\nport=x",
            r#"service file "/home/me/.pg_service.conf", line 2: invalid value "x" for port: expected a port number from 1 to 65535"#,
        ),
        (
            "[s]\nservice=x",
            r#"service file "/home/me/.pg_service.conf", line 2: a service cannot refer to another"#,
        ),
        (
            "[s]\nldap://x",
            r#"service file "/home/me/.pg_service.conf", line 2: services kept in LDAP are not supported"#,
        ),
        ("[ss]\nuser=x", r#"service "s" is not defined in any service file"#),
    ] {
        assert_eq!(refusal("service=s", &world(text)), message, "{text:?}");
    }
    let gone = World::default().var("PGSERVICEFILE", "/gone");
    assert_eq!(refusal("service=s", &gone), r#"service file "/gone" not found"#);
    let system = world("[other]")
        .var("PGSYSCONFDIR", "/sys")
        .file("/sys/pg_service.conf", "[s]\r\nhost=a,b\r\nport=1,2\r\n");
    assert_eq!(resolved("service=s", &system).get_ports(), [1, 2]);
    let named = World::default().file("/f", "[s]\npassword= a=b'c ");
    let config = resolved("service=s servicefile=/f", &named);
    assert_eq!(config.get_password().unwrap().as_bytes(), b" a=b'c");
}

#[test]
fn variables() {
    let config = resolved("", &World::default().var("PGREQUIRESSL", "1"));
    assert_eq!(config.get_sslmode(), SslMode::Require);
    let world = World::default().var("PGREQUIRESSL", "1").var("PGSSLMODE", "allow");
    assert_eq!(resolved("", &world).get_sslmode(), SslMode::Allow);
    let world = World::default().var("PGSSLMODE", "maybe");
    assert!(
        refusal("", &world)
            .starts_with(r#"PGSSLMODE: invalid value "maybe" for sslmode: expected disable"#)
    );
    assert!(read("sslmode=disable").resolve(&world).is_ok());

    let world = World::default().var("PGCLIENTENCODING", "LATIN1");
    let config = resolved("", &world);
    assert_eq!(config.warnings(), ["PGCLIENTENCODING is ignored: text is exchanged as UTF-8 only"]);

    let world = World::default()
        .var("PGTZ", "UTC")
        .var("PGDATESTYLE", "Default")
        .var("PGGEQO", "off")
        .var("PGOPTIONS", "-c a=b");
    let mut config = read("user=u application_name=app");
    config.runtime_parameter("Geqo", "on");
    let said = config.resolve(&world).unwrap().startup_parameters().unwrap();
    let said: Vec<_> = said.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        said,
        [
            "user=u",
            "database=u",
            "application_name=app",
            "client_encoding=UTF8",
            "options=-c a=b",
            "Geqo=on",
            "timezone=UTC"
        ]
    );
    let error = Config::new().startup_parameters().unwrap_err();
    assert!(error.to_string().starts_with("no user name"));
}

#[cfg(unix)]
#[test]
fn variables_that_are_no_text() {
    use std::os::unix::ffi::OsStringExt;
    let mut world = World::default();
    world.vars.insert("PGUSER", OsString::from_vec(vec![0xff]));
    assert_eq!(refusal("", &world), "PGUSER is not UTF-8");
}

#[test]
fn passwords() {
    let password = |text: &str, world: &World| {
        let config = resolved(text, world);
        let endpoint = config.endpoints().unwrap().remove(0);
        let password = config.password_for(&endpoint);
        let shown = password.map(|p| String::from_utf8(p.as_bytes().to_vec()).unwrap());
        (shown, config.warnings().to_vec())
    };
    let some = |text: &str| (Some(text.to_owned()), vec![]);
    let text = "localhost:5432:d:me:socket\ndb:*:*:me:db\n10.0.0.1:*:*:*:addr\n*:*:*:nopass:\n";
    let world = World::default().file("/home/me/.pgpass", text);
    assert_eq!(password("host=db password=x", &world), some("x"));
    assert_eq!(password("host=db password=''", &world), some("db"));
    assert_eq!(password("host=db hostaddr=10.0.0.1", &world), some("db"));
    assert_eq!(password("hostaddr=10.0.0.1", &world), some("addr"));
    assert_eq!(password("user=nopass", &world), (None, vec![]));
    assert_eq!(password("host=db user=x", &world), (None, vec![]));
    if cfg!(unix) {
        assert_eq!(password("dbname=d", &world), some("socket"));
        assert_eq!(password("dbname=d host=/elsewhere", &world), (None, vec![]));
    }
    let world = World::default().file_with_mode("/p", "*:*:*:*:x", 0o640).var("PGPASSFILE", "/p");
    let open = r#"password file "/p" is ignored: its permissions 640 let others in; they should be 600 (u=rw) or less"#;
    assert_eq!(password("", &world), (None, vec![open.to_owned()]));
    assert_eq!(password("password=y", &world), some("y"));
    let gone = r#"password file "/gone" is ignored: it does not exist"#;
    assert_eq!(password("passfile=/gone", &world), (None, vec![gone.to_owned()]));
}

#[test]
fn files_of_the_user() {
    let world = World::default()
        .file("/home/me/.postgresql/root.crt", "")
        .file("/home/me/.postgresql/postgresql.crt", "")
        .file("/home/me/.postgresql/root.crl", "");
    let config = resolved("sslcert=''", &world);
    let root = Path::new("/home/me/.postgresql/root.crt").to_owned();
    if cfg!(unix) {
        assert_eq!(config.get_sslrootcert(), Some(&SslRootCert::File(root)));
        assert_eq!(config.get_sslcert(), Some(Path::new("/home/me/.postgresql/postgresql.crt")));
        let list = Path::new("/home/me/.postgresql/root.crl");
        assert_eq!(config.get_sslcrl(), Some(list));
        for said in ["sslcrl=/x", "sslcrldir=/x sslcrl=/x"] {
            assert_eq!(resolved(said, &world).get_sslcrl(), Some(Path::new("/x")));
        }
        let folder = resolved("sslcrldir=/x", &world);
        assert_eq!((folder.get_sslcrl(), folder.get_sslcrldir()), (None, Some(Path::new("/x"))));
        assert!(config.warnings().is_empty());
    }
    assert_eq!(config.get_sslkey(), None);
    assert_eq!(config.settings(), [("sslcert", String::new())]);
}
