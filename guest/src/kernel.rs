//! What the host knows of the kernel: symbols, mount namespaces, system calls.

use crate::{
    error::{Error, Result},
    host,
    text::until_nul,
};

/// Whether the kernel has a symbol of this name, for example to choose between two functions to attach to.
pub fn symbol_exists(name: &str) -> bool {
    host::symbol_exists(name)
}

/// Whether events of this mount namespace (its inode number) are to be left out, as the user chose containers that it
/// is not of.
pub fn should_discard_mntns(id: u64) -> bool {
    host::should_discard_mntns(id)
}

/// A system call of the machine that runs the gadget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    number: u32,
    name: String,
}

/// A parameter of a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallParam {
    /// Its name, such as `filename`.
    pub name: String,
    /// Whether it is a pointer.
    pub is_pointer: bool,
}

/// Bytes of a name in the host's answers.
const NAME: usize = 32;
/// Bytes of one parameter in a declaration: its name and flags.
const PARAM: usize = NAME + 4;
/// Where the first parameter is: after the name, the count and three bytes of padding.
const PARAMS: usize = NAME + 4;

impl Syscall {
    /// The system call of this number.
    pub fn by_number(number: u32) -> Result<Self> {
        let mut room = [0; 4 * NAME];
        match host::syscall_name(number, &mut room) {
            true => Ok(Self { number, name: until_nul(&room).into_owned() }),
            false => Err(Error::NoSyscall(number.to_string())),
        }
    }

    /// The system call of this name, such as `openat`.
    pub fn by_name(name: &str) -> Result<Self> {
        match u32::try_from(host::syscall_id(name)) {
            Ok(number) => Ok(Self { number, name: name.to_owned() }),
            Err(_) => Err(Error::NoSyscall(name.to_owned())),
        }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters, at most six, as the kernel's tracing files declare them.
    pub fn params(&self) -> Result<Vec<SyscallParam>> {
        let mut room = [0; host::DECLARATION];
        if !host::syscall_declaration(&self.name, &mut room) {
            return Err(Error::NoSyscall(self.name.clone()));
        }
        decode(&room).ok_or_else(|| Error::Garbled(format!("system call {}", self.name)))
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<SyscallParam>> {
    let count = usize::from(*bytes.get(NAME)?);
    let param = |at: usize| {
        let bytes = bytes.get(PARAMS + at * PARAM..PARAMS + (at + 1) * PARAM)?;
        let (name, flags) = bytes.split_at(NAME);
        Some(SyscallParam { name: until_nul(name).into_owned(), is_pointer: flags.first()? & 1 != 0 })
    };
    (0..count).map(param).collect()
}
