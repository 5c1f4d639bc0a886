//! What an object says about itself, for people: `image inspect` prints it. Keys and spelling are those of Inspektor
//! Gadget's extra information (`ebpf.*`).

use std::collections::BTreeMap;

use serde::Serialize;

use super::Object;

/// The kernel's `BPF_MAP_TYPE_ARRAY`, which a section of variables becomes.
const ARRAY: u32 = 2;

/// A map, as it is described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribedMap<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of its type, such as `RingBuf`.
    #[serde(rename = "Type")]
    pub map_type: String,
}

/// A global variable, as it is described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribedVariable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes from the start of its map.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// The section that becomes the map it lies in, such as `.rodata`.
    pub map: &'a str,
}

impl Object {
    /// The maps, by name: those that the source defines, and those that sections of variables with values become. Of
    /// constants and of what starts as zero none are told.
    pub fn describe_maps(&self) -> Vec<DescribedMap<'_>> {
        let defined = self.maps.iter().map(|map| (map.name.as_str(), map.map_type));
        let sections = self.variables.iter().map(|variable| variable.section.as_str());
        let data = sections.filter(|section| section.starts_with(".data")).map(|section| (section, ARRAY));
        let maps: BTreeMap<_, _> = defined.chain(data).collect();
        maps.into_iter().map(|(name, kind)| DescribedMap { name, map_type: type_name(kind) }).collect()
    }

    /// The variables that other compilation units can see, markers included, by section and offset.
    pub fn describe_variables(&self) -> Vec<DescribedVariable<'_>> {
        let mut variables: Vec<_> = self
            .variables
            .iter()
            .filter(|v| v.global)
            .map(|v| DescribedVariable { name: &v.name, offset: v.offset, size: v.size, map: &v.section })
            .collect();
        variables.sort_by_key(|variable| (variable.map, variable.offset, variable.name));
        variables
    }
}

/// The name of one of the kernel's `enum bpf_map_type`, as Inspektor Gadget spells it.
fn type_name(map_type: u32) -> String {
    let known = match map_type {
        1 => "Hash",
        2 => "Array",
        3 => "ProgramArray",
        4 => "PerfEventArray",
        5 => "PerCPUHash",
        6 => "PerCPUArray",
        7 => "StackTrace",
        8 => "CGroupArray",
        9 => "LRUHash",
        10 => "LRUCPUHash",
        11 => "LPMTrie",
        12 => "ArrayOfMaps",
        13 => "HashOfMaps",
        14 => "DevMap",
        15 => "SockMap",
        16 => "CPUMap",
        17 => "XSKMap",
        18 => "SockHash",
        19 => "CGroupStorage",
        20 => "ReusePortSockArray",
        21 => "PerCPUCGroupStorage",
        22 => "Queue",
        23 => "Stack",
        24 => "SkStorage",
        25 => "DevMapHash",
        26 => "StructOpsMap",
        27 => "RingBuf",
        28 => "InodeStorage",
        29 => "TaskStorage",
        other => return format!("UnknownMapType({other})"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{Map, ParamType, Variable};
    use super::*;

    fn variable(name: &str, section: &str, offset: u32) -> Variable {
        Variable {
            name: name.to_owned(),
            section: section.to_owned(),
            offset,
            size: 4,
            global: true,
            param_type: ParamType::Unknown,
            type_names: vec![],
        }
    }

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn an_object_is_described_in_one_order() {
        let map = |name: &str, map_type| Map { name: name.to_owned(), map_type, ..Map::default() };
        let object = Object {
            maps: vec![map("events", 27), map("counts", 6), map("of_tomorrow", 99)],
            variables: vec![
                variable("pid", ".rodata", 8),
                variable("flag", ".rodata", 0),
                variable("n", ".bss", 4),
                variable("level", ".data.mine", 0),
                variable("rate", ".data.mine", 4),
            ],
            ..Object::default()
        };
        insta::assert_snapshot!(json(object.describe_maps()), @r#"[{"Name":".data.mine","Type":"Array"},{"Name":"counts","Type":"PerCPUArray"},{"Name":"events","Type":"RingBuf"},{"Name":"of_tomorrow","Type":"UnknownMapType(99)"}]"#);
        insta::assert_snapshot!(json(object.describe_variables()), @r#"[{"Name":"n","Offset":4,"Size":4,"Map":".bss"},{"Name":"level","Offset":0,"Size":4,"Map":".data.mine"},{"Name":"rate","Offset":4,"Size":4,"Map":".data.mine"},{"Name":"flag","Offset":0,"Size":4,"Map":".rodata"},{"Name":"pid","Offset":8,"Size":4,"Map":".rodata"}]"#);
    }
}
