//! Linux namespaces: which one a process is in, and running code inside another network namespace.
//!
//! A namespace's identity is the inode of its file under `/proc/PID/ns`, got by `stat`: the link's text says the same,
//! but only for those who may parse it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// What can fail with a namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace's file cannot be read or opened.
    #[error(
        "cannot reach the {kind} namespace of process {pid}: {source} (run as root; the process may have ended)"
    )]
    Reach {
        /// Which namespace, as in `/proc/PID/ns`.
        kind: &'static str,
        /// Whose; `self` for this process.
        pid: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not let a thread in.
    #[error("cannot enter a network namespace: {0} (it needs CAP_SYS_ADMIN: run as root)")]
    Enter(nix::Error),
    /// No thread could be started to enter it with.
    #[error("cannot start a thread to enter a network namespace: {0}")]
    Thread(io::Error),
    /// The code that ran inside panicked.
    #[error("the code run inside a network namespace panicked: please report this")]
    Panicked,
}

/// Inode of the mount namespace of process `pid`.
///
/// # Errors
/// [`Error::Reach`] if the process has ended or may not be looked at.
pub fn mntns(pid: u32) -> Result<u64, Error> {
    inode("mnt", &pid.to_string())
}

/// Inode of the network namespace of process `pid`.
///
/// # Errors
/// [`Error::Reach`] if the process has ended or may not be looked at.
pub fn netns(pid: u32) -> Result<u32, Error> {
    inode("net", &pid.to_string()).map(netns_number)
}

/// Inode of this process' own mount namespace.
///
/// # Errors
/// [`Error::Reach`] if `/proc` is not mounted.
pub fn own_mntns() -> Result<u64, Error> {
    inode("mnt", "self")
}

/// Inode of this process' own network namespace.
///
/// # Errors
/// [`Error::Reach`] if `/proc` is not mounted.
pub fn own_netns() -> Result<u32, Error> {
    inode("net", "self").map(netns_number)
}

/// Opens the network namespace of process `pid`. While the file is open the namespace, and so its inode number, lives.
///
/// # Errors
/// [`Error::Reach`] if the process has ended or may not be looked at.
pub fn open_netns(pid: u32) -> Result<File, Error> {
    File::open(format!("/proc/{pid}/ns/net")).map_err(|source| Error::Reach {
        kind: "net",
        pid: pid.to_string(),
        source,
    })
}

/// Inode of an opened network namespace.
///
/// # Errors
/// What `fstat` gives.
pub fn netns_of(file: &File) -> io::Result<u32> {
    Ok(netns_number(file.metadata()?.ino()))
}

/// Runs `work` inside the network namespace `netns` and gives its result.
///
/// It runs in a thread of its own, which ends after: no thread of the caller ever changes its namespace. Sockets made
/// inside stay in that namespace wherever they are used after.
///
/// # Errors
/// [`Error::Enter`] without the privilege; [`Error::Thread`] when there can be no more threads.
pub fn in_netns<T: Send>(netns: &File, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                setns(netns, CloneFlags::CLONE_NEWNET).map_err(Error::Enter)?;
                Ok(work())
            })
            .map_err(Error::Thread)?
            .join()
            .map_err(|_| Error::Panicked)?
    })
}

fn inode(kind: &'static str, pid: &str) -> Result<u64, Error> {
    let path = Path::new("/proc").join(pid).join("ns").join(kind);
    match path.metadata() {
        Ok(metadata) => Ok(metadata.ino()),
        Err(source) => Err(Error::Reach { kind, pid: pid.to_owned(), source }),
    }
}

/// The kernel gives namespaces 32-bit inode numbers, and eBPF programs see this one as 32 bits.
fn netns_number(inode: u64) -> u32 {
    inode as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_in_another_network_namespace_and_nowhere_else() {
        let mut child = std::process::Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap();
        let own = own_netns().unwrap();
        while netns(child.id()).unwrap() == own {
            thread::yield_now();
        }
        let file = open_netns(child.id()).unwrap();
        // The thread's own entry: `self` names the process' first thread.
        let inside =
            in_netns(&file, || Path::new("/proc/thread-self/ns/net").metadata().unwrap().ino()).unwrap();
        assert_eq!(u64::from(netns_of(&file).unwrap()), inside);
        assert_eq!(own_netns().unwrap(), own);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(netns(child.id()).is_err());
    }
}
