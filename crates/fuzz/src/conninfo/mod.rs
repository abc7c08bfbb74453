//! Connection strings, URIs, variables, the password file and the service file.
//!
//! Checked: no panic; memory is a multiple of what is read; what is printed of a configuration
//! reads as the same one; resolving twice changes nothing; no secret stands in an error, a warning
//! or a `Debug`, however the text is damaged around it.

#[path = "../../../session/src/config/tests/damage.rs"]
mod damage;
mod texts;
mod world;

use proptest::prelude::*;
use txpostgres_session::Error;
use txpostgres_session::config::{Config, NoEnvironment, Password};

use crate::probe::Probe;
use crate::target::{Cases, Checked};
use world::World;

#[derive(Debug, Clone)]
enum Case {
    /// Any string, in any world.
    Any { text: String, world: World },
    /// A string and a world with a secret in each place where there may be one, damaged a little.
    Secret { text: String, world: World },
    /// Each keyword set to something.
    Set(Vec<(&'static str, String)>),
}

pub(crate) const EXPECTED: &[&str] = &[
    "parse: read",
    "parse: refused",
    "parse: a URI",
    "print: read again",
    "resolve: read",
    "resolve: refused",
    "resolve: warned",
    "resolve: a password of the file",
    "resolve: a service",
    "secret: read",
    "secret: refused",
    "set: read",
    "set: refused",
];

/// What may be taken whatever the text is: the table of keywords, an error, a configuration.
const ITSELF: usize = 256 * 1024;
const FACTOR: usize = 128;

/// It is in no text that is made by chance.
const SECRET: &str = "hunter2";

pub(crate) fn cases() -> Box<dyn Cases> {
    let strategy = prop_oneof![
        4 => (texts::any_text(), world::any_world())
            .prop_map(|(text, world)| Case::Any { text, world }),
        3 => (
            prop_oneof![
                damage::damaged(prop::sample::select(texts::secretive())),
                damage::misshapen(),
            ],
            world::secretive(),
        )
            .prop_map(|(text, world)| Case::Secret { text, world }),
        1 => prop::collection::vec((texts::keyword(), texts::value()), 1..5).prop_map(Case::Set),
    ];
    Box::new(Checked { strategy, check })
}

fn check(case: &Case, probe: &mut Probe) {
    match case {
        Case::Any { text, world } => {
            let most = ITSELF + FACTOR * (text.len() + world.size());
            let taken = probe.measure(|| any(text, world));
            assert!(taken.1 <= most, "{} bytes of memory, and {most} are allowed", taken.1);
            taken.0.iter().for_each(|what| probe.reached(what));
        }
        Case::Secret { text, world } => {
            probe.reached(show(text, world));
        }
        Case::Set(settings) => {
            let mut config = Config::new();
            for (keyword, value) in settings {
                let before = config.clone();
                let set = config.set(keyword, value).map(drop);
                assert!(set.is_ok() || config == before, "{keyword} is refused, and set");
                probe.reached(if set.is_ok() { "set: read" } else { "set: refused" });
            }
            print(&config);
        }
    }
}

/// Reads, prints and resolves; gives what was reached.
fn any(text: &str, world: &World) -> Vec<&'static str> {
    let mut reached = Vec::new();
    let _ = Config::parse_allowing(text, &["host", "port", "dbname"]);
    let config = match Config::parse(text) {
        Ok(config) => {
            reached.push("parse: read");
            config
        }
        // The world is asked all the same.
        Err(error) => {
            assert!(format!("{error} {error:#?}").len() < 16 * 1024 + 16 * text.len());
            reached.push("parse: refused");
            Config::new()
        }
    };
    if text.starts_with("postgres") {
        reached.push("parse: a URI");
    }
    print(&config);
    reached.push("print: read again");
    let _ = (config.validate(), config.endpoints(), config.startup_parameters());
    match config.resolve(world) {
        Err(_) => reached.push("resolve: refused"),
        Ok(resolved) => {
            reached.push("resolve: read");
            assert_eq!(resolved.resolve(world).unwrap(), resolved, "resolved twice");
            if !resolved.warnings().is_empty() {
                reached.push("resolve: warned");
            }
            if world.has_service() && resolved.get_user() == Some("of-service") {
                reached.push("resolve: a service");
            }
            for endpoint in resolved.endpoints().unwrap_or_default() {
                if resolved.password_for(&endpoint).is_some() && resolved.get_password().is_none() {
                    reached.push("resolve: a password of the file");
                }
            }
            let _ = resolved.startup_parameters();
        }
    }
    reached
}

/// What is printed reads as the same.
fn print(config: &Config) {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let text = |one: &Password| String::from_utf8_lossy(one.as_bytes()).into_owned();
    let mut settings = config.settings();
    // `Debug` tells that there is one, be it empty.
    let shown = format!("{config:?}");
    for (name, secret) in
        [("password", config.get_password()), ("sslpassword", config.get_sslpassword())]
    {
        if shown.contains(&format!(" {name}: (..)")) {
            settings.push((name, secret.map(text).unwrap_or_default()));
        }
    }
    let texts: Vec<_> =
        settings.iter().map(|(name, value)| format!("{name}='{}'", quoted(value))).collect();
    let text = texts.join(" ");
    let again = Config::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(again, *config, "{text}");
}

/// Reads and resolves, and looks at all that is shown.
fn show(text: &str, world: &World) -> &'static str {
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(error) => {
            check_error(&error);
            Config::new()
        }
    };
    check_config(text, &config);
    if let Err(error) = config.resolve(&NoEnvironment) {
        check_error(&error);
    }
    match config.resolve(world) {
        Ok(config) => {
            check_config(text, &config);
            assert!(!config.warnings().concat().contains(SECRET), "{:?}", config.warnings());
            "secret: read"
        }
        Err(error) => {
            check_error(&error);
            "secret: refused"
        }
    }
}

fn check_error(error: &Error) {
    let shown = format!("{error} {error:#} {error:?} {:?}", error.hint());
    assert!(!shown.contains(SECRET), "a secret is shown: {shown}");
}

/// A text that was damaged may say that the secret is a user's name: then it is shown.
fn check_config(text: &str, config: &Config) {
    let is_whole = texts::secretive().contains(&text);
    let is_named = config.settings().iter().any(|(_, value)| value.contains(SECRET));
    assert!(!(is_named && is_whole), "a secret is a setting: {:?}", config.settings());
    let shown = format!("{config:?} {config:#?}");
    assert!(is_named || !shown.contains(SECRET), "a secret is shown: {shown}");
}
