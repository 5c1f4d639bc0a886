//! Who owns a packet's socket: the map `gadget_sockets`, from network namespace, protocol and local port to the
//! process that uses it, kept up to date for as long as a [`SocketOwner`] lives.
//!
//! A packet does not say who sent it, and by the time it is seen another process may be running. So programs write
//! down the owner when a port is taken ([`cgroup`]), one pass over the open files finds the sockets that are older
//! ([`older`]), and entries of closed sockets are removed some seconds later ([`sweep`]). The kernel side is
//! `bpf/socket_owner.bpf.c` and `bpf/socket_iter.bpf.c`; the map's layout is in `bpf/include/gadget/sockets-map.h`.

mod cgroup;
mod hierarchy;
mod object;
mod older;
#[cfg(test)]
mod path_tests;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use libbpf_rs::{Link, MapHandle};

use object::Settings;

/// Bytes of a map value without optional fields.
pub const FIXED_VALUE_SIZE: u32 = 96;
/// The most bytes that an optional field may have.
pub const MAX_PATH_SIZE: u32 = 4096;
/// How long the entry of a closed socket stays: packets and their readers come late.
pub const GRACE: Duration = Duration::from_secs(5);

/// Makes the BTF that an object's CO-RE relocations are resolved against.
///
/// Takes the object's ELF bytes and gives the path of a BTF file, which must be readable until [`SocketOwner::start`]
/// returns.
pub type BtfProvider<'a> = &'a dyn Fn(&[u8]) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>>;

/// What a [`SocketOwner`] is started with.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Bytes for the owner's working directory in each value; 0 leaves the field out.
    pub cwd: u32,
    /// Bytes for the path of the program that the owner runs; 0 leaves the field out.
    pub exepath: u32,
    /// Where BTF for relocations comes from; the kernel's own if absent.
    pub kernel_btf: Option<BtfProvider<'a>>,
}

/// Why no owner can be known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An optional field is larger than gadgets declare it.
    #[error("socket owner: field {field} of {bytes} bytes: use at most {MAX_PATH_SIZE}")]
    FieldTooLarge {
        /// Which field.
        field: &'static str,
        /// The size that was asked for.
        bytes: u32,
    },
    /// No cgroup2 hierarchy could be reached.
    #[error(
        "socket owner: cannot mount a cgroup2 hierarchy: {0}; mount one with 'mount -t cgroup2 none DIR', or run as root with CAP_SYS_ADMIN"
    )]
    Hierarchy(#[source] io::Error),
    /// The BTF for an object could not be made.
    #[error(
        "socket owner: cannot prepare kernel types for {object}: {source}; check that /sys/kernel/btf/vmlinux is readable"
    )]
    Btf {
        /// Which object.
        object: &'static str,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel refused an object.
    #[error(
        "socket owner: cannot load {object}: {source}; it needs root with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and Linux 5.10 or later with BTF"
    )]
    Load {
        /// Which object.
        object: &'static str,
        /// What libbpf reported.
        source: libbpf_rs::Error,
    },
    /// Every program loaded and none could be attached.
    #[error(
        "socket owner: no program could be attached ({0}); another tool may hold the cgroup root exclusively: see 'bpftool cgroup tree'"
    )]
    NothingAttached(String),
    /// The thread that removes entries could not be started.
    #[error("socket owner: cannot start a thread: {0}; raise the limit of processes")]
    Thread(#[source] io::Error),
}

/// How sockets are watched. What works is found by attaching, never by reading a version.
#[derive(Debug)]
enum Backend {
    /// Programs on the root of the cgroup2 hierarchy: Linux 5.10 and later.
    ///
    /// Older kernels need kprobes on the bind, connect, sendmsg and release functions; they would be a variant beside
    /// this one that fills the same map, tried when this one cannot be loaded or attached.
    Cgroup { _links: Vec<Link> },
}

/// The maps of a [`SocketOwner`] that is not started yet: gadgets can be loaded onto them meanwhile.
#[derive(Debug)]
pub struct SocketMaps {
    maps: Arc<object::Maps>,
    settings: Settings,
}

/// Keeps `gadget_sockets` filled. Dropping it detaches all programs and ends its thread.
#[derive(Debug)]
pub struct SocketOwner {
    // Dropped first: it deletes from the map.
    _sweeper: Option<sweep::Sweeper>,
    _backend: Backend,
    maps: Arc<object::Maps>,
    connections_are_whole: bool,
    lost: Vec<MapHandle>,
    value_size: u32,
    notes: Vec<String>,
}

impl SocketMaps {
    /// Makes empty maps.
    ///
    /// # Errors
    ///
    /// If a field is too large, or the kernel refuses.
    pub fn new(options: &Options<'_>) -> Result<Self, Error> {
        let &Options { cwd, exepath, .. } = options;
        let settings = Settings { value_size: value_size(options)?, cwd, exepath, grace: GRACE };
        Ok(Self { maps: Arc::new(object::maps(settings.value_size)?), settings })
    }

    /// The map `gadget_sockets`, for gadgets to share.
    pub fn sockets(&self) -> BorrowedFd<'_> {
        self.maps.sockets.as_fd()
    }

    /// The map `igx_sockets`, of recent connections by both their ends, for gadgets to share.
    pub fn connections(&self) -> BorrowedFd<'_> {
        self.maps.connections.as_fd()
    }

    /// The map `igx_containers`: which control groups are containers'.
    pub fn containers(&self) -> &MapHandle {
        &self.maps.containers
    }

    /// Attaches the programs that fill the maps, and enters the sockets that are open already. `btf` is as in
    /// [`Options`].
    ///
    /// # Errors
    ///
    /// If nothing can be watched. What only works in part is in [`SocketOwner::notes`].
    pub fn start(&self, btf: Option<BtfProvider<'_>>) -> Result<SocketOwner, Error> {
        SocketOwner::on(self, btf, GRACE, sweep::INTERVAL)
    }
}

impl SocketOwner {
    /// Makes maps and starts filling them: [`SocketMaps::new`] and [`SocketMaps::start`].
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn start(options: Options<'_>) -> Result<Self, Error> {
        SocketMaps::new(&options)?.start(options.kernel_btf)
    }

    fn on(
        SocketMaps { maps, settings }: &SocketMaps,
        btf: Option<BtfProvider<'_>>,
        grace: Duration,
        interval: Duration,
    ) -> Result<Self, Error> {
        let settings = Settings { grace, ..*settings };
        let mut notes = Vec::new();
        let live = cgroup::source(btf, settings.with_paths())?;
        let passes = older::source(btf, settings.with_paths())?;
        let watch = cgroup::start(&live, &settings, maps, &mut notes)?;
        let mut lost = vec![watch.counters];
        // Watching first: a socket made between the two would be known to neither.
        let sweeper = match older::Passes::load(&passes, &settings, maps) {
            Ok(passes) => {
                notes.extend(passes.enter_older());
                lost.push(passes.counters);
                Some(sweep::Sweeper::start(passes.closed, interval).map_err(Error::Thread)?)
            }
            Err(error) => {
                notes.push(format!("{error}; sockets that were open before the run have no owner, and entries of closed ones stay"));
                None
            }
        };
        Ok(Self {
            _sweeper: sweeper,
            _backend: Backend::Cgroup { _links: watch.links },
            connections_are_whole: watch.is_whole,
            maps: maps.clone(),
            lost,
            value_size: settings.value_size,
            notes,
        })
    }

    /// The map `gadget_sockets`, for who loads a gadget later.
    pub fn sockets(&self) -> BorrowedFd<'_> {
        self.maps.sockets.as_fd()
    }

    /// The map `igx_containers`: who runs this says there which control groups are containers' (`bpf/cgroup.h`), and
    /// owners are told with the container that they are in.
    pub fn containers(&self) -> &MapHandle {
        &self.maps.containers
    }

    /// Whether each new TCP connection of this machine is in [`SocketOwner::connections`].
    pub fn knows_every_connection(&self) -> bool {
        self.connections_are_whole && self.value_size == FIXED_VALUE_SIZE
    }

    /// Bytes of a value in the map.
    pub fn value_size(&self) -> u32 {
        self.value_size
    }

    /// What does not work here, a sentence each; empty where everything does.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many times a socket found no room in the map.
    pub fn lost(&self) -> u64 {
        self.lost.iter().filter_map(object::counter).sum()
    }
}

fn value_size(options: &Options<'_>) -> Result<u32, Error> {
    let mut size = FIXED_VALUE_SIZE;
    for (field, bytes) in [("cwd", options.cwd), ("exepath", options.exepath)] {
        if bytes > MAX_PATH_SIZE {
            return Err(Error::FieldTooLarge { field, bytes });
        }
        size += bytes;
    }
    Ok(size)
}
