//! Called as `ig`: who scripts and test suites think they are talking to.
//!
//! By that name (as argv[0], or by `igx --as ig`) the program has upstream's places, defaults, environment, log lines
//! and exit codes. That is told here once, for the process; the rest of the command line asks where it matters.

pub(super) mod errors;
#[cfg(feature = "ebpf")]
pub(super) mod flags;
pub(super) mod log;
pub(super) mod settings;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use gadget::store::{Error, Store};

/// The name, once it is known.
static AS_IG: OnceLock<bool> = OnceLock::new();

/// Upstream's clients of a daemon, which there is none of.
const CLIENTS: [&str; 2] = ["gadgetctl", "kubectl-gadget"];

/// Whether the process answers to `ig`.
pub(super) fn is_called() -> bool {
    AS_IG.get().copied().unwrap_or(false)
}

/// The name that help and messages have.
pub(super) fn name() -> &'static str {
    if is_called() { "ig" } else { "igx" }
}

/// Finds out the name by which the process is called, and takes `--as NAME` out of the arguments.
///
/// # Errors
/// A name that nothing answers to.
pub(super) fn take(mut args: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let called = called(&mut args)?;
    let _ = AS_IG.set(called == "ig");
    Ok(args)
}

fn called(args: &mut Vec<OsString>) -> anyhow::Result<String> {
    let text = |at: usize| args.get(at).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let program = Path::new(&text(0)).file_name().map(|name| name.to_string_lossy().into_owned());
    let first = text(1);
    let named = if first == "--as" { Some((text(2), 3)) } else { None };
    let named = named.or_else(|| first.strip_prefix("--as=").map(|name| (name.to_owned(), 2)));
    if let Some((name, end)) = named {
        args.drain(1..end.min(args.len()));
        anyhow::ensure!(
            name == "ig" || name == "igx" || CLIENTS.contains(&name.as_str()),
            "--as {name}: igx can be called as ig"
        );
        return known(name);
    }
    known(program.unwrap_or_default())
}

fn known(name: String) -> anyhow::Result<String> {
    anyhow::ensure!(
        !CLIENTS.contains(&name.as_str()),
        "{name}: igx is no client of a daemon yet; 'igx run' runs a gadget on this machine"
    );
    Ok(name)
}

/// Where images are kept: upstream's folder for who is called `ig`, else igx's own.
///
/// # Errors
/// If nobody knows this user's home.
pub(super) fn store() -> Result<PathBuf, Error> {
    if !is_called() {
        return Store::default_path();
    }
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return Ok(PathBuf::from("/var/lib/ig/oci-store"));
    }
    // Upstream as well does not believe $HOME here.
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.dir.join(".ig/oci-store")),
        _ => Err(Error::NoHome(uid.as_raw())),
    }
}

/// Where `ig` keeps credentials, whoever calls it.
pub(super) fn authfile() -> Option<PathBuf> {
    is_called().then(|| PathBuf::from("/var/lib/ig/config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Result<(String, String), String> {
        let mut args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let name = super::called(&mut args).map_err(|error| error.to_string())?;
        Ok((name, args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn the_name_is_the_programs_or_the_one_that_is_asked_for() {
        let is = |line: &str, name: &str, rest: &str| {
            assert_eq!(called(line), Ok((name.to_owned(), rest.to_owned())), "{line}");
        };
        is("/usr/bin/ig run x", "ig", "/usr/bin/ig run x");
        is("igx run x", "igx", "igx run x");
        is("igx --as ig run x", "ig", "igx run x");
        is("igx --as=ig run x", "ig", "igx run x");
        is("ig --as=igx", "igx", "ig");
        is("igx run --as ig", "igx", "igx run --as ig");
    }

    #[test]
    fn names_of_clients_and_of_nobody_are_told() {
        for line in ["/bin/gadgetctl list", "kubectl-gadget deploy", "igx --as gadgetctl list"] {
            assert!(called(line).unwrap_err().contains("no client of a daemon yet"), "{line}");
        }
        assert_eq!(called("igx --as docker x").unwrap_err(), "--as docker: igx can be called as ig");
        assert_eq!(called("igx --as").unwrap_err(), "--as : igx can be called as ig");
    }
}
