//! The kernel's side of a run: who owns sockets, which types the object is fitted to, and the loaded object.

use std::{cell::RefCell, collections::BTreeMap, os::fd::AsFd, path::PathBuf, thread};

use gadget::btf::minimal;
use libbpf_rs::MapHandle;

use super::{
    containers::{self, CONTAINERS_MAP, FILTER_MAP},
    gadget::Gadget,
    handover,
    run::{Error, Options},
};
use crate::{
    container::host,
    ebpf::{KernelBtf, LoadedGadget, Loader, NetnsPath, ObjectBtf, attach, param},
    socket::{self, SocketMaps, SocketOwner},
};

/// The map in which gadgets look up who owns a socket.
const SOCKETS_MAP: &str = "gadget_sockets";

/// The map in which our own gadgets look up whose a connection is.
const CONNECTIONS_MAP: &str = "igx_sockets";

/// Set to the inode of the host's network namespace where that map knows every connection.
const CONNECTIONS_HOST: &str = "igx_sockets_host";

/// Set when only the mount namespaces in [`FILTER_MAP`] are shown.
const FILTER_FLAG: &str = "gadget_filter_by_mntns";

/// Set to the inode of the host's network namespace.
const HOST_NETNS: &str = "igx_host_netns";

/// Bytes for the paths of whoever owns a socket, in the map that gadgets look it up in; 0 leaves a path out. The map has
/// room for 16,384 owners, so each byte costs 16 KiB of kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketPaths {
    /// For the working directory.
    pub cwd: u32,
    /// For the path of the program.
    pub exepath: u32,
}

impl Default for SocketPaths {
    /// As much as upstream's default.
    fn default() -> Self {
        Self { cwd: 512, exepath: 512 }
    }
}

impl SocketPaths {
    /// Those that an object asks for although there is no room for them, by name.
    fn missing(self, elf: &[u8]) -> Vec<&'static str> {
        let asked = Self::default().read_by(elf);
        let all = [("cwd", asked.cwd, self.cwd), ("exepath", asked.exepath, self.exepath)];
        all.into_iter().filter(|&(_, asked, room)| asked > 0 && room == 0).map(|(name, ..)| name).collect()
    }

    /// Those of them that an object asks for: the others are not worth their cost.
    pub(super) fn read_by(self, elf: &[u8]) -> Self {
        let asked = minimal::needs_socket_value(elf).ok().flatten().unwrap_or_default();
        let bytes = |asked: bool, bytes| if asked { bytes } else { 0 };
        Self { cwd: bytes(asked.cwd, self.cwd), exepath: bytes(asked.exepath, self.exepath) }
    }
}

/// What a run has in the kernel before anything of the gadget is attached.
pub(super) struct Loaded {
    /// The gadget's programs and maps.
    pub(super) gadget: LoadedGadget,
    /// The mount namespaces that are shown, if the gadget asks.
    pub(super) filter_map: Option<MapHandle>,
    /// Keeps the owners of sockets, if the gadget asks.
    pub(super) owner: Option<SocketOwner>,
    /// The types that the object was fitted to.
    pub(super) types: Option<ObjectBtf>,
    /// The way to a packet's network namespace, if the gadget sees packets of many and the kernel lets it be walked.
    pub(super) netns_path: Option<NetnsPath>,
}

/// Loads all that a run of `gadget` needs. `targets` is where its programs will be attached, by lower-case name.
pub(super) fn load(
    gadget: &Gadget,
    options: &Options,
    targets: &BTreeMap<String, String>,
) -> Result<Loaded, Error> {
    let btf = KernelBtf::new(options.cache.clone());
    if gadget.image.object.is_none() {
        let gadget = LoadedGadget::default();
        return Ok(Loaded { gadget, filter_map: None, owner: None, types: None, netns_path: None });
    }
    let elf = gadget.image.object.as_deref().unwrap_or_default();
    let paths = options.socket_paths.read_by(elf);
    for field in options.socket_paths.missing(elf) {
        tracing::warn!(
            "the gadget asks for {field} of who owns a socket, which --socket-enricher-fields leaves out: \
             the kernel may refuse its programs"
        );
    }
    let own =
        || SocketMaps::new(&socket::Options { cwd: paths.cwd, exepath: paths.exepath, kernel_btf: None });
    let maps = gadget.has_map(SOCKETS_MAP).then(own).transpose()?;
    // In one network alone, a program that need not find it is faster by some nanoseconds a packet.
    let follows_networks =
        attach::sees_packets(&gadget.object) && !options.host && options.command.is_empty();
    // The first two wait for the kernel's verifier, and none for the others.
    let (owner, loaded, netns_path) = thread::scope(|scope| {
        let owner = maps.as_ref().map(|maps| scope.spawn(|| start_owner(maps, &btf)));
        let path = follows_networks.then(|| scope.spawn(|| NetnsPath::find(&btf)));
        let loaded = load_object(gadget, options, targets, &btf, maps.as_ref().map(|maps| (maps, paths)));
        let owner = owner.map(|owner| owner.join().map_err(|_| Error::Thread));
        (owner, loaded, path.map(|path| path.join().map_err(|_| Error::Thread)))
    });
    let owner = owner.transpose()?.transpose()?;
    let loaded = loaded?;
    let netns_path = netns_path.transpose()?.flatten();
    if owner.as_ref().is_some_and(SocketOwner::knows_every_connection)
        && let Ok(netns) = host::netns()
    {
        loaded.gadget.set_variable(&gadget.object, CONNECTIONS_HOST, &netns.to_ne_bytes())?;
    }
    Ok(Loaded { owner, netns_path, ..loaded })
}

fn start_owner(maps: &SocketMaps, btf: &KernelBtf) -> Result<SocketOwner, Error> {
    // The owner's programs know their map's layout, and read only types of the kernel proper.
    let kept: RefCell<Vec<ObjectBtf>> = RefCell::default();
    let provide = |elf: &[u8]| -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
        let types = btf.for_object(elf, &[], &[])?.ok_or("this kernel lacks types that every kernel has")?;
        let path = types.path();
        kept.borrow_mut().push(types);
        Ok(path)
    };
    Ok(maps.start(Some(&provide))?)
}

/// The kernel's types as far as the gadget asks for them, the enums of its events among them.
fn types(gadget: &Gadget, btf: &KernelBtf, sockets: Option<SocketPaths>) -> Result<Option<ObjectBtf>, Error> {
    let elf = gadget.image.object.as_deref().unwrap_or_default();
    let extra: Vec<_> = sockets.iter().map(|paths| minimal::socket_value(paths.cwd, paths.exepath)).collect();
    let enums: Vec<&str> =
        gadget.sources.iter().flat_map(|s| s.enums.iter().map(|e| e.enumeration.name.as_str())).collect();
    Ok(btf.for_object(elf, &extra, &enums)?)
}

fn load_object(
    gadget: &Gadget,
    options: &Options,
    targets: &BTreeMap<String, String>,
    btf: &KernelBtf,
    sockets: Option<(&SocketMaps, SocketPaths)>,
) -> Result<Loaded, Error> {
    let types = types(gadget, btf, sockets.map(|(_, paths)| paths))?;
    let filter_map = if gadget.has_map(FILTER_MAP) { Some(containers::filter_map()?) } else { None };

    let handed = handover::params(gadget, options);
    let mut loader = Loader { btf: types.as_ref(), ..Loader::default() };
    for param in gadget.params.iter().filter(|p| !p.variable.is_empty()) {
        if let Some(value) = options.params.get(&param.key).or_else(|| handed.get(&param.variable)) {
            let bytes = param::encode(&param.key, &param.kind, param.size, value)?;
            loader.variables.push((param.variable.clone(), bytes));
        }
    }
    if !options.host || !options.command.is_empty() {
        loader.variables.push((FILTER_FLAG.into(), vec![1]));
    }
    if let Ok(netns) = host::netns() {
        loader.variables.push((HOST_NETNS.into(), netns.to_ne_bytes().into()));
    }
    let disabled = targets.iter().filter(|(_, target)| *target == attach::DISABLED);
    loader.disabled.extend(disabled.map(|(program, _)| program.clone()));
    if let Some((maps, _)) = sockets {
        loader.maps.push((SOCKETS_MAP, maps.sockets()));
        loader.maps.push((CONNECTIONS_MAP, maps.connections()));
        loader.maps.push((CONTAINERS_MAP, maps.containers().as_fd()));
    }
    if let Some(map) = &filter_map {
        loader.maps.push((FILTER_MAP, map.as_fd()));
    }
    let elf = gadget.image.object.as_deref().unwrap_or_default();
    let loaded = loader.load(elf, &gadget.object)?;
    Ok(Loaded { gadget: loaded, filter_map, owner: None, types, netns_path: None })
}
