//! What a packet costs: `cargo bench --bench packet -- [--peer ELF] [--json FILE]`. Needs root.
//!
//! Runs our program, and beside it another build of a gadget for the same packets (upstream's ELF layer), by
//! `BPF_PROG_TEST_RUN`, in turns; prints the median of the rounds. The floor is what an empty program costs.

use std::{env, fs, time::Instant};

use libbpf_rs::{
    MapCore, Object, ObjectBuilder, ProgramInput, ProgramType, RingBufferBuilder, query::ProgInfoIter,
};
use trace_sni::load::{MinimalBtf, SOCKET_VALUE_SIZE, SOCKETS};

#[path = "../tests/packets/frame.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod frame;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 15;
const LOADS: usize = 9;
/// A hello's events must fit in the ring, for a full one is cheaper: the ring is emptied between rounds.
const HELLO_RUNS: u32 = 400;
const RUNS: u32 = 100_000;

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    runs: u32,
}

struct Program {
    object: Object,
    load_ms: f64,
    instructions: u32,
}

impl Program {
    /// The time is the median of several loads, one after the other.
    fn load(elf: &[u8]) -> Result<Self> {
        let times = (0..LOADS).map(|_| Ok(Self::load_once(elf)?.load_ms)).collect::<Result<_>>()?;
        Ok(Self { load_ms: median(times), ..Self::load_once(elf)? })
    }

    fn load_once(elf: &[u8]) -> Result<Self> {
        let btf = MinimalBtf::new()?;
        let mut builder = ObjectBuilder::default();
        let mut open = builder.btf_custom_path(btf.path())?.open_memory(elf)?;
        for mut map in open.maps_mut() {
            if map.name() == "gadget_sockets" {
                map.set_value_size(SOCKET_VALUE_SIZE)?;
                map.set_max_entries(SOCKETS)?;
            }
        }
        for mut program in open.progs_mut() {
            program.set_prog_type(ProgramType::SocketFilter);
        }
        let start = Instant::now();
        let object = open.load()?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let newest = ProgInfoIter::default().max_by_key(|info| info.id);
        let instructions = newest.map_or(0, |info| info.verified_insns);
        Ok(Self { object, load_ms, instructions })
    }

    /// Nanoseconds a packet.
    fn run(&self, case: &Case) -> Result<f64> {
        let mut data = case.frame[..14].to_vec();
        data.extend_from_slice(&case.frame);
        let program = self.object.progs_mut().next().ok_or("no program")?;
        let input = ProgramInput { data_in: Some(&data), repeat: case.runs, ..ProgramInput::default() };
        let duration = program.test_run(input)?.duration;
        if let Some(events) = self.object.maps().find(|map| map.name() == "events") {
            let mut ring = RingBufferBuilder::new();
            ring.add(&events, |_| 0)?;
            ring.build()?.consume()?;
        }
        Ok(duration.as_nanos() as f64)
    }
}

fn hello(file: &str) -> Result<Vec<u8>> {
    Ok(fs::read(format!("{}/tests/corpus/hellos/{file}", env!("CARGO_MANIFEST_DIR")))?)
}

/// Upstream looks at no segment without PSH.
fn pushed(mut frame: Vec<u8>, tcp: usize) -> Vec<u8> {
    frame[tcp + 13] |= 8;
    frame
}

fn cases() -> Result<Vec<Case>> {
    let data = [&[0x17, 3, 3, 2, 0][..], &[0xa5; 512]].concat();
    let udp = frame::over_ipv4_with(&[], 0, &frame::tcp(&data, &[]), frame::UDP);
    let case = |name, frame, runs| Case { name, frame, runs };
    Ok(vec![
        case("ACK", frame::over_ipv4(&[]), RUNS),
        case("TLS data", pushed(frame::over_ipv4(&data), 34), RUNS),
        case("IPv6 TLS data", pushed(frame::over_ipv6(&data), 54), RUNS),
        case("UDP", udp, RUNS),
        case("ClientHello 517 B", pushed(frame::over_ipv4(&hello("curl.bin")?), 34), HELLO_RUNS),
        case(
            "ClientHello 1.8 kB",
            pushed(frame::over_ipv4(&hello("browser-chrome131.bin")?), 34),
            HELLO_RUNS,
        ),
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn option(name: &str) -> Option<String> {
    env::args().skip_while(|arg| arg != name).nth(1)
}

fn main() -> Result<()> {
    let ours = Program::load(trace_sni::OBJECT)?;
    let peer = option("--peer").map(|path| Program::load(&fs::read(path)?)).transpose()?;
    // An Ethernet type that no gadget reads is refused at once: the cost of the harness.
    let floor = Case { name: "floor (ARP)", frame: frame::ethernet(0x0806, &[0; 46]), runs: RUNS };
    println!("{:<20} {:>9} {:>9} {:>6}", "ns per packet", "ours", "peer", "ratio");
    let mut rows = Vec::new();
    for case in std::iter::once(floor).chain(cases()?) {
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(ours.run(&case)?);
            if let Some(peer) = &peer {
                other.push(peer.run(&case)?);
            }
        }
        let own = median(own);
        let other = peer.is_some().then(|| median(other));
        match other {
            Some(other) => println!("{:<20} {own:>9.0} {other:>9.0} {:>6.2}", case.name, own / other),
            None => println!("{:<20} {own:>9.0} {:>9} {:>6}", case.name, "-", "-"),
        }
        let other = other.map_or("null".to_owned(), |other| other.to_string());
        rows.push(format!(r#"{{"packet":"{}","ours_ns":{own},"peer_ns":{other}}}"#, case.name));
    }
    for (who, program) in [("ours", Some(&ours)), ("peer", peer.as_ref())] {
        match program {
            Some(program) => println!(
                "{who}: {} instructions verified, loaded in {:.1} ms",
                program.instructions, program.load_ms
            ),
            None => println!("not compared: no peer"),
        }
    }
    if let Some(path) = option("--json") {
        let load = |program: &Program| {
            format!(
                r#"{{"load_ms":{:.1},"verified_instructions":{}}}"#,
                program.load_ms, program.instructions
            )
        };
        let peer = peer.as_ref().map_or("null".to_owned(), load);
        let json = format!(r#"{{"packets":[{}],"ours":{},"peer":{peer}}}"#, rows.join(","), load(&ours));
        fs::write(path, json)?;
    }
    Ok(())
}
