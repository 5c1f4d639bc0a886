//! Where `igx` keeps things: the flag, or else the default for root or for a user.

#[cfg(feature = "ebpf")]
use std::path::Path;
use std::path::PathBuf;

use clap::ArgMatches;

/// The folder of the image store, if the user chose one.
pub(super) fn store(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<String>("store").ok().flatten().map(PathBuf::from)
}

/// The folder of what can be thrown away, beside the store.
#[cfg(feature = "ebpf")]
pub(super) fn cache(store: &Path) -> Option<PathBuf> {
    store.parent().map(|home| home.join("kernel-types"))
}
