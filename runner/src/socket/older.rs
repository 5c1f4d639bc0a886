//! The passes over what the kernel has: sockets that are older than the run, and entries of closed ones.
//!
//! Both are iterators of an object of their own, so that a kernel without them still has live owners.

use std::{
    io::{self, Read as _},
    os::fd::AsFd as _,
};

use libbpf_rs::{Iter, Link, MapHandle, Object};

use super::{
    BtfProvider, Error,
    object::{self, Maps, Settings, Source},
};

const NAME: &str = "socket_iter";
static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_iter.bpf.o"));
/// The same, which also tells paths of owners.
static WITH_PATHS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_iter_paths.bpf.o"));

/// The iterators, ready to run.
pub(super) struct Passes {
    older: Link,
    /// Removes the entries of sockets that were closed long enough ago.
    pub(super) closed: Link,
    pub(super) counters: MapHandle,
}

/// The object that [`Passes::load`] loads.
pub(super) fn source(btf: Option<BtfProvider<'_>>, with_paths: bool) -> Result<Source, Error> {
    Source::new(NAME, if with_paths { WITH_PATHS } else { ELF }, btf)
}

impl Passes {
    /// Loads the iterators onto `maps`.
    pub(super) fn load(source: &Source, settings: &Settings, maps: &Maps) -> Result<Self, Error> {
        let failed = |source| Error::Load { object: NAME, source };
        let object = source.load(settings, maps)?;
        Ok(Self {
            older: attach(&object, "older_sockets", None).map_err(failed)?,
            closed: attach(&object, "closed_sockets", Some(&maps.sockets)).map_err(failed)?,
            counters: object::counters(NAME, &object)?,
        })
    }

    /// Enters the sockets that are open now; says so if that fails.
    pub(super) fn enter_older(&self) -> Option<String> {
        let error = run(&self.older).err()?;
        Some(format!(
            "sockets that were open before the run have no owner: cannot read the open files: {error}"
        ))
    }
}

fn attach(object: &Object, name: &str, map: Option<&MapHandle>) -> libbpf_rs::Result<Link> {
    let program = object
        .progs_mut()
        .find(|program| program.name() == name)
        .ok_or_else(|| io::Error::other(format!("it has no program {name}")))?;
    match map {
        Some(map) => program.attach_iter(map.as_fd()),
        None => program.attach(),
    }
}

/// Runs an iterator over everything that it iterates. The programs print nothing, so a read only ends at the end or
/// when the kernel lets others run.
pub(super) fn run(link: &Link) -> io::Result<()> {
    let mut iter = Iter::new(link).map_err(io::Error::other)?;
    let mut unused = [0; 64];
    loop {
        match iter.read(&mut unused) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
}
