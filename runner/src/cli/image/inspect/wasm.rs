//! What a guest says about itself: the version of the interface that it was built for, and what it asks of its host.

use wasmi::{Config, Engine, Error, ExternType, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, Val};

/// The module whose functions are the host's gadget interface.
const HOST: &str = "ig";
/// Instructions, roughly, that telling the version may take. It is a constant.
const FUEL: u64 = 1_000_000;
/// Bytes of memory that a guest may have.
const MEMORY: usize = 16 << 20;

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
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(1 << 20).build();
    let mut store: Store<StoreLimits> = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL)?;
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for import in module.imports() {
        if let ExternType::Func(of) = import.ty() {
            let refuse = |_: wasmi::Caller<'_, StoreLimits>, _: &[Val], _: &mut [Val]| {
                Err(Error::new("a guest may not call its host while it is inspected"))
            };
            linker.func_new(import.module(), import.name(), of.clone(), refuse)?;
        }
    }
    let instance = linker.instantiate_and_start(&mut store, module)?;
    let version = instance.get_typed_func::<(), u64>(&store, "gadgetAPIVersion")?;
    version.call(&mut store, ())
}
