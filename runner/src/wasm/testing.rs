//! A host made of nothing, and guests written by hand.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::*;
use crate::datasource::{DataSource, Packet, Scalar, SourceKind, sample};

/// What a guest did to its host.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) log: Vec<String>,
    pub(super) maps: BTreeMap<MapId, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(super) closed: usize,
    /// What is left to be read of perf buffers.
    pub(super) records: Vec<&'static [u8]>,
    /// What was done to readers of perf buffers.
    pub(super) readers: Vec<String>,
}

/// A host with one parameter, one map, one system call, one symbol and one container.
#[derive(Clone, Default)]
pub(super) struct Mock(pub(super) Rc<RefCell<Seen>>);

impl Host for Mock {
    fn logs(&self, level: Level) -> bool {
        level <= Level::Info
    }

    fn log(&mut self, level: Level, message: &str) {
        self.0.borrow_mut().log.push(format!("{level:?}: {message}"));
    }

    fn param(&mut self, key: &str) -> Option<String> {
        (key == "key").then(|| "value".to_owned())
    }

    fn open_map(&mut self, name: &str) -> Option<MapId> {
        self.0.borrow_mut().maps.entry(7).or_default();
        (name == "map").then_some(7)
    }

    fn new_map(&mut self, map: &NewMap<'_>) -> Option<MapId> {
        let mut seen = self.0.borrow_mut();
        let id = 100 + seen.maps.len();
        seen.maps.insert(id, BTreeMap::new());
        (map.key_size == 4 && map.value_size == 4).then_some(id)
    }

    fn map_sizes(&self, _: MapId) -> Option<(usize, usize)> {
        Some((4, 4))
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> bool {
        let seen = self.0.borrow();
        seen.maps[&map].get(key).map(|found| value.extend_from_slice(found)).is_some()
    }

    fn update(&mut self, map: MapId, key: &[u8], value: &[u8], _: u64) -> bool {
        self.0.borrow_mut().maps.get_mut(&map).unwrap().insert(key.to_vec(), value.to_vec());
        true
    }

    fn delete(&mut self, map: MapId, key: &[u8]) -> bool {
        self.0.borrow_mut().maps.get_mut(&map).unwrap().remove(key).is_some()
    }

    fn close_map(&mut self, _: MapId) {
        self.0.borrow_mut().closed += 1;
    }

    fn new_perf_reader(&mut self, map: MapId, size: u32, overwritable: bool) -> Option<ReaderId> {
        self.0.borrow_mut().readers.push(format!("{map} {size} {overwritable}"));
        (size == 4096).then_some(3)
    }

    fn pause_perf_reader(&mut self, reader: ReaderId, paused: bool) -> bool {
        self.0.borrow_mut().readers.push(format!("{reader} paused {paused}"));
        true
    }

    fn read_perf(&mut self, _: ReaderId, record: &mut Vec<u8>) -> PerfRead {
        let Some(next) = self.0.borrow_mut().records.pop() else { return PerfRead::Nothing };
        record.extend_from_slice(next);
        PerfRead::Record
    }

    fn close_perf_reader(&mut self, reader: ReaderId) -> bool {
        self.0.borrow_mut().readers.push(format!("{reader} closed"));
        true
    }

    fn syscall_name(&self, number: u16) -> Option<String> {
        (number == 1).then(|| "write".to_owned())
    }

    fn syscall_number(&self, name: &str) -> Option<u32> {
        (name == "write").then_some(1)
    }

    fn syscall_declaration(&mut self, name: &str) -> Option<SyscallDeclaration> {
        let param = |name: &str, is_pointer| SyscallParam { name: name.to_owned(), is_pointer };
        (name == "write").then(|| SyscallDeclaration { params: vec![param("fd", false), param("buf", true)] })
    }

    fn symbol_exists(&mut self, name: &str) -> bool {
        name == "schedule"
    }

    fn discards(&self, mntns: u64) -> bool {
        mntns != 1
    }
}

/// Few enough instructions for a test to use them all up.
pub(super) const LIMITS: Limits = Limits { start_fuel: 20_000_000, event_fuel: 20_000_000, pages: 256 };

/// The functions that the guests here use.
const IMPORTS: &str = r#"
  (import "ig" "newDataSource" (func $newDataSource (param i64 i32) (result i32)))
  (import "ig" "getDataSource" (func $getDataSource (param i64) (result i32)))
  (import "ig" "dataSourceSubscribe" (func $subscribe (param i32 i32 i32 i64) (result i32)))
  (import "ig" "dataSourceGetField" (func $getField (param i32 i64) (result i32)))
  (import "ig" "dataSourceAddField" (func $addField (param i32 i64 i32) (result i32)))
  (import "ig" "dataSourceNewPacketSingle" (func $newPacket (param i32) (result i32)))
  (import "ig" "dataSourceNewPacketArray" (func $newArray (param i32) (result i32)))
  (import "ig" "dataSourceEmitAndRelease" (func $emit (param i32 i32) (result i32)))
  (import "ig" "dataSourceRelease" (func $releasePacket (param i32 i32) (result i32)))
  (import "ig" "dataSourceUnreference" (func $unreference (param i32) (result i32)))
  (import "ig" "dataSourceIsReferenced" (func $isReferenced (param i32) (result i32)))
  (import "ig" "dataArrayNew" (func $arrayNew (param i32) (result i32)))
  (import "ig" "dataArrayAppend" (func $arrayAppend (param i32 i32) (result i32)))
  (import "ig" "dataArrayRelease" (func $arrayRelease (param i32 i32) (result i32)))
  (import "ig" "dataArrayLen" (func $arrayLen (param i32) (result i32)))
  (import "ig" "dataArrayGet" (func $arrayGet (param i32 i32) (result i32)))
  (import "ig" "fieldGetScalar" (func $getScalar (param i32 i32 i32 i32) (result i64)))
  (import "ig" "fieldGetBuffer" (func $getBuffer (param i32 i32 i32 i64) (result i32)))
  (import "ig" "fieldSet" (func $set (param i32 i32 i32 i64) (result i32)))
  (import "ig" "fieldAddTag" (func $addTag (param i32 i64) (result i32)))
  (import "ig" "getParamValue" (func $param (param i64 i64) (result i32)))
  (import "ig" "setConfig" (func $setConfig (param i64 i64 i32) (result i32)))
  (import "ig" "newMap" (func $newMap (param i64 i32 i32 i32 i32) (result i32)))
  (import "ig" "getMap" (func $getMap (param i64) (result i32)))
  (import "ig" "mapLookup" (func $lookup (param i32 i64 i64) (result i32)))
  (import "ig" "mapUpdate" (func $update (param i32 i64 i64 i64) (result i32)))
  (import "ig" "mapDelete" (func $delete (param i32 i64) (result i32)))
  (import "ig" "mapRelease" (func $mapRelease (param i32) (result i32)))
  (import "ig" "releaseHandle" (func $release (param i32) (result i32)))
  (import "ig" "getSyscallName" (func $syscallName (param i32 i64) (result i32)))
  (import "ig" "getSyscallID" (func $syscallNumber (param i64) (result i32)))
  (import "ig" "getSyscallDeclaration" (func $declaration (param i64 i64) (result i32)))
  (import "ig" "newPerfReader" (func $newReader (param i32 i32 i32) (result i32)))
  (import "ig" "perfReaderPause" (func $pauseReader (param i32) (result i32)))
  (import "ig" "perfReaderResume" (func $resumeReader (param i32) (result i32)))
  (import "ig" "perfReaderClose" (func $closeReader (param i32) (result i32)))
  (import "ig" "perfReaderRead" (func $readPerf (param i32 i64) (result i32)))
  (import "ig" "kallsymsSymbolExists" (func $symbol (param i64) (result i32)))
  (import "ig" "shouldDiscardMntnsID" (func $discards (param i64) (result i32)))
  (import "ig" "gadgetLog" (func $log (param i32 i64)))
  (import "ig" "gadgetShouldLog" (func $shouldLog (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "gadgetAPIVersion") (result i64) (i64.const 1))
  ;; Traps unless both are equal.
  (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
  (func $not0 (param i32) (result i32) (if (i32.eqz (local.get 0)) (then unreachable)) (local.get 0))
  (global $ds (mut i32) (i32.const 0))
  (global $f (mut i32) (i32.const 0))
  (global $g (mut i32) (i32.const 0))
"#;

/// A module of `body`, in which `@"text"` stands for the text's span. Texts lie from the start of the memory.
pub(super) fn module(body: &str) -> Vec<u8> {
    let mut texts = String::new();
    let mut code = String::new();
    let mut parts = body.split("@\"");
    code.push_str(parts.next().unwrap());
    for part in parts {
        let (text, rest) = part.split_once('"').unwrap();
        let span = (text.len() as u64) << 32 | texts.len() as u64;
        code.push_str(&format!("(i64.const {span}){rest}"));
        texts.push_str(text);
    }
    let data = format!("(data (i32.const 0) \"{texts}\")");
    wat::parse_str(format!("(module {IMPORTS} {data} {code})")).unwrap()
}

/// A data source with a number, a text and a list of the kernel's, and a batch of the same.
pub(super) fn sources() -> Vec<DataSource> {
    let of = |name: &str, kind| {
        let mut source = DataSource::new(name, kind);
        sample::add(&mut source, None, "number", Scalar::Int32, 0, 4);
        sample::add(&mut source, None, "comm", Scalar::CString, 4, 8);
        let ports = sample::add(&mut source, None, "ports", Scalar::Uint16, 12, 6);
        source.fields[ports].kind.array = true;
        source
    };
    vec![of("events", SourceKind::Single), of("list", SourceKind::Array)]
}

pub(super) fn packet(number: i32, comm: &str) -> Packet {
    let mut data = number.to_le_bytes().to_vec();
    data.extend_from_slice(comm.as_bytes());
    data.resize(18, 0);
    Packet { data, ..Packet::default() }
}

/// A guest of `body` that has been initialized, its host, and the data sources as it left them.
pub(super) fn start(body: &str) -> Result<(Guest, Mock, Vec<DataSource>), Error> {
    start_with(body, LIMITS)
}

pub(super) fn start_with(body: &str, limits: Limits) -> Result<(Guest, Mock, Vec<DataSource>), Error> {
    let host = Mock::default();
    let mut guest = Guest::new("test", &module(body), Box::new(host.clone()), limits)?;
    let mut sources = sources();
    guest.call(Stage::Init, &mut sources)?;
    guest.seal(&sources);
    Ok((guest, host, sources))
}

/// An event as the guest leaves it.
pub(super) fn pass(
    guest: &mut Guest,
    sources: &[DataSource],
    mut event: Packet,
) -> Result<Option<Packet>, Error> {
    let subscription = guest.subscriptions()[0];
    event.slots = crate::datasource::Slots::new(sources[subscription.source].slots);
    let mut payload = Payload::Single(event);
    let kept = guest.event(&subscription, &mut payload)?;
    let Payload::Single(event) = payload else { panic!("an event became a batch") };
    Ok(kept.then_some(event))
}
