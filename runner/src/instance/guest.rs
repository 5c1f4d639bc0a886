//! Starting a gadget's guest, and what it makes of the gadget's data sources.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Instant};

use super::{
    gadget::{Gadget, Origin, Source},
    machine::{Machine, Offer},
    operators::named_enums,
    policy::{self, OnFailure},
};
use crate::{
    datasource::DataSource,
    operator::enums::Enums,
    wasm::{Error, Guest, Stage},
};

/// A guest that has added its fields and data sources.
pub(super) struct Started {
    pub(super) guest: Guest,
    /// The gadget's data sources, with what the guest added.
    pub(super) sources: Vec<Source>,
    pub(super) machine: Rc<RefCell<Machine>>,
}

/// Starts the gadget's guest, if it has one. `params` are the values that were given. `None` also if the guest fails
/// and the gadget can do without it.
pub(super) fn start(gadget: &Gadget, params: &BTreeMap<String, String>) -> Result<Option<Started>, Error> {
    let Some(module) = gadget.image.wasm.as_ref().filter(|_| !gadget.does_without_guest.get()) else {
        return Ok(None);
    };
    match start_module(gadget, module, params) {
        Err(error) if OnFailure::of(&gadget.metadata) == OnFailure::Continue => {
            gadget.does_without_guest.set(true);
            policy::tell(&error);
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn start_module(gadget: &Gadget, module: &[u8], params: &BTreeMap<String, String>) -> Result<Started, Error> {
    let began = Instant::now();
    let defaults = gadget.params.iter().map(|p| (p.key.clone(), p.default.clone()));
    let params = defaults.chain(params.clone()).collect();
    let machine = Rc::new(RefCell::new(Machine::new(params)));
    let offer = Offer::new(&machine, &gadget.metadata.name);
    let mut guest =
        Guest::new(&gadget.metadata.name, module, Box::new(offer), policy::limits(&gadget.metadata))?;

    let mut known = gadget.sources.clone();
    let before: Vec<usize> = known.iter().map(|s| s.data.fields.len()).collect();
    let mut data: Vec<DataSource> = known.iter_mut().map(with_names).collect();
    guest.call(Stage::Init, &mut data)?;
    let mut known = known.into_iter();
    let mut sources = Vec::new();
    for (at, mut data) in data.into_iter().enumerate() {
        let (enums, origin) = match known.next() {
            Some(source) => (source.enums, source.origin),
            None => {
                data.annotate(&gadget.metadata);
                (Vec::new(), Origin::Guest)
            }
        };
        data.describe_added(before.get(at).copied().unwrap_or(0), &gadget.metadata);
        sources.push(Source { data, enums, origin });
    }
    tracing::debug!(
        "guest started in {:.1?}, with {} KiB of memory",
        began.elapsed(),
        guest.memory_size() >> 10
    );
    Ok(Started { guest, sources, machine })
}

/// The data source with the fields for the names of enumerators, which guests read.
fn with_names(source: &mut Source) -> DataSource {
    let mut data = source.data.clone();
    let mut named = named_enums(&data, &source.enums, None);
    Enums::add_fields(&mut data, &mut named);
    for field in &mut source.enums {
        field.text = named.iter().find(|n| n.field == field.field).and_then(|n| n.text);
    }
    data
}
