//! Iterator programs (`iter/…`): they make lists, such as of all tasks or sockets, each time that they are read.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
};

use gadget::object::Object;
use libbpf_rs::{IterOpts, Link, MapIterOpts};

use super::super::{Error, LoadedGadget};
use crate::container::namespace;

/// Bytes that reading an iterator may give: some million entries.
const MAX_BYTES: usize = 256 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// An iterator program, ready to be read.
pub struct Iterator {
    program: String,
    link: Link,
    /// Whether it shows what is in the network namespace of whoever reads it.
    of_netns: bool,
}

impl Iterator {
    /// Attaches the iterator program `name`.
    ///
    /// # Errors
    /// When the kernel has no iterator of its kind.
    pub fn attach(gadget: &LoadedGadget, object: &Object, name: &str) -> Result<Self, Error> {
        let program = gadget.programs().find(|program| program.name() == name);
        let program = program.ok_or_else(|| Error::NoProgram(name.to_owned()))?;
        let section = program.section().to_string_lossy().into_owned();
        let target = object.iter_targets.iter().find(|target| target.program == name);
        let map = target.map(|target| gadget.map(&target.map)).transpose()?.flatten();
        let options = match &map {
            Some(map) => IterOpts::Map(MapIterOpts::from_fd(map.as_fd())),
            None => IterOpts::None,
        };
        let of_netns = matches!(section.as_str(), "iter/tcp" | "iter/udp" | "iter/unix" | "iter/netlink");
        let link = program.attach_iter_with_opts(options).map_err(|error| Error::Attach {
            program: name.to_owned(),
            section,
            error,
        })?;
        Ok(Self { program: name.to_owned(), link, of_netns })
    }

    /// Reads the list and appends its entries, of `size` bytes each, to `entries`. What belongs to network namespaces
    /// is read in each of `namespaces`.
    ///
    /// # Errors
    /// When the kernel fails to make the list, or it is no list of such entries.
    pub fn read(&self, size: usize, namespaces: &[File], entries: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        if !self.of_netns {
            return self.read_one(libbpf_rs::Iter::new(&self.link), size, entries);
        }
        for netns in namespaces {
            // The list is that of the namespace in which it is opened, wherever it is read.
            let opened = namespace::in_netns(netns, || libbpf_rs::Iter::new(&self.link))?;
            self.read_one(opened, size, entries)?;
        }
        Ok(())
    }

    fn read_one(
        &self,
        opened: Result<libbpf_rs::Iter, libbpf_rs::Error>,
        size: usize,
        entries: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Iterate { program: self.program.clone(), source };
        let list = opened.map_err(|error| failed(io::Error::other(error)))?;
        let bytes = read_all(list).map_err(failed)?;
        let whole = bytes.chunks_exact(size.max(1));
        if !whole.remainder().is_empty() {
            let problem = format!("it gives {} bytes, which are no entries of {size}", bytes.len());
            return Err(failed(io::Error::other(problem)));
        }
        entries.extend(whole.map(<[u8]>::to_vec));
        Ok(())
    }
}

/// Reads a list to its end.
fn read_all(mut list: libbpf_rs::Iter) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match list.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            // The kernel takes a break after a million objects that a program has left out.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if bytes.len() >= MAX_BYTES {
            return Err(io::Error::other(format!("it gives more than {} MiB", MAX_BYTES >> 20)));
        }
    }
}
