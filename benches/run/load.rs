//! Work for a gadget to see: opened files and TLS hellos, from processes of their own.
//!
//! The bench calls itself with the kind of work as its argument.

use std::{
    env,
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A file that everybody may open and nobody has.
const ABSENT: &str = "/nonexistent-igx-bench";

/// Opens a file at a steady pace until dropped.
pub(crate) struct Opens(Child);

/// Sends ClientHellos at a steady pace until dropped.
pub(crate) struct Hellos(Child);

impl Opens {
    pub(crate) fn every(pause: Duration) -> Self {
        Self(spawn(&["opens", &pause.as_micros().to_string()]))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Hellos {
    pub(crate) fn every(pause: Duration) -> Self {
        Self(spawn(&["hellos", &pause.as_micros().to_string()]))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Opens {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Drop for Hellos {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// A process that waits for a word, then opens `rate` files a second for `seconds`, or mounts them, and says how many.
pub(crate) struct Burst(Child);

impl Burst {
    pub(crate) fn opens(rate: u64, seconds: u64) -> Self {
        Self(spawn(&["burst", &rate.to_string(), &seconds.to_string()]))
    }

    /// What it mounts is not there: the kernel refuses.
    pub(crate) fn mounts(rate: u64, seconds: u64) -> Self {
        Self(spawn(&["mounts", &rate.to_string(), &seconds.to_string()]))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Lets it go, waits for its end; returns how many files it opened.
    pub(crate) fn go(mut self) -> u64 {
        self.0.stdin.take().unwrap().write_all(b"go").unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        said.trim().parse().unwrap()
    }
}

fn spawn(args: &[&str]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .env("IGX_BENCH_LOAD", args.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Does the work that this process was started for, if it was started for work; never returns then.
pub(crate) fn work_if_asked() {
    let Ok(work) = env::var("IGX_BENCH_LOAD") else { return };
    let words: Vec<&str> = work.split(' ').collect();
    let number = |i: usize| words[i].parse::<u64>().unwrap();
    match words[0] {
        "opens" => loop {
            let _ = File::open(ABSENT);
            thread::sleep(Duration::from_micros(number(1)));
        },
        "hellos" => hellos(Duration::from_micros(number(1))),
        "mounts" => burst(number(1), number(2), || {
            let none = None::<&str>;
            let _ = nix::mount::mount(none, ABSENT, none, nix::mount::MsFlags::empty(), none);
        }),
        _ => burst(number(1), number(2), || {
            let _ = nix::fcntl::open(ABSENT, nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty());
        }),
    }
    std::process::exit(0);
}

fn hellos(pause: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hello = include_bytes!("hello.bin");
    loop {
        let mut client = TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        client.write_all(hello).unwrap();
        thread::sleep(pause);
    }
}

fn burst(rate: u64, seconds: u64, act: impl Fn()) {
    let mut word = [0; 2];
    std::io::stdin().read_exact(&mut word).unwrap();
    let started = Instant::now();
    let total = rate * seconds;
    let mut opened = 0;
    // Paced each millisecond: what is due by now is done at once.
    while opened < total {
        let due = (started.elapsed().as_nanos() as u64 * rate / 1_000_000_000).min(total);
        while opened < due {
            act();
            opened += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    println!("{opened}");
}
