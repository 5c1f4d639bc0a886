//! Tests of the enrichment: field lists, and who is asked for which event.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::testing::{Source, bytes, event, text};
use super::*;

#[derive(Default)]
struct Known {
    generation: AtomicU64,
    asked: Mutex<Vec<String>>,
    containers: Mutex<Vec<(u64, u32, ContainerFields)>>,
}

#[derive(Default)]
struct Lookup(Arc<Known>, ContainerFields);

impl Lookup {
    fn find(&mut self, asked: String, is: impl Fn(u64, u32) -> bool) -> Option<&ContainerFields> {
        self.0.asked.lock().unwrap().push(asked);
        let known = self.0.containers.lock().unwrap();
        self.1 = known.iter().find(|(m, n, _)| is(*m, *n)).map(|(_, _, c)| c.clone())?;
        Some(&self.1)
    }
}

impl ContainerLookup for Lookup {
    fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Relaxed)
    }

    fn by_cgroup(&mut self, id: u64) -> Option<&ContainerFields> {
        self.find(format!("c{id}"), |m, _| m + 100 == id)
    }

    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields> {
        self.find(format!("m{inode}"), |m, _| m == inode)
    }

    fn by_process(&mut self, pid: u32, mntns: u64) -> Result<Option<&ContainerFields>, Gone> {
        let found = self.find(format!("p{pid} m{mntns}"), |m, _| m + 200 == u64::from(pid));
        if pid == 404 { Err(Gone) } else { Ok(found) }
    }

    fn by_netns(&mut self, inode: u32) -> Option<&ContainerFields> {
        self.find(format!("n{inode}"), |_, n| n == inode)
    }
}

fn container(name: &str) -> ContainerFields {
    ContainerFields {
        container_name: name.into(),
        container_id: "0123".into(),
        k8s_pod_name: format!("pod-{name}").into(),
        pid: 42,
        started_at: 1_700_000_000,
        ..ContainerFields::default()
    }
}

fn source() -> DataSource {
    Source::new("sni")
        .number("mntns_id", Scalar::Uint64, "gadget_mntns_id")
        .number("netns_id", Scalar::Uint32, "gadget_netns_id")
        .done()
}

fn attach(place: &Place) -> (DataSource, Arc<Known>, Box<dyn Operator>) {
    let mut ds = source();
    let known = Arc::new(Known::default());
    known.containers.lock().unwrap().extend([
        (1, 10, container("one")),
        (2, 20, ContainerFields { host_network: true, ..container("two") }),
    ]);
    let lookup = Lookup(known.clone(), ContainerFields::default());
    let enrich = Enrich::attach(&mut ds, place, Box::new(lookup)).unwrap();
    (ds, known, enrich)
}

fn name_of(ds: &DataSource, enrich: &mut Box<dyn Operator>, mntns: u64, netns: u32) -> String {
    let data = bytes(ds, &[("mntns_id", &mntns.to_ne_bytes()), ("netns_id", &netns.to_ne_bytes())]);
    event(ds, &data, |e| {
        assert_eq!(enrich.process(e), Verdict::Pass);
        text(ds, e, "runtime.containerName")
    })
}

fn fields(ds: &DataSource) -> String {
    let mut out = String::new();
    for field in ds.fields.iter().skip(2) {
        let hidden = if field.hidden { " hidden" } else { "" };
        out += &format!("{} {:?} {}{hidden}", field.full_name, field.kind.scalar, field.order);
        for tag in &field.tags {
            out += &format!(" #{tag}");
        }
        for (key, value) in field.annotations.iter().filter(|(k, _)| *k != "columns.hidden") {
            out += &format!(" {key}={value}");
        }
        out.push('\n');
    }
    out
}

#[test]
fn fields_on_a_host() {
    insta::assert_snapshot!(fields(&attach(&Place::Host).0), @r"
    k8s Bytes 0 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    k8s.node String -31 hidden #kubernetes columns.ellipsis=middle columns.width=30 template=node
    k8s.namespace String -30 hidden #kubernetes columns.width=30 template=namespace
    k8s.podName String -29 hidden #kubernetes columns.ellipsis=middle columns.width=30 template=pod
    k8s.containerName String -28 hidden #kubernetes columns.width=30 template=container
    k8s.hostnetwork Bool -27 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    k8s.podLabels String -26 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    k8s.owner Bytes 0 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    k8s.owner.kind String 0 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    k8s.owner.name String 0 hidden #kubernetes columns.alignment=left columns.ellipsis=end columns.width=16
    runtime Bytes 0 columns.alignment=left columns.ellipsis=end columns.width=16
    runtime.containerName String -27 columns.width=30 template=container
    runtime.runtimeName String -26 hidden columns.fixed=true columns.width=19
    runtime.containerId String -25 hidden columns.maxwidth=64 columns.width=13
    runtime.containerPid Uint32 -24 hidden columns.alignment=right columns.width=6 template=containerPid
    runtime.containerImageName String -23 hidden columns.alignment=left columns.ellipsis=end columns.width=16
    runtime.containerImageDigest String -22 hidden columns.alignment=left columns.ellipsis=end columns.width=16
    runtime.containerStartedAt Int64 -21 hidden columns.alignment=left columns.ellipsis=end columns.width=16
    runtime.containerSource String -20 hidden description=How the container was found: cgroup, mntns or netns json.skip=true
    ");
}

#[test]
fn fields_on_a_node() {
    let ds = attach(&Place::Node("n1".into())).0;
    let visible: Vec<&str> =
        ds.fields.iter().skip(2).filter(|f| !f.hidden).map(|f| f.full_name.as_str()).collect();
    insta::assert_snapshot!(visible.join(" "), @r"k8s k8s.node k8s.namespace k8s.podName k8s.containerName k8s.owner");
}

#[test]
fn a_source_without_namespaces_is_left_alone() {
    let mut ds = Source::new("s").number("pid", Scalar::Uint32, "gadget_pid").done();
    assert!(Enrich::attach(&mut ds, &Place::Host, Box::new(Lookup::default())).is_none());
    assert_eq!(ds.fields.len(), 1);
}

#[test]
fn the_mount_namespace_decides() {
    let (ds, _, mut enrich) = attach(&Place::Host);
    for (mntns, netns, name) in [
        (1, 10, "one"),
        (2, 10, "two"),
        (1, 0, "one"),
        (0, 10, "one"),
        (9, 10, "one"),
        (0, 20, ""), // shares the host's network: anyone could have sent it
        (9, 9, ""),
        (0, 0, ""),
    ] {
        assert_eq!(name_of(&ds, &mut enrich, mntns, netns), name, "{mntns} {netns}");
    }
}

/// The container's name and how it was found.
fn found(ds: &DataSource, enrich: &mut Box<dyn Operator>, fields: &[(&str, &[u8])]) -> (String, String) {
    event(ds, &bytes(ds, fields), |e| {
        assert_eq!(enrich.process(e), Verdict::Pass);
        (text(ds, e, "runtime.containerName"), text(ds, e, "runtime.containerSource"))
    })
}

#[test]
fn the_control_group_wins_and_each_way_is_named() {
    let mut ds = Source::new("sni")
        .number("mntns_id", Scalar::Uint64, "gadget_mntns_id")
        .number("netns_id", Scalar::Uint32, "gadget_netns_id")
        .number("cgroup_id", Scalar::Uint64, "igx_cgroup_id")
        .number("pid", Scalar::Uint32, "gadget_pid")
        .done();
    let known = Arc::new(Known::default());
    *known.containers.lock().unwrap() = vec![(1, 10, container("one")), (2, 20, container("two"))];
    let lookup = Lookup(known.clone(), ContainerFields::default());
    let mut enrich = Enrich::attach(&mut ds, &Place::Host, Box::new(lookup)).unwrap();
    for (cgroup, mntns, netns, name, source) in [
        (101, 2, 20, "one", "cgroup"), // of the one, in the mount namespace of the other
        (101, 99, 0, "one", "cgroup"),
        (199, 2, 10, "two", "mntns"), // of the host, and entered it
        (0, 2, 10, "two", "mntns"),
        (199, 99, 10, "one", "netns"),
        (199, 99, 99, "", ""),
    ] {
        let (cgroup, mntns, netns): (u64, u64, u32) = (cgroup, mntns, netns);
        let fields: [(&str, &[u8]); 4] = [
            ("cgroup_id", &cgroup.to_ne_bytes()),
            ("mntns_id", &mntns.to_ne_bytes()),
            ("netns_id", &netns.to_ne_bytes()),
            ("pid", &201_u32.to_ne_bytes()),
        ];
        assert_eq!(found(&ds, &mut enrich, &fields), (name.to_owned(), source.to_owned()));
    }
    assert!(known.asked.lock().unwrap().iter().all(|asked| !asked.starts_with('p')), "the event tells it");
}

#[test]
fn a_process_is_asked_about_where_the_event_has_no_control_group() {
    let mut ds = Source::new("files")
        .number("mntns_id", Scalar::Uint64, "gadget_mntns_id")
        .number("pid", Scalar::Uint32, "gadget_pid")
        .done();
    let known = Arc::new(Known::default());
    known.containers.lock().unwrap().push((1, 10, container("one")));
    let lookup = Lookup(known, ContainerFields::default());
    let mut enrich = Enrich::attach(&mut ds, &Place::Host, Box::new(lookup)).unwrap();
    let event = |mntns: u64, pid: u32| (mntns.to_ne_bytes(), pid.to_ne_bytes());
    for (mntns, pid, expected) in
        // One that has ended says nothing of those after it.
        [
            (1, 7, ("one", "mntns")),
            (9, 404, ("", "")),
            (9, 201, ("one", "cgroup")),
            (8, 7, ("", "")),
            (0, 201, ("", "")),
        ]
    {
        let (mntns, pid) = event(mntns, pid);
        let (name, source) = found(&ds, &mut enrich, &[("mntns_id", &mntns), ("pid", &pid)]);
        assert_eq!((name.as_str(), source.as_str()), expected);
    }
}

#[test]
fn all_that_is_known_is_filled() {
    let (ds, _, mut enrich) = attach(&Place::Node("n1".into()));
    let data = bytes(&ds, &[("mntns_id", &2_u64.to_ne_bytes())]);
    event(&ds, &data, |e| {
        assert_eq!(enrich.process(e), Verdict::Pass);
        assert_eq!(text(&ds, e, "k8s.node"), "n1");
        assert_eq!(text(&ds, e, "k8s.podName"), "pod-two");
        assert_eq!(text(&ds, e, "runtime.containerId"), "0123");
        assert_eq!(text(&ds, e, "runtime.containerImageName"), "");
        let number = |name| ds.accessor(ds.field(name).unwrap()).u64(e);
        assert_eq!(number("runtime.containerPid"), 42);
        assert_eq!(number("runtime.containerStartedAt"), 1_700_000_000);
        assert_eq!(number("k8s.hostnetwork"), 1);
    });
}

#[test]
fn the_node_is_known_without_a_container() {
    let (ds, _, mut enrich) = attach(&Place::Node("n1".into()));
    event(&ds, &bytes(&ds, &[]), |e| {
        assert_eq!(enrich.process(e), Verdict::Pass);
        assert_eq!(text(&ds, e, "k8s.node"), "n1");
    });
}

#[test]
fn consecutive_events_of_a_container_ask_once() {
    let (ds, known, mut enrich) = attach(&Place::Host);
    for _ in 0..3 {
        assert_eq!(name_of(&ds, &mut enrich, 1, 10), "one");
    }
    assert_eq!(*known.asked.lock().unwrap(), ["m1"]);
}

#[test]
fn a_container_that_came_late_is_seen() {
    let (ds, known, mut enrich) = attach(&Place::Host);
    assert_eq!(name_of(&ds, &mut enrich, 3, 0), "");
    known.containers.lock().unwrap().push((3, 30, container("three")));
    known.generation.fetch_add(1, Ordering::Relaxed);
    assert_eq!(name_of(&ds, &mut enrich, 3, 0), "three");
}

#[test]
fn a_namespace_of_the_host_does_not_keep_the_last_container() {
    let (ds, _, mut enrich) = attach(&Place::Host);
    assert_eq!(name_of(&ds, &mut enrich, 1, 10), "one");
    assert_eq!(name_of(&ds, &mut enrich, 9, 9), "");
}
