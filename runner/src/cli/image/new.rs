//! `image new`: a folder that is a gadget already, for an author to change.
//!
//! Its files lie in the folder `new` beside this one, where linters see them. They name the gadget by placeholders
//! between double underscores.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use gadget::reference::Reference;

/// Each file's path in the gadget's folder, and its text.
type File = (&'static str, &'static str);

const FILES: [File; 6] = [
    ("program.bpf.c", include_str!("new/program.bpf.c")),
    ("gadget.yaml", include_str!("new/gadget.yaml")),
    ("tests/exec.yaml", include_str!("new/tests/exec.yaml")),
    (".github/workflows/gadget.yml", include_str!("new/workflows/gadget.yml")),
    ("README.md", include_str!("new/README.md")),
    (".gitignore", include_str!("new/gitignore")),
];

/// What a gadget with a guest is made of: an example, and what is said about it.
const WITH_GUEST: [File; 9] = [
    ("program.bpf.c", include_str!("../../../../examples/who_opens/program.bpf.c")),
    ("gadget.yaml", include_str!("../../../../examples/who_opens/gadget.yaml")),
    ("build.yaml", include_str!("../../../../examples/who_opens/build.yaml")),
    ("guest/Cargo.toml", include_str!("../../../../examples/who_opens/guest/Cargo.toml")),
    ("guest/src/lib.rs", include_str!("../../../../examples/who_opens/guest/src/lib.rs")),
    ("tests/open.yaml", include_str!("new/guest/tests/open.yaml")),
    (".github/workflows/gadget.yml", include_str!("new/workflows/gadget.yml")),
    ("README.md", include_str!("new/guest/README.md")),
    (".gitignore", include_str!("new/guest/gitignore")),
];

/// What is said in the example of where it is, and what is said elsewhere.
const FROM_EXAMPLE: [(&str, &str); 6] = [
    ("name: who opens\n", "name: __NAME__\n"),
    ("homepageURL: https://github.com/igx-project/igx\n", ""),
    ("documentationURL: https://github.com/igx-project/igx/blob/main/docs/guests.md\n", ""),
    ("sourceURL: https://github.com/igx-project/igx/tree/main/examples/who_opens\n", ""),
    ("name = \"who_opens\"\n", "name = \"guest\"\n"),
    (
        "{ path = \"../../../guest\" }",
        "{ git = \"https://github.com/igx-project/igx\", tag = \"__VERSION__\" }",
    ),
];

pub(super) fn command() -> Command {
    Command::new("new")
        .about("Start a gadget: a folder that builds and runs as it is")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required(true)
                .help("Name of the image, such as trace_mine or ghcr.io/me/trace_mine"),
        )
        .arg(
            Arg::new("path")
                .long("path")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Folder to make [default: the last part of NAME]"),
        )
        .arg(
            Arg::new("guest")
                .long("guest")
                .action(ArgAction::SetTrue)
                .help("With a WebAssembly guest in Rust, which works on events before they are shown"),
        )
}

pub(super) fn run(matches: &ArgMatches, log: &mut impl Write) -> Result<()> {
    let name = Name::parse(matches.get_one::<String>("name").map_or("", String::as_str))?;
    let folder = matches.get_one::<PathBuf>("path").cloned().unwrap_or_else(|| name.last.clone().into());
    let with_guest = matches.get_flag("guest");
    create(&folder, &name, if with_guest { &WITH_GUEST } else { &FILES })?;
    let shown = folder.display();
    let target = if with_guest { "rustup target add wasm32-wasip1\n  " } else { "" };
    writeln!(
        log,
        "Started {image} in {shown}; next:\n  {target}\
         sudo igx image build {shown} -t {image}\n  \
         sudo igx image test {shown}\n  \
         sudo igx run {image} --host",
        image = name.image
    )?;
    Ok(())
}

/// What the gadget is called, and where.
struct Name {
    /// The image, as it was typed.
    image: String,
    /// The last part of its repository: what people call the gadget.
    last: String,
    /// Where a workflow pushes it.
    pushed: String,
}

impl Name {
    fn parse(typed: &str) -> Result<Self> {
        let reference = Reference::parse(typed)?;
        let repository = typed.rsplit('/').next().unwrap_or_default();
        ensure!(
            !repository.contains([':', '@']),
            "{typed}: a tag or digest is no part of a gadget's name; leave it out"
        );
        let pushed = match reference.name() {
            full if full == typed => full,
            // Without a registry, it is the one of who owns the repository.
            _ => "ghcr.io/${{ github.repository }}".to_owned(),
        };
        Ok(Self { image: typed.to_owned(), last: repository.to_owned(), pushed })
    }

    fn fill(&self, text: &str) -> String {
        let text = FROM_EXAMPLE.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        text.replace("__NAME__", &self.last)
            .replace("__IMAGE__", &self.image)
            .replace("__CI_IMAGE__", &self.pushed)
            .replace("__VERSION__", concat!("v", env!("CARGO_PKG_VERSION")))
    }
}

/// Writes the files into `folder`, which must be empty or not exist.
fn create(folder: &Path, name: &Name, files: &[File]) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            bail!("{} is not empty: choose another folder with --path", folder.display());
        }
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| {
                format!("cannot start a gadget in {}: choose another folder with --path", folder.display())
            });
        }
    }
    for (file, text) in files {
        let path = folder.join(file);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, name.fill(text)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(typed: &str, folder: &Path) -> Result<String> {
        let matches = command().try_get_matches_from(["new", typed, "--path", folder.to_str().unwrap()])?;
        let mut log = Vec::new();
        run(&matches, &mut log)?;
        Ok(String::from_utf8(log).unwrap())
    }

    #[test]
    fn what_to_do_next_is_told() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("mine");
        let said = start("trace_mine", &folder).unwrap().replace(home.path().to_str().unwrap(), "HOME");
        insta::assert_snapshot!(said, @r"
        Started trace_mine in HOME/mine; next:
          sudo igx image build HOME/mine -t trace_mine
          sudo igx image test HOME/mine
          sudo igx run trace_mine --host
        ");
        for (file, _) in FILES {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(!text.contains("__NAME__") && !text.contains("__IMAGE__"), "{file}: {text}");
            assert!(!text.contains("__VERSION__") && !text.contains("__CI_IMAGE__"), "{file}: {text}");
        }
        let metadata = fs::read_to_string(folder.join("gadget.yaml")).unwrap();
        assert!(metadata.starts_with("name: trace_mine\n"), "{metadata}");
    }

    /// The example may change, but what is said in it of where it is must not be left in another's folder.
    #[test]
    fn with_a_guest_it_is_the_example_under_another_name() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("mine");
        let args = ["new", "trace_mine", "--guest", "--path", folder.to_str().unwrap()];
        let matches = command().try_get_matches_from(args).unwrap();
        let mut log = Vec::new();
        run(&matches, &mut log).unwrap();
        let said = String::from_utf8(log).unwrap();
        assert!(said.contains("next:\n  rustup target add wasm32-wasip1\n  sudo igx image build "), "{said}");
        for (file, from_example) in WITH_GUEST {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            assert!(!text.contains("__") || file.ends_with(".c"), "{file}: {text}");
            assert!(!text.contains("who_opens") && !text.contains("../guest"), "{file}: {text}");
            assert!(!from_example.is_empty());
        }
        let metadata = fs::read_to_string(folder.join("gadget.yaml")).unwrap();
        assert!(metadata.starts_with("name: trace_mine\ndescription: "), "{metadata}");
        let manifest = fs::read_to_string(folder.join("guest/Cargo.toml")).unwrap();
        assert!(manifest.contains(concat!("tag = \"v", env!("CARGO_PKG_VERSION"), "\"")), "{manifest}");
        for (from, _) in FROM_EXAMPLE {
            assert!(WITH_GUEST.iter().any(|(_, text)| text.contains(from)), "the example has no {from:?}");
        }
    }

    #[test]
    fn a_workflow_pushes_to_the_registry_that_is_named_or_to_that_of_the_owner() {
        let home = tempfile::tempdir().unwrap();
        for (typed, image) in [
            ("trace_mine", "image: ghcr.io/${{ github.repository }}\n"),
            ("reg.example:5000/a/trace_mine", "image: reg.example:5000/a/trace_mine\n"),
        ] {
            let folder = home.path().join(typed);
            start(typed, &folder).unwrap();
            let workflow = fs::read_to_string(folder.join(".github/workflows/gadget.yml")).unwrap();
            assert!(workflow.contains(image), "{workflow}");
            assert!(
                workflow.contains(concat!("build-gadget.yml@v", env!("CARGO_PKG_VERSION"))),
                "{workflow}"
            );
        }
    }

    /// The workflow that an author gets calls one of this repository: both must speak of the same things.
    #[test]
    fn the_workflow_names_what_the_called_one_knows() {
        let read = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap_or_else(|| panic!("no mapping: {value}")).keys().cloned().collect()
        };
        let written = read(include_str!("new/workflows/gadget.yml"));
        let called = read(include_str!("../../../../.github/workflows/build-gadget.yml"));
        let (job, call) = (&written["jobs"]["gadget"], &called["on"]["workflow_call"]);
        for (given, known) in [("with", "inputs"), ("secrets", "secrets")] {
            let known = keys(&call[known]);
            assert!(keys(&job[given]).iter().all(|key| known.contains(key)), "{given}: {known:?}");
        }
        assert_eq!(job["permissions"], called["jobs"]["gadget"]["permissions"]);
        // And so do the docs.
        let docs = include_str!("../../../../docs/authors.md");
        for key in keys(&call["inputs"]).iter().chain(&keys(&call["secrets"])) {
            assert!(docs.contains(&format!("| `{key}` |")), "docs/authors.md does not tell of {key}");
        }
    }

    #[test]
    fn nothing_of_others_is_written_over() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("precious"), "").unwrap();
        let error = start("mine", home.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not empty: choose another folder with --path"), "{error}");
        let error = start("mine", &home.path().join("precious")).unwrap_err().to_string();
        assert!(error.contains("choose another folder"), "{error}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        fs::create_dir(home.path().join("empty")).unwrap();
        start("mine", &home.path().join("empty")).unwrap();
    }

    #[test]
    fn a_name_is_that_of_a_repository() {
        let home = tempfile::tempdir().unwrap();
        for bad in ["", "Mine", "-x", "a b", "../mine", "mine:v1", "reg.io/mine:v1", "mine/"] {
            let folder = home.path().join("folder");
            assert!(start(bad, &folder).is_err(), "{bad}");
            assert!(!folder.exists(), "{bad}");
        }
    }
}
