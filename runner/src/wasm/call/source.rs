//! Data sources: finding and making them, their fields, and subscriptions.

use wasmi::Caller;

use super::{Functions, MODULE, Result, number, status};
use crate::{
    datasource::{DataSource, Kind, SourceKind},
    wasm::{
        memory::{MAX_NAME, Span},
        objects::Object,
        state::{
            MAX_FIELDS, MAX_SOURCES, MAX_SUBSCRIPTIONS, MAX_TAGS, State, Subscription, SubscriptionKind,
        },
    },
};

type Call<'a> = Caller<'a, State>;

pub(super) fn define(linker: &mut Functions) -> Result<()> {
    linker.func_wrap(MODULE, "newDataSource", new)?;
    linker.func_wrap(MODULE, "getDataSource", get)?;
    linker.func_wrap(MODULE, "dataSourceSubscribe", subscribe)?;
    linker.func_wrap(MODULE, "dataSourceGetField", get_field)?;
    linker.func_wrap(MODULE, "dataSourceAddField", add_field)?;
    linker.func_wrap(MODULE, "dataSourceUnreference", unreference)?;
    linker.func_wrap(MODULE, "dataSourceIsReferenced", is_referenced)?;
    linker.func_wrap(MODULE, "fieldAddTag", add_tag)?;
    linker.func_wrap(MODULE, "releaseHandle", release)?;
    Ok(())
}

fn new(caller: Call<'_>, name: u64, kind: u32) -> Result<u32> {
    number(caller, MAX_NAME, 0, |inside| {
        let name = Span(name).name(inside.memory).filter(|n| !n.is_empty())?;
        let kind = match kind {
            1 => SourceKind::Single,
            2 => SourceKind::Array,
            _ => return None,
        };
        let state = inside.state;
        let taken = state.sources.iter().any(|s| s.name == name);
        if !state.open || taken || state.sources.len() >= MAX_SOURCES {
            return None;
        }
        state.sources.push(DataSource::new(name, kind));
        Some(state.objects.add(Object::Source(state.sources.len() - 1)))
    })
}

fn get(caller: Call<'_>, name: u64) -> Result<u32> {
    number(caller, MAX_NAME, 0, |inside| {
        let name = Span(name).name(inside.memory)?;
        let found = inside.state.sources.iter().position(|s| s.name == name && !s.unreferenced)?;
        Some(inside.state.objects.add(Object::Source(found)))
    })
}

fn subscribe(caller: Call<'_>, handle: u32, kind: u32, priority: i32, callback: u64) -> Result<u32> {
    status(caller, 0, |inside| {
        let state = inside.state;
        let source = state.objects.source(handle)?;
        let kind = match kind {
            1 => SubscriptionKind::Data,
            2 if state.sources.get(source)?.kind == SourceKind::Array => SubscriptionKind::Array,
            3 => SubscriptionKind::Packet,
            _ => return None,
        };
        if state.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return None;
        }
        state.subscriptions.push(Subscription { source, kind, priority, callback, handle });
        Some(())
    })
}

fn get_field(caller: Call<'_>, handle: u32, name: u64) -> Result<u32> {
    number(caller, MAX_NAME, 0, |inside| {
        let source = inside.state.objects.source(handle)?;
        let name = Span(name).name(inside.memory)?;
        let field = inside.state.sources.get(source)?.field(name)?;
        Some(inside.state.objects.add(Object::Field(source, field)))
    })
}

fn add_field(caller: Call<'_>, handle: u32, name: u64, kind: u32) -> Result<u32> {
    number(caller, MAX_NAME, 0, |inside| {
        let source = inside.state.objects.source(handle)?;
        let name = Span(name).name(inside.memory).filter(|n| !n.is_empty())?;
        let kind = Kind::from_number(kind)?;
        let state = inside.state;
        let ds = state.sources.get_mut(source)?;
        if !state.open || ds.fields.len() >= MAX_FIELDS || ds.fields.iter().any(|f| f.full_name == name) {
            return None;
        }
        // Under a field that is there, a name with dots is that of a nested field; elsewhere it is one name.
        let (parent, name) = match name.rsplit_once('.') {
            Some((parent, last)) if !last.is_empty() => match ds.field(parent) {
                Some(parent) => (Some(parent), last),
                None => (None, name),
            },
            _ => (None, name),
        };
        let order = i32::try_from(ds.fields.len()).unwrap_or(i32::MAX);
        let field = ds.add_slot_field(parent, name, kind.scalar, order);
        ds.fields[field].kind = kind;
        Some(state.objects.add(Object::Field(source, field)))
    })
}

fn unreference(caller: Call<'_>, handle: u32) -> Result<u32> {
    status(caller, 0, |inside| {
        let source = inside.state.objects.source(handle)?;
        inside.state.sources.get_mut(source).filter(|_| inside.state.open)?.unreferenced = true;
        Some(())
    })
}

/// 2 is the answer to a wrong handle.
fn is_referenced(caller: Call<'_>, handle: u32) -> Result<u32> {
    number(caller, 0, 2, |inside| {
        let source = inside.state.objects.source(handle)?;
        Some(u32::from(!inside.state.sources.get(source)?.unreferenced))
    })
}

fn add_tag(caller: Call<'_>, handle: u32, tag: u64) -> Result<u32> {
    status(caller, MAX_NAME, |inside| {
        let (source, field) = inside.state.objects.field(handle)?;
        let tag = Span(tag).name(inside.memory)?;
        let tags = &mut inside.state.sources.get_mut(source)?.fields.get_mut(field)?.tags;
        if tags.len() >= MAX_TAGS || !inside.state.open {
            return None;
        }
        tags.push(tag.to_owned());
        Some(())
    })
}

fn release(caller: Call<'_>, handle: u32) -> Result<u32> {
    status(caller, 0, |inside| {
        let state = inside.state;
        // What the guest is called for is not its own to let go of while it is called.
        if matches!(state.objects.get(handle)?, Object::Current) {
            return Some(());
        }
        match state.objects.remove(handle)? {
            Object::Map(map, _) => state.host.close_map(map),
            Object::Reader(reader) => {
                state.host.close_perf_reader(reader);
            }
            _ => {}
        }
        Some(())
    })
}
