//! Runtimes that misbehave, each in its way.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::super::super::tests::host_folder;
use super::super::super::{Collection, Config, Container, Protocol, Watcher};
use super::*;

/// Serves a socket: `serve` is called with each connection, in a thread of its own.
fn serve(socket: &Path, serve: impl Fn(UnixStream) + Clone + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

/// All runtimes at one socket, in both protocols.
fn configs(dir: &Path, name: &str) -> [Config; 2] {
    let socket = Path::new("/").join(name);
    [Protocol::Internal, Protocol::Cri].map(|protocol| Config {
        runtimes: ["docker", "containerd", "cri-o", "podman"].map(str::to_owned).to_vec(),
        docker_socket: socket.clone(),
        containerd_socket: socket.clone(),
        crio_socket: socket.clone(),
        podman_socket: socket.clone(),
        protocol,
        // What else this machine runs is not these tests' business.
        host_root: dir.to_owned(),
        hold: false,
        patience: Duration::from_millis(300),
        ..Config::default()
    })
}

#[test]
fn whatever_a_socket_answers_the_start_is_not_delayed_and_it_is_said() {
    let dir = host_folder();
    let garbage = |mut stream: UnixStream| {
        let _ = stream.write_all(&[0xff; 4096]);
    };
    let hang_up = drop::<UnixStream>;
    let silence = |mut stream: UnixStream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let drops = |mut stream: UnixStream| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[]" {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_secs(1));
        }
    };
    let wrong = |mut stream: UnixStream| {
        let body = r#"{"message":[1,2,{}]}"#;
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    };
    let endless = |mut stream: UnixStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    };
    type Behaviour = (&'static str, fn(UnixStream));
    let behaviours: [Behaviour; 6] = [
        ("garbage", garbage),
        ("hang-up", hang_up),
        ("silence", silence),
        ("drops", drops),
        ("wrong", wrong),
        ("endless", endless),
    ];
    for (name, behaviour) in behaviours {
        let socket = dir.path().join(name);
        serve(&socket, behaviour);
        for config in configs(dir.path(), name) {
            let began = Instant::now();
            let collection = Collection::start(&config).unwrap();
            assert!(began.elapsed() < Duration::from_secs(2), "{name}: {:?}", began.elapsed());
            let notes = collection.notes();
            assert_eq!(notes.len(), 4, "{name}: {notes:?}");
            assert!(notes.iter().all(|note| note.contains("shown by id")), "{name}: {notes:?}");
            drop(collection);
            assert!(began.elapsed() < Duration::from_secs(3), "{name}: {:?}", began.elapsed());
        }
    }
}

/// A docker that has one container: this very process.
fn docker(mut stream: UnixStream) {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let label = "\\u001b[2J\\\"\\n".repeat(256);
    let pid = std::process::id();
    let body = if request.starts_with("GET /events") {
        // It lasts until the other side goes.
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n");
        let _ = stream.read(&mut [0]);
        return;
    } else if request.starts_with("GET /containers/json") {
        r#"[{"Id":"hostile","Names":["/x"]},{"Id":"../../etc","Names":["/y"]},{"Id":"hostile"}]"#.to_owned()
    } else {
        format!(
            r#"{{"Id":"hostile","Name":"/\u001b[31mred","Config":{{"Labels":{{"evil":"{label}"}}}},"State":{{"Pid":{pid}}}}}"#
        )
    };
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

struct Listener(Mutex<Sender<Arc<Container>>>);

impl Watcher for Listener {
    fn added(&self, container: &Arc<Container>) {
        let _ = self.0.lock().unwrap().send(Arc::clone(container));
    }

    fn removed(&self, _: &Arc<Container>) {}

    fn changed(&self, _: &Arc<Container>, container: &Arc<Container>) {
        self.added(container);
    }
}

#[test]
fn one_that_comes_later_is_heard_beside_those_that_misbehave() {
    let dir = host_folder();
    let silent = dir.path().join("silent");
    serve(&silent, |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let [config, _] = configs(dir.path(), "silent");
    let config = Config { docker_socket: "/docker".into(), ..config };
    let collection = Collection::start(&config).unwrap();
    // Nothing is said of one that is not there.
    assert_eq!(collection.notes().len(), 3, "{:?}", collection.notes());
    let (sender, added) = channel();
    collection.subscribe(Arc::new(Listener(Mutex::new(sender))));
    serve(&dir.path().join("docker"), docker);
    let container = added.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((&*container.id, &*container.name), ("hostile", "\u{1b}[31mred"));
    assert!(container.labels["evil"].len() > 1024);
    assert_eq!(container.pid, std::process::id());
    assert_eq!(collection.list().len(), 1);
}

/// Has this very process be a container that `folder`'s daemon has runc run.
fn write_state(dir: &Path, folder: &str) {
    let folder = dir.join(folder).join("hostile");
    fs::create_dir_all(&folder).unwrap();
    let state = format!(r#"{{"init_process_pid":{},"config":{{}}}}"#, std::process::id());
    fs::write(folder.join("state.json"), state).unwrap();
}

#[test]
fn containers_of_a_daemon_that_does_not_tell_are_known_by_id_until_it_does() {
    let dir = host_folder();
    let docker_socket = dir.path().join("docker");
    let silence = |mut stream: UnixStream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let config = |runtime: &str| Config {
        runtimes: vec![runtime.to_owned()],
        patience: Duration::from_secs(1),
        ..configs(dir.path(), runtime)[0].clone()
    };
    let found = |collection: &Collection| {
        let all = collection.list();
        all.iter().map(|found| (found.name.to_string(), found.runtime.to_string())).collect::<Vec<_>>()
    };
    // Nobody listens there any more.
    drop(UnixListener::bind(&docker_socket).unwrap());
    write_state(dir.path(), "run/docker/runtime-runc/moby");
    let collection = Collection::start(&config("docker")).unwrap();
    assert!(collection.notes()[0].contains("shown by id"), "{:?}", collection.notes());
    assert_eq!(found(&collection), [("hostile".to_owned(), "docker".to_owned())]);
    let (sender, told) = channel();
    collection.subscribe(Arc::new(Listener(Mutex::new(sender))));
    assert_eq!(&*told.recv().unwrap().name, "hostile");
    fs::remove_file(&docker_socket).unwrap();
    serve(&docker_socket, docker);
    assert_eq!(&*told.recv_timeout(Duration::from_secs(20)).unwrap().name, "\u{1b}[31mred");
    assert_eq!(collection.list().len(), 1);
    drop(collection);

    serve(&dir.path().join("containerd"), silence);
    write_state(dir.path(), "run/containerd/runc/default");
    let collection = Collection::start(&config("containerd")).unwrap();
    assert_eq!(found(&collection), [("hostile".to_owned(), "containerd".to_owned())]);
    let other = Config { containerd_namespace: "other".to_owned(), ..config("containerd") };
    assert_eq!(found(&Collection::start(&other).unwrap()), []);
}
