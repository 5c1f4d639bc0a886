//! Hellos in QUIC and DTLS: gathered, decrypted and made events of.

use std::{net::IpAddr, time::Duration};

use gadget_guest::{DataSource, Event, Field, Result, Type, host_is_igx};
use sni::{ClientHello, Flow, Gatherer, Outcome};

use crate::{ALL, JA4, NO_SNI, fields::Fields, shown::Shown};

/// What travels from a datagram's event to the one that is shown: most of it is what the eBPF program wrote.
struct Ends {
    time: Field<u64>,
    netns: Field<u32>,
    process: Field<Vec<u8>>,
    source: Field<Vec<u8>>,
    destination: Field<Vec<u8>>,
    direction: Field<u8>,
    transport: Field<u8>,
    owner_source: Field<u8>,
}

impl Ends {
    fn of(data: &DataSource) -> Result<Self> {
        Ok(Self {
            time: data.field("timestamp_raw")?,
            netns: data.field("netns_id")?,
            process: data.field("proc")?,
            source: data.field("src")?,
            destination: data.field("dst")?,
            direction: data.field("direction_raw")?,
            transport: data.field("transport_raw")?,
            owner_source: data.field("owner_source_raw")?,
        })
    }
}

pub(crate) struct Datagrams {
    ends: Ends,
    bytes: Field<Vec<u8>>,
    size: Field<u16>,
    options: Field<u16>,
    gatherer: Gatherer,
    shown: Shown,
    output: Output,
}

/// Where what is found goes.
enum Output {
    /// Events like those of the eBPF program.
    Same { sni: DataSource, ends: Box<Ends>, segments: Field<u8>, fields: Fields },
    /// Events of the guest's own.
    Flat(Flat),
}

impl Datagrams {
    /// Reads the data source of datagrams.
    pub(crate) fn subscribe(sni: &DataSource) -> Result {
        let data = DataSource::get("sni_datagram")?;
        data.unreference()?;
        let output = if host_is_igx() {
            Output::Same {
                sni: sni.clone(),
                ends: Box::new(Ends::of(sni)?),
                segments: sni.field("segments")?,
                fields: Fields::of(sni)?,
            }
        } else {
            Output::Flat(Flat::new(&data)?)
        };
        let mut datagrams = Self {
            ends: Ends::of(&data)?,
            bytes: data.field("datagram")?,
            size: data.field("datagram_size")?,
            options: data.field("options")?,
            gatherer: Gatherer::new(),
            shown: Shown::default(),
            output,
        };
        data.subscribe(0, move |event| datagrams.take(event))
    }

    fn take(&mut self, event: &Event) -> Result {
        let time = self.ends.time.get(event)?;
        let options = self.options.get(event)?;
        let bytes = self.bytes.get(event)?;
        let Some(flow) = self.flow(event)? else { return Ok(()) };
        let size = usize::from(self.size.get(event)?);
        let Outcome::Hello(found) = self.gatherer.udp(flow, &bytes, size, Duration::from_nanos(time)) else {
            return Ok(());
        };
        let hello = found.hello;
        let owned = self.ends.owner_source.get(event)? != 0;
        if (hello.server_name().as_bytes().is_empty() && options & NO_SNI == 0)
            || (options & ALL == 0 && !self.shown.is_first(hello.random(), time, owned))
        {
            return Ok(());
        }
        match &self.output {
            Output::Flat(flat) => flat.emit(event, &hello),
            Output::Same { sni, ends, segments, fields } => {
                let packet = sni.packet()?;
                ends.time.set(&packet, time)?;
                ends.netns.set(&packet, self.ends.netns.get(event)?)?;
                ends.process.set(&packet, &self.ends.process.get(event)?)?;
                ends.source.set(&packet, &self.ends.source.get(event)?)?;
                ends.destination.set(&packet, &self.ends.destination.get(event)?)?;
                ends.direction.set(&packet, self.ends.direction.get(event)?)?;
                ends.transport.set(&packet, self.ends.transport.get(event)?)?;
                ends.owner_source.set(&packet, u8::from(owned))?;
                segments.set(&packet, u8::try_from(found.segments).unwrap_or(u8::MAX))?;
                fields.fill(&packet, &hello, options & JA4 != 0)?;
                packet.emit()
            }
        }
    }

    /// The direction of the connection, as one tap sees it: what is sent here and answered there is one connection
    /// at the client's tap, and the same the other way round another one at the server's.
    fn flow(&self, event: &Event) -> Result<Option<Flow>> {
        let (source, destination) = (self.ends.source.get(event)?, self.ends.destination.get(event)?);
        let ingress = self.ends.direction.get(event)? != 0;
        let netns = u64::from(self.ends.netns.get(event)?);
        Ok(address(&source).zip(address(&destination)).map(|(source, destination)| Flow {
            namespace: netns | u64::from(ingress != (source > destination)) << 32,
            source: source.into(),
            destination: destination.into(),
        }))
    }
}

/// Address and port of a `struct gadget_l4endpoint_t`.
fn address(endpoint: &[u8]) -> Option<(IpAddr, u16)> {
    let ip: [u8; 16] = endpoint.get(..16)?.try_into().ok()?;
    let port = u16::from_le_bytes(endpoint.get(16..18)?.try_into().ok()?);
    match endpoint.get(20)? {
        4 => Some(([ip[0], ip[1], ip[2], ip[3]].into(), port)),
        6 => Some((ip.into(), port)),
        _ => None,
    }
}

/// A data source for hosts where a guest cannot make events of an eBPF program's.
struct Flat {
    data: DataSource,
    from: Process,
    to: Process,
    transport: Field<String>,
    name: Field<String>,
}

struct Process {
    mntns: Field<u64>,
    netns: Field<u32>,
    comm: Field<String>,
    pid: Field<u32>,
    tid: Field<u32>,
}

impl Flat {
    fn new(datagrams: &DataSource) -> Result<Self> {
        let data = DataSource::new("sni_quic", Type::Single)?;
        let to = Process {
            mntns: data.add_field("mntns_id")?,
            netns: data.add_field("netns_id")?,
            comm: data.add_field("comm")?,
            pid: data.add_field("pid")?,
            tid: data.add_field("tid")?,
        };
        to.mntns.add_tag("type:gadget_mntns_id")?;
        to.netns.add_tag("type:gadget_netns_id")?;
        Ok(Self {
            from: Process {
                mntns: datagrams.field("proc.mntns_id")?,
                netns: datagrams.field("netns_id")?,
                comm: datagrams.field("proc.comm")?,
                pid: datagrams.field("proc.pid")?,
                tid: datagrams.field("proc.tid")?,
            },
            to,
            transport: data.add_field("transport")?,
            name: data.add_field("name")?,
            data,
        })
    }

    fn emit(&self, event: &Event, hello: &ClientHello<'_>) -> Result {
        let packet = self.data.packet()?;
        self.to.mntns.set(&packet, self.from.mntns.get(event)?)?;
        self.to.netns.set(&packet, self.from.netns.get(event)?)?;
        self.to.comm.set(&packet, &self.from.comm.get(event)?)?;
        self.to.pid.set(&packet, self.from.pid.get(event)?)?;
        self.to.tid.set(&packet, self.from.tid.get(event)?)?;
        self.transport.set(&packet, hello.transport().as_str())?;
        self.name.set(&packet, &hello.server_name().text())?;
        packet.emit()
    }
}
