//! Many at once in one store, some of them killed in the middle: the store is valid after.
//!
//! `IGX_TORTURE_SECONDS` makes it last longer than what fits into every run of the tests.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{store::sources, support::Igx};

/// How many hands there are.
const HANDS: u64 = 20;
/// Names that they fight for.
const NAMES: u64 = 6;
/// Of that many processes, one is killed.
const SPARED: u64 = 4;

/// A small generator of numbers (xorshift): a run can be told by its seeds.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Torture {
    igx: Igx,
    folder: TempDir,
    sources: Vec<String>,
    archives: Vec<PathBuf>,
    deadline: Instant,
    done: AtomicUsize,
    killed: AtomicUsize,
    refused: AtomicU64,
}

impl Torture {
    fn new() -> Self {
        let seconds =
            std::env::var("IGX_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
        let (igx, folder) = (Igx::new(), TempDir::new().unwrap());
        let mut torture = Self {
            sources: (0..NAMES).map(|n| sources(&folder, &format!("g{n}"), 4096)).collect(),
            archives: Vec::new(),
            deadline: Instant::now() + Duration::from_secs(seconds),
            igx,
            folder,
            done: AtomicUsize::new(0),
            killed: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        };
        for (n, source) in torture.sources.iter().enumerate() {
            let (name, file) = (format!("g{n}"), torture.folder.path().join(format!("g{n}.tar")));
            torture.igx.ok(&["image", "build", source, "-t", &name]);
            torture.igx.ok(&["image", "export", &name, file.to_str().unwrap()]);
            torture.archives.push(file);
        }
        torture
    }

    /// One command, by chance. Its name may be gone; nothing else may be wrong.
    fn command(&self, hand: u64, dice: &mut Dice) -> Vec<String> {
        let n = dice.roll(NAMES) as usize;
        let (name, other) = (format!("g{}", dice.roll(NAMES)), format!("h{}", dice.roll(NAMES)));
        let file = self.folder.path().join(format!("out{hand}.tar"));
        let words: Vec<&str> = match dice.roll(9) {
            0 => vec!["tag", &name, &other],
            1 => vec!["remove", &name],
            2 => vec!["remove", &name, &other],
            3 => vec!["prune"],
            4 | 5 => vec!["import", self.archives[n].to_str().unwrap()],
            6 => vec!["export", &name, file.to_str().unwrap()],
            7 => vec!["build", &self.sources[n], "-t", &name],
            _ => vec!["list"],
        };
        ["image"].into_iter().chain(words).map(str::to_owned).collect()
    }

    fn hand(&self, hand: u64) {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (hand + 1));
        while Instant::now() < self.deadline {
            let words = self.command(hand, &mut dice);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let mut command = self.igx.command(&words);
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            match dice.roll(SPARED) {
                0 => self.kill(child, dice.roll(30_000)),
                _ => self.wait(child, &words),
            }
        }
    }

    /// At any moment of its life, so that there is nothing to wait for.
    fn kill(&self, mut child: Child, microseconds: u64) {
        thread::sleep(Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        self.killed.fetch_add(1, Ordering::Relaxed);
    }

    fn wait(&self, child: Child, words: &[&str]) {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            self.done.fetch_add(1, Ordering::Relaxed);
        } else {
            // Removed by another hand, before or while it was read.
            let gone = said.contains("is not in the store")
                || (["export", "list"].contains(&words[1]) && said.contains("is missing"));
            assert!(output.status.code() == Some(1) && gone, "{words:?}: {said}");
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn twenty_at_once_some_of_them_killed_leave_a_valid_store() {
    let torture = Torture::new();
    thread::scope(|scope| {
        for hand in 0..HANDS {
            let torture = &torture;
            scope.spawn(move || torture.hand(hand));
        }
    });
    let igx = &torture.igx;
    let (done, killed) = (torture.done.into_inner(), torture.killed.into_inner());
    eprintln!("{done} done, {killed} killed, {} without their image", torture.refused.into_inner());
    assert!(done > 20 && killed > 5, "{done} done, {killed} killed");
    let checked = igx.ok(&["image", "check"]);
    assert!(checked.contains(" 0 damaged"), "{checked}");
    // The next writer clears away what the killed ones left.
    igx.ok(&["image", "prune"]);
    let left = fs::read_dir(igx.store().join("ingest")).unwrap().count();
    assert_eq!(left, 0);
    for archive in &torture.archives {
        igx.ok(&["image", "import", archive.to_str().unwrap()]);
    }
    igx.ok(&["image", "check"]);
    let names: Vec<_> = (0..NAMES).map(|n| format!("g{n}")).collect();
    for name in &names {
        igx.ok(&["image", "inspect", name]);
    }
}
