//! Which package may depend on which: the rules, and how a dependency or a line of code breaks one.

use crate::code::{self, mentions};

/// What one package must not know.
pub(crate) struct Rule {
    package: &'static str,
    /// Packages that it must not depend on, not even in tests.
    dependencies: &'static [&'static str],
    /// Words that its code must not contain, not even in tests.
    words: &'static [&'static str],
    /// Words that only its tests may contain.
    words_of_tests: &'static [&'static str],
}

const RUNTIMES: [&str; 4] = ["tokio", "async-std", "smol", "mio"];
const SOCKETS: [&str; 9] = [
    "tokio",
    "mio",
    "socket2",
    "std::net",
    "os::unix::net",
    "TcpStream",
    "UnixStream",
    "UdpSocket",
    "sleep",
];
const CLOCKS: [&str; 5] =
    ["Instant::now", "SystemTime::now", "std::thread", "thread::spawn", "thread::scope"];

pub(crate) const RULES: [Rule; 7] = [
    Rule {
        package: "txpostgres-session",
        dependencies: &[
            "tokio",
            "mio",
            "socket2",
            "pyo3",
            "txpostgres-policy",
            "txpostgres-multiplex",
            "txpostgres",
            "txpostgres-poll",
            "txpostgres-python",
            "txpostgres-testkit",
        ],
        words: &SOCKETS,
        words_of_tests: &CLOCKS,
    },
    Rule {
        package: "txpostgres-policy",
        dependencies: &[
            "tokio",
            "mio",
            "socket2",
            "pyo3",
            "txpostgres-multiplex",
            "txpostgres",
            "txpostgres-poll",
            "txpostgres-python",
        ],
        words: &SOCKETS,
        words_of_tests: &CLOCKS,
    },
    Rule {
        package: "txpostgres-multiplex",
        dependencies: &[
            "tokio",
            "mio",
            "socket2",
            "pyo3",
            "txpostgres",
            "txpostgres-poll",
            "txpostgres-python",
        ],
        words: &SOCKETS,
        words_of_tests: &CLOCKS,
    },
    Rule {
        package: "txpostgres",
        dependencies: &["pyo3", "txpostgres-poll", "txpostgres-python"],
        words: &["pyo3"],
        words_of_tests: &[],
    },
    Rule {
        package: "txpostgres-poll",
        dependencies: &["tokio", "pyo3", "txpostgres", "txpostgres-python"],
        words: &["tokio", "pyo3"],
        words_of_tests: &[],
    },
    Rule {
        package: "txpostgres-python",
        dependencies: &RUNTIMES,
        words: &["tokio"],
        words_of_tests: &[],
    },
    Rule {
        package: "txpostgres-testkit",
        dependencies: &[
            "tokio",
            "pyo3",
            "txpostgres",
            "txpostgres-session",
            "txpostgres-policy",
            "txpostgres-multiplex",
            "txpostgres-poll",
        ],
        words: &["tokio", "pyo3"],
        words_of_tests: &[],
    },
];

/// A package of the workspace, as far as the rules need it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) is_published: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) for_tests: bool,
}

/// The dependencies of a package that break a rule.
pub(crate) fn wrong_dependencies(package: &Package) -> Vec<String> {
    let mut wrong = Vec::new();
    for Dependency { name, for_tests } in &package.dependencies {
        let by_rule =
            rules_of(&package.name).any(|rule| rule.dependencies.contains(&name.as_str()));
        let kit = name == "txpostgres-testkit" && package.is_published && !for_tests;
        if by_rule {
            wrong.push(format!("{} must not depend on {name}", package.name));
        } else if kit {
            wrong.push(format!(
                "{} is published, and must not depend on {name} but in tests",
                package.name
            ));
        } else if name == "pyo3" && package.name != "txpostgres-python" {
            wrong.push(format!(
                "{} must not depend on pyo3, which is for txpostgres-python alone",
                package.name
            ));
        }
    }
    wrong
}

/// The lines of a source file that break a rule. `path` is for messages, and tells whether the file
/// is one of tests.
pub(crate) fn wrong_words(package: &str, path: &str, source: &str) -> Vec<String> {
    let is_test = path.split('/').any(|part| part == "tests" || part == "benches")
        || path.ends_with("/tests.rs");
    let mut wrong = Vec::new();
    for line in code::lines(source) {
        let exempt = is_test || line.for_tests;
        for rule in rules_of(package) {
            let more: &[&str] = if exempt { &[] } else { rule.words_of_tests };
            let found = rule.words.iter().chain(more).find(|words| mentions(&line.code, words));
            if let Some(words) = found {
                wrong.push(format!(
                    "{path}:{}: {package} must not know {words}{}",
                    line.number,
                    advice(words)
                ));
            }
        }
    }
    wrong
}

fn rules_of(package: &str) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.package == package)
}

fn advice(words: &str) -> &'static str {
    match words {
        "std::net" => " (addresses without sockets are in core::net)",
        "Instant::now" | "SystemTime::now" => " (the time is an argument)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depends(name: &str, on: &str, for_tests: bool) -> Vec<String> {
        let dependencies = vec![Dependency { name: on.to_owned(), for_tests }];
        wrong_dependencies(&Package { name: name.to_owned(), is_published: true, dependencies })
    }

    #[test]
    fn arrows_point_down() {
        for (name, on) in [
            ("txpostgres-session", "tokio"),
            ("txpostgres-session", "txpostgres-policy"),
            ("txpostgres-policy", "txpostgres"),
            ("txpostgres-session", "txpostgres-multiplex"),
            ("txpostgres-policy", "txpostgres-multiplex"),
            ("txpostgres-multiplex", "tokio"),
            ("txpostgres-multiplex", "txpostgres"),
            ("txpostgres-multiplex", "txpostgres-poll"),
            ("txpostgres-multiplex", "txpostgres-python"),
            ("txpostgres", "txpostgres-poll"),
            ("txpostgres-poll", "tokio"),
            ("txpostgres-poll", "txpostgres"),
            ("txpostgres-python", "tokio"),
            ("txpostgres", "pyo3"),
        ] {
            assert_eq!(depends(name, on, false), [format!("{name} must not depend on {on}")]);
        }
        for (name, on) in [
            ("txpostgres-policy", "txpostgres-session"),
            ("txpostgres-multiplex", "txpostgres-session"),
            ("txpostgres-multiplex", "txpostgres-policy"),
            ("txpostgres", "txpostgres-multiplex"),
            ("txpostgres", "tokio"),
            ("txpostgres-python", "pyo3"),
            ("txpostgres-python", "txpostgres-poll"),
        ] {
            assert!(depends(name, on, false).is_empty(), "{name} {on}");
        }
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        for package in ["txpostgres", "txpostgres-multiplex"] {
            assert_eq!(depends(package, "txpostgres-testkit", false).len(), 1);
            assert!(depends(package, "txpostgres-testkit", true).is_empty());
        }
    }

    #[test]
    fn words_that_break_a_rule_are_told_with_their_line() {
        let source =
            "//! Unlike tokio, no std::net here.\nlet now = Instant::now();\nlet s = \"sleep\";\n";
        let wanted =
            "src/a.rs:2: txpostgres-session must not know Instant::now (the time is an argument)";
        assert_eq!(wrong_words("txpostgres-session", "src/a.rs", source), [wanted]);
        assert!(wrong_words("txpostgres", "src/a.rs", source).is_empty());
        for words in ["Instant::now", "SystemTime::now", "std::thread", "sleep", "std::net"] {
            let source = format!("a\nlet b = {words}(c);");
            let wrong = wrong_words("txpostgres-multiplex", "src/a.rs", &source);
            assert_eq!(wrong.len(), 1, "{words}: {wrong:?}");
        }
        let source = "use std::net::IpAddr;";
        assert_eq!(wrong_words("txpostgres-policy", "src/a.rs", source).len(), 1);
        assert!(wrong_words("txpostgres-policy", "src/a.rs", "use core::net::IpAddr;").is_empty());
    }

    #[test]
    fn tests_may_look_at_the_clock_but_have_no_sockets() {
        let source = "#[cfg(test)]\nmod tests {\n    let a = Instant::now();\n    let b = TcpStream::connect(c);\n}\n";
        let wrong = wrong_words("txpostgres-session", "src/a.rs", source);
        assert_eq!(wrong, ["src/a.rs:4: txpostgres-session must not know TcpStream"]);
        assert_eq!(
            wrong_words("txpostgres-session", "crates/session/tests/a.rs", source),
            wrong_in_tests()
        );
    }

    fn wrong_in_tests() -> [&'static str; 1] {
        ["crates/session/tests/a.rs:4: txpostgres-session must not know TcpStream"]
    }
}
