use super::super::tests::paper;
use super::*;

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn entries(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}

impl Watcher for Diary {
    fn added(&self, container: &Arc<Container>) {
        lock(&self.0).push(format!("+{}", container.id));
    }

    fn removed(&self, container: &Arc<Container>) {
        lock(&self.0).push(format!("-{}", container.id));
    }

    fn changed(&self, known: &Arc<Container>, container: &Arc<Container>) {
        lock(&self.0).push(format!("{}={}", known.name, container.name));
    }
}

#[test]
fn who_only_runs_it_adds_to_what_a_daemon_says_and_takes_nothing() {
    let (table, diary) = (Table::default(), Arc::new(Diary::default()));
    table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
    let plain =
        Container { name: "a".into(), runtime: "runc".into(), bundle: "/b".into(), ..paper("a", 1, 10) };
    table.add(plain.clone());
    table.add(paper("a", 1, 10));
    assert_eq!(diary.entries(), ["+a", "a=name-a"]);
    table.add(Container { image_name: "web".into(), image_id: "i".into(), ..paper("a", 1, 10) });
    table.add(Container { name: "other".into(), image_name: "none".into(), ..plain });
    assert_eq!(diary.entries(), ["name-a=name-a"]);
    let container = &table.list()[0];
    assert_eq!((&*container.name, &*container.runtime, &*container.image_name), ("name-a", "docker", "web"));
    assert_eq!((&*container.bundle, &*container.image_id), ("/b", "i"));
}

#[test]
fn only_the_runtimes_asked_for_are_entered() {
    let table = Table::new(&["docker".to_owned(), "runc".to_owned()]);
    for (pid, runtime) in (1..).zip(["docker", "podman", "crun", "unknown"]) {
        let id = format!("id-{pid}");
        table.add(Container { runtime: runtime.into(), ..paper(&id, pid, u64::from(pid)) });
    }
    let found: Vec<_> = table.list().iter().map(|container| container.runtime.to_string()).collect();
    assert_eq!(found, ["docker", "crun", "unknown"]);
}

#[test]
fn one_identifier_may_be_that_of_two_containers() {
    let (table, diary) = (Table::default(), Arc::new(Diary::default()));
    table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
    let own = std::process::id();
    let alive = paper("a", own, namespace::mntns(own).unwrap());
    table.add(alive);
    table.add(paper("a", 1, 10));
    assert_eq!(table.list().len(), 2);
    table.remove("a", 1);
    assert_eq!(diary.entries(), ["+a", "+a", "-a"]);
    // A process that is no more has ended, whoever may not have told yet.
    table.add(paper("b", u32::MAX - 1, 11));
    table.add(paper("b", u32::MAX - 2, 12));
    assert_eq!(diary.entries(), ["+b", "-b", "+b"]);
}

#[test]
fn a_watcher_is_told_once_of_each() {
    let (table, diary) = (Table::default(), Arc::new(Diary::default()));
    table.add(paper("a", 1, 10));
    table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
    assert_eq!(diary.entries(), ["+a"]);
    assert!(table.add(paper("a", 1, 10)).is_none());
    assert_eq!(diary.entries(), [""; 0]);
    table.remove("a", 2);
    assert_eq!(diary.entries(), [""; 0], "another process ended");
    table.remove("a", 1);
    assert_eq!(diary.entries(), ["-a"]);
}

#[test]
fn a_name_learned_late_replaces_an_id() {
    let table = Table::default();
    let nameless = Container { name: "a".into(), ..paper("a", 1, 10) };
    table.add(nameless.clone());
    assert!(table.add(paper("a", 1, 10)).is_none());
    assert!(table.add(nameless).is_none());
    assert_eq!(&*table.list()[0].name, "name-a");
}

#[test]
fn a_reused_inode_is_the_new_containers() {
    let (table, diary) = (Arc::new(Table::default()), Arc::new(Diary::default()));
    table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
    let mut lookup = Lookup::new(Arc::clone(&table));
    table.add(paper("old", 1, 10));
    assert_eq!(lookup.by_mntns(10).map(|found| &*found.id), Some("old"));
    table.add(paper("new", 2, 10));
    // Removed first: whoever keeps inodes must not lose the new one's.
    assert_eq!(diary.entries(), ["+old", "-old", "+new"]);
    table.remove("old", 1);
    assert_eq!(diary.entries(), [""; 0]);
    assert_eq!(lookup.by_mntns(10).map(|found| &*found.id), Some("new"));
}

#[test]
fn an_ended_one_is_found_for_its_grace() {
    let table = Arc::new(Table::default());
    let mut lookup = Lookup::new(Arc::clone(&table));
    table.add(paper("a", 1, 10));
    table.remove("a", 1);
    assert!(table.list().is_empty());
    assert!(lookup.by_mntns(10).is_some() && lookup.by_netns(1).len() == 1);
    let due = table.purge(Instant::now()).unwrap();
    assert!(lookup.by_mntns(10).is_some());
    assert_eq!(table.purge(due), None);
    assert!(lookup.by_mntns(10).is_none() && lookup.by_netns(1).is_empty());
}

#[test]
fn a_thousand_containers_are_entered_in_a_moment() {
    let table = Arc::new(Table::default());
    let began = Instant::now();
    (1..=1000).for_each(|n| drop(table.add(paper(&format!("c{n}"), n, u64::from(n)))));
    let mut lookup = Lookup::new(Arc::clone(&table));
    assert!((1..=1000).all(|n| lookup.by_mntns(n).is_some()));
    println!("1000 containers: {:?}", began.elapsed());
    // Some 20 ms without optimisation; a view for each would take a hundred times as long.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_control_group_is_found_by_its_key_and_by_who_is_within() {
    let table = Arc::new(Table::default());
    let mut lookup = Lookup::new(Arc::clone(&table));
    let text = cgroup::text_of(std::process::id()).unwrap();
    let own: Arc<str> = cgroup::paths_of(&text).next().unwrap_or_default().into();
    let cgroup = super::super::Cgroup { key: 77, own, ..Default::default() };
    table.add(Container { cgroup, ..paper("a", 1, 10) });
    table.add(paper("without", 2, 11));
    assert_eq!(lookup.by_cgroup(77).map(|found| &*found.id), Some("a"));
    assert!(lookup.by_cgroup(0).is_none());
    assert_eq!(lookup.by_process(std::process::id()).unwrap().map(|found| &*found.id), Some("a"));
    assert!(lookup.by_process(0).is_err());
    table.remove("a", 1);
    assert!(lookup.by_cgroup(77).is_some(), "found in its grace");
}

#[test]
fn the_hosts_network_belongs_to_no_container() {
    let table = Arc::new(Table::default());
    table.add(Container { host_network: true, ..paper("a", 1, 10) });
    assert!(Lookup::new(table).by_netns(1).is_empty());
}
