//! Calls of a guest, in any order, with any arguments: handles that are stale, invented or meant for something else,
//! spans that lead anywhere. Every call is answered, and the host lives on.
//!
//! The input is read as calls: a function, a step of the guest's life to make it in, and for each argument how it comes
//! about. What functions answer is kept, so that handles are used that there are.
#![no_main]

#[path = "../guest.rs"]
mod guest;

use libfuzzer_sys::fuzz_target;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

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
fn argument(kind: char, choice: u8, code: &mut InstructionSink<'_>) {
    let index = usize::from(choice) / 4;
    match (kind, choice % 4) {
        ('i', 0 | 1) => code.i32_const(answer(index)).i32_load(PLAIN),
        ('i', 2) => code.local_get(2),
        ('i', _) => code.i32_const(EDGES[index % EDGES.len()] as i32),
        (_, 0) => code.i64_const((u64::from(choice) << 32 | 2048) as i64),
        (_, 1) => {
            let wide =
                u64::from(EDGES[index % EDGES.len()]) << 32 | u64::from(EDGES[(index / 3) % EDGES.len()]);
            code.i64_const(wide as i64)
        }
        _ => {
            let (start, len) = SPANS[index % SPANS.len()];
            code.i64_const((len << 32 | start) as i64)
        }
    };
}

/// Where the answer to a call is kept.
fn answer(call: usize) -> i32 {
    1024 + call as i32 * 4
}

const PLAIN: MemArg = MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(0), ordering: None };

fn types(letters: &str) -> Vec<ValType> {
    letters.chars().map(|c| if c == 'i' { ValType::I32 } else { ValType::I64 }).collect()
}

fn imported(name: &str) -> u32 {
    FUNCTIONS.iter().position(|function| function.0 == name).map_or(0, |at| at as u32)
}

/// The functions of each step of the guest's life, and the callback, filled with the calls that `data` says.
fn steps(mut data: &[u8]) -> [Function; STEPS] {
    let mut steps: [Function; STEPS] = std::array::from_fn(|step| {
        // The callback has three parameters; the others get as many locals, as calls may name the third.
        Function::new(if step == STEPS - 1 { vec![] } else { vec![(3, ValType::I32)] })
    });
    // It begins with a subscription, so that there are events.
    let mut begin = steps[0].instructions();
    begin.i64_const(6 << 32).call(imported("getDataSource")).i32_const(1).i32_const(0).i64_const(0);
    begin.call(imported("dataSourceSubscribe")).drop();
    for at in 0..MAX_CALLS {
        let Some((&[function, step], rest)) = data.split_first_chunk() else { break };
        data = rest;
        let index = usize::from(function) % FUNCTIONS.len();
        let (_, arguments, result) = FUNCTIONS[index];
        let mut code = steps[usize::from(step) % STEPS].instructions();
        if !result.is_empty() {
            code.i32_const(answer(at));
        }
        for kind in arguments.chars() {
            let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
            data = rest;
            argument(kind, *choice, &mut code);
        }
        code.call(index as u32);
        match result {
            "i" => code.i32_store(PLAIN),
            "l" => code.i64_store(PLAIN),
            _ => &mut code,
        };
    }
    for step in &mut steps {
        step.instructions().i32_const(0).end();
    }
    steps
}

fn module(data: &[u8]) -> Vec<u8> {
    let (mut signatures, mut imports) = (TypeSection::new(), ImportSection::new());
    for (at, (name, arguments, result)) in FUNCTIONS.into_iter().enumerate() {
        signatures.ty().function(types(arguments), types(result));
        imports.import("ig", name, EntityType::Function(at as u32));
    }
    let (mut functions, mut exports, mut code) =
        (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    let mut define = |name: &str, arguments: &str, result: &str, body: &Function| {
        let at = FUNCTIONS.len() as u32 + functions.len();
        signatures.ty().function(types(arguments), types(result));
        functions.function(at);
        exports.export(name, ExportKind::Func, at);
        code.function(body);
    };
    let mut version = Function::new([]);
    version.instructions().i64_const(1).end();
    define("gadgetAPIVersion", "", "l", &version);
    let mut told = Function::new([]);
    told.instructions().end();
    define("igxHost", "", "", &told);
    let life = ["gadgetInit", "gadgetPreStart", "gadgetStart", "gadgetStop", "gadgetPostStop"];
    for (name, body) in life.into_iter().zip(&steps(data)) {
        define(name, "", "i", body);
    }
    let [.., callback] = &steps(data);
    define("igxDataSourceCallback", "lii", "i", callback);
    exports.export("memory", ExportKind::Memory, 0);

    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut texts = DataSection::new();
    texts.active(0, &ConstExpr::i32_const(0), TEXTS.bytes());
    let mut module = Module::new();
    module.section(&signatures).section(&imports).section(&functions).section(&memory);
    module.section(&exports).section(&code).section(&texts);
    module.finish()
}

fuzz_target!(|data: &[u8]| guest::live(&module(data)));
