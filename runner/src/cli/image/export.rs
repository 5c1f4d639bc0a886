//! `image export`: images into one file.

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{
    reference::Reference,
    store::{Store, archive},
};
use std::{
    fs::Permissions,
    io::{BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

pub(super) fn command() -> Command {
    Command::new("export").about("Write images, with their signatures, into one file").arg(
        Arg::new("names")
            .value_names(["IMAGE", "FILE"])
            .required(true)
            .action(ArgAction::Append)
            .num_args(2..)
            .help("Images in the store, and last the file: an OCI image layout in a tar"),
    )
}

/// The file is there in full or as it was before.
pub(super) fn run(matches: &ArgMatches, store: &Store, log: &mut impl Write) -> Result<()> {
    let names: Vec<_> = matches.get_many::<String>("names").unwrap_or_default().collect();
    let Some((file, images)) = names.split_last() else { bail!("name an image and a file") };
    let images = images.iter().map(|typed| Reference::parse(typed)).collect::<Result<Vec<_>, _>>()?;
    let path = Path::new(file);
    if path.is_dir() {
        bail!("{file} is a folder; name a file in it, such as {}", path.join("images.tar").display());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("writing {file}; give a path that you may write to");
    let mut unfinished = tempfile::Builder::new()
        .prefix(".igx-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(failed)?;
    let mut out = BufWriter::with_capacity(1 << 16, unfinished.as_file_mut());
    archive::export(store, &images, &mut out)?;
    drop(out);
    unfinished.as_file().sync_all().with_context(failed)?;
    unfinished.persist(path).map_err(|error| error.error).with_context(failed)?;
    writeln!(log, "Successfully exported images to {file}")?;
    Ok(())
}
