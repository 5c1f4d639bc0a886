//! What a probe in programs is attached to: `LIBRARY:FUNCTION`, such as `libc:malloc`, or `/PATH:FUNCTION`; of `usdt/`,
//! `:PROVIDER:PROBE` in place of the function.

use std::{fs::File, io, path::PathBuf};

use crate::symbol::{Elf, Probe, open_below, paths_of};

/// A file, and a place in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// A path, or the name of a library.
    pub(super) file: String,
    place: Place,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Function(String),
    Probe { provider: String, name: String },
}

impl Target {
    /// Reads what follows a section's kind.
    pub(super) fn parse(kind: &str, text: &str) -> Option<Self> {
        let (file, rest) = text.split_once(':')?;
        let place = if kind == "usdt" {
            let (provider, name) = rest.split_once(':')?;
            Place::Probe { provider: provider.to_owned(), name: name.to_owned() }
        } else {
            Place::Function(rest.to_owned())
        };
        let whole = !file.is_empty() && !rest.is_empty() && !rest.starts_with(':') && !rest.ends_with(':');
        whole.then(|| Self { file: file.to_owned(), place })
    }

    /// Opens the file below `root`; `None` if there is no such file.
    pub(super) fn open(&self, root: &File) -> io::Result<Option<File>> {
        let paths = if self.file.starts_with('/') {
            vec![PathBuf::from(&self.file)]
        } else {
            paths_of(root, &self.file)
        };
        for path in paths {
            match open_below(root, &path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io::Error::other(format!("{}: {error}", path.display()))),
            }
        }
        Ok(None)
    }

    /// Where in the file the program is to be run.
    pub(super) fn places(&self, elf: &Elf) -> io::Result<Vec<Probe>> {
        let (places, what) = match &self.place {
            Place::Function(name) => {
                let offset = elf.function(name)?;
                let places = offset
                    .map(|offset| Probe { offset, counter: 0, arguments: String::new() })
                    .into_iter()
                    .collect();
                (places, format!("function {name}"))
            }
            Place::Probe { provider, name } => {
                (elf.probes(provider, name)?, format!("probe {provider}:{name}"))
            }
        };
        if places.is_empty() {
            return Err(io::Error::other(format!("{} has no {what}", self.file)));
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_file_and_a_place_in_it() {
        let function = |file: &str, name: &str| {
            Some(Target { file: file.to_owned(), place: Place::Function(name.to_owned()) })
        };
        assert_eq!(Target::parse("uprobe", "libc:malloc"), function("libc", "malloc"));
        assert_eq!(
            Target::parse("uretprobe", "/usr/bin/bash:readline"),
            function("/usr/bin/bash", "readline")
        );
        let probe = Target::parse("usdt", "libpython3.11:python:gc__start").unwrap();
        assert_eq!(probe.place, Place::Probe { provider: "python".to_owned(), name: "gc__start".to_owned() });
        for (kind, wrong) in [
            ("uprobe", ""),
            ("uprobe", "libc"),
            ("uprobe", ":malloc"),
            ("uprobe", "libc:"),
            ("usdt", "libc:setjmp"),
            ("usdt", "libc::setjmp"),
            ("usdt", "libc:libc:"),
        ] {
            assert_eq!(Target::parse(kind, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_function_is_found_in_a_library_and_a_wrong_one_is_told() {
        let root = File::open("/").unwrap();
        let places = |text: &str| {
            let target = Target::parse("uprobe", text).unwrap();
            let file = target.open(&root).unwrap()?;
            Some(target.places(&Elf::open(file).unwrap()).map_err(|error| error.to_string()))
        };
        assert!(places("libc:malloc").unwrap().unwrap()[0].offset > 0);
        assert_eq!(places("libc:nosuch").unwrap().unwrap_err(), "libc has no function nosuch");
        assert_eq!(places("libnosuch:f"), None);
        assert_eq!(places("/nosuch:f"), None);
    }
}
