//! Names of users and groups: `user` and `group` fields beside user and group IDs.
//!
//! Names come from the host's `/etc/passwd` and `/etc/group`, as the files stand: no directory service is asked. They are
//! read when a gadget starts, and again once they have changed.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

use crate::datasource::{Accessor, Annotations, DataSource, Event, Scalar, Slot};

use super::{Operator, Verdict, add_text_beside, tagged};

/// Longest file that is read, in bytes. A file is somebody else's: it may be anything.
const MAX_FILE: u64 = 4 << 20;

/// Longest name, in bytes; Linux tools allow 32.
const MAX_NAME: usize = 256;

/// How many IDs without a name are remembered.
const MAX_UNKNOWN: usize = 4096;

/// The operator that names users and groups.
pub struct Users {
    tables: [Table; 2],
    fields: Vec<Resolved>,
    /// When the files were last looked at, in seconds of the monotonic clock.
    checked: i64,
}

struct Resolved {
    source: Accessor,
    slot: usize,
    table: usize,
    /// The ID of the last event, and its name.
    last: Option<(u32, Slot)>,
}

impl Users {
    /// Adds a name to each user and group ID of the data source. `root` is where the host's files are, such as `/`.
    /// `None` if there are no IDs.
    pub fn attach(ds: &mut DataSource, root: &Path) -> Option<Box<dyn Operator>> {
        let kinds = [("type:gadget_uid", "user"), ("type:gadget_gid", "group")];
        let mut fields = Vec::new();
        for (table, (tag, default)) in kinds.into_iter().enumerate() {
            for id in tagged(ds, tag) {
                if ds.fields[id].kind.array || ds.fields[id].kind.scalar != Scalar::Uint32 {
                    continue;
                }
                let name = super::target_name(ds, id, "uidgidresolver.target");
                let source = ds.accessor(id);
                let name = name.as_deref().unwrap_or(default);
                let added = add_text_beside(ds, id, name, Annotations::default());
                let Some((text, slot)) = added else { continue };
                ds.fields[text].hidden = true;
                ds.fields[id].hidden = true;
                fields.push(Resolved { source, slot, table, last: None });
            }
        }
        if fields.is_empty() {
            return None;
        }
        let tables = [Table::new(root.join("etc/passwd"), "uid"), Table::new(root.join("etc/group"), "gid")];
        Some(Box::new(Self { tables, fields, checked: coarse_seconds() }))
    }

    fn refresh(&mut self) {
        for (table, names) in self.tables.iter_mut().enumerate() {
            if names.refresh() {
                for field in self.fields.iter_mut().filter(|field| field.table == table) {
                    field.last = None;
                }
            }
        }
    }
}

impl Operator for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        let now = coarse_seconds();
        if now != self.checked {
            self.checked = now;
            self.refresh();
        }
        for field in &mut self.fields {
            let id = field.source.u64(event) as u32;
            let name = match &field.last {
                Some((last, name)) if *last == id => name.clone(),
                _ => {
                    let name = self.tables[field.table].name(id);
                    field.last = Some((id, name.clone()));
                    name
                }
            };
            event.slots.set(field.slot, name);
        }
        Verdict::Pass
    }
}

/// Seconds of a clock that is read without entering the kernel.
fn coarse_seconds() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |time| time.tv_sec())
}

/// One file, as a map from ID to name.
struct Table {
    path: PathBuf,
    /// What stands before the number of an ID without a name.
    kind: &'static str,
    version: Option<Version>,
    names: HashMap<u32, Arc<str>>,
    unknown: HashMap<u32, Arc<str>>,
}

/// Tells whether a file was written or replaced.
#[derive(PartialEq, Eq)]
struct Version {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

impl Table {
    fn new(path: PathBuf, kind: &'static str) -> Self {
        let mut table = Self { path, kind, version: None, names: HashMap::new(), unknown: HashMap::new() };
        table.refresh();
        table
    }

    /// Reads the file again if it changed. What was known stays if the file cannot be read: it may be in the middle of
    /// being replaced.
    fn refresh(&mut self) -> bool {
        let Ok(version) = std::fs::metadata(&self.path).map(|file| Version::of(&file)) else { return false };
        if self.version.as_ref() == Some(&version) {
            return false;
        }
        match read(&self.path) {
            Ok((content, version)) => {
                self.names = parse(&content);
                self.unknown.clear();
                self.version = Some(version);
                true
            }
            Err(error) => {
                tracing::debug!("cannot read names from {}: {error}", self.path.display());
                self.version = Some(version);
                false
            }
        }
    }

    fn name(&mut self, id: u32) -> Slot {
        if let Some(name) = self.names.get(&id).or_else(|| self.unknown.get(&id)) {
            return Slot::Shared(name.clone());
        }
        if self.unknown.len() == MAX_UNKNOWN {
            self.unknown.clear();
        }
        let name: Arc<str> = format!("{}:{id}", self.kind).into();
        self.unknown.insert(id, name.clone());
        Slot::Shared(name)
    }
}

/// Reads a regular file to its end or to [`MAX_FILE`].
fn read(path: &Path) -> io::Result<(Vec<u8>, Version)> {
    // A pipe in place of the file must not make us wait for a writer.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content)?;
    Ok((content, Version::of(&metadata)))
}

/// Reads lines of `name:password:id:…`, as passwd(5) and group(5) have them. The first name of an ID counts, as it does
/// for getpwuid(3); lines of any other form are passed over.
fn parse(content: &[u8]) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in content.split(|&b| b == b'\n') {
        let mut parts = line.splitn(4, |&b| b == b':');
        let (Some(name), Some(_), Some(id)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if name.is_empty() || name.len() > MAX_NAME || matches!(name[0], b'#' | b'+' | b'-') {
            continue;
        }
        let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.trim().parse().ok()) else { continue };
        names.entry(id).or_insert_with(|| String::from_utf8_lossy(name).into());
    }
    names
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
