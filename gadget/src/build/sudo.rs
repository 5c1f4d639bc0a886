//! Compilers of the user who called sudo. Rust is usually installed in a user's home, where root does not look for it;
//! and what root leaves in a user's folder, the user cannot remove.

use std::{
    env, fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{User, geteuid};

/// The user who called sudo, if `folder` is theirs.
pub(super) fn caller(folder: &Path) -> Option<User> {
    let name = env::var("SUDO_USER").ok().filter(|_| geteuid().is_root())?;
    let user = User::from_name(&name).ok().flatten()?;
    let owner = fs::metadata(folder).ok()?.uid();
    (!user.uid.is_root() && owner == user.uid.as_raw()).then_some(user)
}

/// Where rustup puts its commands for a user.
pub(super) fn cargo_folder(user: &User) -> PathBuf {
    user.dir.join(".cargo/bin")
}

/// Has `command` run as the user, with their home and their compilers.
pub(super) fn run_as(command: &mut Command, user: &User) {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [cargo_folder(user)].into_iter().chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    for name in ["CARGO_HOME", "RUSTUP_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name);
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
}
