//! What `--help` says, as it is read on a terminal of 80 columns.

use crate::support::Igx;

pub(crate) fn help(command: &str, flag: &str) -> String {
    let mut args: Vec<_> = command.split(' ').filter(|word| !word.is_empty()).collect();
    args.push(flag);
    // Blanks that clap leaves at the ends of lines are nothing to read.
    Igx::new().ok(&args).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Without the flags that choose fields: their texts name those of the gadget, and are tested beside the code.
fn without_fields(help: &str) -> String {
    let mut of_fields = false;
    let kept = help.lines().filter(|line| {
        of_fields = (of_fields || line.contains("--fields")) && (line.is_empty() || line.starts_with(' '));
        !of_fields
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn it_fits_a_terminal() {
    for command in [
        "",
        "run",
        "run trace_sni",
        "list-containers",
        "image",
        "image new",
        "image build",
        "image test",
        "image list",
        "image inspect",
        "image tag",
        "image remove",
        "image verify",
        "completions",
        "version",
    ] {
        for flag in ["-h", "--help"] {
            for line in help(command, flag).lines() {
                assert!(line.chars().count() <= 80, "igx {command} {flag}: {line}");
            }
        }
    }
}

#[test]
fn of_igx() {
    insta::assert_snapshot!(help("", "--help"), @"
    Run eBPF gadgets that come as OCI images

    Usage: igx [OPTIONS] <COMMAND>

    Commands:
      run              Run a gadget
      list-containers  List the containers of this host
      image            Build, share, verify and look after gadget images
      login            Log in to a registry and keep the credentials
      logout           Forget the credentials for a registry
      config           Show settings: of the file config.yaml and of the environment
      completions      Print a shell's completion script
      version          Print the version
      help             Print this message or the help of the given subcommand(s)

    Options:
      -v, --verbose         Say what is being done, on stderr
          --config <FILE>   Where settings are read from [default:
                            ~/.config/igx/config.yaml]
          --store <FOLDER>  Where images are kept [default for root:
                            /var/lib/igx/oci-store; for others:
                            ~/.local/share/igx/oci-store]
          --as <NAME>       Given first: behave as 'ig', with its places and log
                            lines
      -h, --help            Print help
      -V, --version         Print version
    ");
}

#[test]
fn of_run() {
    insta::assert_snapshot!(without_fields(&help("run", "--help")), @r#"
    Run a gadget: load its programs into the kernel, and show what they see
    until Ctrl-C. What containers do is shown, and with --host what the
    host's own processes do, too.

    'igx run IMAGE --help' also lists the flags that the gadget itself brings.

    Usage: igx run [OPTIONS] [IMAGE] [-- <COMMAND>...]

    Arguments:
      [IMAGE]
              The gadget's image, such as trace_sni

      [COMMAND]...
              Start this, show only what it and its children do, and end with it and
              its exit status

    Options:
      -h, --help
              Print help

      -v, --verbose
              Say what is being done, on stderr

          --config <FILE>
              Where settings are read from [default:
              ~/.config/igx/config.yaml]

      -f, --file <FILE>
              Take image and flags from this manifest, file or URL; - is stdin

          --store <FOLDER>
              Where images are kept [default for root:
              /var/lib/igx/oci-store; for others:
              ~/.local/share/igx/oci-store]

      -t, --timeout <SECONDS>
              Stop after this many seconds; 0 runs until Ctrl-C

              [default: 0]

          --count <N>
              Stop after this many events; of snapshots and the like, batches

    Filters:
      -F, --filter <RULE,...>
              Show only events for which all rules hold: field==value, !=, <, <=, >,
              >=, ~regex, !~regex

      -E, --filter-expr <EXPRESSION>
              Show only events for which an expression is true, as in 'proc.uid == 0
              && dst.addr in cidr("10.0.0.0/8")'; see expr-lang.org

    Output:
      -o, --output <MODE>
              columns, json, jsonpretty, yaml or none [default: columns]

          --annotate <SUBJECT:KEY=VALUE,...>
              Change how a data source or a field is described and shown, as in
              sni.name:columns.width=60

          --timestamp-format <FORMAT>
              Show when events happened, in the first column: short is the time of
              day, rfc3339 has the date too, relative is seconds since the start

              [possible values: short, rfc3339, relative]

          --color <WHEN>
              Colour errors and signals; auto: on a terminal, unless NO_COLOR is set

              [default: auto]
              [alias: --colour]
              [possible values: auto, always, never]

      -q, --quiet
              Say nothing on stderr but errors: no notes, no sums at the end

    Containers:
          --host[=<BOOL>]
              Show the host's own processes as well as containers

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
              Runtimes to ask; runc is for containers that no daemon knows

              [default: docker,containerd,cri-o,podman,runc]

          --docker-socketpath <PATH>
              Socket of docker's API

              [default: /run/docker.sock]

          --containerd-socketpath <PATH>
              Socket of containerd's API

              [default: /run/containerd/containerd.sock]

          --crio-socketpath <PATH>
              Socket of cri-o's API

              [default: /run/crio/crio.sock]

          --podman-socketpath <PATH>
              Socket of podman's API

              [default: /run/podman/podman.sock]

          --containerd-namespace <NAME>
              The only namespace of containerd's to look at [default: all]

          --runtime-protocol <NAME>
              How runtimes are asked: each in its own way, or by the CRI

              [default: internal]
              [possible values: internal, cri]

    Images:
          --pull <WHEN>
              When to fetch the image from its registry

              [default: missing]
              [possible values: always, missing, never]

          --verify-image[=<BOOL>]
              Refuse an image that no trusted key has signed

              [default: true]

          --allowed-gadgets <IMAGE,...>
              Use only these: REPOSITORY:TAG or REPOSITORY@DIGEST; * at the end is
              for any ending

          --disallow-pulling[=<BOOL>]
              Fetch nothing from registries

          --public-keys <KEY,...>
              Public keys (PEM, or @FILE) of whom to trust [default: Inspektor
              Gadget's, for its own images]

          --oci-store-user[=<BOOL>]
              Use the images of the user who called sudo

    Registries:
          --authfile <FILE>
              Where credentials are [default for root: /var/lib/igx/config.json; for
              others: ~/.config/igx/config.json; if that is absent, those of docker
              and podman]

          --insecure-registries <HOST,...>
              Registries to speak to over plain http, as host:port

          --ca-file <FILE>
              Certificates of authorities to trust besides the system's

    Advanced:
          --trace-pipe[=<BOOL>]
              Also show, on stderr, what eBPF programs print with bpf_printk()

          --env-vars <NAME,...>
              Environment variables of igx itself that a gadget may show in fields
              of its own

          --symbolizers <NAME,...>
              Where functions on user stacks get their names: auto, none, or some of
              symtab (the files that run) and debuginfod-cache (for stripped ones)

              [default: auto]

          --debuginfod-cache-path <FOLDER>
              Cache of debuginfod's client, from which nothing is fetched [default:
              ~/.cache/debuginfod_client]

          --socket-enricher-fields <FIELD=BYTES,...>
              Room for the paths of whoever owns a socket, for gadgets that show
              them: cwd and exepath, each a power of two up to 4096; one that is not
              named is left out

              [default: cwd=512,exepath=512]
    "#);
    assert_eq!(help("run", "-h"), help("run", "--help"));
}

/// The gadget says what it is, and adds its own flags before those that all have.
#[test]
fn of_run_trace_sni() {
    let (run, gadget) = (help("run", "--help"), help("run trace_sni", "--help"));
    let (run, gadget) = (without_fields(&run), without_fields(&gadget));
    let (about, gadget) = gadget.split_once("\n\nUsage:").unwrap();
    insta::assert_snapshot!(about, @"
    trace sni: Show the host names (TLS Server Name Indication) that processes ask
    for

    What containers do is shown; with --host what the host's own processes do, too.
    ");
    assert!(gadget.starts_with(" igx run trace_sni [OPTIONS] [-- <COMMAND>...]\n"), "{gadget}");
    let (before, shared) = gadget.split_once("\nOutput:\n").unwrap();
    let of_all = |help: &str| {
        let (_, shared) = help.split_once("\nContainers:\n").unwrap();
        shared.split_once("\nAdvanced:\n").unwrap().0.to_owned()
    };
    assert_eq!(of_all(&run), of_all(shared));
    // It has no stacks, and shows nobody's paths.
    for flag in ["--symbolizers", "--debuginfod-cache-path", "--socket-enricher-fields"] {
        assert!(run.contains(flag) && !shared.contains(flag), "{flag}");
    }
    let (_, own) = before.split_once("batches\n").unwrap();
    insta::assert_snapshot!(own.trim_start(), @r#"
    This gadget:
          --all[=<BOOL>]
              Show each sighting of a hello, at client and server and on its way,
              and each one that is sent again

          --no-sni[=<BOOL>]
              Also show hellos that ask for no name

          --ja4[=<BOOL>]
              Also tell the JA4 fingerprint of each client, and version, protocol
              and ECH of each hello

    Filters:
          --pid <UINT32>
              Show only events generated by processes with this pid

          --tid <UINT32>
              Show only events generated by threads with this tid

          --uid <UINT32>
              Show only events generated by processes with this uid

          --gid <UINT32>
              Show only events generated by processes with this gid

          --comm <TEXT>
              Show only events generated by processes with this name

      -F, --filter <RULE,...>
              Show only events for which all rules hold: field==value, !=, <, <=, >,
              >=, ~regex, !~regex

      -E, --filter-expr <EXPRESSION>
              Show only events for which an expression is true, as in 'proc.uid == 0
              && dst.addr in cidr("10.0.0.0/8")'; see expr-lang.org
    "#);
}

#[test]
fn of_image() {
    insta::assert_snapshot!(help("image", "--help"), @"
    Build, share, verify and look after gadget images

    Usage: igx image [OPTIONS] <COMMAND>

    Commands:
      new      Start a gadget: a folder that builds and runs as it is
      build    Compile a gadget for amd64 and arm64 and put it into the store
      test     Run a gadget beside workloads, and check the events it shows
      list     List the images in the store [alias: ls]
      inspect  Show what an image says about itself
      tag      Give an image another name
      remove   Remove images from the store [alias: rm]
      prune    Remove images without a name, and leftovers
      export   Write images, with their signatures, into one file
      import   Take the images of a file, with their signatures, into the store
      check    Look for damaged images in the store
      pull     Fetch an image and its signatures from a registry
      push     Send an image with all its architectures to its registry
      verify   Check who signed images
      help     Print this message or the help of the given subcommand(s)

    Options:
      -v, --verbose         Say what is being done, on stderr
          --config <FILE>   Where settings are read from [default:
                            ~/.config/igx/config.yaml]
          --store <FOLDER>  Where images are kept [default for root:
                            /var/lib/igx/oci-store; for others:
                            ~/.local/share/igx/oci-store]
      -h, --help            Print help
    ");
}

#[test]
fn of_image_new() {
    insta::assert_snapshot!(help("image new", "--help"), @"
    Start a gadget: a folder that builds and runs as it is

    Usage: igx image new [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the image, such as trace_mine or ghcr.io/me/trace_mine

    Options:
          --path <DIR>      Folder to make [default: the last part of NAME]
      -v, --verbose         Say what is being done, on stderr
          --config <FILE>   Where settings are read from [default:
                            ~/.config/igx/config.yaml]
          --guest           With a WebAssembly guest in Rust, which works on events
                            before they are shown
          --store <FOLDER>  Where images are kept [default for root:
                            /var/lib/igx/oci-store; for others:
                            ~/.local/share/igx/oci-store]
      -h, --help            Print help
    ");
}

#[test]
fn of_image_test() {
    insta::assert_snapshot!(help("image test", "--help"), @r#"
    Run a gadget beside workloads, and check the events it shows

    Usage: igx image test [OPTIONS] [PATH|IMAGE]

    Arguments:
      [PATH|IMAGE]  Folder to build and test, or an image [default: .]

    Options:
      -f, --file <FILE>     Test to run [default: tests/*.yaml in PATH, or here for
                            an IMAGE]
      -v, --verbose         Say what is being done, on stderr
          --config <FILE>   Where settings are read from [default:
                            ~/.config/igx/config.yaml]
          --store <FOLDER>  Where images are kept [default for root:
                            /var/lib/igx/oci-store; for others:
                            ~/.local/share/igx/oci-store]
      -h, --help            Print help

    A test is a YAML file:
      run: [--host]          flags for 'igx run'
      workload: /bin/true    shell command, started once the gadget runs
      expect:                each has to match an event, in the fields named
      - path: ~/true$        ~ begins a regular expression
        proc.comm: "true"
      reject:                none may match any event
      - proc.comm: never
      timeout: 10            seconds from the workload's start to the last event
    "#);
}
