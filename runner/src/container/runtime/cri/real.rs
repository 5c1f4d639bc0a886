//! containerd's own plugin, with a pod made as a kubelet makes one: both ways to ask have to tell the same of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;

use super::super::super::tests::alone;
use super::super::super::{Collection, Config, Container, Protocol, Watcher};
use super::*;

const IMAGE: &str = "localhost/igx-test:1";
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
struct Linux {
    #[prost(message, optional, tag = "2")]
    security: Option<Security>,
}

#[derive(Clone, PartialEq, Message)]
struct Security {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespaces>,
}

/// `NODE` is 2.
#[derive(Clone, PartialEq, Message)]
struct Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

/// Replies that hold an identifier, and requests that are no more than one.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(btree_map = "string, string", tag = "9")]
    labels: BTreeMap<String, String>,
}

/// A containerd with its plugin; dropping it stops it and what runs there.
struct Containerd {
    dir: PathBuf,
    daemon: Child,
}

impl Containerd {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("igx-k").tempdir_in("/tmp").unwrap().keep();
        let at = |name: &str| dir.join(name).display().to_string();
        // Machines that may not lower a score of the out-of-memory killer run pods all the same.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = {IMAGE:?}\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n",
            at("root"),
            at("state"),
            at("c.sock"),
            at("t.sock"),
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-image");
        let archive = fs::File::create(dir.join("image.tar")).unwrap();
        assert!(
            Command::new(script)
                .arg(dir.join("image"))
                .arg(IMAGE)
                .stdout(archive)
                .status()
                .unwrap()
                .success()
        );
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut command = Command::new("containerd");
        let daemon =
            command.arg("-c").arg(dir.join("config.toml")).stdin(Stdio::null()).stdout(Stdio::null());
        let containerd = Self { daemon: daemon.stderr(log).spawn().unwrap(), dir };
        let began = Instant::now();
        let archive = containerd.dir.join("image.tar");
        while !containerd.ctr(&["images", "import", "--snapshotter", "native", archive.to_str().unwrap()]) {
            let log = fs::read_to_string(containerd.dir.join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "containerd does not answer: {log}");
            thread::sleep(Duration::from_millis(50));
        }
        containerd
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("c.sock")
    }

    fn ctr(&self, args: &[&str]) -> bool {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(["-n", "k8s.io"]).args(args);
        command.stdin(Stdio::null()).output().unwrap().status.success()
    }

    /// Has `id` run in a namespace, labelled with the namespace's name.
    fn idle(&self, namespace: &str, id: &str) {
        let label = format!("of={namespace}");
        let args = ["-n", namespace, "run", "-d", "--snapshotter", "native", "--label", &label];
        assert!(self.ctr(&[&args, &[IMAGE, id, "sleep", "1000"][..]].concat()));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.daemon.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.daemon.wait();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| Path::new(path).starts_with(&self.dir));
        for path in ours.collect::<Vec<_>>().iter().rev() {
            let _ = Command::new("umount").args(["-l", path]).output();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Makes the pod, and in it the container.
async fn make_pod(service: &Service) -> (String, String) {
    let of_kubelet = map(&[
        ("io.kubernetes.pod.name", "db-0"),
        ("io.kubernetes.pod.namespace", "prod"),
        ("io.kubernetes.pod.uid", "u-7"),
    ]);
    let with =
        |more: &[(&str, &str)]| of_kubelet.clone().into_iter().chain(map(more)).collect::<BTreeMap<_, _>>();
    let config = SandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: "db-0".into(),
            uid: "u-7".into(),
            namespace: "prod".into(),
        }),
        labels: with(&[("app", "db"), ("statefulset.kubernetes.io/pod-name", "db-0")]),
        linux: Some(Linux { security: Some(Security { namespaces: Some(Namespaces { network: 2 }) }) }),
    };
    let request = RunPodSandboxRequest { config: Some(config.clone()) };
    let pod: Id = service.call("RunPodSandbox", &request).await.unwrap();
    let request = CreateContainerRequest {
        pod_sandbox_id: pod.id.clone(),
        config: Some(ContainerConfig {
            metadata: Some(ContainerMetadata { name: "postgres".into() }),
            image: Some(ImageSpec { image: IMAGE.into(), user_specified_image: String::new() }),
            command: ["sleep", "1000"].map(str::to_owned).to_vec(),
            labels: with(&[("io.kubernetes.container.name", "postgres")]),
        }),
        sandbox_config: Some(config),
    };
    let container: Id = service.call("CreateContainer", &request).await.unwrap();
    let _: Id = service.call("StartContainer", &Id { id: container.id.clone() }).await.unwrap();
    (pod.id, container.id)
}

#[test]
fn both_protocols_tell_the_same_of_a_pod() {
    let containerd = Containerd::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Cri::new(containerd.socket(), "containerd").connect()).unwrap();
    assert_eq!(service.package, "runtime.v1");
    let (pod, id) = runtime.block_on(make_pod(&service));
    let [native, by_cri] = [Protocol::Internal, Protocol::Cri].map(|protocol| {
        let config = Config {
            runtimes: vec!["containerd".to_owned()],
            containerd_socket: containerd.socket(),
            protocol,
            hold: false,
            patience: PATIENCE,
            ..Config::default()
        };
        let collection = Collection::start(&config).unwrap();
        let found = collection.list();
        assert_eq!(found.len(), 1, "{protocol:?}: {:?} {found:?}", collection.notes());
        found[0].as_ref().clone()
    });
    let _: Result<Id, _> = runtime.block_on(service.call("StopPodSandbox", &Id { id: pod.clone() }));
    let _: Result<Id, _> = runtime.block_on(service.call("RemovePodSandbox", &Id { id: pod.clone() }));

    assert_eq!((&*native.id, &*native.name, &*native.image_name), (&*id, "postgres", IMAGE));
    assert_eq!(
        (&*native.k8s.pod_name, &*native.k8s.namespace, &*native.k8s.pod_uid),
        ("db-0", "prod", "u-7")
    );
    assert_eq!((&*native.k8s.owner_kind, &*native.k8s.owner_name), ("StatefulSet", "db"));
    assert_eq!(native.k8s.pod_labels.get("app").map(String::as_str), Some("db"));
    assert_eq!(&*native.sandbox_id, pod);
    assert!(native.host_network && native.image_id.starts_with("sha256:"), "{native:?}");
    assert_eq!((&native.k8s, &native.name, native.pid), (&by_cri.k8s, &by_cri.name, by_cri.pid));
    assert_eq!((&native.image_name, &native.image_id), (&by_cri.image_name, &by_cri.image_id));
    assert_eq!(native.sandbox_id, by_cri.sandbox_id);
}

struct Added(Mutex<Sender<Arc<Container>>>);

impl Watcher for Added {
    fn added(&self, container: &Arc<Container>) {
        let _ = self.0.lock().unwrap().send(Arc::clone(container));
    }

    fn removed(&self, _: &Arc<Container>) {}
}

#[test]
fn one_identifier_in_two_namespaces_is_two_containers_and_only_the_chosen_namespace_is_seen() {
    let _alone = alone();
    let containerd = Containerd::start();
    let archive = containerd.dir.join("image.tar");
    let names = ["igx-ns-a", "igx-ns-b"];
    for name in names {
        let import = ["images", "import", "--snapshotter", "native", archive.to_str().unwrap()];
        assert!(containerd.ctr(&[&["-n", name], &import[..]].concat()));
    }
    let watch = |containerd_namespace: &str| {
        let config = Config {
            runtimes: vec!["containerd".to_owned()],
            containerd_socket: containerd.socket(),
            containerd_namespace: containerd_namespace.to_owned(),
            patience: PATIENCE,
            ..Config::default()
        };
        let collection = Collection::start(&config).unwrap();
        let (sender, added) = channel();
        collection.subscribe(Arc::new(Added(Mutex::new(sender))));
        (collection, added)
    };
    let of = |added: &Receiver<Arc<Container>>, id: &str| {
        let mut all = std::iter::from_fn(|| added.recv_timeout(PATIENCE).ok());
        all.find(|container| &*container.id == id).unwrap().labels["of"].clone()
    };
    {
        let (_collection, added) = watch("");
        for name in names {
            containerd.idle(name, "igx-same");
            assert_eq!(of(&added, "igx-same"), name);
        }
    }
    let (_collection, added) = watch("igx-ns-b");
    assert_eq!(of(&added, "igx-same"), "igx-ns-b");
    containerd.idle("igx-ns-a", "igx-later");
    containerd.idle("igx-ns-b", "igx-last");
    let next = added.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*next.id, next.labels["of"].as_str()), ("igx-last", "igx-ns-b"));
    for (name, id) in
        [(names[0], "igx-same"), (names[1], "igx-same"), (names[0], "igx-later"), (names[1], "igx-last")]
    {
        assert!(containerd.ctr(&["-n", name, "tasks", "rm", "-f", id]));
    }
}
