//! What holds for any string.

use std::time::Duration;

use proptest::prelude::*;

use super::damage::{SECRETIVE, damaged};
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

    #[test]
    fn no_damage_makes_an_error_show_the_password(
        text in damaged(prop::sample::select(SECRETIVE.to_vec())),
    ) {
        if let Err(error) = Config::parse(&text).and_then(|config| config.resolve(&NoEnvironment)) {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}
