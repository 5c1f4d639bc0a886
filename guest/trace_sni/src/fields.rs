//! The fields of an event that a hello fills.

use gadget_guest::{AsData, DataSource, Field, Result};
use sni::{ClientHello, Ech, NameStatus, ServerName, ja4};

/// Numbers of `enum sni_name_status` in bpf/event.h.
const OK: u8 = 0;
pub(crate) const NO_NAME: u8 = 1;
const TRUNCATED: u8 = 2;
pub(crate) const MALFORMED: u8 = 3;
const ESCAPED: u8 = 4;
const IP: u8 = 5;
/// The bytes of a name follow, not those of a hello.
pub(crate) const UNCHECKED: u8 = 6;

/// What a hello tells, on the data source `sni`.
#[derive(Clone)]
pub(crate) struct Fields {
    name: Field<String>,
    pub(crate) status: Field<u8>,
    ech: Field<u8>,
    version: Field<u16>,
    alpn: Field<String>,
    ja4: Field<String>,
}

impl Fields {
    pub(crate) fn of(sni: &DataSource) -> Result<Self> {
        Ok(Self {
            name: sni.field("name")?,
            status: sni.field("name_status_raw")?,
            ech: sni.field("ech_raw")?,
            version: sni.field("tls_version")?,
            alpn: sni.field("alpn")?,
            ja4: sni.field("ja4")?,
        })
    }

    /// Fills in what is to be told of a name alone.
    pub(crate) fn fill_name(&self, event: &impl AsData, name: ServerName<'_>) -> Result {
        self.name.set(event, &name.text())?;
        self.status.set(event, number(name.status()))
    }

    pub(crate) fn fill(&self, event: &impl AsData, hello: &ClientHello<'_>, fingerprint: bool) -> Result {
        self.fill_name(event, hello.server_name())?;
        self.ech.set(event, u8::from(hello.ech() == Ech::Present))?;
        self.version.set(event, hello.version())?;
        if let Some(protocol) = hello.alpn() {
            self.alpn.set(event, &String::from_utf8_lossy(protocol))?;
        }
        if fingerprint {
            self.ja4.set(event, &ja4::fingerprint(hello))?;
        }
        Ok(())
    }
}

fn number(status: NameStatus) -> u8 {
    match status {
        NameStatus::Ok => OK,
        NameStatus::None => NO_NAME,
        NameStatus::Truncated => TRUNCATED,
        NameStatus::Escaped => ESCAPED,
        NameStatus::Ip => IP,
    }
}
