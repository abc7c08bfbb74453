//! Checks the workspace against the rules of `arrows`, `folders`, `cycles`, `prose` and
//! `named_tests`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::arrows::{Dependency, Package, wrong_dependencies, wrong_words};
use crate::cycles::wrong_cycles;
use crate::folders::wrong_folders;
use crate::modules::Crate;
use crate::named_tests::Functions;
use crate::prose::{self, Persons};
use crate::run::{cargo, root};

/// The document that names the tests behind each promise.
const PROOF: &str = "docs/proof.md";

/// Reports every violation, not only the first.
pub(crate) fn tidy() -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut persons = Persons::default();
    let mut functions = Functions::default();
    let mut count = 0;
    for (package, folder) in packages()? {
        wrong.extend(wrong_dependencies(&package));
        let src = folder.join("src");
        let mut modules = Crate::default();
        for path in sources(&folder)? {
            let source = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let shown = shown(&path);
            wrong.extend(wrong_words(&package.name, &shown, &source));
            functions.look_for(&source);
            if let Ok(file) = path.strip_prefix(&src) {
                wrong.extend(prose::wide_comments(&shown, &source));
                persons.look_for(&shown, &source);
                modules.add(&file.to_string_lossy(), &source);
            }
            count += 1;
        }
        let uses = modules.uses();
        wrong.extend(wrong_folders(&package.name, &shown(&src), &uses));
        wrong.extend(wrong_cycles(&package.name, &shown(&src), &uses));
    }
    wrong.extend(persons.wrong());
    let proof =
        fs::read_to_string(root().join(PROOF)).map_err(|error| format!("{PROOF}: {error}"))?;
    wrong.extend(functions.missing(PROOF, &proof));
    if wrong.is_empty() {
        println!("tidy: the arrows and the comments of {count} files are as they must be");
        return Ok(());
    }
    Err(wrong.join("\n"))
}

/// A path relative to the root of the repository, for messages.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn packages() -> Result<Vec<(Package, PathBuf)>, String> {
    let output = cargo(["metadata", "--no-deps", "--format-version", "1"]).output();
    let output = output.map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let list = |value: &Value, name| {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let text = |value: &Value, name| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let packages: Vec<_> = list(&metadata, "packages")
        .iter()
        .map(|package| {
            let dependencies = list(package, "dependencies");
            let dependency = |value: &Value| Dependency {
                name: text(value, "name"),
                for_tests: text(value, "kind") == "dev",
            };
            let found = Package {
                name: text(package, "name"),
                // An empty list of registries means `publish = false`.
                is_published: package.get("publish").is_none_or(Value::is_null),
                dependencies: dependencies.iter().map(dependency).collect(),
            };
            let manifest = PathBuf::from(text(package, "manifest_path"));
            (found, manifest.parent().map(Path::to_owned).unwrap_or_default())
        })
        .collect();
    if packages.is_empty() {
        Err("cargo metadata tells of no package".to_owned())
    } else {
        Ok(packages)
    }
}

/// All Rust files below a package's folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_read() {
        let packages = packages().unwrap();
        let (session, folder) =
            packages.iter().find(|(package, _)| package.name == "txpostgres-session").unwrap();
        assert!(session.is_published);
        assert!(sources(folder).unwrap().iter().any(|path| path.ends_with("src/lib.rs")));
        let (kit, _) =
            packages.iter().find(|(package, _)| package.name == "txpostgres-testkit").unwrap();
        assert!(!kit.is_published);
    }

    #[test]
    fn the_house_is_tidy() {
        tidy().unwrap();
    }
}
