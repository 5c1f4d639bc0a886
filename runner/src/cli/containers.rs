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
pub(super) fn config(matches: &ArgMatches) -> Config {
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
    let [docker_socket, containerd_socket, crio_socket, podman_socket] =
        SOCKETS.map(|(flag, runtime, usual, variable)| {
            let by_environment = std::env::var_os(variable).filter(|path| !path.is_empty());
            match by_environment.filter(|_| !is_given(flag)) {
                Some(path) => PathBuf::from(path),
                None => {
                    if is_given(flag) && text(flag) != usual {
                        explicit.push(runtime.to_owned());
                    }
                    PathBuf::from(text(flag))
                }
            }
        });
    Config {
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
    }
}

/// The same for a command that has nothing to do but to wait for the runtimes.
pub(super) fn patient_config(matches: &ArgMatches) -> Config {
    Config { patience: Duration::from_secs(3), ..config(matches) }
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
        let config = config(&parse(&["--podman-socketpath", "/p", "-r", "docker, podman"]));
        assert_eq!(config.runtimes, ["docker", "podman"]);
        assert_eq!(config.explicit, ["docker", "podman", "podman"]);
        assert_eq!(config.podman_socket, PathBuf::from("/p"));
        assert_eq!(config.protocol, Protocol::Internal);
        assert!(super::config(&parse(&[])).explicit.is_empty());
        let usual = ["-r", &RUNTIMES.join(","), "--docker-socketpath", "/run/docker.sock"];
        assert!(super::config(&parse(&usual)).explicit.is_empty());
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
