//! Extra information: what there is to know about an image, by key. Keys, content types and the form of the content
//! are those of Inspektor Gadget; what it has in random order is sorted here.

use super::wasm;
use anyhow::{Context, Result};
use gadget::{
    btf::elf::Elf,
    image::{CREATED, GadgetImage, to_json},
    object::{Code, Object},
    reference::Reference,
};
use serde::Serialize;
use std::{collections::BTreeMap, io::Write};

const JSON: &str = "application/json";
const YAML: &str = "text/yaml";
const TEXT: &str = "text/plain";
const MERMAID: &str = "text/mermaid";

/// One thing that is known about an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    pub(super) content: String,
    pub(super) content_type: &'static str,
}

type Infos = BTreeMap<&'static str, Info>;

impl Info {
    fn new(content_type: &'static str, content: impl Into<String>) -> Self {
        Self { content: content.into(), content_type }
    }

    fn json(value: &impl Serialize) -> Self {
        Self::new(JSON, String::from_utf8_lossy(&to_json(value)))
    }

    /// The content as a value; nothing if it is text.
    pub(super) fn decode(&self) -> Result<Option<serde_json::Value>> {
        match self.content_type {
            JSON => {
                Ok(Some(serde_json::from_str(&self.content).context("it is not the JSON that it should be")?))
            }
            YAML if self.content.trim().is_empty() => Ok(Some(serde_json::Value::Null)),
            YAML => Ok(Some(
                serde_saphyr::from_str(&self.content).context("it is not the YAML that it should be")?,
            )),
            _ => Ok(None),
        }
    }
}

/// All that is known. What cannot be told is warned of in `log`: the rest is worth telling all the same.
pub(super) fn all(image: &GadgetImage, reference: &Reference, log: &mut impl Write) -> Result<Infos> {
    let created = image.annotations.get(CREATED).map_or("", String::as_str);
    let mut infos = BTreeMap::from([
        ("oci.manifest", Info::new(JSON, String::from_utf8_lossy(&image.manifest))),
        ("oci.metadata", Info::new(YAML, String::from_utf8_lossy(&image.metadata))),
        ("oci.repository", Info::new(TEXT, reference.name())),
        ("oci.tag", Info::new(TEXT, reference.tag().unwrap_or_default())),
        ("oci.digest", Info::new(TEXT, &*image.config_digest)),
        ("oci.created", Info::new(TEXT, created)),
    ]);
    if let Some(elf) = &image.object
        && let Err(error) = ebpf(elf, &mut infos)
    {
        writeln!(log, "warning: {reference}: its program cannot be described in full: {error}")?;
    }
    if let Some(module) = &image.wasm {
        match wasm::describe(module) {
            Ok(described) => {
                infos.insert("wasm.upcalls", Info::json(&described.upcalls));
                let version = described.api_version.map(|version| version.to_string());
                infos.extend(version.map(|version| ("wasm.gadgetAPIVersion", Info::new(TEXT, version))));
            }
            Err(error) => {
                writeln!(log, "warning: {reference}: its WebAssembly cannot be described: {error}")?
            }
        }
    }
    Ok(infos)
}

fn ebpf(elf: &[u8], infos: &mut Infos) -> Result<(), gadget::object::Error> {
    let sections: Vec<_> = Elf::parse(elf)?.sections().iter().map(|s| s.name).collect();
    infos.insert("ebpf.sections", Info::json(&sections));
    let object = Object::parse(elf)?;
    infos.insert("ebpf.maps", Info::json(&object.describe_maps()));
    infos.insert("ebpf.variables", Info::json(&object.describe_variables()));
    let code = Code::parse(elf)?;
    infos.insert("ebpf.programs", Info::json(&code.describe_programs()?));
    infos.insert("ebpf.flowchart", Info::new(MERMAID, code.flowchart(&object.maps)?));
    infos.insert("ebpf.sequence", Info::new(MERMAID, code.sequence()?));
    Ok(())
}
