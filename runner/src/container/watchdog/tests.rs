//! Somebody opens a file that is guarded, and nobody answers.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

struct Scene {
    first: Fanotify,
    second: Fanotify,
    file: tempfile::NamedTempFile,
}

impl Scene {
    fn new() -> Self {
        let group = || {
            Fanotify::init(
                InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK,
                EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC,
            )
            .unwrap()
        };
        let scene = Self { first: group(), second: group(), file: tempfile::NamedTempFile::new().unwrap() };
        scene
            .second
            .mark(
                MarkFlags::FAN_MARK_ADD,
                MaskFlags::FAN_OPEN_PERM,
                nix::fcntl::AT_FDCWD,
                Some(scene.file.path()),
            )
            .unwrap();
        scene
    }

    fn watchdog(&self, deadline: Duration) -> Watchdog {
        Watchdog::with_deadline([self.first.as_fd(), self.second.as_fd()], deadline).unwrap()
    }

    fn wait_for_event(&self) {
        let mut fds = [PollFd::new(self.second.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)), Ok(1));
    }
}

fn reader(path: &Path) -> Child {
    Command::new("cat").arg(path).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits until the child has answered and said so.
fn wait_for_relief(watchdog: &Watchdog) {
    let mut fds = [PollFd::new(watchdog.relieved(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)), Ok(1));
}

/// Waits for its end, and says how long that took.
fn ends(mut child: Child) -> Duration {
    let began = Instant::now();
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(began.elapsed() < PATIENCE);
    began.elapsed()
}

#[test]
fn what_nobody_takes_is_answered_after_the_deadline() {
    let scene = Scene::new();
    let watchdog = scene.watchdog(SHORT);
    assert!(ends(reader(scene.file.path())) >= SHORT - child::TICK);
    wait_for_relief(&watchdog);
    assert!(watchdog.answered() >= 1);
    // From now on at once, however many: nobody has shown a sign of life.
    let began = Instant::now();
    for _ in 0..5 {
        ends(reader(scene.file.path()));
    }
    assert!(began.elapsed() < SHORT * 5, "{:?}", began.elapsed());
}

#[test]
fn what_was_taken_and_not_answered_is_answered_after_the_deadline() {
    let scene = Scene::new();
    let watchdog = scene.watchdog(SHORT);
    let child = reader(scene.file.path());
    scene.wait_for_event();
    watchdog.taking();
    let events = scene.second.read_events().unwrap();
    watchdog.look();
    ends(child);
    wait_for_relief(&watchdog);
    assert_eq!(watchdog.answered(), 1);
    drop(events);
}

#[test]
fn who_shows_signs_of_life_is_not_relieved() {
    let scene = Scene::new();
    let watchdog = scene.watchdog(SHORT);
    let child = reader(scene.file.path());
    scene.wait_for_event();
    watchdog.taking();
    let events = scene.second.read_events().unwrap();
    let began = Instant::now();
    while began.elapsed() < SHORT * 5 {
        watchdog.alive();
        std::thread::sleep(child::TICK / 2);
    }
    assert_eq!(watchdog.answered(), 0);
    let response = FanotifyResponse::new(events[0].fd().unwrap(), Response::FAN_ALLOW);
    scene.second.write_response(response).unwrap();
    watchdog.done();
    ends(child);
    assert!(!watchdog.resume());
}

#[test]
fn who_comes_back_answers_again() {
    let scene = Scene::new();
    let watchdog = scene.watchdog(SHORT);
    ends(reader(scene.file.path()));
    wait_for_relief(&watchdog);
    assert!(watchdog.resume() && !watchdog.resume());
    let answered = watchdog.answered();
    let child = reader(scene.file.path());
    scene.wait_for_event();
    watchdog.taking();
    let events = scene.second.read_events().unwrap();
    let response = FanotifyResponse::new(events[0].fd().unwrap(), Response::FAN_ALLOW);
    scene.second.write_response(response).unwrap();
    watchdog.done();
    ends(child);
    assert_eq!(watchdog.answered(), answered);
}

#[test]
fn the_child_ends_with_its_parent_and_holds_nothing_else_open() {
    let scene = Scene::new();
    let watchdog = scene.watchdog(SHORT);
    let proc = format!("/proc/{}", watchdog.child);
    let settled = || {
        std::fs::read_dir(format!("{proc}/fd")).is_ok_and(|open| open.count() == 4)
            && std::fs::read_to_string(format!("{proc}/comm")).is_ok_and(|comm| comm == "igx-watchdog\n")
    };
    let began = Instant::now();
    while !settled() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    // Out of the terminal's reach.
    let session = nix::unistd::getsid(Some(watchdog.child)).unwrap();
    assert_eq!(session, watchdog.child);
    drop(watchdog);
    assert!(!Path::new(&proc).exists());
}
