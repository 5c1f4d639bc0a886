//! `--help` of the commands beside `run`, and that a wide terminal is told the same as a pipe.

use std::process::{Command, Stdio};

use crate::{
    help::help,
    support::{Igx, binary},
};

/// Help without the flags that every command has, which [`crate::help`] shows, and without empty lines.
fn own(command: &str) -> String {
    let help = help(command, "--help").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let shared = ["-v, --verbose", "--config <", "--store <", "-h, --help"];
    let mut of_shared = false;
    let kept = help.lines().filter(|line| {
        if !line.starts_with("         ") {
            of_shared = shared.iter().any(|flag| line.trim_start().starts_with(flag));
        }
        !of_shared && !line.is_empty()
    });
    kept.collect::<Vec<_>>().join("\n").trim_end_matches("\nOptions:").to_owned()
}

/// Commands whose whole help is a few lines.
const OF_IMAGES: [&str; 12] = [
    "image build",
    "image list",
    "image inspect",
    "image tag",
    "image remove",
    "image prune",
    "image export",
    "image import",
    "image check",
    "image pull",
    "image push",
    "image verify",
];
const OTHERS: [&str; 8] = [
    "list-containers",
    "login",
    "logout",
    "config",
    "config default",
    "config view",
    "completions",
    "version",
];

fn gallery(commands: &[&str]) -> String {
    commands.iter().map(|command| format!("$ igx {command} --help\n{}\n\n", own(command))).collect()
}

#[test]
fn of_each_image_command() {
    insta::assert_snapshot!(gallery(&OF_IMAGES), @"
    $ igx image build --help
    Compile a gadget for amd64 and arm64 and put it into the store
    Usage: igx image build [OPTIONS] <PATH>
    Arguments:
      <PATH>  Folder with program.bpf.c, gadget.yaml or both
    Options:
      -f, --file <FILE>
              Build file [default: build.yaml in PATH, if any]
      -t, --tag <NAME>
              Name of the image
      -o, --output <DIR>
              Keep objects and modules here
      -l, --local[=<BOOL>]
              Use this machine's compilers, as is done unless --builder-image is
              given
          --builder-image <IMAGE>
              Compile in a container of this image, by docker or podman
          --builder-image-pull <WHEN>
              Fetch the builder image always, when missing, or never [default:
              always]
          --update-metadata[=<BOOL>]
              Write what the program has and gadget.yaml lacks into gadget.yaml
              [default: false]
          --validate-metadata[=<BOOL>]
              Refuse a gadget.yaml that does not fit the program [default: true]
          --btfgen
              Carry kernel types, for kernels without their own
          --btfhub-archive <DIR>
              Where --btfgen takes kernel types: a btfhub archive
          --builder-version <TEXT>
              What the image says it was built by [default: igx-VERSION]
    Needs clang and llvm-strip, and go or cargo if build.yaml names a source as its
    wasm; all headers are carried. The same sources and compilers give the same
    digest anywhere if SOURCE_DATE_EPOCH says when, in seconds since 1970.

    $ igx image list --help
    List the images in the store
    Usage: igx image list [OPTIONS]
    Options:
      -o, --output <MODE>   columns, json or jsonpretty [default: columns]
          --no-trunc        Print all in full, as is done into a pipe

    $ igx image inspect --help
    Show what an image says about itself
    Usage: igx image inspect [OPTIONS] <IMAGE>
    Arguments:
      <IMAGE>  Image in the store
    Options:
      -o, --output <MODE>     json, jsonpretty or yaml [default: jsonpretty]
          --extra-info <KEY>  Print only what is under this key, such as
                              ebpf.flowchart
          --show-datasources  Print the data sources with their fields
          --jsonpath <PATH>   Print only this part, such as [0].name: with
                              --extra-info or --show-datasources

    $ igx image tag --help
    Give an image another name
    Usage: igx image tag [OPTIONS] <IMAGE> <NAME>
    Arguments:
      <IMAGE>  Image in the store
      <NAME>   Its other name

    $ igx image remove --help
    Remove images from the store
    Usage: igx image remove [OPTIONS] <IMAGE>...
    Arguments:
      <IMAGE>...  Names, or name@digest for an image with all its names

    $ igx image prune --help
    Remove images without a name, signatures of images that are gone, blobs that no
    image needs and what interrupted downloads left. Blobs of the last ten minutes
    stay, for another program may be about to use them.
    Usage: igx image prune [OPTIONS]

    $ igx image export --help
    Write images, with their signatures, into one file
    Usage: igx image export [OPTIONS] <IMAGE> <FILE>...
    Arguments:
      <IMAGE> <FILE>...  Images in the store, and last the file: an OCI image layout
                         in a tar

    $ igx image import --help
    Take the images of a file, with their signatures, into the store
    Usage: igx image import [OPTIONS] <FILE>
    Arguments:
      <FILE>  What `image export` wrote, here or elsewhere; may be gzipped
    Options:
      -o, --output <MODE>   Print the names as json or jsonpretty

    $ igx image check --help
    Read every blob of the images, or of all, and compare it with its digest. Names
    what is damaged, missing or left over. The exit code is 1 if an image is
    damaged.
    Usage: igx image check [OPTIONS] [IMAGE]...
    Arguments:
      [IMAGE]...
              Images to check [default: all]
    Options:
          --repair
              Pull damaged images again and remove leftovers
    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]
          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port
          --ca-file <FILE>
              Certificates of authorities to trust besides the system's

    $ igx image pull --help
    Fetch an image and its signatures from a registry
    Usage: igx image pull [OPTIONS] <IMAGE>
    Arguments:
      <IMAGE>  Name or name@digest
    Options:
          --platform <WHICH>  all architectures, host for this machine's, or amd64
                              or arm64 [default: all]
    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]
          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port
          --ca-file <FILE>
              Certificates of authorities to trust besides the system's

    $ igx image push --help
    Send an image with all its architectures to its registry
    Usage: igx image push [OPTIONS] <IMAGE>
    Arguments:
      <IMAGE>  Image in the store
    Options:
    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]
          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port
          --ca-file <FILE>
              Certificates of authorities to trust besides the system's

    $ igx image verify --help
    Check that a trusted key has signed the images in the store, and that they are
    whole, for every architecture. Signatures are looked for in the store first, so
    that it works without a network; if none there is good, in the image's registry.
    Usage: igx image verify [OPTIONS] <IMAGE>...
    Arguments:
      <IMAGE>...
              Images in the store
    Options:
          --public-keys <KEY,...>
              Public keys (PEM, or @FILE) of whom to trust [default: Inspektor
              Gadget's, for its own images]
    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]
          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port
          --ca-file <FILE>
              Certificates of authorities to trust besides the system's
    ");
}

#[test]
fn of_each_other_command() {
    insta::assert_snapshot!(gallery(&OTHERS), @"
    $ igx list-containers --help
    List the containers of this host
    Usage: igx list-containers [OPTIONS]
    Options:
      -w, --watch              Go on, and tell of each that starts or ends
      -o, --output <MODE>      columns, columns=NAME,..., json, jsonpretty or yaml
                               [default: columns]
          --timeout <SECONDS>  Stop watching after this many seconds; 0 goes on
                               until Ctrl-C [default: 0]
    Containers:
      -c, --containername <NAME,...>
              Show only containers of these names; !NAME leaves one out
          --runtime-containerimage-id <NAME,...>
              Only those of images with these ids
          --runtime-containerimage-digest <NAME,...>
              Only those of images with these digests
          --k8s-namespace <NAME,...>
              Only those of pods in these namespaces
          --k8s-podname <NAME,...>
              Only those of these pods
          --k8s-containername <NAME,...>
              Only those of these names in their pods
          --k8s-selector <LABEL,...>
              Only those of pods with these labels: k=v; !k=v leaves them out
      -r, --runtimes <NAME,...>
              Runtimes to ask; runc is for containers that no daemon knows [default:
              docker,containerd,cri-o,podman,runc]
          --docker-socketpath <PATH>
              Socket of docker's API [default: /run/docker.sock]
          --containerd-socketpath <PATH>
              Socket of containerd's API [default: /run/containerd/containerd.sock]
          --crio-socketpath <PATH>
              Socket of cri-o's API [default: /run/crio/crio.sock]
          --podman-socketpath <PATH>
              Socket of podman's API [default: /run/podman/podman.sock]
          --containerd-namespace <NAME>
              The only namespace of containerd's to look at [default: all]
          --runtime-protocol <NAME>
              How runtimes are asked: each in its own way, or by the CRI [default:
              internal] [possible values: internal, cri]

    $ igx login --help
    Log in to a registry and keep the credentials
    Usage: igx login [OPTIONS] [REGISTRY]...
    Arguments:
      [REGISTRY]...  Such as ghcr.io or localhost:5000
    Options:
      -u, --username <NAME>      The account
      -p, --password <PASSWORD>  Its password; others on this machine can see it, so
                                 rather use --password-stdin
          --password-stdin       Read the password from standard input
    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]
          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port
          --ca-file <FILE>
              Certificates of authorities to trust besides the system's
          --plain-http[=<BOOL>]
              Speak plain http to this registry [default: false]
          --tls-verify[=<BOOL>]
              Check the registry's certificate [default: true]

    $ igx logout --help
    Forget the credentials for a registry
    Usage: igx logout [OPTIONS] [REGISTRY]...
    Arguments:
      [REGISTRY]...  Such as ghcr.io
    Options:
      -a, --all             All registries
    Registries:
          --authfile <FILE>  Where credentials are [default for root:
                             /var/lib/igx/config.json; for others:
                             ~/.config/igx/config.json; if that is absent, those of
                             docker and podman]

    $ igx config --help
    Show settings: of the file config.yaml and of the environment
    Usage: igx config [OPTIONS] <COMMAND>
    Commands:
      default  Print all settings with their defaults, as YAML
      view     Print the settings in force, and where they come from
      help     Print this message or the help of the given subcommand(s)

    $ igx config default --help
    Print all settings with their defaults, as YAML
    Usage: igx config default [OPTIONS]

    $ igx config view --help
    Print the settings in force, and where they come from
    Usage: igx config view [OPTIONS]

    $ igx completions --help
    Print a shell's completion script
    Usage: igx completions [OPTIONS] <SHELL>
    Arguments:
      <SHELL>  Which shell [possible values: bash, elvish, fish, powershell, zsh]

    $ igx version --help
    Print the version
    Usage: igx version [OPTIONS]
    ");
}

/// What comes to a terminal of 200 columns: long lines are hard to read, so it is what comes to one of 80.
#[test]
fn a_wide_terminal_is_told_the_same() {
    let igx = Igx::new();
    let shared = ["", "run", "run trace_sni", "image", "image new", "image test"];
    for command in shared.iter().chain(&OF_IMAGES).chain(&OTHERS) {
        let line = format!("stty cols 200; {} --store {} {command} --help", binary(), igx.store().display());
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
        let wide = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(wide, help(command, "--help"), "igx {command} --help");
    }
}
