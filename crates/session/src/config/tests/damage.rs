//! Connection strings with a secret, and what happens to them on the way.
//!
//! Shared with `crates/fuzz`, which tries the same for longer.

use proptest::prelude::*;

/// The password is `hunter2` in all of them.
pub(super) const SECRETIVE: [&str; 4] = [
    "postgresql://user:hunter2@host:5432/db?connect_timeout=5&sslmode=require",
    "postgresql://host:5432/db?sslmode=require&password=hunter2&user=me",
    "host=h port=5432 password=hunter2 user=me sslmode=require",
    "port=5432 user=me password='hunter2 hunter2' sslmode=require",
];

/// Pairs of which one is a secret, whatever a hand may have done to quotes, blanks and separators.
pub(super) fn misshapen() -> impl Strategy<Value = String> {
    let words = |words: &[&'static str]| prop::sample::select(words.to_vec());
    let name = words(&[
        "host",
        "hostaddr",
        "port",
        "service",
        "servicefile",
        "sslrootcert",
        "sslcert",
        "passfile",
        "sslmode",
        "connect_timeout",
        "user",
    ]);
    let value = words(&["h", "/tmp", "5432", "::1", "/a/b", "require", "s,s"]);
    let secret = words(&[
        "password",
        "sslpassword",
        "PassWord",
        "pasword",
        "passwd",
        "pass",
        "pwd",
        "pass%77ord",
        "pa%73%73word",
    ]);
    // The secret is read as a keyword where an "=" follows.
    let hidden =
        words(&["hunter2", "hunter2=x", "hunter2=x", "my hunter2=x", "\thunter2=", "x'hunter2=x"]);
    let quote = || words(&["", "'", "'"]);
    let equals = || words(&["=", "=", " =", "= ", "=\t", "==", ""]);
    let between = || words(&[" ", " ", "", "", "\t", "\n", "&", ";"]);
    let pair = |name, value| {
        (name, equals(), quote(), value, quote(), between()).prop_map(
            |(name, equals, open, value, close, between): (&str, &str, &str, &str, &str, &str)| {
                format!("{name}{equals}{open}{value}{close}{between}")
            },
        )
    };
    let beginning = words(&["", "", "", "", "postgresql://h/db?", "postgresql://me:x@h?"]);
    let pairs = || prop::collection::vec(pair(name.clone(), value.clone()), 0..3);
    (beginning, pairs(), pair(secret, hidden), pairs()).prop_map(
        |(beginning, before, secret, after)| {
            format!("{beginning}{}{secret}{}", before.concat(), after.concat())
        },
    )
}

type Change = (prop::sample::Index, u8, char);

/// Such a string with one or two of its characters left out, doubled or replaced.
pub(super) fn damaged(texts: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), any::<char>());
    (texts, prop::collection::vec(change, 1..3)).prop_map(|(text, changes)| damage(text, &changes))
}

fn damage(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, how, with) in changes {
        if chars.is_empty() {
            break;
        }
        let at = at.index(chars.len());
        match how % 3 {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, chars[at]),
            _ => chars[at] = *with,
        }
    }
    chars.into_iter().collect()
}
