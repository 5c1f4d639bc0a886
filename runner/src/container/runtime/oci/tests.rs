use std::fs;

use proptest::prelude::*;

use super::*;
use crate::container::process::Process;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn runc_state(pid: u32, labels: &str) -> String {
    format!(r#"{{"id":"c","init_process_pid":{pid},"created":"x","config":{{"labels":[{labels}]}}}}"#)
}

#[test]
fn runcs_and_cruns_states_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("runc/plain/state.json", &runc_state(7, r#""bundle=/b""#));
    let pod = r#""io.kubernetes.cri.sandbox-name=p","io.kubernetes.cri.container-name=web""#;
    write("runc/in-pod/state.json", &runc_state(8, pod));
    write("runc/pause/state.json", &runc_state(9, r#""io.kubernetes.cri.container-type=sandbox""#));
    write("runc/created/state.json", &runc_state(0, ""));
    write("runc/broken/state.json", "{");
    write("runc/empty/other", "");
    write("crun/c/status", r#"{"pid":10,"bundle":"/c","owner":"root"}"#);
    write("crun/c/config.json", r#"{"annotations":{"io.container.manager":"libpod"}}"#);

    let told = ["runc", "crun", "containerd", "podman"].map(str::to_owned).to_vec();
    let oci = Oci::new(vec![dir.path().join("*")], told, Path::new("/"));
    let mut found = block_on(oci.list()).unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let lines: Vec<_> = found
        .iter()
        .map(|d| format!("{} {} {:?} {:?} {}", d.id, d.runtime, d.name, d.pid.unwrap_or(0), d.is_sandbox()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    c podman "" 10 false
    in-pod containerd "web" 8 false
    pause containerd "" 9 true
    plain runc "" 7 false
    "#);
    let only_plain = Oci::new(vec![dir.path().join("*")], vec!["runc".to_owned()], Path::new("/"));
    assert_eq!(block_on(only_plain.list()).unwrap().len(), 1);
}

#[test]
fn a_start_is_seen_in_a_folder_that_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let oci = Oci::new(vec![dir.path().join("run/runc")], vec!["runc".to_owned()], Path::new("/"));
    block_on(async {
        let mut changes = oci.changes().await.unwrap();
        let container = dir.path().join("run/runc/c");
        fs::create_dir_all(container.parent().unwrap()).unwrap();
        assert_eq!(changes.next().await.unwrap(), Some(Change::All));
        fs::create_dir(&container).unwrap();
        let key = container.to_str().unwrap().to_owned();
        assert_eq!(changes.next().await.unwrap(), Some(Change::One(key.clone())));
        fs::write(container.join("state.json"), runc_state(7, "")).unwrap();
        assert_eq!(changes.next().await.unwrap(), Some(Change::One(key.clone())));
        assert_eq!(oci.details(&key).await.unwrap().unwrap().pid, Some(7));
    });
}

#[test]
fn one_that_was_half_made_is_seen_when_its_state_comes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("half");
    fs::create_dir(&folder).unwrap();
    let oci = Oci::new(vec![dir.path().to_owned()], vec!["runc".to_owned()], Path::new("/"));
    block_on(async {
        let mut changes = oci.changes().await.unwrap();
        assert!(oci.list().await.unwrap().is_empty());
        fs::write(folder.join("state.json"), runc_state(7, "")).unwrap();
        let Some(Change::One(key)) = changes.next().await.unwrap() else { panic!("its folder is told") };
        assert_eq!(Path::new(&key), folder);
    });
}

#[test]
fn a_state_is_not_of_a_later_process_with_the_same_number() {
    let pid = std::process::id();
    let process = Process::open(pid).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let is_of_it = |file: &str, text: String| {
        let folder = dir.path().join("c");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
        let details = state(&folder, Path::new("/")).unwrap();
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(details.pid, Some(pid));
        details.may_claim(&process)
    };
    for (began, expected) in [(process.start_ticks, true), (process.start_ticks - 1, false), (0, true)] {
        let runc = format!(r#"{{"init_process_pid":{pid},"init_process_start":{began}}}"#);
        assert_eq!(is_of_it("state.json", runc), expected, "runc, {began}");
        let crun = format!(r#"{{"pid":{pid},"process-start-time":{began}}}"#);
        assert_eq!(is_of_it("status", crun), expected, "crun, {began}");
    }
}

#[test]
fn a_users_word_is_a_users_word() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("runc/c");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("state.json"), runc_state(1, "")).unwrap();
    std::os::unix::fs::chown(folder.join("state.json"), Some(1000), None).unwrap();
    assert_eq!(state(&folder, Path::new("/")).unwrap().owner, 1000);
}

proptest! {
    #[test]
    fn any_bytes_are_a_state_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Told::by_runc(&bytes, 0);
        let _ = Told::by_crun(&bytes, &bytes, 0);
    }
}
