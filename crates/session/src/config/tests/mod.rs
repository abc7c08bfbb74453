//! The rules of a configuration: a made-up world for them, and what all of them need.

mod damage;
mod properties;
mod resolving;
mod strings;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::keywords::KEYWORDS;
use super::*;

/// A world made for a test.
#[derive(Default)]
struct World {
    vars: HashMap<&'static str, OsString>,
    files: HashMap<PathBuf, FileContents>,
}

impl World {
    fn var(mut self, name: &'static str, value: &str) -> Self {
        self.vars.insert(name, value.into());
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.file_with_mode(path, text, 0o600)
    }

    fn file_with_mode(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.files.insert(path.into(), FileContents::new(text).with_mode(mode));
        self
    }
}

impl Environment for World {
    fn var(&self, name: &str) -> Option<OsString> {
        self.vars.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<Option<FileContents>> {
        Ok(self.files.get(path).cloned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn home(&self) -> Option<PathBuf> {
        Some("/home/me".into())
    }

    fn user_name(&self) -> Option<String> {
        Some("me".to_owned())
    }
}

fn read(text: &str) -> Config {
    Config::parse(text).unwrap()
}

/// Settings with secrets, as a string that can be read again.
fn write(config: &Config) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let said = KEYWORDS.iter().filter_map(|keyword| {
        Some(format!("{}='{}'", keyword.name, quoted(&keyword.get(config)?)))
    });
    said.collect::<Vec<_>>().join(" ")
}

fn resolved(text: &str, world: &World) -> Config {
    read(text).resolve(world).unwrap()
}

fn refusal(text: &str, world: &World) -> String {
    read(text).resolve(world).unwrap_err().to_string()
}
