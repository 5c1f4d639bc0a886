//! The headers that eBPF sources include: carried packed, and laid out in a temporary folder for clang.
//!
//! There are a thousand of them, and a gadget includes ten. Writing all would take longer than compiling, so the
//! sources are searched for `#include` first, as a preprocessor without conditions would, and only what can be met is
//! written.

use super::Error;
use crate::image::ARCHITECTURES;
use flate2::read::GzDecoder;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

/// The public headers of this project and the C library's few, by name.
const TEXTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/headers.rs"));
/// linux/, asm-generic/, and asm/ under each architecture.
const UAPI: &[u8] = include_bytes!("../../headers/uapi.tar.gz");
/// vmlinux.h under its architecture.
const VMLINUX: [(&str, &[u8]); 2] = [
    ("amd64", include_bytes!("../../headers/vmlinux-amd64.tar.gz")),
    ("arm64", include_bytes!("../../headers/vmlinux-arm64.tar.gz")),
];
/// Largest source searched for includes, bytes.
const MAX_SOURCE: u64 = 64 << 20;

/// A temporary folder with headers; removed when dropped.
pub(super) struct Headers {
    folder: tempfile::TempDir,
}

impl Headers {
    /// Lays out what `source` may include.
    pub(super) fn for_source(source: &Path) -> Result<Self, Error> {
        Self::lay_out(|carried| carried.needed(source))
    }

    /// Lays out everything.
    pub(super) fn all() -> Result<Self, Error> {
        Self::lay_out(Carried::all)
    }

    fn lay_out(choose: impl FnOnce(&mut Carried) -> io::Result<BTreeSet<String>>) -> Result<Self, Error> {
        let make = || {
            let folder = tempfile::Builder::new().prefix("igx-build-").tempdir()?;
            let mut carried = Carried::default();
            for place in choose(&mut carried)? {
                let path = folder.path().join(&place);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(path, carried.files.get(&place).map_or(&b""[..], |bytes| bytes))?;
            }
            Ok::<_, io::Error>(Self { folder })
        };
        let what = "writing headers to a temporary folder".to_owned();
        make().map_err(|source| Error::Io { what, source })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Where below the folder the headers of one architecture are.
pub(super) fn of_architecture(architecture: &str) -> String {
    format!("gadget/{architecture}")
}

/// Headers by the place below the folder where they are written, unpacked as far as they are asked for.
#[derive(Default)]
struct Carried {
    files: HashMap<String, Cow<'static, [u8]>>,
    texts: bool,
    uapi: bool,
    vmlinux: bool,
}

impl Carried {
    fn all(&mut self) -> io::Result<BTreeSet<String>> {
        self.unpack_texts();
        self.unpack_uapi()?;
        self.unpack_vmlinux()?;
        Ok(self.files.keys().cloned().collect())
    }

    /// Places of all that a source on disk may include, directly or not.
    fn needed(&mut self, source: &Path) -> io::Result<BTreeSet<String>> {
        enum At {
            Disk(PathBuf),
            Carried(String),
        }
        let mut places = BTreeSet::new();
        let mut on_disk = BTreeSet::from([source.to_owned()]);
        let mut queue = vec![At::Disk(source.to_owned())];
        while let Some(at) = queue.pop() {
            let text: Cow<'_, [u8]> = match &at {
                At::Disk(path) => {
                    let mut bytes = Vec::new();
                    fs::File::open(path)?.take(MAX_SOURCE).read_to_end(&mut bytes)?;
                    Cow::Owned(bytes)
                }
                // Nothing is included by these, and they are large.
                At::Carried(place) if place.ends_with("/vmlinux.h") => continue,
                At::Carried(place) => self.files.get(place).cloned().unwrap_or_default(),
            };
            let Some(names) = includes(&String::from_utf8_lossy(&text)) else { return self.all() };
            for (name, quoted) in names {
                let mut found = Vec::new();
                match &at {
                    At::Disk(path) if quoted => {
                        let beside = path.with_file_name("").join(&name);
                        if beside.is_file() {
                            if on_disk.insert(beside.clone()) {
                                queue.push(At::Disk(beside));
                            }
                            continue;
                        }
                    }
                    At::Carried(place) if quoted => {
                        let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
                        found = self.find(&normal(&format!("{folder}/{name}")))?;
                    }
                    _ => {}
                }
                if found.is_empty() {
                    found = self.find(&normal(&name))?;
                }
                for place in found {
                    if places.insert(place.clone()) {
                        queue.push(At::Carried(place));
                    }
                }
            }
        }
        Ok(places)
    }

    /// Places of the header of this name: one, or one for each architecture.
    fn find(&mut self, name: &str) -> io::Result<Vec<String>> {
        if name == "vmlinux.h" {
            self.unpack_vmlinux()?;
        } else {
            self.unpack_texts();
        }
        let places = |files: &HashMap<_, _>| -> Vec<String> {
            if files.contains_key(name) {
                return vec![name.to_owned()];
            }
            let each = ARCHITECTURES.map(|a| format!("{}/{name}", of_architecture(a)));
            each.into_iter().filter(|place| files.contains_key(place)).collect()
        };
        let found = places(&self.files);
        if found.is_empty() && !self.uapi {
            self.unpack_uapi()?;
            return Ok(places(&self.files));
        }
        Ok(found)
    }

    fn unpack_texts(&mut self) {
        if !std::mem::replace(&mut self.texts, true) {
            let libbpf = libbpf_sys::API_HEADERS.iter().map(|(name, text)| (format!("bpf/{name}"), *text));
            let own = TEXTS.iter().map(|(name, text)| ((*name).to_owned(), *text));
            self.files.extend(libbpf.chain(own).map(|(name, text)| (name, Cow::Borrowed(text.as_bytes()))));
        }
    }

    fn unpack_uapi(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.uapi, true) { Ok(()) } else { self.unpack(UAPI) }
    }

    fn unpack_vmlinux(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.vmlinux, true) {
            for (_, archive) in VMLINUX {
                self.unpack(archive)?;
            }
        }
        Ok(())
    }

    fn unpack(&mut self, archive: &'static [u8]) -> io::Result<()> {
        for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let one = ARCHITECTURES.iter().any(|a| name.starts_with(&format!("{a}/")));
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            self.files.insert(if one { format!("gadget/{name}") } else { name }, Cow::Owned(bytes));
        }
        Ok(())
    }
}

/// A path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Names that a text includes or asks for, each with whether it is in quotes; `None` if one is computed by a macro.
fn includes(text: &str) -> Option<Vec<(String, bool)>> {
    let mut names = Vec::new();
    for line in text.lines() {
        for asked in line.split("__has_include").skip(1) {
            let argument = asked.trim_start_matches("_next").trim_start().strip_prefix('(');
            names.extend(argument.and_then(name));
        }
        let Some(directive) = line.trim_start().strip_prefix('#') else { continue };
        let Some(rest) = directive.trim_start().strip_prefix("include") else { continue };
        names.push(name(rest.strip_prefix("_next").unwrap_or(rest))?);
    }
    Some(names)
}

/// The name that a text begins with, in quotes or angles.
fn name(text: &str) -> Option<(String, bool)> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('<') {
        return Some((rest.split_once('>')?.0.to_owned(), false));
    }
    Some((text.strip_prefix('"')?.split_once('"')?.0.to_owned(), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(source: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program.bpf.c");
        fs::write(&path, source).unwrap();
        fs::write(folder.path().join("own.h"), "#include <linux/errno.h>\n").unwrap();
        Carried::default().needed(&path).unwrap().into_iter().collect()
    }

    #[test]
    fn only_what_can_be_met_is_written() {
        assert_eq!(laid_out("int x;\n#include <stdbool.h>\n"), Vec::<String>::new());
        assert_eq!(laid_out("#include <vmlinux.h>\n"), ["gadget/amd64/vmlinux.h", "gadget/arm64/vmlinux.h"]);
        // Through a header beside the source, for each architecture, down to the last.
        assert_eq!(
            laid_out("# include \"own.h\" // why\n"),
            [
                "asm-generic/errno-base.h",
                "asm-generic/errno.h",
                "gadget/amd64/asm/errno.h",
                "gadget/arm64/asm/errno.h",
                "linux/errno.h"
            ]
        );
        // Beside a carried header, without its folder's name.
        let helpers = laid_out("#include <bpf/bpf_helpers.h>\n");
        assert_eq!(helpers, ["bpf/bpf_helper_defs.h", "bpf/bpf_helpers.h"]);
    }

    #[test]
    fn what_a_macro_names_can_be_anything() {
        let all = laid_out("#include NAME\n");
        assert!(all.len() > 500 && all.iter().any(|place| place == "linux/bpf.h"), "{}", all.len());
    }

    #[test]
    fn questions_are_answered() {
        assert_eq!(
            includes("#if __has_include(<a.h>) && __has_include_next( \"b.h\")\n#include_next <c.h>\n"),
            Some(vec![("a.h".into(), false), ("b.h".into(), true), ("c.h".into(), false)])
        );
        assert_eq!(normal("bpf/./../x/y.h"), "x/y.h");
    }

    proptest::proptest! {
        #[test]
        fn any_source_is_survived(text in "[#a-z<>\" ._(/\\n]{0,200}") {
            let _ = includes(&text);
            let _ = normal(&text);
        }
    }
}
