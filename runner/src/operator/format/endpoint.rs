//! Addresses and ports: `struct gadget_l3endpoint_t` and `struct gadget_l4endpoint_t` of the gadget headers.
//!
//! An endpoint gets text fields inside itself. In columns its struct is one cell: the address, or address and port. An
//! endpoint of version 0 was never filled by the program, and all its texts are empty.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::datasource::{Accessor, Annotations, DataSource, Event, FieldId, Scalar, Slot};

use super::super::tagged;
use super::protocol::keyword;

/// A field that is an endpoint.
pub(super) struct Endpoint {
    raw: Accessor,
    version: Accessor,
    addr_slot: usize,
    l4: Option<Layer4>,
}

struct Layer4 {
    port: Accessor,
    protocol: Accessor,
    protocol_slot: usize,
    endpoint_slot: usize,
}

/// Adds texts to all endpoints of the data source.
pub(super) fn attach(ds: &mut DataSource) -> Vec<Endpoint> {
    let l3 = tagged(ds, "type:gadget_l3endpoint_t").into_iter().map(|id| (id, false));
    let l4 = tagged(ds, "type:gadget_l4endpoint_t").into_iter().map(|id| (id, true));
    let all: Vec<_> = l3.chain(l4).collect();
    all.into_iter()
        .filter_map(|(id, l4)| {
            let endpoint = Endpoint::attach(ds, id, l4);
            if endpoint.is_none() {
                tracing::debug!(
                    "field {:?} stays raw: parts of an endpoint are missing",
                    ds.fields[id].full_name
                );
            }
            endpoint
        })
        .collect()
}

impl Endpoint {
    fn attach(ds: &mut DataSource, id: FieldId, l4: bool) -> Option<Self> {
        let part = |ds: &DataSource, name: &str| ds.children(Some(id)).find(|&f| ds.fields[f].name == name);
        let (raw, version) = (part(ds, "addr_raw")?, part(ds, "version")?);
        let l4 = match l4 {
            true => Some((part(ds, "port")?, part(ds, "proto_raw")?)),
            false => None,
        };

        unreference(ds, raw);
        let addr_slot = add(ds, id, "addr");
        let mut shown = "addr";
        let l4 = l4.map(|(port, protocol)| {
            shown = "endpoint";
            let protocol_slot = add(ds, id, "proto");
            let endpoint_slot = add(ds, id, "endpoint");
            if let Some(field) = ds.fields.last_mut() {
                field.annotations = Annotations::from([("json.skip", "true")]);
                field.tags.push("endpoint".to_owned());
            }
            Layer4 { port: ds.accessor(port), protocol: ds.accessor(protocol), protocol_slot, endpoint_slot }
        });
        for child in ds.children(Some(id)).collect::<Vec<_>>() {
            ds.fields[child].hidden = true;
        }
        let field = &mut ds.fields[id];
        field.annotations.set("columns.replace", format!("{}.{shown}", field.full_name));
        field.hidden = field.annotations.is_true("columns.hidden");
        Some(Self { raw: ds.accessor(raw), version: ds.accessor(version), addr_slot, l4 })
    }

    pub(super) fn fill(&self, event: &mut Event<'_>) {
        let version = self.version.u64(event);
        let Some(raw) = self.raw.bytes(event).first_chunk::<16>().copied() else { return };
        let address = |out: &mut Vec<u8>| {
            // Writing to memory cannot fail.
            let _ = match version {
                4 => write!(out, "{}", Ipv4Addr::new(raw[0], raw[1], raw[2], raw[3])),
                6 => write!(out, "{}", Ipv6Addr::from(raw)),
                _ => Ok(()),
            };
        };
        event.slots.set_text(self.addr_slot, address);
        let Some(l4) = &self.l4 else { return };
        if !matches!(version, 4 | 6) {
            return;
        }
        let (port, protocol) = (l4.port.u64(event), l4.protocol.u64(event));
        match keyword(protocol) {
            Some(name) => event.slots.set(l4.protocol_slot, Slot::Static(name)),
            None => event.slots.set_text(l4.protocol_slot, |out| {
                let _ = write!(out, "proto#{protocol}");
            }),
        }
        event.slots.set_text(l4.endpoint_slot, |out| {
            address(out);
            let _ = write!(out, ":{port}");
        });
    }
}

fn add(ds: &mut DataSource, parent: FieldId, name: &str) -> usize {
    let slot = ds.slots;
    ds.add_slot_field(Some(parent), name, Scalar::String, 0);
    slot
}

/// Leaves out a field and all below it.
fn unreference(ds: &mut DataSource, id: FieldId) {
    ds.fields[id].unreferenced = true;
    for child in ds.children(Some(id)).filter(|&child| child != id).collect::<Vec<_>>() {
        unreference(ds, child);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Source, bytes, event, text};
    use super::*;

    fn source() -> DataSource {
        let mut ds = Source::new("s")
            .field("ip", Scalar::Bytes, 0, "gadget_l3endpoint_t")
            .field("ip.addr_raw", Scalar::Bytes, 16, "gadget_ip_addr_t")
            .number("ip.version", Scalar::Uint8, "u8")
            .field("dst", Scalar::Bytes, 0, "gadget_l4endpoint_t")
            .field("dst.addr_raw", Scalar::Bytes, 16, "gadget_ip_addr_t")
            .number("dst.port", Scalar::Uint16, "u16")
            .number("dst.proto_raw", Scalar::Uint16, "u16")
            .number("dst.version", Scalar::Uint8, "u8")
            .field("odd", Scalar::Bytes, 4, "gadget_l4endpoint_t")
            .done();
        let raw = ds.field("dst.addr_raw").unwrap();
        ds.add_slot_field(Some(raw), "v4", Scalar::Uint32, 0);
        ds
    }

    /// `ip.addr`, `dst.addr`, `dst.proto` and `dst.endpoint`.
    fn shown(address: [u8; 16], port: u16, protocol: u16, version: u8) -> [String; 4] {
        let mut ds = source();
        let endpoints = attach(&mut ds);
        assert_eq!(endpoints.len(), 2);
        let data = bytes(
            &ds,
            &[
                ("ip.addr_raw", &address),
                ("ip.version", &[version]),
                ("dst.addr_raw", &address),
                ("dst.port", &port.to_ne_bytes()),
                ("dst.proto_raw", &protocol.to_ne_bytes()),
                ("dst.version", &[version]),
            ],
        );
        event(&ds, &data, |e| {
            endpoints.iter().for_each(|endpoint| endpoint.fill(e));
            ["ip.addr", "dst.addr", "dst.proto", "dst.endpoint"].map(|name| text(&ds, e, name))
        })
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
        [a, b, c, d, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]
    }

    #[test]
    fn texts() {
        let loopback = Ipv6Addr::LOCALHOST.octets();
        for (address, port, protocol, version, expected) in [
            (v4(1, 2, 3, 4), 443, 6, 4, ["1.2.3.4", "1.2.3.4", "TCP", "1.2.3.4:443"]),
            (v4(0, 0, 0, 0), 0, 17, 4, ["0.0.0.0", "0.0.0.0", "UDP", "0.0.0.0:0"]),
            (loopback, 53, 58, 6, ["::1", "::1", "IPv6-ICMP", "::1:53"]),
            (loopback, 53, 300, 6, ["::1", "::1", "proto#300", "::1:53"]),
            ([0; 16], 0, 0, 0, ["", "", "", ""]),
            (loopback, 1, 6, 5, ["", "", "", ""]),
        ] {
            assert_eq!(shown(address, port, protocol, version), expected);
        }
    }

    #[test]
    fn fields_of_an_endpoint() {
        let mut ds = source();
        attach(&mut ds);
        let mut out = String::new();
        for f in &ds.fields {
            let replace = f.annotations.get("columns.replace").unwrap_or("");
            let skip = if f.annotations.is_true("json.skip") { "json.skip" } else { "" };
            out += &format!(
                "{} hidden={} unreferenced={} {replace}{skip}\n",
                f.full_name, f.hidden, f.unreferenced
            );
        }
        insta::assert_snapshot!(out, @r"
    ip hidden=false unreferenced=false ip.addr
    ip.addr_raw hidden=true unreferenced=true 
    ip.version hidden=true unreferenced=false 
    dst hidden=false unreferenced=false dst.endpoint
    dst.addr_raw hidden=true unreferenced=true 
    dst.port hidden=true unreferenced=false 
    dst.proto_raw hidden=true unreferenced=false 
    dst.version hidden=true unreferenced=false 
    odd hidden=false unreferenced=false 
    dst.addr_raw.v4 hidden=false unreferenced=true 
    ip.addr hidden=true unreferenced=false 
    dst.addr hidden=true unreferenced=false 
    dst.proto hidden=true unreferenced=false 
    dst.endpoint hidden=true unreferenced=false json.skip
    ");
    }

    #[test]
    fn a_hidden_endpoint_stays_hidden() {
        let mut ds = source();
        let dst = ds.field("dst").unwrap();
        ds.fields[dst].annotations.set("columns.hidden", "true");
        attach(&mut ds);
        assert!(ds.fields[dst].hidden);
    }
}
