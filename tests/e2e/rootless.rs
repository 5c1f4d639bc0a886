//! podman of a user without rights: its service is found by itself, and its containers are known before their first
//! packet.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    runtimes::{IMAGE, Image, LIMITS},
    support::{Igx, NOBODY, Process, TlsServer, wait_until},
};

const STARTS: usize = 3;

/// Nobody's podman, with a home and a session's folder of its own.
struct Rootless {
    home: TempDir,
    session: PathBuf,
}

impl Rootless {
    fn new(image: &Image) -> Self {
        let home = TempDir::with_prefix_in("igx-l", "/tmp").unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Where sessions' folders are, under a name that no session has.
        let name = home.path().file_name().unwrap();
        let session = Path::new("/run/user").join(name);
        fs::create_dir_all(&session).unwrap();
        fs::set_permissions(&session, fs::Permissions::from_mode(0o700)).unwrap();
        let archive = home.path().join("image.tar");
        fs::copy(image.archive(), &archive).unwrap();
        for path in [home.path(), &session, &archive] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let rootless = Self { home, session };
        rootless.ok(&["load", "-i", archive.to_str().unwrap()]);
        rootless
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
        command.arg("podman").args(["--storage-driver", "vfs", "--runtime", "runc"]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]).args(args);
        command.env("HOME", self.home.path()).env("XDG_RUNTIME_DIR", &self.session).env("USER", "nobody");
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "podman {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "-f", "-t", "0", "-a"]).output();
        let _ = fs::remove_dir_all(&self.session);
    }
}

#[test]
fn a_users_own_podman_is_found_and_its_containers_first_packets_are_named() {
    let igx = Igx::new();
    let image = Image::new();
    let podman = Rootless::new(&image);
    let name = image.name("rootless");
    let run = |name: &str, more: &[&str], act: &[&str]| {
        let run = ["run", "--name", name, "--label", "tier=test"];
        podman.ok(&[&run[..], more, &LIMITS, &[IMAGE], act].concat())
    };
    let id = run(&name, &["-d", "--network", "none"], &["sleep", "1000"]);
    let _service = Process::start(&mut podman.command(&["system", "service", "--time=0"]));
    wait_until("the service listens", || podman.session.join("podman/podman.sock").exists());
    wait_until("its labels are told", || {
        let listed: Value =
            serde_json::from_str(&igx.ok(&["list-containers", "-o", "json", "-r", "podman", "-c", &name]))
                .unwrap();
        listed.as_array().unwrap().iter().any(|found| {
            found["runtime"]["containerId"] == id.as_str()
                && found["runtime"]["containerLabels"]["tier"] == "test"
        })
    });

    let files = TempDir::new().unwrap();
    let server = TlsServer::start(files.path(), "127.0.0.1");
    let to = format!("127.0.0.1:{}", server.port);
    let mut events = igx.run(&["trace_sni", "-o", "json", "-r", "podman"]);
    for round in 0..STARTS {
        let (name, host) = (format!("{name}-{round}"), format!("{name}-{round}.example"));
        let act = ["openssl", "s_client", "-connect", &to, "-servername", &host];
        // In the network of the host, where only the process tells.
        run(&name, &["--rm", "--network", "host"], &act);
        let event = events.event(|event| event["name"] == host.as_str());
        let runtime = &event["runtime"];
        assert_eq!((&runtime["containerName"], &runtime["runtimeName"]), (&name.into(), &"podman".into()));
        assert_eq!(runtime["containerImageName"], IMAGE);
    }
    events.stop();
}
