//! What holds for any string.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Changes a string at some places: a character left out, doubled or replaced.
fn damaged(text: &str, changes: &[(prop::sample::Index, u8, char)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, how, with) in changes {
        let at = at.index(chars.len());
        match how % 3 {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, chars[at]),
            _ => chars[at] = *with,
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #[test]
    fn any_string_is_read_or_refused(text in any::<String>(), scheme in "(postgres(ql)?://)?") {
        let _ = Config::parse(&format!("{scheme}{text}"));
    }

    #[test]
    fn any_likely_string_is_read_or_refused(text in r"(postgres://)?[a-z@:/?&=%\[\],'\\ 0-9.]{0,60}") {
        if let Ok(config) = Config::parse(&text) {
            let _ = (config.validate(), config.endpoints(), format!("{config:?}"));
            prop_assert_eq!(Config::parse(&write(&config)).unwrap(), config);
        }
    }

    #[test]
    fn values_come_back(user in "[^\0]*", password in "[^\0]*", dbname in "[^\0]+", timeout in 0..i32::MAX.unsigned_abs()) {
        let mut config = Config::new();
        config.user(user).password(&password).dbname(dbname);
        config.host("a").host("/b").port(1).connect_timeout(Duration::from_secs(timeout.into()));
        prop_assert_eq!(Config::parse(&write(&config)).unwrap(), config);
    }

    #[test]
    fn no_damage_makes_an_error_show_the_password(
        text in prop::sample::select(vec![
            "postgresql://user:hunter2@host:5432/db?connect_timeout=5&sslmode=require",
            "postgresql://host:5432/db?sslmode=require&password=hunter2&user=me",
            "host=h port=5432 password=hunter2 user=me sslmode=require",
            "port=5432 user=me password='hunter2 hunter2' sslmode=require",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<char>()), 1..3),
    ) {
        if let Err(error) = Config::parse(&damaged(text, &changes)).and_then(|config| config.resolve(&NoEnvironment)) {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}
