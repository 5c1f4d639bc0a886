use proptest::prelude::*;

use super::*;
use crate::object::Map;

fn one(opcode: u8, registers: u8, offset: i16, imm: i32) -> Vec<u8> {
    let mut bytes = vec![opcode, registers];
    bytes.extend(offset.to_le_bytes());
    bytes.extend(imm.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn text(opcode: u8, registers: u8, offset: i16, imm: i32) -> String {
    Instruction::read(&one(opcode, registers, offset, imm)).unwrap().to_string()
}

fn instruction(opcode: u8, registers: u8, imm: i32) -> Instruction<'static> {
    Instruction::read(&one(opcode, registers, 0, imm)).unwrap()
}

#[test]
fn instructions_are_written_as_inspektor_gadget_writes_them() {
    assert_eq!(text(0xbf, 0x16, 0, 0), "MovReg dst: r6 src: r1");
    assert_eq!(text(0x07, 0x0a, 0, -24), "AddImm dst: rfp imm: -24");
    assert_eq!(text(0xb4, 0x01, 0, 3), "Mov32Imm dst: r1 imm: 3");
    assert_eq!(text(0x55, 0x00, 140, 0), "JNEImm dst: r0 off: 140 imm: 0");
    assert_eq!(text(0x5d, 0x21, -3, 0), "JNEReg dst: r1 off: -3 src: r2");
    assert_eq!(text(0x05, 0, 81, 0), "Ja off: 81");
    assert_eq!(text(0x69, 0xa1, -12, 0), "LdXMemH dst: r1 src: rfp off: -12 imm: 0");
    assert_eq!(text(0x7b, 0x1a, -80, 0), "StXMemDW dst: rfp src: r1 off: -80 imm: 0");
    assert_eq!(text(0xdb, 0x10, 0, 0), "StXAtomicAddDW dst: r0 src: r1 off: 0");
    assert_eq!(text(0xdc, 0x07, 0, 16), "SwapBE dst: r7 ");
    assert_eq!(text(0x28, 0, 0, 12), "LdAbsH imm: 12");
    assert_eq!(text(0x50, 0x70, 0, 0), "LdIndB dst: r0 src: r7 imm: 0");
    assert_eq!(text(0x85, 0, 0, 1), "Call FnMapLookupElem");
    assert_eq!(text(0x95, 0, 0, 0), "Exit");
    assert_eq!(text(0x18, 0x08, 0, -1), "LdImmDW dst: r8 imm: 4294967295");
    assert_eq!(text(0xff, 0, 0, 0), "OpCode(0xff)");
    let mut call = instruction(0x85, 0x10, 4);
    call.refer_to_function("other");
    assert_eq!(call.to_string(), "Call -1 <other>");
    let mut load = instruction(0x18, 0x03, 0);
    load.refer_to_value(".rodata", 20);
    assert_eq!(load.to_string(), "LoadMapValue dst: r3, fd: 0 off: 20 <.rodata>");
}

fn using(map: &'static str, register: u8, helper: i32) -> [Instruction<'static>; 2] {
    let mut load = instruction(0x18, register, 0);
    load.refer_to_map(map);
    [load, instruction(0x85, 0, helper)]
}

fn code(instructions: Vec<Instruction<'static>>) -> Code<'static> {
    Code {
        functions: vec![Function { name: "prog", instructions }],
        programs: vec![LinkedProgram { name: "prog", section: "xdp", functions: vec![0] }],
    }
}

#[test]
fn charts_show_who_uses_which_map() {
    let accesses =
        [using("m", 1, 2), using("m", 1, 1), using("e", 2, 25), using("m", 1, 1), using("n", 2, 1)].concat();
    let code = code(accesses);
    let map = |name: &str| Map { name: name.to_owned(), ..Map::default() };
    insta::assert_snapshot!(code.flowchart(&[map("n"), map("m"), map("e")]).unwrap(), @r#"
    flowchart LR
    e[("e")]
    m[("m")]
    n[("n")]
    prog -- "Lookup+Update" --> m
    prog -- "EventOutput" --> e
    prog["prog"]
    "#);
    insta::assert_snapshot!(code.sequence().unwrap(), @"
    sequenceDiagram
    box eBPF Programs
    participant prog
    end
    box eBPF Maps
    participant m
    participant e
    end
    prog->>m: Update
    prog->>m: Lookup
    prog->>e: EventOutput
    ");
}

#[test]
fn hostile_names_stay_within_their_node() {
    let code = code(using("x\"]\n\u{1b}[31m", 1, 1).to_vec());
    assert!(code.flowchart(&[]).unwrap().contains("prog -- \"Lookup\" --> x_____31m\n"));
}

#[test]
fn text_is_bounded() {
    let mut left = 10;
    assert_eq!(write(&mut left, |out| write!(out, "12345")).unwrap(), "12345");
    let error = write(&mut left, |out| write!(out, "123456")).unwrap_err();
    insta::assert_snapshot!(error, @"its programs have more than 67108864 bytes of text, which is too much to show; look at it with llvm-objdump");
}

#[test]
fn functions_are_linked_breadth_first_and_once() {
    let calls = vec![vec![1, 2], vec![3, 1], vec![0], vec![2]];
    assert_eq!(link(0, &calls, &mut 10).unwrap(), [0, 1, 2, 3]);
    assert!(link(0, &calls, &mut 2).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_an_instruction_with_a_text(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Some(instruction) = Instruction::read(&bytes) {
            prop_assert!(!instruction.to_string().is_empty());
        }
    }
}
