//! A data source such as that of `trace_sni`, with an event, for tests.

use std::sync::Arc;

use super::{DataSource, Event, Field, FieldId, Scalar, Slot, Slots, SourceKind};

/// Adds a field of the kernel's part.
pub(crate) fn add(
    source: &mut DataSource,
    parent: Option<FieldId>,
    name: &str,
    scalar: Scalar,
    offset: u32,
    size: u32,
) -> FieldId {
    let full_name = match parent {
        Some(p) => format!("{}.{name}", source.fields[p].full_name),
        None => name.to_owned(),
    };
    source.fields.push(Field { full_name, parent, ..Field::at(name, scalar, offset, size) });
    source.static_size = source.static_size.max((offset + size) as usize);
    source.fields.len() - 1
}

/// Expands a template and sets an alias.
pub(crate) fn style(source: &mut DataSource, id: FieldId, template: &str, alias: &str) {
    let field = &mut source.fields[id];
    if !template.is_empty() {
        assert!(field.annotations.expand(template));
    }
    if !alias.is_empty() {
        field.annotations.set("columns.alias", alias);
    }
    field.hidden |= field.annotations.is_true("columns.hidden");
}

/// The data source `sni`, as the container, format and user operators extend it.
pub(crate) fn sni() -> DataSource {
    let mut s = DataSource::new("sni", SourceKind::Single);
    let source = &mut s;
    let mut field = |parent, name, scalar, offset, size, template, alias| {
        let id = add(source, parent, name, scalar, offset, size);
        style(source, id, template, alias);
        id
    };
    field(None, "timestamp_raw", Scalar::Uint64, 0, 8, "timestamp", "");
    field(None, "netns_id", Scalar::Uint32, 8, 4, "netns_id", "");
    let process = field(None, "proc", Scalar::Bytes, 16, 64, "", "");
    field(Some(process), "comm", Scalar::CString, 16, 16, "comm", "comm");
    field(Some(process), "pid", Scalar::Uint32, 32, 4, "pid", "pid");
    field(Some(process), "tid", Scalar::Uint32, 36, 4, "tid", "tid");
    field(Some(process), "mntns_id", Scalar::Uint64, 40, 8, "mntns_id", "");
    let creds = field(Some(process), "creds", Scalar::Bytes, 48, 8, "", "");
    let uid = field(Some(creds), "uid", Scalar::Uint32, 48, 4, "uid", "");
    let gid = field(Some(creds), "gid", Scalar::Uint32, 52, 4, "gid", "");
    let parent = field(Some(process), "parent", Scalar::Bytes, 56, 24, "", "");
    field(Some(parent), "comm", Scalar::CString, 56, 16, "pcomm", "comm");
    field(Some(parent), "pid", Scalar::Uint32, 72, 4, "ppid", "pid");
    field(Some(parent), "tid", Scalar::Uint32, 76, 4, "ptid", "tid");
    let name = field(None, "name", Scalar::CString, 80, 128, "", "");
    s.fields[name].annotations.set("columns.width", "30");
    for id in [process, creds, uid, gid, parent] {
        s.fields[id].hidden = true;
    }

    let k8s = s.add_group(None, "k8s");
    for (name, order) in [("node", -31), ("namespace", -30), ("podName", -29), ("containerName", -28)] {
        let id = s.add_slot_field(Some(k8s), name, Scalar::String, order);
        s.fields[id].hidden = true;
    }
    let id = s.add_slot_field(Some(k8s), "hostnetwork", Scalar::Bool, -27);
    s.fields[id].hidden = true;
    let id = s.add_slot_field(Some(k8s), "podLabels", Scalar::String, -26);
    s.fields[id].hidden = true;
    let owner = s.add_group(Some(k8s), "owner");
    for name in ["kind", "name"] {
        let id = s.add_slot_field(Some(owner), name, Scalar::String, 0);
        s.fields[id].hidden = true;
    }

    let runtime = s.add_group(None, "runtime");
    let id = s.add_slot_field(Some(runtime), "containerName", Scalar::String, -27);
    style(&mut s, id, "container", "");
    for (name, scalar, order, template) in [
        ("runtimeName", Scalar::String, -26, ""),
        ("containerId", Scalar::String, -25, ""),
        ("containerPid", Scalar::Uint32, -24, "containerPid"),
        ("containerImageName", Scalar::String, -23, "containerImageName"),
        ("containerImageDigest", Scalar::String, -22, "containerImageDigest"),
        ("containerStartedAt", Scalar::Int64, -21, "containerStartedAt"),
    ] {
        let id = s.add_slot_field(Some(runtime), name, scalar, order);
        style(&mut s, id, template, "");
        s.fields[id].hidden = true;
    }
    let id = s.add_slot_field(None, "timestamp", Scalar::String, 0);
    style(&mut s, id, "timestamp", "");
    for name in ["user", "group"] {
        let id = s.add_slot_field(Some(creds), name, Scalar::String, 0);
        s.fields[id].hidden = true;
    }
    s
}

/// The kernel's part of an event of [`sni`].
pub(crate) fn data(comm: &[u8], name: &[u8]) -> Vec<u8> {
    let mut data = vec![0; 208];
    data[..8].copy_from_slice(&1_704_063_600_123_456_789_u64.to_ne_bytes());
    data[8..12].copy_from_slice(&4_026_532_001_u32.to_ne_bytes());
    data[16..16 + comm.len()].copy_from_slice(comm);
    data[32..36].copy_from_slice(&4321_u32.to_ne_bytes());
    data[36..40].copy_from_slice(&4322_u32.to_ne_bytes());
    data[40..48].copy_from_slice(&4_026_532_002_u64.to_ne_bytes());
    data[48..52].copy_from_slice(&1000_u32.to_ne_bytes());
    data[52..56].copy_from_slice(&1111_u32.to_ne_bytes());
    data[56..58].copy_from_slice(b"sh");
    data[72..76].copy_from_slice(&u32::MAX.to_ne_bytes());
    data[76..80].copy_from_slice(&1_u32.to_ne_bytes());
    data[80..80 + name.len()].copy_from_slice(name);
    data
}

/// Slots of [`sni`], filled for a container called `container`.
pub(crate) fn slots(source: &DataSource, container: &str) -> Slots {
    let mut slots = Slots::new(source.slots);
    let slot = |name: &str| source.slot(source.field(name).unwrap()).unwrap();
    slots.set(slot("runtime.containerName"), Slot::Shared(Arc::from(container)));
    slots.set(slot("runtime.runtimeName"), Slot::Static("docker"));
    slots.set(slot("runtime.containerPid"), Slot::Unsigned(4321));
    slots.set(slot("runtime.containerStartedAt"), Slot::Signed(1_700_000_000_000_000_000));
    slots.set_text(slot("timestamp"), |out| out.extend_from_slice(b"2024-01-01T00:00:00.123456789+01:00"));
    slots
}

/// Calls `f` with an event of [`sni`].
pub(crate) fn with_event(source: &DataSource, f: impl FnOnce(&Event<'_>)) {
    let data = data(b"wget", b"example.com");
    f(&Event { data: &data, slots: &mut slots(source, "test-trace-sni") });
}
