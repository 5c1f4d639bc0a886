//! Calls of a guest, in any order, with any arguments: handles that are stale, invented or meant for something else,
//! spans that lead anywhere. Every call is answered, and the host lives on.
//!
//! The input is read as calls: a function, a step of the guest's life to make it in, and for each argument how it comes
//! about. What functions answer is kept, so that handles are used that there are.
#![no_main]

#[path = "../guest.rs"]
mod guest;

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;

/// Functions of the guest API with the types of their arguments and results: a number of 32 or 64 bits.
const FUNCTIONS: [(&str, &str, &str); 41] = [
    ("gadgetLog", "il", ""),
    ("gadgetShouldLog", "i", "i"),
    ("newDataSource", "li", "i"),
    ("getDataSource", "l", "i"),
    ("dataSourceSubscribe", "iiil", "i"),
    ("dataSourceGetField", "il", "i"),
    ("dataSourceAddField", "ili", "i"),
    ("dataSourceNewPacketSingle", "i", "i"),
    ("dataSourceNewPacketArray", "i", "i"),
    ("dataSourceEmitAndRelease", "ii", "i"),
    ("dataSourceRelease", "ii", "i"),
    ("dataSourceUnreference", "i", "i"),
    ("dataSourceIsReferenced", "i", "i"),
    ("dataArrayNew", "i", "i"),
    ("dataArrayAppend", "ii", "i"),
    ("dataArrayRelease", "ii", "i"),
    ("dataArrayLen", "i", "i"),
    ("dataArrayGet", "ii", "i"),
    ("fieldGetScalar", "iiii", "l"),
    ("fieldGetBuffer", "iiil", "i"),
    ("fieldSet", "iiil", "i"),
    ("fieldAddTag", "il", "i"),
    ("getParamValue", "ll", "i"),
    ("setConfig", "lli", "i"),
    ("newMap", "liiii", "i"),
    ("getMap", "l", "i"),
    ("mapLookup", "ill", "i"),
    ("mapUpdate", "illl", "i"),
    ("mapDelete", "il", "i"),
    ("mapRelease", "i", "i"),
    ("releaseHandle", "i", "i"),
    ("getSyscallName", "il", "i"),
    ("getSyscallID", "l", "i"),
    ("getSyscallDeclaration", "ll", "i"),
    ("newPerfReader", "iii", "i"),
    ("perfReaderPause", "i", "i"),
    ("perfReaderResume", "i", "i"),
    ("perfReaderRead", "il", "i"),
    ("perfReaderClose", "i", "i"),
    ("kallsymsSymbolExists", "l", "i"),
    ("shouldDiscardMntnsID", "l", "i"),
];

/// Texts that mean something, one behind the other.
const TEXTS: &str = "eventslistnumbercommtextkeymapwritescheduleport";
/// Where they begin and how long they are.
const SPANS: [(u64, u64); 10] =
    [(0, 6), (6, 4), (10, 6), (16, 4), (20, 4), (24, 3), (27, 3), (30, 5), (35, 8), (43, 4)];
/// Numbers on which something turns: kinds of fields among them, and handles of elements.
const EDGES: [u32; 14] =
    [0, 1, 2, 3, 4, 12, 13, 14, 0x1000_0007, 0x7fff, 0xffff, 0x8000_0001, 0x8001_0005, u32::MAX];

/// Steps of the guest's life.
const STEPS: usize = 6;

/// Most calls in one guest.
const MAX_CALLS: usize = 64;

/// How an argument comes about: the answer to an earlier call, the event, a number, or a span.
fn argument(kind: char, choice: u8, text: &mut String) {
    let index = usize::from(choice) / 4;
    let _ = match (kind, choice % 4) {
        ('i', 0 | 1) => write!(text, "(i32.load (i32.const {}))", 1024 + index * 4),
        ('i', 2) => write!(text, "(local.get 2)"),
        ('i', _) => write!(text, "(i32.const {})", EDGES[index % EDGES.len()] as i32),
        (_, 0) => write!(text, "(i64.const {})", (u64::from(choice) << 32 | 2048) as i64),
        (_, 1) => {
            let wide =
                u64::from(EDGES[index % EDGES.len()]) << 32 | u64::from(EDGES[(index / 3) % EDGES.len()]);
            write!(text, "(i64.const {})", wide as i64)
        }
        _ => {
            let (start, len) = SPANS[index % SPANS.len()];
            write!(text, "(i64.const {})", len << 32 | start)
        }
    };
}

fn module(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut steps: [String; STEPS] = Default::default();
    for at in 0..MAX_CALLS {
        let Some((&[function, step], rest)) = data.split_first_chunk() else { break };
        data = rest;
        let (name, arguments, result) = FUNCTIONS[usize::from(function) % FUNCTIONS.len()];
        let step = &mut steps[usize::from(step) % STEPS];
        let mut call = format!("(call ${name}");
        for kind in arguments.chars() {
            let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
            data = rest;
            argument(kind, *choice, &mut call);
        }
        call.push(')');
        let place = 1024 + at * 4;
        let _ = match result {
            "i" => write!(step, "(i32.store (i32.const {place}) {call})"),
            "l" => write!(step, "(i64.store (i32.const {place}) {call})"),
            _ => write!(step, "{call}"),
        };
    }
    let types =
        |text: &str| -> String { text.chars().map(|c| if c == 'i' { " i32" } else { " i64" }).collect() };
    let mut text = String::from("(module ");
    for (name, arguments, result) in FUNCTIONS {
        let result = if result.is_empty() { String::new() } else { format!("(result{})", types(result)) };
        let _ =
            write!(text, "(import \"ig\" \"{name}\" (func ${name} (param{}) {result}))", types(arguments));
    }
    let _ = write!(
        text,
        "(memory (export \"memory\") 1) (data (i32.const 0) \"{TEXTS}\")
         (func (export \"gadgetAPIVersion\") (result i64) (i64.const 1))
         (func (export \"igxHost\"))"
    );
    let life = ["gadgetInit", "gadgetPreStart", "gadgetStart", "gadgetStop", "gadgetPostStop"];
    for (name, calls) in life.iter().zip(&steps) {
        // Each begins with a subscription, and with locals where the event's handle is looked for.
        let begin = "(drop (call $dataSourceSubscribe (call $getDataSource (i64.const 0x600000000))
            (i32.const 1) (i32.const 0) (i64.const 0)))";
        let begin = if *name == "gadgetInit" { begin } else { "" };
        let _ = write!(
            text,
            "(func (export \"{name}\") (result i32) (local i32 i32 i32) {begin} {calls} (i32.const 0))"
        );
    }
    let _ = write!(
        text,
        "(func (export \"igxDataSourceCallback\") (param i64 i32 i32) (result i32) {} (i32.const 0)))",
        steps[STEPS - 1]
    );
    wat::parse_str(&text).ok()
}

fuzz_target!(|data: &[u8]| {
    if let Some(module) = module(data) {
        guest::live(&module);
    }
});
