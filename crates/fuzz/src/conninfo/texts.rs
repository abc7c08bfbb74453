//! Connection strings: of words that mean something, in any order.

use proptest::prelude::*;

use super::damage::SECRETIVE;

/// Strings with a secret in each place where there may be one.
pub(super) fn secretive() -> Vec<&'static str> {
    let mut all = SECRETIVE.to_vec();
    all.extend([
        "host=h user=me password='hunter2' sslmode=require sslpassword=hunter2",
        "host=h sslpassword='it is hunter2' sslkey=/k user=me",
        "postgres://me:hunter2@[::1]:1,b:2/db?sslpassword=hunter2",
        "postgres:///db?host=/run&password=hunter2&user=me&sslmode=disable",
        "service=here host=h",
        "user=me host=h passfile=/pass",
        "",
    ]);
    all
}

/// libpq's keywords and ours, and some that are none.
const KEYWORDS: [&str; 51] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
    "require_auth",
    "min_scram_iterations",
    "statement_cache_size",
    "authtype",
    "hots",
    "PORT",
    "",
];

pub(super) fn keyword() -> impl Strategy<Value = &'static str> {
    prop::sample::select(KEYWORDS.to_vec())
}

/// Values that mean something for some keyword, numbers at the ends, and any text.
pub(super) fn value() -> impl Strategy<Value = String> {
    let known = vec![
        "",
        "a",
        "a,b",
        "a,,b",
        ",",
        "/tmp",
        "@abstract",
        "::1",
        "127.0.0.1",
        "1,2",
        "0",
        "1",
        "-1",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "-2147483648",
        "99999999999999999999",
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "verify-full",
        "system",
        "direct",
        "postgres",
        "any",
        "read-write",
        "random",
        "on",
        "off",
        "TLSv1.2",
        "TLSv1.3",
        "3.0",
        "3.2",
        "latest",
        "scram-sha-256",
        "!none",
        "none,md5",
        "!password,!md5",
        "UTF8",
        "auto",
        "latin1",
        "here",
        "/pass",
        " ",
        "'",
        "\\",
        "%",
        "\u{feff}",
        "ö",
        "1 ",
        " 1",
        "+1",
        "0x1",
        "1e3",
    ];
    prop_oneof![
        6 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "[a-z0-9:/@?&=%\\[\\],'\\\\ .-]{0,20}",
        1 => any::<String>(),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ]
}

/// Any string: pairs, a URI, or whatever.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let quotes = prop::sample::select(vec!["", "", "'", "\""]);
    let blanks = prop::sample::select(vec!["", " ", "\t\n", " \u{b}"]);
    let pair = (keyword(), blanks.clone(), value(), quotes, blanks).prop_map(
        |(keyword, before, value, quote, after)| {
            let value =
                if quote == "'" { value.replace('\\', "\\\\").replace('\'', "\\'") } else { value };
            format!("{keyword}{before}={before}{quote}{value}{quote}{after} ")
        },
    );
    let pairs = prop::collection::vec(pair, 0..6).prop_map(|all| all.concat());
    let part = || prop_oneof![value(), "[a-z%0-9@:/]{0,8}", Just("%41%zz%".to_owned())];
    let query = prop::collection::vec(
        (keyword(), part()).prop_map(|(keyword, value)| format!("{keyword}={value}")),
        0..4,
    );
    let address = || "(\\[?[0-9a-f:.%]{0,9}\\]?|[a-z.%2F/]{0,9})(:[0-9]{0,6})?";
    let uri = (
        prop::sample::select(vec!["postgresql://", "postgres://", "postgres:/", "postgre://"]),
        prop::option::of((part(), prop::option::of(part()))),
        prop::collection::vec(address(), 0..3),
        prop::option::of(part()),
        prop::option::of(query),
    )
        .prop_map(|(scheme, user, hosts, dbname, query)| {
            let user = user.map_or(String::new(), |(user, password)| {
                let password = password.map_or(String::new(), |password| format!(":{password}"));
                format!("{user}{password}@")
            });
            let dbname = dbname.map_or(String::new(), |name| format!("/{name}"));
            let query = query.map_or(String::new(), |all| format!("?{}", all.join("&")));
            format!("{scheme}{user}{}{dbname}{query}", hosts.join(","))
        });
    prop_oneof![
        4 => pairs,
        4 => uri,
        2 => r"(postgres(ql)?://)?[a-z@:/?&=%\[\],'\\ 0-9.]{0,60}",
        1 => any::<String>(),
        1 => any::<String>().prop_map(|text| format!("postgresql://{text}")),
    ]
}
