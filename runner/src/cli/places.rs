//! Where `igx` keeps things: the flag, or else the default for root or for a user.

use std::path::PathBuf;

use clap::ArgMatches;

/// The folder of the image store, if the user chose one.
pub(super) fn store(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<String>("store").ok().flatten().map(PathBuf::from)
}

/// The folder of what can be thrown away, beside the default store.
#[cfg(feature = "ebpf")]
pub(super) fn cache() -> Option<PathBuf> {
    gadget::store::Store::default_path().ok()?.parent().map(|home| home.join("kernel-types"))
}
