//! Packets by the hundred thousand: captures that are made up here, and tcpreplay, which sends them over a veth device
//! of their own.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[path = "../../tests/packets/frame.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod frame;

use frame::{ACK, SYN, segment_from};

/// Where a record has the hello's random bytes.
const RANDOM: std::ops::Range<usize> = 11..43;
/// What a segment takes where devices do not cut: MTU 1500 with time stamps.
const SEGMENT: usize = 1_448;

/// A veth device here, and its other end in a network namespace of its own.
pub(crate) struct Link {
    pub(crate) device: String,
    pub(crate) namespace: String,
    /// The address at the other end.
    pub(crate) address: String,
}

pub(crate) fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Link {
    pub(crate) fn new() -> Self {
        let part = std::process::id() % 250 + 1;
        let (device, namespace) = (format!("igxb{part}"), format!("igx-bench-{part}"));
        run("ip", &format!("netns add {namespace}"));
        run("ip", &format!("link add {device} type veth peer name eth0 netns {namespace}"));
        run("ip", &format!("address add 10.253.{part}.1/24 dev {device}"));
        run("ip", &format!("link set {device} up mtu 9000"));
        run("ip", &format!("-n {namespace} address add 10.253.{part}.2/24 dev eth0"));
        run("ip", &format!("-n {namespace} link set eth0 up mtu 9000"));
        Self { device, namespace, address: format!("10.253.{part}.2") }
    }

    /// Sends a capture, so many packets a second; returns how long that took.
    pub(crate) fn replay(&self, capture: &Path, rate: u32, times: u32) -> Duration {
        let started = Instant::now();
        let status = Command::new("tcpreplay")
            .args(["--intf1", &self.device, "--preload-pcap", "--quiet"])
            .args(["--pps", &rate.to_string(), "--loop", &times.to_string()])
            .arg(capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "tcpreplay: {status}");
        started.elapsed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).output();
    }
}

/// Writes frames as libpcap does; returns how many.
fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> u32 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
    file.write_all(&header.map(u32::to_ne_bytes).concat()).unwrap();
    let mut count = 0;
    for frame in frames {
        let len = frame.len() as u32;
        let header = [count / 10_000, count % 10_000 * 100, len, len];
        file.write_all(&header.map(u32::to_ne_bytes).concat()).unwrap();
        file.write_all(&frame).unwrap();
        count += 1;
    }
    file.flush().unwrap();
    count
}

fn address(number: u32) -> [u8; 4] {
    [10, (number >> 16) as u8, (number >> 8) as u8, number as u8]
}

/// A record with a name and random bytes of its own.
fn numbered(record: &[u8], name: &str, number: u32) -> Vec<u8> {
    let mut record = record.to_vec();
    let at = record.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
    record[at..at + 8].copy_from_slice(format!("{number:08}").as_bytes());
    record[RANDOM].fill(0x55);
    record[RANDOM.start..RANDOM.start + 4].copy_from_slice(&number.to_be_bytes());
    record
}

/// A browser's record, whose name begins with a number.
pub(crate) fn browser(number: u32) -> Vec<u8> {
    let record = include_bytes!("../../tests/corpus/hellos/browser-chrome131.bin");
    numbered(record, "browser-chrome131.example", number)
}

/// So many hellos from as many addresses, every other one a browser's in two segments; returns the packets.
pub(crate) fn hellos(path: &Path, count: u32) -> u32 {
    let whole = include_bytes!("../../tests/corpus/hellos/curl.bin");
    let frames = (0..count / 2).flat_map(|pair| {
        let whole = numbered(whole, "curl.example", pair * 2);
        let large = browser(pair * 2 + 1);
        let (one, two) = large.split_at(SEGMENT);
        let seq = pair << 8;
        let (from, other) = (address(pair * 2 + 1), address(pair * 2));
        [
            segment_from(from, 40_000, seq, ACK, one),
            segment_from(other, 40_000, seq, ACK, &whole),
            segment_from(from, 40_000, seq + SEGMENT as u32, ACK, two),
        ]
    });
    write(path, frames)
}

/// A flood of SYNs, and one of first segments whose second never comes: from as many addresses, or from one.
pub(crate) fn flood(path: &Path, count: u32, halves: bool, sources: u32) -> u32 {
    let large = include_bytes!("../../tests/corpus/hellos/browser-chrome131.bin");
    let frames = (0..count).map(|number| {
        let (from, port) = (address(number % sources), 1024 + (number / sources) as u16);
        if halves {
            // As little of it as says that it is one.
            segment_from(from, port, number << 8, ACK, &large[..64])
        } else {
            segment_from(from, port, number << 8, SYN, &[])
        }
    });
    write(path, frames)
}
