//! Tests of user and group names.

use proptest::prelude::*;

use super::super::testing::{Source, bytes, event, text};
use super::*;

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/:\n")
        .unwrap();
    std::fs::write(root.path().join("etc/group"), "root:x:0:\nstaff:x:50:ann\n").unwrap();
    root
}

fn source() -> DataSource {
    Source::new("open")
        .group("creds")
        .number("creds.uid", Scalar::Uint32, "gadget_uid")
        .number("creds.gid", Scalar::Uint32, "gadget_gid")
        .number("owner_raw", Scalar::Uint32, "gadget_uid")
        .with("columns.hidden", "false")
        .number("by", Scalar::Uint32, "gadget_uid")
        .with("uidgidresolver.target", "who")
        .done()
}

fn names(parsed: &HashMap<u32, Arc<str>>) -> Vec<(u32, String)> {
    let mut names: Vec<_> = parsed.iter().map(|(id, name)| (*id, name.to_string())).collect();
    names.sort();
    names
}

#[test]
fn fields_and_their_names() {
    let mut ds = source();
    Users::attach(&mut ds, root().path()).unwrap();
    for name in ["creds.user", "creds.group", "owner", "who", "creds.uid", "creds.gid", "owner_raw", "by"] {
        assert!(ds.fields[ds.field(name).unwrap()].hidden, "{name}");
    }
}

#[test]
fn names_of_an_event() {
    let (root, mut ds) = (root(), source());
    let mut users = Users::attach(&mut ds, root.path()).unwrap();
    for (uid, gid, user, group) in [
        (0, 50, "root", "staff"),
        (1000, 0, "ann", "root"),
        (1000, 7, "ann", "gid:7"),
        (u32::MAX, 7, "uid:4294967295", "gid:7"),
    ] {
        let data = bytes(
            &ds,
            &[
                ("creds.uid", &u32::to_ne_bytes(uid)),
                ("creds.gid", &u32::to_ne_bytes(gid)),
                ("by", &u32::to_ne_bytes(1000)),
            ],
        );
        event(&ds, &data, |e| {
            assert_eq!(users.process(e), Verdict::Pass);
            assert_eq!(text(&ds, e, "creds.user"), user);
            assert_eq!(text(&ds, e, "creds.group"), group);
            assert_eq!(text(&ds, e, "owner"), "root");
            assert_eq!(text(&ds, e, "who"), "ann");
        });
    }
}

#[test]
fn without_ids_there_is_nothing_to_do() {
    let mut ds = Source::new("s").number("pid", Scalar::Uint32, "gadget_pid").done();
    assert!(Users::attach(&mut ds, root().path()).is_none());
}

#[test]
fn without_files_ids_have_numbers() {
    let mut ds = source();
    let mut users = Users::attach(&mut ds, tempfile::tempdir().unwrap().path()).unwrap();
    event(&ds, &bytes(&ds, &[]), |e| {
        assert_eq!(users.process(e), Verdict::Pass);
        assert_eq!(text(&ds, e, "creds.user"), "uid:0");
    });
}

#[test]
fn a_changed_file_is_read_again() {
    let root = root();
    let path = root.path().join("etc/passwd");
    let mut table = Table::new(path.clone(), "uid");
    assert!(!table.refresh());
    assert!(matches!(table.name(5), Slot::Shared(name) if &*name == "uid:5"));
    std::fs::write(&path, "bob:x:5:5::/:\n").unwrap();
    assert!(table.refresh());
    assert!(matches!(table.name(5), Slot::Shared(name) if &*name == "bob"));
    std::fs::remove_file(&path).unwrap();
    assert!(!table.refresh());
    assert!(matches!(table.name(5), Slot::Shared(name) if &*name == "bob"));
}

#[test]
fn a_changed_file_replaces_the_last_name() {
    let (root, mut ds) = (root(), source());
    let mut users = Users::attach(&mut ds, root.path()).unwrap();
    let data = bytes(&ds, &[("creds.uid", &1000_u32.to_ne_bytes())]);
    let user = |users: &mut Box<dyn Operator>| {
        event(&ds, &data, |e| {
            assert_eq!(users.process(e), Verdict::Pass);
            text(&ds, e, "creds.user")
        })
    };
    assert_eq!(user(&mut users), "ann");
    std::fs::write(root.path().join("etc/passwd"), "eve:x:1000:1000::/:\n").unwrap();
    // The clock moves on by itself: the file is looked at within a second or so.
    let start = std::time::Instant::now();
    while user(&mut users) != "eve" {
        assert!(start.elapsed().as_secs() < 5);
        std::thread::yield_now();
    }
}

#[test]
fn a_pipe_or_a_folder_is_no_file_of_names() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(read(&pipe).is_err());
    assert!(read(root.path()).is_err());
    let mut table = Table::new(pipe, "gid");
    assert!(matches!(table.name(1), Slot::Shared(name) if &*name == "gid:1"));
}

#[test]
fn unknown_ids_are_remembered_within_bounds() {
    let mut table = Table::new(PathBuf::from("/nonexistent"), "uid");
    for id in 0..3 * MAX_UNKNOWN as u32 {
        table.name(id);
    }
    assert!(table.unknown.len() <= MAX_UNKNOWN);
}

#[test]
fn lines() {
    let long = format!("{}:x:9:\n", "n".repeat(MAX_NAME + 1));
    for (content, expected) in [
        ("a:x:1:1:::\nb:*:2\n", vec![(1, "a"), (2, "b")]),
        ("a:x:1:\nz:x:1:\n", vec![(1, "a")]),
        ("# a:x:1:\n+::1:\n-b::2:\n+\n", vec![]),
        (":x:1:\n\n:::\na:x\na:x:y:\na:x:-1:\na:x:4294967296:\n", vec![]),
        ("a:x: 3 :", vec![(3, "a")]),
        (&long, vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(id, name)| (id, name.to_owned())).collect();
        assert_eq!(names(&parse(content.as_bytes())), expected, "{content:?}");
    }
    assert_eq!(names(&parse(b"\xffx:x:1:")), [(1, "\u{fffd}x".to_owned())]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(content in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse(&content);
    }

    #[test]
    fn any_entry_is_found(name in "[a-z_][a-z0-9_-]{0,30}", id in any::<u32>(), rest in "[a-z:,/]{0,20}") {
        let parsed = parse(format!("{name}:x:{id}:{rest}\n").as_bytes());
        prop_assert_eq!(names(&parsed), vec![(id, name)]);
    }
}
