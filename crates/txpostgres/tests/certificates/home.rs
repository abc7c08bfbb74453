//! A home with nothing in it but what a case puts there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use txpostgres::config::{Environment, FileContents};

/// The home's folder.
#[derive(Debug)]
pub(super) struct Home(pub(super) PathBuf);

impl Environment for Home {
    fn var(&self, _: &str) -> Option<OsString> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Option<FileContents>> {
        Ok(None)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn home(&self) -> Option<PathBuf> {
        Some(self.0.clone())
    }

    fn user_name(&self) -> Option<String> {
        None
    }
}
