//! The flags by which every command that deals with containers says where runtimes are and which containers it means.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, parser::ValueSource};

use super::ig;
use crate::container::{Config, Filters, Protocol, RUNTIMES, Selector, SelectorError, host};

/// The runtimes that `ig` asks.
const IGS: &str = "docker,containerd,cri-o,podman";

/// The heading of these flags in help texts.
pub(super) const HEADING: &str = "Containers";

/// Flags by which containers are chosen: name, further name, and help.
const SELECTORS: [(&str, &str, &str); 7] = [
    ("containername", "runtime-containername", "Show only containers of these names; !NAME leaves one out"),
    ("runtime-containerimage-id", "containerimage-id", "Only those of images with these ids"),
    ("runtime-containerimage-digest", "containerimage-digest", "Only those of images with these digests"),
    ("k8s-namespace", "", "Only those of pods in these namespaces"),
    ("k8s-podname", "", "Only those of these pods"),
    ("k8s-containername", "", "Only those of these names in their pods"),
    ("k8s-selector", "", "Only those of pods with these labels: k=v; !k=v leaves them out"),
];

/// Flags for sockets: name, runtime, default and upstream's variable for it.
const SOCKETS: [(&str, &str, &str, &str); 4] = [
    ("docker-socketpath", "docker", "/run/docker.sock", "INSPEKTOR_GADGET_DOCKER_SOCKETPATH"),
    (
        "containerd-socketpath",
        "containerd",
        "/run/containerd/containerd.sock",
        "INSPEKTOR_GADGET_CONTAINERD_SOCKETPATH",
    ),
    ("crio-socketpath", "cri-o", "/run/crio/crio.sock", "INSPEKTOR_GADGET_CRIO_SOCKETPATH"),
    ("podman-socketpath", "podman", "/run/podman/podman.sock", "INSPEKTOR_GADGET_PODMAN_SOCKETPATH"),
];

/// The flags that choose containers.
pub(super) fn selector_args() -> Vec<Arg> {
    SELECTORS
        .iter()
        .map(|&(name, alias, help)| {
            let arg = Arg::new(name).long(name).help_heading(HEADING).help(help);
            let arg = arg.value_name(if name == "k8s-selector" { "LABEL,..." } else { "NAME,..." });
            let arg = if alias.is_empty() { arg } else { arg.alias(alias) };
            if name == "containername" { arg.short('c') } else { arg }
        })
        .collect()
}

/// The flags that say where runtimes are.
pub(super) fn runtime_args() -> Vec<Arg> {
    let runtimes = Arg::new("runtimes")
        .short('r')
        .long("runtimes")
        .value_name("NAME,...")
        .default_value(if ig::is_called() { IGS.to_owned() } else { RUNTIMES.join(",") })
        .help_heading(HEADING)
        .help("Runtimes to ask; runc is for containers that no daemon knows");
    let sockets = SOCKETS.map(|(flag, runtime, default, _)| {
        Arg::new(flag)
            .long(flag)
            .value_name("PATH")
            .value_parser(socket)
            .default_value(default)
            .help_heading(HEADING)
            .help(format!("Socket of {runtime}'s API"))
    });
    let namespace = Arg::new("containerd-namespace")
        .default_value(ig::is_called().then_some("k8s.io"))
        .long("containerd-namespace")
        .value_name("NAME")
        .help_heading(HEADING)
        .help("The only namespace of containerd's to look at [default: all]");
    let protocol = Arg::new("runtime-protocol")
        .long("runtime-protocol")
        .value_name("NAME")
        .value_parser(["internal", "cri"])
        .default_value("internal")
        .help_heading(HEADING)
        .help("How runtimes are asked: each in its own way, or by the CRI");
    [runtimes].into_iter().chain(sockets).chain([namespace, protocol]).collect()
}

/// The absolute path of a socket, given as a path or as docker and gRPC write them: `unix:///run/x.sock`.
///
/// # Errors
/// What is neither, in words.
fn socket(text: &str) -> Result<String, String> {
    let path = text.strip_prefix("unix:").map_or(text, |path| path.strip_prefix("//").unwrap_or(path));
    if path.is_empty() {
        return Err("it is empty: give the path of a Unix socket, such as /run/docker.sock".to_owned());
    }
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(format!("runtimes are not asked by {scheme}: give the path of a Unix socket"));
    }
    let path = std::path::absolute(path).map_err(|error| format!("no working directory: {error}"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Which containers are meant.
///
/// # Errors
/// A selector that cannot be read.
pub(super) fn selector(matches: &ArgMatches) -> Result<Selector, SelectorError> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    Selector::parse(&Filters {
        container_name: text("containername"),
        image_digest: text("runtime-containerimage-digest"),
        image_id: text("runtime-containerimage-id"),
        k8s_namespace: text("k8s-namespace"),
        k8s_pod_name: text("k8s-podname"),
        k8s_container_name: text("k8s-containername"),
        k8s_labels: text("k8s-selector"),
    })
}

/// Where runtimes are. What is given wins over the environment, and that over what is usual.
///
/// # Errors
/// A variable that does not name a socket.
pub(super) fn config(matches: &ArgMatches) -> anyhow::Result<Config> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let runtimes: Vec<String> = text("runtimes")
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    // Settings may say what is so anyway: that demands nothing.
    let usual = if ig::is_called() { IGS.to_owned() } else { RUNTIMES.join(",") };
    let demanded = is_given("runtimes") && text("runtimes") != usual;
    let mut explicit = if demanded { runtimes.clone() } else { Vec::new() };
    let mut paths = SOCKETS.map(|(flag, ..)| PathBuf::from(text(flag)));
    for ((flag, runtime, usual, variable), path) in SOCKETS.into_iter().zip(&mut paths) {
        if is_given(flag) {
            if text(flag) != usual {
                explicit.push(runtime.to_owned());
            }
        } else if let Some(said) = std::env::var_os(variable).filter(|said| !said.is_empty()) {
            let said = said.to_string_lossy();
            *path = socket(&said).map_err(|error| anyhow::anyhow!("{variable}={said}: {error}"))?.into();
        }
    }
    let [docker_socket, containerd_socket, crio_socket, podman_socket] = paths;
    Ok(Config {
        runtimes,
        docker_socket,
        containerd_socket,
        crio_socket,
        podman_socket,
        containerd_namespace: text("containerd-namespace"),
        protocol: if text("runtime-protocol") == "cri" { Protocol::Cri } else { Protocol::Internal },
        explicit,
        host_root: host::root(),
        runtime_path: std::env::var_os("RUNTIME_PATH").filter(|path| !path.is_empty()).map(PathBuf::from),
        ..Config::default()
    })
}

/// The same for a command that has nothing to do but to wait for the runtimes.
///
/// # Errors
/// As [`config`].
pub(super) fn patient_config(matches: &ArgMatches) -> anyhow::Result<Config> {
    Ok(Config { patience: Duration::from_secs(3), ..config(matches)? })
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn parse(line: &[&str]) -> ArgMatches {
        let command = Command::new("x").no_binary_name(true).args(selector_args()).args(runtime_args());
        command.try_get_matches_from(line).unwrap()
    }

    #[test]
    fn what_is_named_must_be_there() {
        let config = config(&parse(&["--podman-socketpath", "/p", "-r", "docker, podman"])).unwrap();
        assert_eq!(config.runtimes, ["docker", "podman"]);
        assert_eq!(config.explicit, ["docker", "podman", "podman"]);
        assert_eq!(config.podman_socket, PathBuf::from("/p"));
        assert_eq!(config.protocol, Protocol::Internal);
        assert!(super::config(&parse(&[])).unwrap().explicit.is_empty());
        let usual = ["-r", &RUNTIMES.join(","), "--docker-socketpath", "/run/docker.sock"];
        assert!(super::config(&parse(&usual)).unwrap().explicit.is_empty());
    }

    #[test]
    fn sockets_are_paths_from_here_or_as_docker_writes_them() {
        let here = std::env::current_dir().unwrap().join("docker.sock").display().to_string();
        for text in ["docker.sock", "./docker.sock", "unix:docker.sock", &here] {
            assert_eq!(socket(text).unwrap(), here, "{text}");
        }
        for text in ["unix:///run/docker.sock", "unix:/run/docker.sock", "/run//docker.sock"] {
            assert_eq!(socket(text).unwrap(), "/run/docker.sock", "{text}");
        }
        assert!(socket("").unwrap_err().starts_with("it is empty: "));
        assert!(socket("unix://").unwrap_err().starts_with("it is empty: "));
        assert!(socket("tcp://localhost:2375").unwrap_err().contains("not asked by tcp"));
        for (flag, ..) in SOCKETS {
            let command = Command::new("x").no_binary_name(true).args(runtime_args());
            let error = command.try_get_matches_from([&format!("--{flag}"), ""]).unwrap_err().to_string();
            assert!(error.contains("it is empty: give the path"), "{error}");
        }
        let given = parse(&[
            "--docker-socketpath",
            "unix://d.sock",
            "--crio-socketpath",
            "unix:///run/crio/crio.sock",
        ]);
        let config = config(&given).unwrap();
        assert_eq!(config.docker_socket, std::env::current_dir().unwrap().join("d.sock"));
        assert_eq!(config.explicit, ["docker"]);
    }

    #[test]
    fn upstreams_names_for_selectors_are_understood() {
        for flag in
            ["-c", "--containername", "--runtime-containername", "--containerimage-id", "--k8s-podname"]
        {
            assert!(!selector(&parse(&[flag, "abcd"])).unwrap().is_empty(), "{flag}");
        }
        assert!(selector(&parse(&["--k8s-selector", "app"])).is_err());
        assert!(selector(&parse(&[])).unwrap().is_empty());
    }
}
