//! Many containers at once: real processes with mount namespaces of their own, and states as runc writes them.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Igx, Process, wait_until};

/// The containers, gone with this.
struct Crowd {
    folder: TempDir,
    _processes: Vec<Process>,
}

impl Crowd {
    fn new(size: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
        let processes: Vec<Process> = (0..size)
            .map(|_| Process::start(Command::new("unshare").args(["--mount", "sleep", "1000"])))
            .collect();
        for (number, process) in processes.iter().enumerate() {
            let pid = process.pid().to_string();
            wait_until("it has a mount namespace of its own", || namespace(&pid) != namespace("self"));
            let state = folder.path().join(format!("runc/many-{number}"));
            fs::create_dir_all(&state).unwrap();
            let text = format!(r#"{{"init_process_pid":{pid},"config":{{"labels":["bundle=/many"]}}}}"#);
            fs::write(state.join("state.json"), text).unwrap();
        }
        Self { folder, _processes: processes }
    }
}

#[test]
fn more_containers_than_files_may_be_open_are_known() {
    const SIZE: usize = 120;
    let igx = Igx::new();
    let crowd = Crowd::new(SIZE);
    let list = igx.command(&["list-containers", "-r", "runc", "-o", "json"]);
    let known = |limits: &str| {
        let mut limited = Command::new("prlimit");
        limited.arg(limits).arg(list.get_program()).args(list.get_args());
        let output = limited.env("XDG_RUNTIME_DIR", crowd.folder.path()).output().unwrap();
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        found.iter().filter(|entry| entry["bundle"] == "/many").count()
    };
    assert_eq!(known("--nofile=64:4096"), SIZE);
    // Each costs a descriptor: with so few to be had, they cannot all be known.
    assert!(known("--nofile=64:64") < SIZE);
}
