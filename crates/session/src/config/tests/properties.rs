//! What holds for any string.

use std::time::Duration;

use proptest::prelude::*;

use super::damage::{SECRETIVE, damaged, misshapen};
use super::*;

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

}

proptest! {
    // Most damage shows nothing in any case.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_damage_makes_an_error_show_the_password(
        text in prop_oneof![
            damaged(prop::sample::select(SECRETIVE.to_vec())),
            misshapen(),
        ],
    ) {
        let shows = |text: &str| text.contains("hunter2");
        let read = Config::parse(&text);
        let resolved = read.as_ref().map(|config| config.resolve(&NoEnvironment));
        let error = read.as_ref().err().or(resolved.as_ref().ok().and_then(|it| it.as_ref().err()));
        if let Some(error) = error {
            let shown = format!("{error} {error:?} {:?}", error.hint());
            prop_assert!(!shows(&shown), "{}", shown);
        }
        if is_recognizable(&text) {
            for endpoint in read.iter().flat_map(Config::endpoints).flatten() {
                prop_assert!(!shows(&endpoint.to_string()), "{}", endpoint);
            }
        }
    }
}

/// Whether anything is left of what makes a password of the secret: `user:hunter2@host` is one
/// without its colon as well, but `user.hunter2.host` is the name of a host.
fn is_recognizable(text: &str) -> bool {
    text.match_indices("hunter2").all(|(at, secret)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + secret.len()..).and_then(|after| after.chars().next());
        before.is_some_and(|before| ":='\" \t&?".contains(before)) || after == Some('@')
    })
}
