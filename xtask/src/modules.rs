//! The modules of a crate, and which file's items each file uses: read from `use` declarations and
//! from paths that begin with `crate::` or `super::`.
//!
//! A path is followed through re-exports to the file that defines the item, so `crate::Row` counts
//! as an import of `result/row.rs` although `lib.rs` names it. What is for tests or documentation
//! only (`#[cfg(test)]`, `#[cfg(doc)]`) is left out, and so is what a module takes from its own
//! children: it was divided into them.

use std::collections::{BTreeMap, BTreeSet};

use crate::code;

/// The `src` folder of a crate, parsed.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    /// By module path: `[]` is the crate's root, `["query", "stream"]` is `query/stream.rs`.
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// The file below `src`, for example `query/stream.rs`.
    file: String,
    imports: Vec<Import>,
}

/// One name that a file brings into scope, or one path that it uses in place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    line: usize,
    path: Vec<String>,
    /// The name that it has here; `*` stands for all names, nothing for a path used in place.
    name: Option<String>,
}

/// One file uses an item of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    /// As it is written.
    pub(crate) path: String,
}

impl Crate {
    /// Adds a file below `src`. Files of tests are left out.
    pub(crate) fn add(&mut self, file: &str, source: &str) {
        let Some(path) = module_path(file) else { return };
        let imports = Parser::new(source).imports();
        self.modules.insert(path, Module { file: file.to_owned(), imports });
    }

    /// Which file uses items of which other file.
    pub(crate) fn uses(&self) -> Vec<Use> {
        let mut uses = BTreeSet::new();
        for (module, Module { file, imports }) in &self.modules {
            for import in imports {
                let Some(target) = self.resolve(module, &import.path, 0) else { continue };
                let is_child = target.len() > module.len() && target.starts_with(module);
                let Some(to) = self.modules.get(&target).map(|module| &module.file) else {
                    continue;
                };
                if to == file || is_child {
                    continue;
                }
                uses.insert(Use {
                    from: file.clone(),
                    to: to.clone(),
                    line: import.line,
                    path: import.path.join("::"),
                });
            }
        }
        uses.into_iter().collect()
    }

    /// The module that defines what `path` means in `module`; nothing for an item of another crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Vec<String>> {
        // Re-exports that name each other would go on for ever.
        const DEEPEST: usize = 16;
        if depth > DEEPEST {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (module.to_vec(), rest),
            "super" => (module.split_last()?.1.to_vec(), rest),
            child if self.modules.contains_key(&join(module, child)) => (module.to_vec(), path),
            _ => return None,
        };
        while let Some((segment, after)) = rest.split_first() {
            if segment == "super" {
                at.pop()?;
            } else if self.modules.contains_key(&join(&at, segment)) {
                at = join(&at, segment);
            } else {
                return Some(self.defined_in(&at, segment, depth));
            }
            rest = after;
        }
        Some(at)
    }

    /// The module that defines an item of this name that `module` has: `module`, or where it
    /// re-exports the item from.
    fn defined_in(&self, module: &[String], name: &str, depth: usize) -> Vec<String> {
        let imports = self.modules.get(module).map(|module| module.imports.as_slice());
        imports
            .unwrap_or_default()
            .iter()
            .filter(|import| import.name.as_deref() == Some(name))
            .find_map(|import| self.resolve(module, &import.path, depth + 1))
            .unwrap_or_else(|| module.to_vec())
    }
}

fn join(module: &[String], child: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(child.to_owned());
    path
}

/// `query/mod.rs` is `["query"]`, `query/stream.rs` is `["query", "stream"]`. Nothing for tests.
fn module_path(file: &str) -> Option<Vec<String>> {
    let mut path: Vec<_> = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if path.iter().any(|part| part == "tests") {
        return None;
    }
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] || path == ["main"] {
        path.pop();
    }
    Some(path)
}

/// Reads what a file imports out of its words and marks.
struct Parser {
    tokens: Vec<(usize, String)>,
    at: usize,
    /// How deep in braces, and where modules written in this file began.
    depth: usize,
    inner: Vec<usize>,
}

impl Parser {
    fn new(source: &str) -> Self {
        let mut tokens = Vec::new();
        for line in code::lines(source) {
            if !line.for_tests && !line.for_docs {
                tokens.extend(words(&line.code).into_iter().map(|word| (line.number, word)));
            }
        }
        Self { tokens, at: 0, depth: 0, inner: Vec::new() }
    }

    fn imports(mut self) -> Vec<Import> {
        let mut imports = Vec::new();
        while let Some((line, word)) = self.tokens.get(self.at).cloned() {
            match word.as_str() {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inner.retain(|depth| *depth <= self.depth);
                }
                "mod" if self.peek(2) == "{" => self.inner.push(self.depth + 1),
                // `pub(in crate::a)` is no import.
                "pub" if self.peek(1) == "(" => {
                    self.at += self.until(")");
                    continue;
                }
                "use" => {
                    self.at += 1;
                    self.tree(&[], &mut imports);
                    continue;
                }
                "crate" | "super" if self.peek(1) == "::" => {
                    let path = self.path();
                    imports.extend(self.import(line, path, None));
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        imports
    }

    /// One tree of a `use`: a path, perhaps with a name of its own, a star, or braces behind it.
    fn tree(&mut self, before: &[String], imports: &mut Vec<Import>) {
        let line = self.tokens.get(self.at).map_or(0, |(line, _)| *line);
        let mut path = before.to_vec();
        path.extend(self.path());
        let mut name = path.last().cloned();
        match self.peek(0) {
            "{" => {
                self.at += 1;
                while !matches!(self.peek(0), "}" | "") {
                    self.tree(&path, imports);
                    if self.peek(0) == "," {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            }
            "*" => {
                self.at += 1;
                name = Some("*".to_owned());
            }
            "as" => {
                name = Some(self.peek(1).to_owned());
                self.at += 2;
            }
            _ => {}
        }
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
            name = name.filter(|name| name != "self").or_else(|| path.last().cloned());
        }
        imports.extend(self.import(line, path, name));
        // A mark that no `use` has must not stop the reading.
        if !matches!(self.peek(0), "," | "}" | ";" | "") {
            self.at += 1;
        }
    }

    /// Names with `::` between them, and one behind the last if braces or a star follow.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while is_name(self.peek(0)) {
            path.push(self.peek(0).to_owned());
            self.at += 1;
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        path
    }

    /// In a module written within the file, `super` is the file's own module.
    fn import(&self, line: usize, path: Vec<String>, name: Option<String>) -> Option<Import> {
        let ups = path.iter().take_while(|word| *word == "super").count();
        let within = self.inner.len().min(ups);
        let path: Vec<_> = if within > 0 && ups == within {
            core::iter::once("self".to_owned()).chain(path.into_iter().skip(within)).collect()
        } else {
            path.into_iter().skip(within).collect()
        };
        (!path.is_empty()).then_some(Import { line, path, name })
    }

    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |(_, word)| word.as_str())
    }

    /// How far it is to behind the next mark of this kind.
    fn until(&self, mark: &str) -> usize {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        rest.iter().position(|(_, word)| word == mark).map_or(1, |at| at + 1)
    }
}

fn is_name(word: &str) -> bool {
    word != "as" && word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and marks of a line; `::` is one mark.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(files: &[(&str, &str)]) -> Vec<String> {
        let mut found = Crate::default();
        for (file, source) in files {
            found.add(file, source);
        }
        let uses = found.uses();
        uses.iter().map(|used| format!("{}:{} {}", used.from, used.line, used.to)).collect()
    }

    #[test]
    fn paths_lead_to_the_file_that_defines_the_item() {
        let found = uses(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::deep::Deep;\npub use b::B as C;"),
            ("a/mod.rs", "mod deep;\nmod other;\npub use deep::Deep;\nuse crate::b::{\n    B,\n};"),
            ("a/deep.rs", "pub struct Deep;"),
            ("a/other.rs", "use super::Deep;\nfn f() { crate::C::new(super::super::b::x()) }"),
            ("b.rs", "use crate::Deep;\nuse std::fmt;\npub struct B;"),
        ]);
        assert_eq!(
            found,
            ["a/mod.rs:5 b.rs", "a/other.rs:1 a/deep.rs", "a/other.rs:2 b.rs", "a/other.rs:2 b.rs"]
                .into_iter()
                .chain(["b.rs:1 a/deep.rs"])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn every_form_of_use_is_read() {
        for source in [
            "use crate::b::B;",
            "use crate::{b::{self, x}, c};",
            "use crate::b::*;",
            "use super::b as d;",
            "pub(crate) use crate::b::B;",
            "#[cfg(feature = \"tls\")]\nuse crate::b::B;",
            "fn f() -> crate::b::B { x }",
            "mod inner {\n    use super::super::b::B;\n}",
        ] {
            let found = uses(&[("lib.rs", ""), ("a.rs", source), ("b.rs", "")]);
            assert!(found.iter().any(|used| used.ends_with(" b.rs")), "{source}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_import_is_left_out() {
        for source in [
            "#[cfg(test)]\nuse crate::b::B;",
            "#[cfg(doc)]\nuse crate::b::B;",
            "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}",
            "// use crate::b::B;",
            "pub(in crate::b) fn f() {}",
            "use b::B;",
            "mod inner {\n    use super::b::B;\n}",
        ] {
            let found = uses(&[("lib.rs", ""), ("a.rs", source), ("b.rs", "")]);
            assert!(found.is_empty(), "{source}: {found:?}");
        }
        let child =
            uses(&[("a/mod.rs", "use child::C;\nuse crate::a::child::D;"), ("a/child.rs", "")]);
        assert!(child.is_empty(), "{child:?}");
        let tests = uses(&[("a/tests.rs", "use crate::b::B;"), ("b.rs", "")]);
        assert!(tests.is_empty(), "{tests:?}");
    }

    #[test]
    fn re_exports_in_a_circle_end() {
        let circle =
            [("lib.rs", ""), ("a.rs", "pub use crate::b::X;"), ("b.rs", "pub use crate::a::X;")];
        assert_eq!(uses(&circle).len(), 2);
    }
}
