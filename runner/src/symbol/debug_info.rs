//! Where names of functions come from: the files that processes run, and the debug information of those that were
//! stripped, as far as it is on this machine in the cache of debuginfod's client. Nothing is fetched.
//!
//! Source: debuginfod-find(1) of elfutils: the cache has a folder for each build identifier, in hexadecimal digits, and
//! in it the file `debuginfo`.

use std::{
    env,
    fmt::Write as _,
    fs::File,
    io::{Error, ErrorKind, Result},
    path::{Path, PathBuf},
};

use super::elf::{Elf, Functions};

/// Where the names of functions on user stacks come from. Without any, there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbolizers {
    /// From the symbols of the files that processes run.
    pub files: bool,
    /// From debug information in this folder, which is a cache of debuginfod's client.
    pub debuginfod_cache: Option<PathBuf>,
}

impl Default for Symbolizers {
    /// All that there are.
    fn default() -> Self {
        Self { files: true, debuginfod_cache: Self::usual_cache() }
    }
}

impl Symbolizers {
    /// Names come from nowhere.
    pub const NONE: Self = Self { files: false, debuginfod_cache: None };

    /// The folder that debuginfod's client uses for this user.
    pub fn usual_cache() -> Option<PathBuf> {
        let named = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
        named("DEBUGINFOD_CACHE_PATH").or_else(|| Some(cache()?.join("debuginfod_client")))
    }

    /// The functions of a program or library: those that its file names and, if some were stripped off it, those that
    /// its debug information does.
    pub(super) fn functions(&self, elf: &Elf) -> Result<Functions> {
        if let Some(cache) = self.debuginfod_cache.as_deref().filter(|_| elf.is_stripped())
            && let Some(id) = elf.build_id()?
        {
            let path = place(cache, &id);
            match debug_info(&path, &id) {
                Ok(functions) => return Ok(functions),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::debug!(
                        "a stripped program: 'debuginfod-find debuginfo {}' has its names",
                        hex(&id)
                    );
                }
                Err(error) => tracing::debug!("{}: no names: {error}", path.display()),
            }
        }
        if self.files { elf.functions() } else { Ok(Functions::default()) }
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn place(cache: &Path, id: &[u8]) -> PathBuf {
    cache.join(hex(id)).join("debuginfo")
}

fn debug_info(path: &Path, id: &[u8]) -> Result<Functions> {
    // Not opened unless it is a file: a pipe would be waited for.
    if !path.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidData, "not a file"));
    }
    let elf = Elf::open(File::open(path)?)?;
    if elf.build_id()?.as_deref() != Some(id) {
        return Err(Error::new(ErrorKind::InvalidData, "it is of another program"));
    }
    elf.functions()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{FileExt, symlink},
    };

    use super::*;

    /// The program of this test without the names of its own functions, and a cache that has them: the program itself.
    fn stripped(folder: &Path) -> (Elf, PathBuf) {
        let whole = fs::read_link("/proc/self/exe").unwrap();
        let path = folder.join("stripped");
        fs::copy(&whole, &path).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let number = |at: u64, size: usize| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes[..size], at).unwrap();
            u64::from_le_bytes(bytes)
        };
        // Tables of symbols become sections of no kind.
        let (table, count) = (number(40, 8), number(60, 2));
        for section in (0..count).map(|at| table + at * 64).filter(|section| number(section + 4, 4) == 2) {
            file.write_all_at(&[0; 4], section + 4).unwrap();
        }
        let elf = Elf::open(file).unwrap();
        let debug = place(&folder.join("cache"), &elf.build_id().unwrap().unwrap());
        fs::create_dir_all(debug.parent().unwrap()).unwrap();
        symlink(whole, &debug).unwrap();
        (elf, debug)
    }

    #[test]
    fn a_stripped_program_has_the_names_of_its_debug_information() {
        let folder = tempfile::tempdir().unwrap();
        let (elf, debug) = stripped(folder.path());
        let whole = Elf::open(File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(elf.is_stripped() && !whole.is_stripped());
        let address = whole.address_of(whole.function("igx_test_of_names").unwrap().unwrap()).unwrap();
        let name = |symbolizers: &Symbolizers| {
            let functions = symbolizers.functions(&elf).unwrap();
            functions.at(address).map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
        };
        let cache = Some(folder.path().join("cache"));
        assert_ne!(name(&Symbolizers { files: true, debuginfod_cache: None }), "igx_test_of_names");
        let named = name(&Symbolizers { files: false, debuginfod_cache: cache.clone() });
        assert_eq!(named, "igx_test_of_names");
        // One that is of another build is of no use.
        fs::remove_file(&debug).unwrap();
        symlink("/bin/true", &debug).unwrap();
        assert_eq!(name(&Symbolizers { files: false, debuginfod_cache: cache.clone() }), "");
        fs::remove_file(&debug).unwrap();
        nix::unistd::mkfifo(&debug, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(name(&Symbolizers { files: false, debuginfod_cache: cache }), "");
    }
}
