//! A test as an author writes it: YAML with flags, a workload, and what has to come of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::pattern::{self, Pattern};

/// Largest test file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Longest that a test may take, seconds.
const MAX_TIMEOUT: u64 = 24 * 60 * 60;

/// Why there is no test to run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub(super) enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {why}")]
    Yaml { path: PathBuf, why: String },
    #[error("{path}: it expects nothing: give it an event under `expect` or `reject`")]
    Nothing { path: PathBuf },
    #[error("{path}: timeout must be 1 to {MAX_TIMEOUT} seconds")]
    Timeout { path: PathBuf },
    #[error("{path}: run: {flag}: {why}")]
    Flag { path: PathBuf, flag: String, why: &'static str },
    #[error("{path}: {source}")]
    Pattern { path: PathBuf, source: pattern::Error },
    #[error("there are no tests in {0}: write one there, or name one with --file")]
    None(PathBuf),
}

/// One test.
#[derive(Debug)]
pub(super) struct Case {
    /// The file that it is written in.
    pub(super) path: PathBuf,
    /// Flags for `igx run`.
    pub(super) run: Vec<String>,
    /// A shell command, started once all programs are attached.
    pub(super) workload: String,
    /// Each must match some event.
    pub(super) expect: Vec<Pattern>,
    /// None may match any event.
    pub(super) reject: Vec<Pattern>,
    /// How long the workload and the events that it causes may take.
    pub(super) timeout: Duration,
}

/// The file. A key that is not known is a mistake: what it was meant to test would go untested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    run: Vec<String>,
    workload: String,
    #[serde(default)]
    expect: Vec<Value>,
    #[serde(default)]
    reject: Vec<Value>,
    #[serde(default = "default_timeout")]
    timeout: u64,
}

fn default_timeout() -> u64 {
    10
}

impl Case {
    /// Reads one file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(fail)?.len() > MAX_FILE {
            return Err(fail(io::ErrorKind::FileTooLarge.into()));
        }
        Self::parse(path, &fs::read_to_string(path).map_err(fail)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let path = path.to_owned();
        let file: File = match serde_saphyr::from_str(text) {
            Ok(file) => file,
            Err(error) => return Err(Error::Yaml { path, why: error.to_string() }),
        };
        if file.expect.is_empty() && file.reject.is_empty() {
            return Err(Error::Nothing { path });
        }
        if !(1..=MAX_TIMEOUT).contains(&file.timeout) {
            return Err(Error::Timeout { path });
        }
        if let Some((flag, why)) = file.run.iter().find_map(|flag| Some((flag, not_for_a_test(flag)?))) {
            return Err(Error::Flag { path, flag: flag.clone(), why });
        }
        let patterns = |values: Vec<Value>| -> Result<Vec<Pattern>, Error> {
            let each = values.into_iter().map(Pattern::new);
            each.collect::<Result<_, _>>().map_err(|source| Error::Pattern { path: path.clone(), source })
        };
        let (expect, reject) = (patterns(file.expect)?, patterns(file.reject)?);
        let timeout = Duration::from_secs(file.timeout);
        Ok(Self { path, run: file.run, workload: file.workload, expect, reject, timeout })
    }
}

/// Why a flag would spoil the test, if it would.
fn not_for_a_test(flag: &str) -> Option<&'static str> {
    match flag.split('=').next().unwrap_or_default() {
        "-t" | "--timeout" => Some("the test has a timeout of its own; set that"),
        flag if flag == "--output" || flag.starts_with("-o") => Some("a test reads JSON; leave it out"),
        _ => None,
    }
}

/// The tests of a gadget: that of `file`, or else all in the folder `tests` of `folder`, by name.
pub(super) fn find(folder: &Path, file: Option<&Path>) -> Result<Vec<Case>, Error> {
    if let Some(file) = file {
        return Ok(vec![Case::read(file)?]);
    }
    let tests = folder.join("tests");
    let mut paths = Vec::new();
    match fs::read_dir(&tests) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Read { path: tests, source }),
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(|source| Error::Read { path: tests.clone(), source })?.path();
                if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                    paths.push(path);
                }
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::None(tests));
    }
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse(Path::new("tests/x.yaml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_test_says_what_to_run_and_what_to_expect() {
        let case =
            parse("run: [--host]\nworkload: |\n  true\nexpect: [{a: ~^x, b.c: 1}]\ntimeout: 5").unwrap();
        assert_eq!((case.run, case.workload.as_str()), (vec!["--host".to_owned()], "true\n"));
        assert_eq!((case.expect[0].to_string().as_str(), case.reject.len()), ("a: ~^x, b.c: 1", 0));
        assert_eq!(case.timeout, Duration::from_secs(5));
        assert_eq!(parse("workload: 'true'\nreject: [{a: 1}]").unwrap().timeout, Duration::from_secs(10));
    }

    #[test]
    fn a_test_that_tests_nothing_is_refused() {
        for (text, why) in [
            ("workload: 'true'", "it expects nothing"),
            ("workload: 'true'\nexpect: []", "it expects nothing"),
            ("workload: 'true'\nexpect: [{}]", "names no field"),
            ("workload: 'true'\nexpects: [{a: 1}]", "expects"),
            ("expect: [{a: 1}]", "workload"),
            ("workload: 'true'\nexpect: [{a: 1}]\ntimeout: 0", "timeout must be"),
            ("workload: 'true'\nexpect: [{a: 1}]\ntimeout: 18446744073709551615", "timeout must be"),
            ("workload: 'true'\nexpect: [{a: ~(}]", "regular expression"),
            ("workload: 'true'\nexpect: [{a: 1}]\nrun: [-ojson]", "a test reads JSON"),
            ("workload: 'true'\nexpect: [{a: 1}]\nrun: [--timeout=3]", "a timeout of its own"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("tests/x.yaml: ") && error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn all_tests_of_a_folder_are_found_by_name() {
        let home = tempfile::tempdir().unwrap();
        let found = |file: Option<&Path>| find(home.path(), file).map_err(|error| error.to_string());
        assert!(found(None).unwrap_err().starts_with("there are no tests in "));
        fs::create_dir(home.path().join("tests")).unwrap();
        assert!(found(None).unwrap_err().starts_with("there are no tests in "));
        for name in ["b.yaml", "a.yml", "workload.sh"] {
            let text = "workload: 'true'\nexpect: [{a: 1}]";
            fs::write(home.path().join("tests").join(name), text).unwrap();
        }
        let names = |cases: Vec<Case>| {
            cases.iter().map(|c| c.path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(found(None).unwrap()), ["a.yml", "b.yaml"]);
        let one = home.path().join("tests/b.yaml");
        assert_eq!(names(found(Some(&one)).unwrap()), ["b.yaml"]);
        assert!(found(Some(Path::new("/nonexistent/x.yaml"))).unwrap_err().contains("/nonexistent/x.yaml"));
    }

    proptest! {
        #[test]
        fn no_file_ends_the_program(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("workload: x\nexpect:\n  - {text}"));
        }
    }
}
