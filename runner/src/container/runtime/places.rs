//! Where runtimes are: the usual places, those that the user names, and each user's own.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::collection::{Config, Protocol, under};
use super::Place;
use super::containerd::Containerd;
use super::cri::Cri;
use super::docker::Docker;
use super::files;
use super::oci::Oci;
use super::podman::Podman;

/// Where runc and crun keep their states; a `*` is any one folder.
const STATES: [&str; 5] =
    ["/run/runc", "/run/crun", "/run/user/*/runc", "/run/user/*/crun", "/run/crio/runc"];
/// Where they keep those of daemons, a folder for each of containerd's namespaces: read while a daemon does not tell.
const STATES_OF_CONTAINERD: &str = "/run/containerd/runc";
const STATES_OF_DOCKER: &str = "/run/docker/runtime-runc";
/// The namespace whose containers containerd tells by the Container Runtime Interface.
const NAMESPACE_OF_CRI: &str = "k8s.io";

/// The places that `config` allows.
pub(super) fn places(config: &Config) -> Vec<Place> {
    let root = |path: &Path| under(&config.host_root, path);
    let is_on = |name: &str| config.runtimes.iter().any(|other| other == name);
    let is_cri = config.protocol == Protocol::Cri;
    let mut places = Vec::new();
    let mut states: Vec<PathBuf> = STATES.iter().map(|path| root(Path::new(path))).collect();
    if let Some(folder) =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        states.extend(["runc", "crun"].map(|name| folder.join(name)));
    }
    states.dedup();
    let mut told: Vec<String> =
        ["runc", "crun"].map(str::to_owned).into_iter().filter(|_| is_on("runc")).collect();

    let states_of = |name, folder: &str, namespace: &str| {
        let folder = root(Path::new(folder));
        let namespace = if namespace.is_empty() { "*" } else { namespace };
        Place::new(name, &folder, Oci::of_daemon(name, folder.join(namespace), &config.host_root))
    };
    let docker = root(&config.docker_socket);
    if is_on("docker") {
        let place = match is_cri {
            true => Place::new("docker", &docker, Cri::new(docker.clone(), "docker")),
            false => Place::new("docker", &docker, Docker::new(docker.clone())),
        };
        places.push(place.or_states(states_of("docker", STATES_OF_DOCKER, "")));
    }
    let containerd = root(&config.containerd_socket);
    if is_on("containerd") {
        let namespace = config.containerd_namespace.clone();
        let states =
            states_of("containerd", STATES_OF_CONTAINERD, if is_cri { NAMESPACE_OF_CRI } else { &namespace });
        let place = match is_cri {
            true => Place::new("containerd", &containerd, Cri::new(containerd.clone(), "containerd")),
            false => Place::new("containerd", &containerd, Containerd::new(containerd.clone(), namespace)),
        };
        places.push(place.or_states(states));
    }
    let crio = root(&config.crio_socket);
    if is_on("cri-o") {
        told.push("cri-o".to_owned());
        places.push(Place::new("cri-o", &crio, Cri::new(crio.clone(), "cri-o")));
    }
    let podman = root(&config.podman_socket);
    if is_on("podman") {
        told.push("podman".to_owned());
        places.push(Place::new("podman", &podman, Podman::new(podman.clone(), owner(&podman))));
    }
    if !told.is_empty() {
        let name = if is_on("runc") { "runc" } else { "podman" };
        places.push(Place::new(name, &root(Path::new("/run")), Oci::new(states, told, &config.host_root)));
    }
    places
}

/// The sockets of users' own podman services, which come and go with their sessions.
pub(super) struct Rootless {
    sessions: PathBuf,
    known: HashSet<PathBuf>,
}

impl Rootless {
    /// `None` where podman is not wanted.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let wanted = config.runtimes.iter().any(|name| name == "podman");
        let sessions = under(&config.host_root, Path::new("/run/user"));
        wanted.then(|| Self { sessions, known: HashSet::new() })
    }

    /// Those that have come since the last call.
    pub(super) fn find(&mut self) -> Vec<Place> {
        let sockets: HashSet<PathBuf> = files::folders(&self.sessions)
            .into_iter()
            .map(|session| session.join("podman/podman.sock"))
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()))
            .collect();
        let come = sockets.iter().filter(|path| !self.known.contains(*path));
        let places =
            come.map(|path| Place::new("podman", path, Podman::new(path.clone(), owner(path)))).collect();
        // One that went is retried by who asks it; it is not begun a second time.
        self.known.extend(sockets);
        places
    }
}

fn owner(socket: &Path) -> u32 {
    fs::metadata(socket).map_or(0, |metadata| metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(config: &Config) -> Vec<&'static str> {
        places(config).iter().map(|place| place.name).collect()
    }

    #[test]
    fn only_what_is_asked_for_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { host_root: dir.path().to_owned(), ..Config::default() };
        assert_eq!(names(&config), ["docker", "containerd", "cri-o", "podman", "runc"]);
        let only = Config { runtimes: vec!["cri-o".to_owned()], ..config };
        assert_eq!(
            places(&only)[0].to_string(),
            format!("cri-o at {}/run/crio/crio.sock", dir.path().display())
        );
        assert!(Rootless::new(&only).is_none());
    }

    #[test]
    fn a_users_service_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run/user/1000/podman");
        fs::create_dir_all(&folder).unwrap();
        let config = Config { host_root: dir.path().to_owned(), ..Config::default() };
        let mut rootless = Rootless::new(&config).unwrap();
        assert!(rootless.find().is_empty());
        let _listener = std::os::unix::net::UnixListener::bind(folder.join("podman.sock")).unwrap();
        assert_eq!(rootless.find().len(), 1);
        assert!(rootless.find().is_empty());
    }
}
