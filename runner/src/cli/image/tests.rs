use super::list::{Row, Short, table};
use super::*;

fn help(words: &[&str]) -> String {
    let words = [&["image"], words, &["--help"]].concat();
    command().term_width(80).try_get_matches_from(words).unwrap_err().to_string()
}

fn row(repository: &str, tag: &str, trust: &'static str, damage: Option<&str>) -> Row {
    Row {
        repository: repository.into(),
        tag: tag.into(),
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        created: "2023-11-14T22:13:20Z".into(),
        trust,
        damage: damage.map(str::to_owned),
    }
}

#[test]
fn help_texts() {
    insta::assert_snapshot!(help(&["list"]), @r#"
    List the images in the store

    Usage: image list [OPTIONS]

    Options:
      -o, --output <MODE>  columns, json or jsonpretty [default: columns]
          --no-trunc       Print all in full, as is done into a pipe
      -h, --help           Print help
    "#);
    #[cfg(feature = "ebpf")]
    insta::assert_snapshot!(help(&["build"]), @r#"
    Compile a gadget for amd64 and arm64 and put it into the store

    Usage: image build [OPTIONS] <PATH>

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
              What the image says it was built by [default: igx-0.1.0]
      -h, --help
              Print help

    Needs clang and llvm-strip, and go or cargo if build.yaml names a source as its
    wasm; all headers are carried. The same sources and compilers give the same
    digest anywhere if SOURCE_DATE_EPOCH says when, in seconds since 1970.
    "#);
}

/// An ordinary terminal, two hours after the rows were built.
const SHORT: Short = Short { width: 80, now: 1_700_007_300 };

#[test]
fn a_list_fits_a_terminal() {
    let rows = [
        row("trace_sni", "", "built in", None),
        row(
            "registry.example.com:5000/platform/observability/gadgets/trace_dns",
            "v1.2.3",
            "unverified",
            None,
        ),
        row("ghcr.io/inspektor-gadget/gadget/trace_open", &"f".repeat(128), "built here", None),
        row("reg.io/漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "v1", "built here", None),
    ];
    let text = table(&rows, Some(SHORT));
    insta::assert_snapshot!(text, @r#"
    REPOSITORY                       TAG                   DIGEST        CREATED
    trace_sni                        -                     0123456789ab  built in
    registry.exampl…dgets/trace_dns  v1.2.3                0123456789ab  2 hours ago
    trace_open                       fffffffff…ffffffffff  0123456789ab  2 hours ago
    reg.io/漢字漢字…字漢字漢字漢字   v1                    0123456789ab  2 hours ago
    "#);
    assert!(text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 80), "{text}");
    insta::assert_snapshot!(table(&rows[..2], Some(Short { width: 20, ..SHORT })), @r#"
    REPOSITORY        TAG     DIGEST        CREATED
    trace_sni         -       0123456789ab  built in
    registr…race_dns  v1.2.3  0123456789ab  2 hours ago
    "#);
    let fresh = table(&rows[2..3], Some(Short { now: 1_700_000_000, ..SHORT }));
    assert!(fresh.ends_with("  just now\n"), "{fresh}");
    // Into a pipe, everything is whole.
    let whole = table(&rows, None);
    for row in &rows {
        for cell in [&row.repository, &row.tag, &row.digest] {
            assert!(whole.contains(cell.as_str()), "{whole}");
        }
    }
}

#[test]
fn list_for_people_and_for_pipes() {
    let rows = [
        row("trace_sni", "", "built in", None),
        row("ghcr.io/inspektor-gadget/gadget/trace_open", "latest", "unverified", None),
        row("reg.io/a/b\u{1b}[31m", "v1", "built here", Some("blob is missing")),
    ];
    insta::assert_snapshot!(table(&rows, Some(SHORT)), @r#"
    REPOSITORY       TAG     DIGEST        CREATED
    trace_sni        -       0123456789ab  built in
    trace_open       latest  0123456789ab  2 hours ago
    reg.io/a/b�[31m  v1      0123456789ab  damaged
    "#);
    insta::assert_snapshot!(table(&rows, None), @r#"
    REPOSITORY                                  TAG     DIGEST                                                                   CREATED
    trace_sni                                   -       sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  built in
    ghcr.io/inspektor-gadget/gadget/trace_open  latest  sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  2023-11-14T22:13:20Z
    reg.io/a/b�[31m                             v1      sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  damaged
    "#);
    insta::assert_snapshot!(table(&[], None), @"REPOSITORY  TAG  DIGEST  CREATED");
}
