use proptest::prelude::*;

use super::*;
use crate::btf::elf::tests::elf;
use crate::btf::write::Writer;
use crate::btf::{SIGNED, TypeKind};

/// An object under construction: types, and variables with their sections.
struct Builder {
    w: Writer,
    int: u32,
    marker: u32,
    variables: Vec<(String, &'static str, u32)>,
    offsets: Vec<(String, &'static str, u64)>,
    programs: Vec<(&'static str, &'static str)>,
}

const RODATA: [u8; 32] = [7; 32];

impl Builder {
    fn new() -> Self {
        let mut w = Writer::default();
        let int = w.int("unsigned int", 4, 0);
        let constant = w.reference("", TypeKind::Const, 0);
        let marker = w.reference("", TypeKind::Ptr, constant);
        Self { w, int, marker, variables: vec![], offsets: vec![], programs: vec![] }
    }

    fn variable(&mut self, name: &str, section: &'static str, id: u32, offset: u64) {
        let variable = self.w.put(name, TypeKind::Var, false, 0, id, &[1]);
        self.variables.push((name.to_owned(), section, variable));
        self.offsets.push((name.to_owned(), section, offset));
    }

    fn marker(mut self, name: &str) -> Self {
        self.variable(name, ".bss", self.marker, 0);
        self
    }

    /// A map whose key and value have these types, if any.
    fn map(mut self, name: &str, map_type: u32, types: Option<(u32, u32)>) -> Self {
        let mut members = Vec::new();
        for (member, number) in [("type", map_type), ("max_entries", 4096)] {
            let array = self.w.array(self.int, self.int, number);
            members.push((member, self.w.reference("", TypeKind::Ptr, array), 0));
        }
        if let Some((key, value)) = types {
            members.push(("key", self.w.reference("", TypeKind::Ptr, key), 0));
            members.push(("value", self.w.reference("", TypeKind::Ptr, value), 0));
        }
        let definition = self.w.composite("", TypeKind::Struct, 32, false, &members);
        self.variable(name, ".maps", definition, 0);
        self
    }

    fn program(mut self, name: &'static str, section: &'static str) -> Self {
        self.programs.push((name, section));
        self
    }

    /// `struct event { u32 a; gadget_process proc; … }`: one member of each sort.
    fn event(mut self) -> Self {
        use TypeKind::*;
        let w = &mut self.w;
        let int = self.int;
        let char = w.int("char", 1, SIGNED);
        let signed = w.int("short", 2, SIGNED);
        let bool = w.int("_Bool", 1, btf::BOOL);
        let wide = w.int("__int128", 16, SIGNED);
        let u32 = w.reference("__u32", Typedef, int);
        let ptid = w.reference("gadget_ptid", Typedef, u32);
        let comm = w.reference("gadget_comm", Typedef, char);
        let comm = w.array(comm, int, 16);
        let parent =
            w.composite("gadget_parent", Struct, 20, false, &[("comm", comm, 0), ("tid", ptid, 128)]);
        let process =
            w.composite("gadget_process", Struct, 24, false, &[("pid", u32, 0), ("parent", parent, 32)]);
        let names = [w.string("A"), w.string("B")];
        let plain = w.put("mode_set", Enum, false, 2, 4, &[names[0], 1, names[1], 2]);
        let taken = w.reference("mode_t", Typedef, plain);
        let row = w.array(signed, int, 2);
        let grid = w.array(row, int, 2);
        let anonymous = w.composite("", Union, 4, false, &[("v4", u32, 0), ("raw", u32, 0)]);
        let hidden = w.reference("alias_t", Typedef, process);
        let pointer = w.reference("", Ptr, int);
        let double = w.put("double", Float, false, 0, 8, &[]);
        let constant = w.reference("", Const, u32);
        let members = [
            ("proc", process, 0),
            ("mode_raw", plain, 192),
            ("mode", taken, 224),
            ("row", row, 256),
            ("grid", grid, 288),
            ("", anonymous, 352),
            ("ok", bool, 384),
            ("ratio", double, 448),
            ("fixed", constant, 512),
            ("__padding", int, 544),
            ("behind", hidden, 576),
            ("pointer", pointer, 768),
            ("wide", wide, 832),
            ("bits", int, 3 << 24 | 960),
        ];
        w.composite("event", Struct, 128, true, &members);
        self
    }

    fn build(mut self) -> Vec<u8> {
        const SECTIONS: [&str; 3] = [".rodata", ".bss", ".maps"];
        for section in SECTIONS {
            let entries: Vec<u32> =
                self.variables.iter().filter(|v| v.1 == section).flat_map(|v| [v.2, 0, 4]).collect();
            self.w.put(section, TypeKind::Datasec, false, entries.len() as u16 / 3, 0, &entries);
        }
        let btf = self.w.finish();
        let mut sections: Vec<(&str, &[u8], bool)> = vec![
            (".BTF", &btf, false),
            (".rodata", &RODATA, false),
            (".bss", &[], false),
            (".maps", &[0; 64], false),
            ("license", b"GPL\0", false),
        ];
        let mut symbols: Vec<(&str, u16, u64, bool)> = Vec::new();
        for (name, section, offset) in &self.offsets {
            let index = 2 + SECTIONS.iter().position(|s| s == section).unwrap() as u16;
            symbols.push((name, index, *offset, false));
        }
        for (name, section) in &self.programs {
            sections.push((section, &[0; 8], true));
            symbols.push((name, sections.len() as u16, 0, true));
        }
        elf(&sections, &symbols)
    }

    fn parse(self) -> Result<Object, Error> {
        Object::parse(&self.build())
    }
}

fn tracer() -> Builder {
    Builder::new().event().map("events", MAP_TYPE_RINGBUF, None).marker("gadget_tracer_open___events___event")
}

#[test]
fn a_tracer_has_its_map_and_fields() {
    let object = tracer().marker("gadget_map_tracer_events").parse().unwrap();
    let [tracer] = &object.tracers[..] else { panic!("one tracer") };
    assert_eq!((tracer.name.as_str(), tracer.map.as_str(), tracer.size), ("open", "events", 128));
    assert_eq!(object.tracer_maps, ["events"]);
    assert_eq!(object.map("events").unwrap().max_entries, 4096);
    assert_eq!(object.license, "GPL");
}

#[test]
fn structs_become_fields_depth_first() {
    let object = tracer().parse().unwrap();
    let lines: Vec<String> = object.tracers[0]
        .structure
        .iter()
        .map(|f| {
            let array = if f.kind.array { "[]" } else { "" };
            let alias = f.alias.as_deref().unwrap_or("-");
            format!(
                "{} {:?}{array} {}+{} in {:?} alias {alias}",
                f.full_name, f.kind.scalar, f.offset, f.size, f.parent
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
proc Bytes 0+24 in None alias -
proc.pid Uint32 0+4 in Some(0) alias pid
proc.parent Bytes 4+20 in Some(0) alias parent
proc.parent.comm CString 4+16 in Some(2) alias comm
proc.parent.tid Uint32 20+4 in Some(2) alias tid
mode_raw Uint32 24+4 in None alias -
mode Uint32 28+4 in None alias -
row Int16[] 32+4 in None alias -
grid Invalid 36+8 in None alias -
v4 Uint32 44+4 in None alias -
raw Uint32 44+4 in None alias -
ok Bool 48+1 in None alias -
ratio Float64 56+8 in None alias -
fixed Uint32 64+4 in None alias -
"#);
}

#[test]
fn type_names_become_tags_and_templates() {
    let object = tracer().parse().unwrap();
    let field = |name| object.tracers[0].structure.iter().find(|f| f.full_name == name).unwrap();
    assert_eq!(field("proc").tags, ["type:gadget_process", "name:proc", "src:ebpf"]);
    assert!(field("proc").hidden_container && !field("ok").hidden_container);
    assert_eq!(field("proc.parent.comm").tags, ["type:gadget_comm", "type:char", "name:comm", "src:ebpf"]);
    let ptid = ["type:gadget_ptid", "type:__u32", "type:unsigned int", "name:tid", "src:ebpf"];
    assert_eq!(field("proc.parent.tid").tags, ptid);
    assert_eq!(field("proc.parent.tid").templates, ["ptid"]);
    assert!(field("fixed").templates.is_empty());
}

#[test]
fn only_plain_enumerations_have_names() {
    let object = tracer().parse().unwrap();
    let field = |name| object.tracers[0].structure.iter().find(|f| f.full_name == name).unwrap();
    let found = field("mode_raw").enumeration.as_ref().unwrap();
    assert_eq!((found.name.as_str(), found.bitfield, found.size, found.signed), ("mode_set", true, 4, false));
    assert_eq!(found.values, [("A".to_owned(), 1), ("B".to_owned(), 2)]);
    assert!(field("mode").enumeration.is_none());
}

#[test]
fn markers_must_hold_what_they_say() {
    let error = |builder: Builder| builder.parse().unwrap_err().to_string();
    let base =
        || Builder::new().event().map("events", MAP_TYPE_RINGBUF, None).map("hash", MAP_TYPE_HASH, None);
    insta::assert_snapshot!(error(base().marker("gadget_tracer_a___events")), @"marker gadget_tracer_a___events: its name must have 3 parts joined with `___`, and has 2; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_tracer_a___none___event")), @"marker gadget_tracer_a___none___event: there is no map none; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_tracer_a___hash___event")), @"marker gadget_tracer_a___hash___event: map hash is neither a ring buffer nor a perf event array; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_tracer_a___events___none")), @"marker gadget_tracer_a___events___none: there is no struct none; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_iter_a___event")), @"marker gadget_iter_a___event: it must name a data source, a struct and programs, joined with `___`; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_iter_a___event___p")), @"marker gadget_iter_a___event___p: there is no program p; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().program("p", "xdp").marker("gadget_iter_a___event___p")), @"marker gadget_iter_a___event___p: program p is of the wrong type for it, by its section xdp; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_mapiter_a___events")), @"marker gadget_mapiter_a___events: map events is no hash map; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_mapiter_a___hash")), @"marker gadget_mapiter_a___hash: its map's key is no struct of 0 bytes; correct the gadget's source and build it again");
    insta::assert_snapshot!(error(base().marker("gadget_param_none")), @"marker gadget_param_none: there is no global variable of that name; correct the gadget's source and build it again");
}

#[test]
fn a_marker_of_another_shape_is_none() {
    let mut builder = Builder::new();
    builder.variable("gadget_tracer_nonsense", ".bss", builder.int, 0);
    assert!(builder.parse().unwrap().tracers.is_empty());
}

#[test]
fn iterators_of_both_names_are_read() {
    let base = || Builder::new().event().program("p", "iter/task").program("q", "iter/tcp");
    let both = base().marker("gadget_iter_a___event___p___q").marker("gadget_snapshotter_b___event___p");
    let iters = both.parse().unwrap().iters;
    let seen: Vec<_> = iters.iter().map(|i| (i.name.as_str(), i.programs.len(), i.legacy, i.size)).collect();
    assert_eq!(seen, [("a", 2, false, 128), ("b", 1, true, 128)]);
}

#[test]
fn targets_are_read_once_a_program() {
    let base = || {
        let maps = Builder::new().map("m", MAP_TYPE_HASH, None).map("n", MAP_TYPE_HASH, None);
        maps.program("walk", "iter/bpf_map_elem").program("verdict", "sk_skb/stream_verdict")
    };
    let both =
        base().marker("gadget_mapelem_iter_target_walk___m").marker("gadget_sk_prog_target_verdict___n");
    let object = both.parse().unwrap();
    assert_eq!(object.iter_targets, [MapTarget { program: "walk".into(), map: "m".into() }]);
    assert_eq!(object.sk_targets, [MapTarget { program: "verdict".into(), map: "n".into() }]);
    let twice = base()
        .marker("gadget_mapelem_iter_target_walk___m")
        .marker("gadget_mapelem_iter_target_walk___n")
        .parse();
    assert!(twice.unwrap_err().to_string().contains("has a target already"));
}

#[test]
fn a_map_iterator_has_keys_and_values() {
    let mut builder = Builder::new();
    let key = builder.w.composite("key", TypeKind::Struct, 4, false, &[("id", builder.int, 0)]);
    let value = builder.w.composite("value", TypeKind::Struct, 8, false, &[("hits", builder.int, 32)]);
    let object =
        builder.map("m", MAP_TYPE_HASH, Some((key, value))).marker("gadget_mapiter_top___m").parse().unwrap();
    let [list] = &object.map_iters[..] else { panic!("one list") };
    assert_eq!((list.name.as_str(), list.map.as_str(), list.key_size, list.value_size), ("top", "m", 4, 8));
    assert_eq!(list.key[0].tags.last().unwrap(), "role:key");
    assert_eq!((list.value[0].name.as_str(), list.value[0].offset), ("hits", 4));
    assert!(!list.value[0].tags.contains(&"role:key".to_owned()));
}

#[test]
fn parameters_have_types_and_defaults() {
    let mut builder = Builder::new();
    let pid = builder.w.reference("gadget_pid", TypeKind::Typedef, builder.int);
    let volatile = builder.w.reference("", TypeKind::Volatile, pid);
    let constant = builder.w.reference("", TypeKind::Const, volatile);
    builder.variable("targ_pid", ".rodata", constant, 8);
    let object = builder.marker("gadget_param_targ_pid").parse().unwrap();
    let [param] = &object.params[..] else { panic!("one parameter") };
    assert_eq!((param.section.as_str(), param.offset, param.size), (".rodata", 8, 4));
    assert_eq!(param.param_type, ParamType::Int { size: 4, signed: false });
    assert_eq!(param.type_names, ["gadget_pid", "unsigned int"]);
    assert_eq!(param.default.as_deref(), Some(&[7u8; 4][..]));
    assert_eq!(param.well_known().unwrap().key, "pid");
    assert!(object.variable("targ_pid").is_some());
}

#[test]
fn a_parameter_must_be_constant_and_in_its_section() {
    let with = |section, offset| {
        let mut builder = Builder::new();
        builder.variable("x", section, builder.int, offset);
        builder.marker("gadget_param_x").parse().unwrap_err().to_string()
    };
    insta::assert_snapshot!(with(".bss", 0), @"marker gadget_param_x: its variable is not `const volatile`; correct the gadget's source and build it again");
    insta::assert_snapshot!(with(".rodata", 30), @"marker gadget_param_x: its variable lies outside of its section; correct the gadget's source and build it again");
}

#[test]
fn variables_know_what_they_hold() {
    let mut b = Builder::new();
    let int = b.int;
    let char = b.w.int("char", 1, SIGNED);
    let text = b.w.array(char, int, 24);
    let truth = b.w.int("_Bool", 1, btf::BOOL);
    let ip = b.w.composite("gadget_l3endpoint_t", TypeKind::Struct, 32, false, &[]);
    let double = b.w.put("double", TypeKind::Float, false, 0, 8, &[]);
    let other = b.w.composite("other", TypeKind::Struct, 4, false, &[]);
    for (name, id) in [("t", text), ("b", truth), ("i", ip), ("f", double), ("o", other)] {
        b.variable(name, ".rodata", id, 0);
    }
    let types: Vec<_> = b.parse().unwrap().variables.iter().map(|v| v.param_type).collect();
    let expected =
        [ParamType::String { max: 24 }, ParamType::Bool, ParamType::Ip, ParamType::Float, ParamType::Unknown];
    assert_eq!(types, expected);
}

#[test]
fn programs_are_functions_of_their_sections() {
    let builder =
        Builder::new().program("main", "kprobe/x").program("helper", ".text").program("gadget_pf_a", ".text");
    let object = builder.parse().unwrap();
    assert_eq!(object.programs, [Program { name: "main".into(), section: "kprobe/x".into() }]);
    assert_eq!(object.packet_filters, ["a"]);
}

#[test]
fn well_known_parameters_need_name_and_type() {
    assert_eq!(well_known("gadget_uid", "targ_uid").unwrap().key, "uid");
    assert_eq!(well_known("gadget_gid", "targ_uid"), None);
    let ustack = well_known("bool", "collect_ustack").unwrap();
    assert_eq!((ustack.key, ustack.process_filter), ("collect-ustack", false));
}

#[test]
fn structs_that_multiply_are_refused() {
    let mut builder = Builder::new().map("events", MAP_TYPE_RINGBUF, None);
    let mut inner = builder.w.composite("s0", TypeKind::Struct, 4, false, &[("x", builder.int, 0)]);
    for level in 1..20 {
        let name = if level == 19 { "event".to_owned() } else { format!("s{level}") };
        let members = [("a", inner, 0), ("b", inner, 0), ("c", inner, 0), ("d", inner, 0)];
        inner = builder.w.composite(&name, TypeKind::Struct, 4, false, &members);
    }
    let error = builder.marker("gadget_tracer_t___events___event").parse().unwrap_err();
    insta::assert_snapshot!(error, @"struct event has more fields, with those before it, than are accepted; make it smaller and build the gadget again");
}

#[test]
fn more_markers_than_any_gadget_has_are_refused() {
    let with = |markers| {
        let builder = Builder::new().map("events", MAP_TYPE_RINGBUF, None);
        (0..markers).fold(builder, |builder, _| builder.marker("gadget_map_tracer_events")).parse()
    };
    assert_eq!(with(1024).unwrap().tracer_maps.len(), 1024);
    insta::assert_snapshot!(with(1025).unwrap_err(), @"marker gadget_map_tracer_events: there are 1024 markers before it, the most allowed; correct the gadget's source and build it again");
}

#[test]
fn a_struct_within_itself_is_refused() {
    let mut builder = Builder::new().map("events", MAP_TYPE_RINGBUF, None);
    let own = builder.w.next_id();
    builder.w.composite("event", TypeKind::Struct, 4, false, &[("again", own, 0)]);
    let error = builder.marker("gadget_tracer_t___events___event").parse().unwrap_err();
    insta::assert_snapshot!(error, @"struct event has more than 32 levels of structs; make it smaller and build the gadget again");
}

#[test]
fn every_truncation_is_an_error() {
    let good = tracer().build();
    for length in 0..good.len() {
        assert!(Object::parse(&good[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn flipped_bytes_do_no_harm(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = tracer().program("p", "iter/task").marker("gadget_iter_a___event___p").build();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Object::parse(&bytes);
    }
}
