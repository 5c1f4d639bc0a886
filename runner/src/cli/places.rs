//! Where `igx` keeps things: the flag, or else the default for root or for a user.

use std::path::PathBuf;

use clap::ArgMatches;
use gadget::store::Store;

/// The folder of the image store.
pub(super) fn store(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<String>("store").map_or_else(Store::default_path, PathBuf::from)
}

/// The folder of what can be thrown away, beside the default store.
#[cfg(feature = "ebpf")]
pub(super) fn cache() -> Option<PathBuf> {
    Store::default_path().parent().map(|home| home.join("kernel-types"))
}
