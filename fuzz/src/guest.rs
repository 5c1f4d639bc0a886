//! A guest's whole life, on a host that is made of nothing.

use std::collections::BTreeMap;

use runner::{
    datasource::{DataSource, Packet, Place, Scalar, SourceKind},
    wasm::{
        Guest, Host, Level, Limits, MapId, NewMap, Payload, PerfRead, ReaderId, Stage, SyscallDeclaration,
    },
};

/// So little that an input takes milliseconds at most.
const LIMITS: Limits = Limits { start_fuel: 2_000_000, event_fuel: 2_000_000, pages: 16 };

#[derive(Default)]
struct Nothing {
    maps: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Host for Nothing {
    fn logs(&self, level: Level) -> bool {
        level <= Level::Debug
    }

    fn log(&mut self, _: Level, message: &str) {
        assert!(message.len() <= 3 * 4096, "a message is bounded: {}", message.len());
    }

    fn param(&mut self, key: &str) -> Option<String> {
        (key == "key").then(|| "value".to_owned())
    }

    fn open_map(&mut self, name: &str) -> Option<MapId> {
        (name == "map").then(|| self.keep())
    }

    fn new_map(&mut self, map: &NewMap<'_>) -> Option<MapId> {
        (map.key_size == 4 && map.value_size == 4).then(|| self.keep())
    }

    fn map_sizes(&self, _: MapId) -> Option<(usize, usize)> {
        Some((4, 4))
    }

    fn holds_maps(&self, map: MapId) -> bool {
        map % 3 == 2
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> bool {
        self.maps[map].get(key).map(|found| value.extend_from_slice(found)).is_some()
    }

    fn lookup_map(&mut self, _: MapId, _: &[u8]) -> Option<MapId> {
        Some(self.keep())
    }

    fn update(&mut self, map: MapId, key: &[u8], value: &[u8], _: u64) -> bool {
        assert_eq!((key.len(), value.len()), (4, 4));
        self.maps[map].insert(key.to_vec(), value.to_vec());
        true
    }

    fn delete(&mut self, map: MapId, key: &[u8]) -> bool {
        self.maps[map].remove(key).is_some()
    }

    fn new_perf_reader(&mut self, map: MapId, _: u32, _: bool) -> Option<ReaderId> {
        Some(map)
    }

    fn read_perf(&mut self, _: ReaderId, record: &mut Vec<u8>) -> PerfRead {
        record.extend_from_slice(b"record");
        PerfRead::Record
    }

    fn syscall_name(&self, number: u16) -> Option<String> {
        (number == 1).then(|| "write".to_owned())
    }

    fn syscall_declaration(&mut self, name: &str) -> Option<SyscallDeclaration> {
        (name == "write").then(SyscallDeclaration::default)
    }
}

impl Nothing {
    /// All maps that are made are kept: their numbers must not be mixed up.
    fn keep(&mut self) -> MapId {
        self.maps.push(BTreeMap::new());
        self.maps.len() - 1
    }
}

fn sources() -> Vec<DataSource> {
    let of = |name, kind| {
        let mut source = DataSource::new(name, kind);
        source.add_slot_field(None, "number", Scalar::Int32, 0);
        source.add_slot_field(None, "comm", Scalar::String, 1);
        let ports = source.add_slot_field(None, "port", Scalar::Uint16, 2);
        source.fields[ports].kind.array = true;
        source.fields[ports].place = Place::Static { offset: 2, size: 6 };
        source.static_size = 8;
        source
    };
    vec![of("events", SourceKind::Single), of("list", SourceKind::Array)]
}

/// Starts the module, calls it at each step and for events, and takes what it sends.
pub fn live(module: &[u8]) {
    let Ok(mut guest) = Guest::new("fuzz", module, Box::new(Nothing::default()), LIMITS) else { return };
    let mut sources = sources();
    let _ = guest.call(Stage::Init, &mut sources);
    let _ = guest.call(Stage::PreStart, &mut sources);
    guest.seal(&sources);
    let _ = guest.call_sealed(Stage::Start);
    let mut left = 16;
    for subscription in guest.subscriptions().to_vec().into_iter().take(8) {
        let Some(source) = sources.get(subscription.source) else { panic!("a subscription to nothing") };
        let mut payload = match source.kind {
            SourceKind::Single => Payload::Single(Packet::new(source)),
            _ => Payload::Array(vec![Packet::new(source), Packet::new(source)]),
        };
        for _ in 0..2 {
            let _ = guest.event(&subscription, &mut payload);
        }
        while let Some((at, mut sent)) = guest.emitted().filter(|_| left > 0) {
            left -= 1;
            assert!(at < sources.len());
            let _ = guest.event(&subscription, &mut sent);
        }
    }
    let _ = guest.call_sealed(Stage::Stop);
    let _ = guest.call_sealed(Stage::PostStop);
    assert!(guest.memory_size() <= LIMITS.pages << 16);
}
