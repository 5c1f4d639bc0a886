use proptest::prelude::*;

use super::elf::Elf;
use super::elf::tests::elf;
use super::relocation::{RelocationKind, essential_name, relocations};
use super::write::Writer;
use super::*;

/// One type of every kind.
fn every_kind() -> Vec<u8> {
    use TypeKind::*;
    let mut w = Writer::default();
    let int = w.int("int", 4, SIGNED); // 1
    let pointer = w.reference("", Ptr, int); // 2
    let array = w.array(int, int, 3); // 3
    let members = [("a", int, 0), ("bits", int, 5 << 24 | 32), ("p", pointer, 64)];
    let structure = w.composite("s", Struct, 16, true, &members); // 4
    w.composite("u", Union, 4, false, &[("x", int, 0)]); // 5
    let names = [w.string("LOW"), w.string("HIGH"), w.string("HUGE")];
    w.put("e", Enum, true, 2, 4, &[names[0], -1i32 as u32, names[1], 7]); // 6
    w.reference("f", Fwd, 0); // 7
    let typedef = w.reference("t", Typedef, array); // 8
    let volatile = w.reference("", Volatile, typedef); // 9
    let constant = w.reference("", Const, volatile); // 10
    w.reference("", Restrict, constant); // 11
    let argument = w.string("argument");
    let prototype = w.put("", FuncProto, false, 1, int, &[argument, structure]); // 12
    w.put("main", Func, false, 0, prototype, &[]); // 13
    let variable = w.put("v", Var, false, 0, int, &[1]); // 14
    w.put(".data", Datasec, false, 1, 4, &[variable, 0, 4]); // 15
    w.put("double", Float, false, 0, 8, &[]); // 16
    w.put("mark", DeclTag, false, 0, structure, &[0]); // 17
    w.reference("user", TypeTag, int); // 18
    w.put("e64", Enum64, false, 1, 8, &[names[2], 1, 2]); // 19
    w.finish()
}

#[test]
fn every_kind_is_read_back() {
    let bytes = every_kind();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.len(), 19);
    let mut kinds: Vec<u8> = btf.types().map(|t| t.kind as u8).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, (1..=19).collect::<Vec<u8>>());

    let members: Vec<_> = btf.members(btf.find(TypeKind::Struct, "s").unwrap()).collect();
    assert_eq!(members[0], Member { name: "a", type_id: 1, bit_offset: 0, bitfield_size: 0 });
    assert_eq!(members[1], Member { name: "bits", type_id: 1, bit_offset: 32, bitfield_size: 5 });

    let values: Vec<_> = btf.enumerators(btf.find_enum("e").unwrap()).map(|e| (e.name, e.value)).collect();
    assert_eq!(values, [("LOW", -1), ("HIGH", 7)]);
    let values: Vec<_> = btf.enumerators(btf.find_enum("e64").unwrap()).map(|e| e.value).collect();
    assert_eq!(values, [2 << 32 | 1]);

    let prototype = btf.get(12).unwrap();
    assert_eq!(
        prototype.params().map(|p| (btf.string(p.name_off), p.type_id)).collect::<Vec<_>>(),
        [("argument", 4)]
    );
    let section = btf.find(TypeKind::Datasec, ".data").unwrap();
    assert_eq!(section.variables().collect::<Vec<_>>(), [SecVar { type_id: 14, offset: 0, size: 4 }]);
}

#[test]
fn sizes_go_through_modifiers_and_arrays() {
    let bytes = every_kind();
    let btf = Btf::parse(&bytes).unwrap();
    let size = |id| btf.size_of(id);
    assert_eq!((size(1), size(2), size(3), size(4)), (Some(4), Some(8), Some(12), Some(16)));
    assert_eq!(size(11), Some(12), "restrict const volatile t, an int[3]");
    assert_eq!((size(0), size(7), size(12), size(20)), (None, None, None, None));
    assert_eq!(btf.resolve(11).unwrap().kind, TypeKind::Array);
}

#[test]
fn cycles_end() {
    let mut w = Writer::default();
    w.reference("a", TypeKind::Typedef, 2);
    w.reference("", TypeKind::Const, 1);
    w.array(3, 3, 1);
    let bytes = w.finish();
    let btf = Btf::parse(&bytes).unwrap();
    assert!(btf.resolve(1).is_none());
    assert_eq!((btf.size_of(1), btf.size_of(3)), (None, None));
}

#[test]
fn a_size_past_32_bits_is_none() {
    let mut w = Writer::default();
    let int = w.int("int", 4, 0);
    w.array(int, int, u32::MAX);
    let bytes = w.finish();
    assert_eq!(Btf::parse(&bytes).unwrap().size_of(2), None);
}

#[test]
fn headers_are_checked() {
    let good = every_kind();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Btf::parse(&bytes).map(|b| b.len()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(with(0, 0), @"BTF is not what was expected: the magic number is 0xeb00, not 0xeb9f");
    insta::assert_snapshot!(with(2, 2), @"BTF is not what was expected: its version is 2, not 1");
    insta::assert_snapshot!(with(4, 8), @"BTF is not what was expected: its header says it is 8 bytes long");
    insta::assert_snapshot!(with(HEADER + 7, 31), @"BTF is not what was expected: it has a type of unknown kind 31; a later version may read it");
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    insta::assert_snapshot!(Btf::parse(&swapped).unwrap_err(), @"BTF is not what was expected: it is big-endian; only little-endian is supported");
}

#[test]
fn every_truncation_is_an_error() {
    let good = every_kind();
    for length in 0..good.len() {
        assert!(Btf::parse(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn flavours_are_cut_off() {
    let names = ["task_struct___old", "task_struct", "a___b___c", "___x", "a___", "a____b", "_", ""];
    let cut: Vec<_> = names.iter().map(|n| essential_name(n)).collect();
    assert_eq!(cut, ["task_struct", "task_struct", "a___b", "___x", "a___", "a____b", "_", ""]);
}

#[test]
fn relocations_are_read_once_each() {
    let record = [0u32, 5, 9, 0, 8, 5, 9, 0, 16, 6, 1, 10];
    let ext = minimal::tests::ext(&record);
    let found = relocations(&ext).unwrap();
    let kinds: Vec<_> = found.iter().map(|r| (r.kind, r.type_id, r.access)).collect();
    assert_eq!(kinds, [(RelocationKind::Field, 5, 9), (RelocationKind::EnumValue, 6, 1)]);
    for length in 0..ext.len() {
        assert!(relocations(&ext[..length]).is_err(), "{length} bytes");
    }
    let unknown = minimal::tests::ext(&[0, 5, 9, 99]);
    insta::assert_snapshot!(relocations(&unknown).unwrap_err(), @".BTF.ext is not what was expected: relocation kind 99 is unknown; a later version may read it");
}

/// Looks at everything there is.
fn visit(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for t in btf.types() {
        let _ = (btf.name(t), btf.size_of(t.id), btf.resolve(t.id).map(|t| t.id), t.array(), t.int());
        let _ = btf.members(t).map(|m| m.name.len()).sum::<usize>();
        let _ = btf.enumerators(t).map(|e| e.name.len()).sum::<usize>();
        let _ = (t.params().count(), t.variables().count());
    }
}

proptest! {
    #[test]
    fn anything_can_be_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        visit(&bytes);
        let _ = relocations(&bytes);
        let _ = Elf::parse(&bytes);
    }

    #[test]
    fn flipped_bytes_do_no_harm(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = every_kind();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        visit(&bytes);
    }

    #[test]
    fn a_damaged_elf_does_no_harm(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = elf(&[(".BTF", &every_kind(), false)], &[("v", 1, 0, false)]);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(elf) = Elf::parse(&bytes) {
            let _ = elf.btf();
        }
    }
}
