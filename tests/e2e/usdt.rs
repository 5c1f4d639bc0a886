//! Probes that authors leave in their programs (USDT): this test program is one, as `sys/sdt.h` would make it.

#![allow(unsafe_code, reason = "a probe is an instruction and a note of it")]

use std::{
    arch::asm,
    fs::{File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::symlink},
    path::Path,
    process::Stdio,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::support::{Running, wait_until, with_gadget};

/// Where the gadget looks for this program.
const TARGET: &str = "/run/igx-test-usdt";

/// How many look at the probe: the kernel counts.
#[unsafe(link_section = ".probes")]
static WATCHERS: AtomicU16 = AtomicU16::new(0);

/// What the compiler writes for three arguments: a register, a number, and memory that a register points near.
#[cfg(target_arch = "x86_64")]
macro_rules! arguments {
    () => {
        ".asciz \"-4@{number:e} 2@$513 8@8({memory})\""
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! arguments {
    () => {
        ".asciz \"-4@{number:w} 2@513 8@[{memory}, 8]\""
    };
}

/// The probe `igx_test:told`.
#[inline(never)]
fn tell(number: i32, memory: &[u64; 2]) {
    // SAFETY: one instruction that does nothing; the rest is in sections of its own.
    unsafe {
        asm!(
            "990: nop",
            ".pushsection .note.stapsdt,\"\",\"note\"",
            ".balign 4",
            ".4byte 992f-991f, 994f-993f, 3",
            "991: .asciz \"stapsdt\"",
            "992: .balign 4",
            "993: .8byte 990b",
            ".8byte _.stapsdt.base",
            ".8byte {watchers}",
            ".asciz \"igx_test\"",
            ".asciz \"told\"",
            arguments!(),
            "994: .balign 4",
            ".popsection",
            ".ifndef _.stapsdt.base",
            ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat",
            ".weak _.stapsdt.base",
            ".hidden _.stapsdt.base",
            "_.stapsdt.base: .space 1",
            ".size _.stapsdt.base, 1",
            ".popsection",
            ".endif",
            number = in(reg) number,
            memory = in(reg) memory,
            watchers = sym WATCHERS,
            options(att_syntax, nostack, preserves_flags),
        );
    }
}

/// Whether programs can ask here what attached them (Linux 5.15), and so for arguments.
fn has_arguments() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (5, 15)
}

/// The only test that says what the target is.
struct Alone(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(TARGET);
    }
}

fn alone() -> Alone {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::create_dir_all("/run").unwrap();
    let _ = std::fs::remove_file(TARGET);
    Alone(turn)
}

#[test]
fn a_probe_that_an_author_left_tells_its_arguments() {
    assert!(Path::new("/sys/bus/event_source/devices/uprobe").exists(), "this kernel has no uprobes");
    let _alone = alone();
    symlink(std::env::current_exe().unwrap(), TARGET).unwrap();
    let igx = with_gadget("tests/gadgets/usdt");
    assert_eq!(WATCHERS.load(Ordering::Relaxed), 0);
    let pid = std::process::id().to_string();
    let mut run = igx.run(&["usdt", "--host", "-o", "json", "--pid", &pid]);
    // Once for each mapping of this file, of which a backtrace that another test prints makes one more.
    assert_ne!(WATCHERS.load(Ordering::Relaxed), 0);
    tell(-7, &[0, u64::MAX - 1]);
    tell(i32::MAX, &[1, 0]);
    let mut event = || run.event(|event| event["proc"]["pid"] == std::process::id());
    let (first, second) = (event(), event());
    if has_arguments() {
        assert_eq!((&first["arguments"], &first["constant"]), (&3.into(), &513.into()));
        assert_eq!((&first["number"], &first["element"]), (&(-7).into(), &(-2).into()));
        assert_eq!((&second["number"], &second["element"]), (&i32::MAX.into(), &0.into()));
    } else {
        assert_eq!(first["arguments"], -3);
    }
    run.stop();
    wait_until("the kernel counts nobody", || WATCHERS.load(Ordering::Relaxed) == 0);
}

/// A file system (FUSE) that says nothing, as a container can make one; it is gone with this.
struct Dead {
    _fuse: File,
    folder: TempDir,
}

impl Dead {
    /// `None` where there is no FUSE.
    fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        mount(Some("dead"), folder.path(), Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Some(Self { _fuse: fuse, folder })
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_program_on_a_file_system_that_does_not_answer_is_given_up() {
    let _alone = alone();
    let Some(dead) = Dead::new() else {
        eprintln!("left out: no FUSE here");
        return;
    };
    symlink(dead.folder.path().join("program"), TARGET).unwrap();
    let igx = with_gadget("tests/gadgets/usdt");
    let mut run = Running::start(igx.command(&["run", "usdt", "--host"]).stderr(Stdio::piped()));
    run.wait_for_said("cannot attach program ig_told to usdt//run/igx-test-usdt:igx_test:told: its file system does not answer within 2 s");
    // Whoever asked is stuck until the file system is gone.
    drop(dead);
    assert!(!run.status().success());
}
