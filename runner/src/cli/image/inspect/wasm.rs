//! What a guest says about itself: the version of the interface that it was built for, and what it asks of its host.
//!
//! Guests in Go tell no version here: their runtime must be started first, and that needs a host that does something.

use wasmi::{
    Caller, Config, Engine, Error, ExternType, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, Val,
};

/// The module whose functions are the host's gadget interface.
const HOST: &str = "ig";
/// Instructions, roughly, that telling the version may take. It is a constant.
const FUEL: u64 = 1_000_000;
/// Bytes of memory that a guest may have.
const MEMORY: usize = 16 << 20;
/// Elements that its tables may have.
const TABLE: usize = 1 << 20;

/// A guest, as it is described.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Functions of the host that it imports, in its order.
    pub(super) upcalls: Vec<String>,
    /// The interface's version; nothing if it does not tell within bounds.
    pub(super) api_version: Option<u64>,
}

/// Reads a guest.
pub(super) fn describe(bytes: &[u8]) -> Result<Described, Error> {
    let mut config = Config::default();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, bytes)?;
    let imports = module.imports().filter(|i| i.module() == HOST && matches!(i.ty(), ExternType::Func(_)));
    let upcalls = imports.map(|i| i.name().to_owned()).collect();
    Ok(Described { upcalls, api_version: api_version(&engine, &module).ok() })
}

/// Asks the guest, with a host that refuses every call.
fn api_version(engine: &Engine, module: &Module) -> Result<u64, Error> {
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(TABLE).build();
    let mut store: Store<StoreLimits> = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL)?;
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for import in module.imports() {
        if let ExternType::Func(of) = import.ty() {
            let refuse = |_: Caller<'_, StoreLimits>, _: &[Val], _: &mut [Val]| {
                Err(Error::new("a guest may not call its host while it is inspected"))
            };
            linker.func_new(import.module(), import.name(), of.clone(), refuse)?;
        }
    }
    let instance = linker.instantiate_and_start(&mut store, module)?;
    let version = instance.get_typed_func::<(), u64>(&store, "gadgetAPIVersion")?;
    version.call(&mut store, ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guest(body: &str) -> Vec<u8> {
        let text = format!(
            r#"(module
                (import "ig" "gadgetLog" (func $log (param i32 i64)))
                (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (import "ig" "fieldSet" (func (param i32 i32 i32 i64) (result i32)))
                (memory 1)
                (func (export "gadgetAPIVersion") (result i64) {body}))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn a_guest_tells_its_version_and_what_it_calls() {
        let described = describe(&guest("i64.const 1")).unwrap();
        assert_eq!(described.api_version, Some(1));
        assert_eq!(described.upcalls, ["gadgetLog", "fieldSet"]);
    }

    #[test]
    fn a_guest_that_hangs_traps_or_calls_its_host_tells_no_version() {
        for body in [
            "(loop $l (br $l)) i64.const 1",
            "unreachable",
            "(call $log (i32.const 0) (i64.const 0)) i64.const 1",
            "(i64.load (i32.const 70000))",
        ] {
            let described = describe(&guest(body)).unwrap();
            assert_eq!((described.api_version, described.upcalls.len()), (None, 2), "{body}");
        }
        let large = wat::parse_str(
            r#"(module (memory 1000) (func (export "gadgetAPIVersion") (result i64) i64.const 1))"#,
        );
        assert_eq!(describe(&large.unwrap()).unwrap().api_version, None);
        assert!(describe(b"\0asm").is_err());
    }

    proptest! {
        #[test]
        fn damaged_guests_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = guest("i64.const 1");
            *at.get_mut(&mut bytes) = byte;
            let _ = describe(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = describe(&bytes);
        }
    }
}
