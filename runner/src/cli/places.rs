//! Where `igx` keeps things: the flag, or else the default for root or for a user.

#[cfg(feature = "ebpf")]
use std::path::Path;
use std::path::PathBuf;

use clap::ArgMatches;

#[cfg(feature = "ebpf")]
use super::ig;

/// The folder of the image store, if the user chose one.
pub(super) fn store(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<String>("store").ok().flatten().map(PathBuf::from)
}

/// The store of the user who called sudo, or of who runs this without it.
///
/// # Errors
/// If the system does not know the user that sudo names.
#[cfg(feature = "ebpf")]
pub(super) fn store_of_sudo_user() -> anyhow::Result<PathBuf> {
    let name = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let Some(name) = name.filter(|_| nix::unistd::geteuid().is_root()) else {
        return Ok(ig::store()?);
    };
    match nix::unistd::User::from_name(&name)? {
        Some(user) if user.uid.is_root() => Ok(ig::store()?),
        Some(user) => {
            Ok(user.dir.join(if ig::is_called() { ".ig/oci-store" } else { ".local/share/igx/oci-store" }))
        }
        None => {
            anyhow::bail!("--oci-store-user: there is no user {name:?}, whom SUDO_USER names; use --store")
        }
    }
}

/// The folder of what can be thrown away, beside the store.
#[cfg(feature = "ebpf")]
pub(super) fn cache(store: &Path) -> Option<PathBuf> {
    store.parent().map(|home| home.join("kernel-types"))
}
