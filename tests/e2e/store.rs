//! A store under stress: whatever ends a write early, what was stored before stays as it was.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{signal::Signal, statvfs::statvfs},
};
use tempfile::TempDir;

use crate::support::Igx;

const PAGE: u64 = 4096;

/// A folder to build an image from that has no program and some `size` bytes of metadata.
pub(crate) fn sources(parent: &TempDir, name: &str, size: usize) -> String {
    let folder = parent.path().join(name);
    fs::create_dir_all(&folder).unwrap();
    let yaml = format!("name: {name}\n# {}\n", "x".repeat(size));
    fs::write(folder.join("gadget.yaml"), yaml).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// Runs `test` where the mounts that it makes are seen by nobody else.
fn with_own_mounts(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let mounts = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            change_mount(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE, None);
            test();
        });
        if let Err(panic) = mounts.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn change_mount(at: &Path, flags: MsFlags, options: Option<&str>) {
    mount(None::<&str>, at, None::<&str>, flags, options).unwrap();
}

/// What is in the store, and that it is whole.
fn names(igx: &Igx) -> Vec<String> {
    let listed = igx.output(&["image", "list", "-o", "json"]);
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let stored = rows.iter().filter(|row| row["Trust"] != "built in");
    stored.map(|row| row["Repository"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

/// Unfinished files in the store.
fn unfinished(igx: &Igx) -> Vec<PathBuf> {
    let ingest = fs::read_dir(igx.store().join("ingest")).unwrap();
    ingest.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was_at_whatever_write_it_is_noticed() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    let (old, new) = (sources(&folder, "old", 10), sources(&folder, "new", 5 * PAGE as usize));
    with_own_mounts(|| {
        let home = igx.home.path();
        mount(Some("none"), home, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        igx.ok(&["image", "build", &old, "-t", "old"]);
        let disk = statvfs(home).unwrap();
        let used = (disk.blocks() - disk.blocks_free()) * disk.fragment_size();
        let mut failed = 0;
        for pages in 0.. {
            let size = format!("size={}", used + pages * PAGE);
            change_mount(home, MsFlags::MS_REMOUNT, Some(&size));
            let built = igx.output(&["image", "build", &new, "-t", "new"]);
            igx.ok(&["image", "inspect", "old"]);
            assert!(unfinished(&igx).is_empty(), "{:?}", unfinished(&igx));
            if built.status.success() {
                break;
            }
            failed += 1;
            let said = String::from_utf8(built.stderr).unwrap();
            assert_eq!(built.status.code(), Some(1), "{said}");
            assert!(said.contains("No space left") && said.contains("free some space"), "{said}");
            // Only the note that it was built here may be what did not fit.
            let wanted = if said.contains("the image is stored") { vec!["new", "old"] } else { vec!["old"] };
            assert_eq!(names(&igx), wanted, "{said}");
        }
        assert!(failed > 5, "{failed}");
        assert_eq!(names(&igx), ["new", "old"]);
        igx.ok(&["image", "inspect", "new"]);
    });
}

#[test]
fn a_full_disk_leaves_no_half_of_an_import() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    let archive = folder.path().join("new.tar").to_str().unwrap().to_owned();
    let other = Igx::new();
    other.ok(&["image", "build", &sources(&folder, "new", 5 * PAGE as usize), "-t", "new"]);
    other.ok(&["image", "export", "new", &archive]);
    let old = sources(&folder, "old", 10);
    with_own_mounts(|| {
        let home = igx.home.path();
        mount(Some("none"), home, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        igx.ok(&["image", "build", &old, "-t", "old"]);
        let disk = statvfs(home).unwrap();
        let used = (disk.blocks() - disk.blocks_free()) * disk.fragment_size();
        let mut failed = 0;
        for pages in 0.. {
            let size = format!("size={}", used + pages * PAGE);
            change_mount(home, MsFlags::MS_REMOUNT, Some(&size));
            let imported = igx.output(&["image", "import", &archive]);
            igx.ok(&["image", "inspect", "old"]);
            assert!(unfinished(&igx).is_empty(), "{:?}", unfinished(&igx));
            if imported.status.success() {
                break;
            }
            failed += 1;
            let said = String::from_utf8(imported.stderr).unwrap();
            assert!(said.contains("No space left") && said.contains("the store is unchanged"), "{said}");
            assert_eq!(names(&igx), ["old"]);
        }
        assert!(failed > 5, "{failed}");
        assert_eq!(names(&igx), ["new", "old"]);
        igx.ok(&["image", "check"]);
    });
}

#[test]
fn one_archive_is_imported_by_many_at_once() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    let archive = folder.path().join("new.tar").to_str().unwrap().to_owned();
    let other = Igx::new();
    other.ok(&["image", "build", &sources(&folder, "new", 1_000_000), "-t", "new"]);
    other.ok(&["image", "export", "new", &archive]);
    let import = || igx.command(&["image", "import", &archive]).stdout(Stdio::null()).spawn().unwrap();
    for mut import in [(); 4].map(|()| import()) {
        assert!(import.wait().unwrap().success());
    }
    assert_eq!(names(&igx), ["new"]);
    let checked = igx.ok(&["image", "check"]);
    assert!(checked.ends_with("0 damaged, 0 left over\n"), "{checked}");
    // What was exported here comes out with the same bytes there.
    let again = folder.path().join("again.tar");
    igx.ok(&["image", "export", "new", again.to_str().unwrap()]);
    assert!(fs::read(again).unwrap() == fs::read(archive).unwrap());
}

#[test]
fn damage_is_found_and_named() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    for name in ["good", "bad"] {
        igx.ok(&["image", "build", &sources(&folder, name, 10), "-t", name]);
    }
    igx.ok(&["image", "check"]);
    let blobs = fs::read_dir(igx.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let yaml = blobs.into_iter().find(|path| fs::read(path).unwrap().starts_with(b"name: bad")).unwrap();
    let changed = String::from_utf8(fs::read(&yaml).unwrap()).unwrap().replace("bad", "bat");
    fs::remove_file(&yaml).unwrap();
    fs::write(&yaml, changed).unwrap();
    let output = igx.output(&["image", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(found.starts_with("ghcr.io/inspektor-gadget/gadget/bad:latest: blob "), "{found}");
    assert!(found.contains(yaml.file_name().unwrap().to_str().unwrap()), "{found}");
    assert!(
        found.contains("is damaged") && found.contains(" 1 damaged") && !found.contains("good"),
        "{found}"
    );
    igx.ok(&["image", "check", "good"]);
    let never = folder.path().join("never.tar");
    assert!(igx.fails(&["image", "export", "bad", never.to_str().unwrap()]).contains("is damaged"));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "good" || name == "bad"), "{left:?}");
    let said = igx.fails(&["image", "check", "--repair"]);
    assert!(said.contains("was built here: build it again"), "{said}");
    igx.ok(&["image", "remove", "bad"]);
    igx.ok(&["image", "check"]);
}

#[test]
fn a_read_only_store_is_read_and_not_written() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
    igx.ok(&["image", "build", source.to_str().unwrap(), "-t", "trace_files"]);
    let new = sources(&folder, "new", 10);
    let archive = folder.path().join("old.tar").to_str().unwrap().to_owned();
    igx.ok(&["image", "export", "trace_files", &archive]);
    with_own_mounts(|| {
        let home = igx.home.path();
        mount(Some(home), home, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        change_mount(home, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, None);
        for args in [
            &["image", "build", &new, "-t", "new"][..],
            &["image", "tag", "trace_files", "other"],
            &["image", "remove", "trace_files"],
            &["image", "prune"],
            &["image", "import", &archive],
        ] {
            let said = igx.fails(args);
            assert_eq!(said.matches("Read-only file system").count(), 1, "{said}");
            assert!(said.contains("give a path that you may write to"), "{said}");
            assert!(said.contains("the store is unchanged"), "{said}");
        }
        assert_eq!(names(&igx), ["trace_files"]);
        igx.ok(&["image", "check"]);
        igx.ok(&["image", "export", "trace_files", folder.path().join("x.tar").to_str().unwrap()]);
        igx.ok(&["run", "trace_files", "--host", "-t", "1", "--pid", "1"]);
    });
}

#[test]
fn what_a_killed_writer_left_is_cleared_away_by_the_next() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    igx.ok(&["image", "build", &sources(&folder, "old", 10), "-t", "old"]);
    let new = sources(&folder, "new", 5 * PAGE as usize);
    // The kernel kills who writes more than this to a file: in the middle of a blob.
    let build = igx.command(&["image", "build", &new, "-t", "new"]);
    let killed = Command::new("prlimit")
        .args([&format!("--fsize={PAGE}"), "--core=0"])
        .arg(build.get_program())
        .args(build.get_args())
        .status()
        .unwrap();
    assert_eq!(killed.signal(), Some(Signal::SIGXFSZ as i32), "{killed}");
    let left = unfinished(&igx);
    assert_eq!(left.len(), 1);
    assert_eq!(fs::metadata(&left[0]).unwrap().len(), PAGE);
    assert_eq!(names(&igx), ["old"]);
    igx.ok(&["image", "inspect", "old"]);

    igx.ok(&["image", "build", &new, "-t", "new"]);
    assert!(unfinished(&igx).is_empty());
    assert_eq!(names(&igx), ["new", "old"]);
}

#[test]
fn builders_at_the_same_time_all_get_their_image_in() {
    let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
    let wanted = ["a", "b", "c", "d", "e", "f"];
    let builds = wanted.map(|name| {
        let source = sources(&folder, name, 10);
        igx.command(&["image", "build", &source, "-t", name]).stderr(Stdio::null()).spawn().unwrap()
    });
    for mut build in builds {
        assert!(build.wait().unwrap().success());
    }
    assert_eq!(names(&igx), wanted);
    for name in wanted {
        assert!(igx.ok(&["image", "inspect", name, "--extra-info", "oci.metadata"]).contains(name));
    }
    assert!(unfinished(&igx).is_empty());
}
