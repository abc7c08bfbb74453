//! The arrows between the folders of a crate: a folder uses what is below it, and nothing above.

use crate::modules::Use;

/// The folders of a package from the lowest to the highest, as ARCHITECTURE.md draws them.
struct Floors {
    package: &'static str,
    /// A folder, a file without its ending, or a file within a folder: the longest name counts.
    /// Those of one floor may use each other.
    floors: &'static [&'static [&'static str]],
}

const FLOORS: [Floors; 2] = [
    Floors {
        package: "txpostgres",
        floors: &[
            &["retrying", "panics"],
            &["io"],
            &["polling"],
            &["driver"],
            &["query"],
            &["notify"],
            &["reconnection"],
            &["copy"],
            &["statements"],
            &["cursor"],
            &["connection"],
            &["transaction"],
            &["pool"],
            &["executor"],
        ],
    },
    Floors {
        package: "txpostgres-session",
        floors: &[
            &[
                "limits",
                "error",
                "command",
                "statement/encoding",
                "statement/lexer",
                "statement/placeholder",
                "transaction_effect",
                "transaction_status",
            ],
            &[
                "answer_limit",
                "config",
                "loss",
                "notices",
                "quoting",
                "send_buffer",
                "statement/text",
            ],
            &["auth"],
            &["tls"],
            &["protocol/wire"],
            &["cancel", "notification"],
            &["value", "result"],
            &["protocol"],
            &["statement", "request"],
            &["copy"],
            &["params"],
            &["event", "failure", "since_idle"],
            &["exchange"],
            &["answer_limit", "gate", "pipeline"],
            &["session"],
            &["statement/query"],
        ],
    },
];

/// Every import that leads to a floor above, and every file that has no floor. The crate's root may
/// use all of them.
pub(crate) fn wrong_folders(package: &str, src: &str, uses: &[Use]) -> Vec<String> {
    let Some(rule) = FLOORS.iter().find(|rule| rule.package == package) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for used in uses {
        let place = format!("{src}/{}:{}", used.from, used.line);
        match (rule.find(&used.from), rule.find(&used.to)) {
            _ if is_root(&used.from) => {}
            (Some((here, _)), Some((there, _))) if there <= here => {}
            (Some((_, from)), Some((_, to))) => {
                wrong.push(format!("{place}: {from} must not use {to}, with {}", used.path));
            }
            (from, _) => {
                let file = if from.is_none() { &used.from } else { &used.to };
                wrong.push(format!("{place}: {file} has no floor in xtask/src/folders.rs"));
            }
        }
    }
    wrong
}

fn is_root(file: &str) -> bool {
    file == "lib.rs"
}

impl Floors {
    /// On which floor a file is, and under which name.
    fn find(&self, file: &str) -> Option<(usize, &'static str)> {
        let file = file.trim_end_matches(".rs");
        let names = self
            .floors
            .iter()
            .enumerate()
            .flat_map(|(floor, names)| names.iter().map(move |name| (floor, *name)));
        names
            .filter(|(_, name)| {
                file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|(_, name)| name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(package: &str, from: &str, to: &str) -> Vec<String> {
        let used = Use {
            from: from.to_owned(),
            to: to.to_owned(),
            line: 3,
            path: "crate::a::B".to_owned(),
        };
        wrong_folders(package, "src", &[used])
    }

    #[test]
    fn an_import_of_a_folder_above_is_named() {
        let told = wrong("txpostgres", "query/typed.rs", "connection/mod.rs");
        let wanted = "src/query/typed.rs:3: query must not use connection, with crate::a::B";
        assert_eq!(told, [wanted]);
        for (from, to) in [("io/mod.rs", "driver/mod.rs"), ("cursor/mod.rs", "transaction/mod.rs")]
        {
            assert_eq!(wrong("txpostgres", from, to).len(), 1, "{from} {to}");
        }
    }

    #[test]
    fn folders_use_what_is_below_and_themselves() {
        for (from, to) in [
            ("connection/mod.rs", "cursor/mod.rs"),
            ("transaction/mod.rs", "io/stream.rs"),
            ("query/stream_as.rs", "query/stream.rs"),
            ("lib.rs", "transaction/mod.rs"),
        ] {
            assert!(wrong("txpostgres", from, to).is_empty(), "{from} {to}");
        }
        assert!(wrong("txpostgres-testkit", "a.rs", "b.rs").is_empty());
    }

    #[test]
    fn a_file_may_have_a_floor_of_its_own() {
        let session = |from, to| wrong("txpostgres-session", from, to).len();
        assert_eq!(session("result/row.rs", "protocol/wire.rs"), 0);
        assert_eq!(session("result/row.rs", "protocol/expect.rs"), 1);
        assert_eq!(session("statement/query/plan.rs", "session/mod.rs"), 0);
        assert_eq!(session("statement/mod.rs", "session/mod.rs"), 1);
        assert_eq!(session("statements.rs", "error/mod.rs"), 1, "not the folder `statement`");
    }

    #[test]
    fn a_new_folder_needs_a_floor() {
        let told = wrong("txpostgres", "shed/mod.rs", "io/mod.rs");
        assert_eq!(told, ["src/shed/mod.rs:3: shed/mod.rs has no floor in xtask/src/folders.rs"]);
    }
}
