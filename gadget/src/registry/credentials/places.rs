//! Where files of credentials are.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Files of credentials: igx's own, and those of others that are looked into where it is absent.
#[derive(Debug)]
pub(in crate::registry) struct Places {
    pub(super) own: PathBuf,
    pub(super) others: Vec<PathBuf>,
}

impl Places {
    pub(super) fn of_this_user() -> Self {
        let uid = nix::unistd::geteuid();
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let home = home.or_else(|| nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.dir));
        Self::new(uid.is_root(), home.as_deref().unwrap_or(Path::new("/")), |name| std::env::var_os(name))
    }

    pub(super) fn new(root: bool, home: &Path, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let docker = folder("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
        let runtime = folder("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json"));
        let own = if root { PathBuf::from("/var/lib/igx") } else { config.join("igx") };
        let others = [docker.join("config.json")].into_iter().chain(runtime);
        Self {
            own: own.join("config.json"),
            others: others.chain([config.join("containers/auth.json")]).collect(),
        }
    }
}
