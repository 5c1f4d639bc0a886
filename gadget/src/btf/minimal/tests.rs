use proptest::prelude::*;

use super::*;
use crate::btf::elf::tests::elf;
use crate::btf::{BOOL, CHAR};

/// A section `.BTF.ext` with these relocation records of four words each, in one code section.
pub(crate) fn ext(records: &[u32]) -> Vec<u8> {
    let mut out = vec![0x9f, 0xeb, 1, 0];
    let length = 4 + 8 + 4 * records.len() as u32;
    for word in [32, 0, 0, 0, 0, 0, length, 16, 0, records.len() as u32 / 4].iter().chain(records) {
        out.extend(word.to_le_bytes());
    }
    out
}

const FIELD: u32 = 0;
const TYPE_ID: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const ENUM_VALUE: u32 = 10;
const TYPE_MATCHES: u32 = 12;

/// A kernel with more types than anything asks for.
fn kernel() -> Vec<u8> {
    use TypeKind::*;
    let mut w = Writer::default();
    let long = w.int("long", 8, SIGNED);
    let int = w.int("int", 4, SIGNED);
    let noise = w.composite("noise", Struct, 8, false, &[("n", long, 0)]);
    let noise_pointer = w.reference("", Ptr, noise);
    let pid = w.reference("pid_t", Typedef, int);
    let inner =
        w.composite("", Struct, 16, false, &[("skipped", long, 0), ("pid", pid, 64), ("other", int, 96)]);
    let sub =
        w.composite("sub", Struct, 16, true, &[("x", int, 0), ("y", int, 32), ("flags", int, 3 << 24 | 64)]);
    let subs = w.array(sub, int, 4);
    let members = [
        ("state", long, 0),
        ("link", noise_pointer, 64),
        ("", inner, 128),
        ("subs", subs, 256),
        ("tail", long, 768),
    ];
    w.composite("task", Struct, 104, false, &members);
    let names = [w.string("FIRST"), w.string("SECOND")];
    w.put("choice", Enum, false, 2, 4, &[names[0], 0, names[1], 5]);
    w.put("wide", Enum64, false, 1, 8, &[names[0], 1, 1]);
    w.composite("task", Union, 4, false, &[("state", int, 0)]);
    w.composite("task___twin", Struct, 8, false, &[("state", long, 0)]);
    w.composite("vector", Struct, 8, false, &[("length", long, 0)]);
    let prototype_argument = w.string("task");
    let prototype = w.put("", FuncProto, false, 1, int, &[prototype_argument, noise_pointer]);
    w.reference("callback", Typedef, prototype);
    w.finish()
}

/// An object whose relocations are (name of the root type, access string, kind), against its own idea of the types.
fn object(relocations: &[(&str, &str, u32)]) -> Vec<u8> {
    use TypeKind::*;
    let mut w = Writer::default();
    let int = w.int("int", 4, SIGNED);
    let sub = w.composite("sub", Struct, 8, false, &[("y", int, 0), ("flags", int, 32)]);
    let subs = w.array(sub, int, 4);
    let anonymous = w.composite("", Union, 4, false, &[("pid", int, 0)]);
    let members = [("subs", subs, 0), ("", anonymous, 256), ("state", int, 288), ("absent", int, 320)];
    let name = w.string("SECOND");
    let roots = [
        ("task", w.composite("task___mine", Struct, 44, false, &members)),
        ("choice", w.put("choice", Enum, false, 1, 4, &[name, 1])),
        ("wide", w.put("wide", Enum, false, 1, 4, &[name, 1])),
        ("callback", w.reference("callback", Typedef, int)),
        ("nowhere", w.composite("nowhere", Struct, 4, false, &[("a", int, 0)])),
        (
            "value",
            w.composite("gadget_socket_value", Struct, 8, false, &[("cwd", int, 0), ("uid_gid", int, 32)]),
        ),
    ];
    let mut records = Vec::new();
    for (root, access, kind) in relocations {
        let id = roots.iter().find(|(name, _)| name == root).unwrap().1;
        records.extend([0, id, w.string(access), *kind]);
    }
    elf(&[(".BTF", &w.finish(), false), (".BTF.ext", &ext(&records), false)], &[])
}

/// The types of some BTF, one a line.
fn show(bytes: &[u8]) -> String {
    let btf = Btf::parse(bytes).unwrap();
    let mut lines = Vec::new();
    for t in btf.types() {
        let mut line = format!("{} {:?} {:?}", t.id, t.kind, btf.name(t));
        if let Some(target) = t.target() {
            line += &format!(" -> {target}");
        } else if let Some((element, _, length)) = t.array() {
            line += &format!(" {element} x {length}");
        } else {
            line += &format!(" size {}", t.size_or_type);
        }
        for m in btf.members(t) {
            let width = if m.bitfield_size == 0 { String::new() } else { format!("/{}", m.bitfield_size) };
            line += &format!(" {}:{}@{}{width}", m.name, m.type_id, m.bit_offset);
        }
        for e in btf.enumerators(t) {
            line += &format!(" {}={}", e.name, e.value);
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn cut(relocations: &[(&str, &str, u32)]) -> String {
    show(&minimal(&object(relocations), &kernel(), &[], &[]).unwrap())
}

#[test]
fn nothing_asked_nothing_kept() {
    assert_eq!(cut(&[]), "");
    let without = elf(&[(".BTF", &Writer::default().finish(), false)], &[]);
    assert_eq!(show(&minimal(&without, &kernel(), &[], &[]).unwrap()), "");
}

#[test]
fn a_field_keeps_its_place_and_type_in_every_flavour() {
    insta::assert_snapshot!(cut(&[("task", "0:2", FIELD)]), @r#"
1 Int "long" size 8
2 Struct "task" size 104 state:1@0
3 Struct "task___twin" size 8 state:1@0
"#);
}

#[test]
fn anonymous_members_arrays_and_bit_fields_are_followed() {
    insta::assert_snapshot!(cut(&[("task", "0:1:0", FIELD)]), @r#"
1 Int "int" size 4
2 Typedef "pid_t" -> 1
3 Struct "" size 16 pid:2@64
4 Struct "task" size 104 :3@128
5 Struct "task___twin" size 8
"#);
    insta::assert_snapshot!(cut(&[("task", "0:0:2:1", FIELD)]), @r#"
1 Int "int" size 4
2 Struct "sub" size 16 flags:1@64/3
3 Array "" 2 x 4
4 Struct "task" size 104 subs:3@256
5 Struct "task___twin" size 8
"#);
}

#[test]
fn what_the_kernel_lacks_is_left_out() {
    let result =
        stand_in(&object(&[("task", "0:3", FIELD), ("nowhere", "0:0", FIELD)]), &kernel(), &[], &[]).unwrap();
    assert_eq!(result.missing, ["nowhere"]);
    insta::assert_snapshot!(show(&result.btf), @r#"
1 Struct "task" size 104
2 Struct "task___twin" size 8
"#);
}

#[test]
fn enumerations_are_kept_whole_at_either_width() {
    insta::assert_snapshot!(cut(&[("choice", "0", ENUM_VALUE), ("wide", "0", ENUM_VALUE)]), @r#"
1 Enum "choice" size 4 FIRST=0 SECOND=5
2 Enum64 "wide" size 8 FIRST=4294967297
"#);
    let named = minimal(&object(&[]), &kernel(), &[], &["choice", "no such"]).unwrap();
    insta::assert_snapshot!(show(&named), @r#"1 Enum "choice" size 4 FIRST=0 SECOND=5"#);
}

#[test]
fn types_are_kept_as_far_as_they_are_compared() {
    insta::assert_snapshot!(cut(&[("task", "0", TYPE_EXISTS)]), @r#"
1 Struct "task" size 104
2 Struct "task___twin" size 8
"#);
    insta::assert_snapshot!(cut(&[("callback", "0", TYPE_EXISTS)]), @r#"
1 Int "int" size 4
2 Struct "noise" size 8
3 Ptr "" -> 2
4 FuncProto "" -> 1
5 Typedef "callback" -> 4
"#);
    insta::assert_snapshot!(cut(&[("task", "0", TYPE_MATCHES)]), @r#"
1 Int "long" size 8
2 Int "int" size 4
3 Struct "noise" size 8
4 Ptr "" -> 3
5 Typedef "pid_t" -> 2
6 Struct "" size 16 skipped:1@0 pid:5@64 other:2@96
7 Struct "sub" size 16 x:2@0 y:2@32 flags:2@64/3
8 Array "" 7 x 4
9 Struct "task" size 104 state:1@0 link:4@64 :6@128 subs:8@256 tail:1@768
10 Struct "task___twin" size 8 state:1@0
"#);
}

#[test]
fn type_ids_need_the_whole_kernel() {
    let all = minimal(&object(&[("task", "0", TYPE_ID)]), &kernel(), &[socket_value(0, 0)], &[]).unwrap();
    let (all, whole) = (show(&all), show(&kernel()));
    assert!(all.starts_with(&whole));
    insta::assert_snapshot!(all[whole.len()..].lines().last().unwrap(), @r#"32 Struct "gadget_socket_value" size 96 mntns:17@0 pid_tgid:18@64 uid_gid:19@128 task:22@192 ptask:25@320 sock:26@448 deletion_timestamp:27@512 ppid:28@576 ptid:29@608 ipv6only:30@640 igx_cgroup:31@704"#);
}

#[test]
fn an_array_does_not_become_flexible_by_what_is_left_out() {
    let mut w = Writer::default();
    let int = w.int("int", 4, SIGNED);
    let none = w.array(int, int, 0);
    w.composite(
        "task",
        TypeKind::Struct,
        8,
        false,
        &[("state", none, 0), ("gone", int, 0), ("last", int, 32)],
    );
    let bytes = minimal(&object(&[("task", "0:2", FIELD)]), &w.finish(), &[], &[]).unwrap();
    insta::assert_snapshot!(show(&bytes), @r#"
1 Int "int" size 4
2 Array "" 1 x 0
3 Struct "task" size 8 state:2@0 last:1@32
"#);
}

#[test]
fn the_socket_value_has_room_for_what_is_asked() {
    assert_eq!(socket_value(0, 0).size, 96);
    let both = socket_value(512, 256);
    assert_eq!(both.size, 96 + 512 + 256);
    let last = &both.members[both.members.len() - 2..];
    assert_eq!(last[0], ("cwd".to_owned(), MemberType::CharArray(512), 96));
    assert_eq!(last[1], ("exepath".to_owned(), MemberType::CharArray(256), 608));
    let bytes = minimal(&object(&[("value", "0:1", FIELD)]), &kernel(), &[both], &[]).unwrap();
    let btf = Btf::parse(&bytes).unwrap();
    let found = btf.find(TypeKind::Struct, "gadget_socket_value").unwrap();
    for member in btf.members(found) {
        let size = btf.size_of(member.type_id).unwrap();
        assert!(member.bit_offset / 8 + size <= 864, "{} lies within", member.name);
    }
    assert_eq!(btf.members(found).nth(2).unwrap().bit_offset, 16 * 8);
}

#[test]
fn objects_say_what_they_ask_of_the_socket_value() {
    let needs = |relocations: &[_]| needs_socket_value(&object(relocations)).unwrap();
    assert_eq!(needs(&[("task", "0:2", FIELD)]), None);
    assert_eq!(needs(&[("value", "0:1", FIELD)]), Some(SocketFields::default()));
    assert_eq!(needs(&[("value", "0:0", 2)]), Some(SocketFields { cwd: true, exepath: false }));
}

#[test]
fn member_types_are_those_of_c() {
    let members = [("a", MemberType::U8), ("b", MemberType::Char)].map(|(n, t)| (n.to_owned(), t, 0)).into();
    let extra = SyntheticStruct { name: "x".to_owned(), size: 1, members };
    let bytes = minimal(&object(&[]), &kernel(), &[extra], &[]).unwrap();
    let btf = Btf::parse(&bytes).unwrap();
    let encodings: Vec<u8> = btf.types().filter_map(|t| Some(t.int()?.0 & (SIGNED | CHAR | BOOL))).collect();
    assert_eq!(encodings, [0, SIGNED]);
}

proptest! {
    #[test]
    fn damage_to_either_side_does_no_harm(
        of_kernel: bool,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let asked = [("task", "0:0:2:1", FIELD), ("task", "0:1:0", FIELD), ("task", "0", TYPE_MATCHES), ("choice", "0", ENUM_VALUE)];
        let (mut object, mut kernel) = (object(&asked), kernel());
        let bytes = if of_kernel { &mut kernel } else { &mut object };
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(result) = minimal(&object, &kernel, &[socket_value(16, 16)], &["choice"]) {
            prop_assert!(Btf::parse(&result).is_ok(), "{:?}", Btf::parse(&result).err());
        }
        let _ = needs_socket_value(&object);
    }

    #[test]
    fn the_access_string_can_be_anything(access in "[0-9:a]{0,40}") {
        let result = minimal(&object(&[("task", &access, FIELD)]), &kernel(), &[], &[]).unwrap();
        prop_assert!(Btf::parse(&result).is_ok());
    }
}
