//! `pg_service.conf`: named sets of keywords, in a file of the user's or of the machine.

use std::path::{Path, PathBuf};

use super::environment::{Environment, FileContents};
use super::keywords;
use super::origin::{NOT_SHOWN, Origin, is_shown, shown_path};
use super::{Config, defaults, spelling};
use crate::error::{Error, ErrorKind, Result};

/// Sets what the chosen service says and the configuration does not say yet (manual, section
/// 34.17).
pub(super) fn apply(config: &mut Config, env: &impl Environment) -> Result<()> {
    let Some(service) = config.service.clone().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let demanded = config.servicefile.clone().filter(|path| !path.as_os_str().is_empty());
    let own = demanded.clone().or_else(|| Some(env.home()?.join(".pg_service.conf")));
    let system =
        system_directories(env).into_iter().map(|directory| directory.join("pg_service.conf"));
    for path in own.into_iter().chain(system) {
        match read(&path, env)? {
            Some(file) if apply_file(config, &service, &path, &file)? => return Ok(()),
            None if demanded.as_ref() == Some(&path) => {
                return Err(refused(format!("service file \"{}\" not found", shown_path(&path))));
            }
            _ => {}
        }
    }
    let shown = if is_shown(&service) {
        format!("service \"{service}\"")
    } else {
        format!("the service {NOT_SHOWN}")
    };
    Err(refused(format!("{shown} is not defined in any service file")).with_hint(
        "services are looked for in PGSERVICEFILE or ~/.pg_service.conf, and in pg_service.conf of PGSYSCONFDIR",
    ))
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn system_directories(env: &impl Environment) -> Vec<PathBuf> {
    match env.var("PGSYSCONFDIR") {
        Some(directory) if !directory.is_empty() => vec![directory.into()],
        _ => defaults::SYSTEM_DIRECTORIES.map(PathBuf::from).to_vec(),
    }
}

fn read(path: &Path, env: &impl Environment) -> Result<Option<FileContents>> {
    let file = env.read(path).map_err(|error| {
        refused(format!("service file \"{}\" cannot be read", shown_path(path))).with_source(error)
    })?;
    match file {
        Some(file) if !file.plain => {
            Err(refused(format!("service file \"{}\" is not a plain file", shown_path(path))))
        }
        file => Ok(file),
    }
}

/// Whether the service was in the file.
fn apply_file(
    config: &mut Config,
    service: &str,
    path: &Path,
    file: &FileContents,
) -> Result<bool> {
    let text = std::str::from_utf8(&file.bytes)
        .map_err(|_| refused(format!("service file \"{}\" is not UTF-8", shown_path(path))))?;
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if inside {
                break;
            }
            inside = section.strip_prefix(service).is_some_and(|rest| rest.starts_with(']'));
        } else if inside {
            let place = format!("service file \"{}\", line {}", shown_path(path), number + 1);
            apply_line(config, line, &Origin::only(&place, text))?;
        }
    }
    Ok(inside)
}

/// `keyword=value`, without blanks around the `=` and without quotes. What is set already stays.
fn apply_line(config: &mut Config, line: &str, origin: &Origin<'_>) -> Result<()> {
    if line.starts_with("ldap:") {
        return Err(refused(format!("{origin}services kept in LDAP are not supported")));
    }
    let (name, value) =
        line.split_once('=').ok_or_else(|| refused(format!("{origin}missing \"=\"")))?;
    if name.starts_with("service") {
        return Err(refused(format!("{origin}a service cannot refer to another")));
    }
    let Some(keyword) = keywords::find(name) else {
        return Err(spelling::unknown(name, origin));
    };
    if !keyword.is_set(config) {
        keyword.apply(config, value, origin)?;
    }
    Ok(())
}
