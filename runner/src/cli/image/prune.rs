//! `image prune`: what nobody can name or needs any more.

use anyhow::Result;
use clap::Command;
use gadget::store::{Pruned, Store};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("prune")
        .about("Remove images without a name, and leftovers")
        .long_about(
            "Remove images without a name, signatures of images that are gone, blobs that no image needs and what \
             interrupted downloads left. Blobs of the last ten minutes stay, for another program may be about to \
             use them.",
        )
}

pub(super) fn run(store: &mut Store, log: &mut impl Write) -> Result<()> {
    write!(log, "{}", told(&store.prune()?))?;
    Ok(())
}

/// What was freed, a line each and a sum.
pub(super) fn told(pruned: &Pruned) -> String {
    let mut text = String::new();
    for digest in &pruned.entries {
        text += &format!("Removed {}\n", crate::cli::text::printable(digest));
    }
    if pruned.stages > 0 {
        text += &format!("Cleared away {} interrupted downloads or imports\n", pruned.stages);
    }
    if pruned.blobs == 0 && text.is_empty() {
        return "Nothing to remove\n".to_owned();
    }
    text + &format!("Freed {} in {} blobs\n", bytes(pruned.bytes), pruned.blobs)
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => format!("{count} B"),
    }
}
