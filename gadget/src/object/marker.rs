//! Markers: global variables of type `const void *` whose names say what the gadget offers.

use super::map::{MAP_TYPE_HASH, MAP_TYPE_PERF_EVENT_ARRAY, MAP_TYPE_RINGBUF};
use super::structure::{self, StructField};
use super::{Error, Object, variable};
use crate::btf::elf::Elf;
use crate::btf::{Btf, Type, TypeKind};
use std::collections::HashMap;

/// Most markers in an object. Real gadgets have some ten.
const MAX_MARKERS: usize = 1024;

/// A stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracer {
    /// The data source's name.
    pub name: String,
    /// The ring or perf buffer that events come through.
    pub map: String,
    /// The name of the struct that each event is.
    pub struct_name: String,
    /// That struct's fields.
    pub structure: Vec<StructField>,
    /// That struct's size in bytes.
    pub size: u32,
}

/// A list that kernel iterators make when they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iter {
    /// The data source's name.
    pub name: String,
    /// The name of the struct that each entry is.
    pub struct_name: String,
    /// That struct's fields.
    pub structure: Vec<StructField>,
    /// That struct's size in bytes.
    pub size: u32,
    /// The programs to run, in order.
    pub programs: Vec<String>,
    /// Whether it was declared by the older name, snapshotter, which deserves a warning.
    pub legacy: bool,
}

/// A list that is read from a map: each entry is a key and, after it, its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapIter {
    /// The data source's name.
    pub name: String,
    /// The map to read.
    pub map: String,
    /// The key's fields, with offsets from its start. Each has the tag `role:key`.
    pub key: Vec<StructField>,
    /// The key's size in bytes.
    pub key_size: u32,
    /// The value's fields, with offsets from its start.
    pub value: Vec<StructField>,
    /// The value's size in bytes.
    pub value_size: u32,
}

/// A program that needs a map to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapTarget {
    /// The program.
    pub program: String,
    /// The map.
    pub map: String,
}

/// Reads every marker into `object`, whose maps, variables and programs are known already.
pub(super) fn read(btf: &Btf<'_>, elf: &Elf<'_>, object: &mut Object) -> Result<(), Error> {
    // Looked up once for each marker: a search through all types each time would be quadratic.
    let mut structs = HashMap::new();
    for t in btf.types().filter(|t| t.kind == TypeKind::Struct) {
        structs.entry(btf.name(t)).or_insert(t);
    }
    let mut budget = structure::BUDGET;
    let mut left = MAX_MARKERS;
    for t in btf.types().filter(|t| t.kind == TypeKind::Var) {
        let name = btf.name(t);
        if name.starts_with("gadget_") && is_marker(btf, t) {
            let marker = Marker { btf, elf, structs: &structs, name, object, budget: &mut budget };
            left = left.checked_sub(1).ok_or_else(|| {
                marker.wrong(&format!("there are {MAX_MARKERS} markers before it, the most allowed"))
            })?;
            marker.read()?;
        }
    }
    Ok(())
}

/// Whether a variable's type is exactly `const void *`.
fn is_marker(btf: &Btf<'_>, variable: Type<'_>) -> bool {
    let follow = |t: Type<'_>, kind| btf.get(t.size_or_type).filter(|t| t.kind == kind);
    follow(variable, TypeKind::Ptr)
        .and_then(|p| follow(p, TypeKind::Const))
        .is_some_and(|c| c.size_or_type == 0)
}

struct Marker<'a, 'b> {
    btf: &'b Btf<'a>,
    elf: &'b Elf<'a>,
    /// The first struct of each name.
    structs: &'b HashMap<&'a str, Type<'a>>,
    name: &'a str,
    object: &'b mut Object,
    /// How much the structs of further markers may flatten into.
    budget: &'b mut usize,
}

impl Marker<'_, '_> {
    fn read(self) -> Result<(), Error> {
        let name = self.name;
        // Longer prefixes come before those they start with.
        if let Some(rest) = name.strip_prefix("gadget_tracer_") {
            self.tracer(rest)
        } else if let Some(rest) = name.strip_prefix("gadget_map_tracer_") {
            self.map(rest)?;
            self.object.tracer_maps.push(rest.to_owned());
            Ok(())
        } else if let Some(rest) = name.strip_prefix("gadget_iter_") {
            self.iter(rest, false)
        } else if let Some(rest) = name.strip_prefix("gadget_snapshotter_") {
            self.iter(rest, true)
        } else if let Some(rest) = name.strip_prefix("gadget_mapiter_") {
            self.map_iter(rest)
        } else if let Some(rest) = name.strip_prefix("gadget_mapelem_iter_target_") {
            let target = self.target(rest, |section| section == "iter/bpf_map_elem")?;
            if self.object.iter_targets.iter().any(|t| t.program == target.program) {
                return Err(self.wrong("its program has a target already"));
            }
            self.object.iter_targets.push(target);
            Ok(())
        } else if let Some(rest) = name.strip_prefix("gadget_sk_prog_target_") {
            let target =
                self.target(rest, |section| section.starts_with("sk_skb") || section.starts_with("sk_msg"))?;
            self.object.sk_targets.push(target);
            Ok(())
        } else if let Some(rest) = name.strip_prefix("gadget_param_") {
            let param = variable::param(self.elf, name, self.object.variable(rest))?;
            self.object.params.push(param);
            Ok(())
        } else {
            Ok(())
        }
    }

    fn tracer(mut self, rest: &str) -> Result<(), Error> {
        let [name, map, struct_name] = self.parts(rest)?;
        let map_type = self.map(map)?.map_type;
        if map_type != MAP_TYPE_RINGBUF && map_type != MAP_TYPE_PERF_EVENT_ARRAY {
            return Err(self.wrong(&format!("map {map} is neither a ring buffer nor a perf event array")));
        }
        let (structure, size) = self.structure(struct_name)?;
        let (name, map, struct_name) = (name.to_owned(), map.to_owned(), struct_name.to_owned());
        self.object.tracers.push(Tracer { name, map, struct_name, structure, size });
        Ok(())
    }

    fn iter(mut self, rest: &str, legacy: bool) -> Result<(), Error> {
        let parts: Vec<&str> = rest.split("___").collect();
        let [name, struct_name, programs @ ..] = &parts[..] else {
            return Err(self.wrong("it must name a data source, a struct and programs, joined with `___`"));
        };
        if name.is_empty() || programs.is_empty() {
            return Err(self.wrong("it must name a data source, a struct and programs, joined with `___`"));
        }
        for program in programs {
            self.program(program, |section| section.starts_with("iter/"))?;
        }
        let (structure, size) = self.structure(struct_name)?;
        self.object.iters.push(Iter {
            name: (*name).to_owned(),
            struct_name: (*struct_name).to_owned(),
            structure,
            size,
            programs: programs.iter().map(|p| (*p).to_owned()).collect(),
            legacy,
        });
        Ok(())
    }

    fn map_iter(mut self, rest: &str) -> Result<(), Error> {
        let [name, map_name] = self.parts(rest)?;
        let map = self.map(map_name)?;
        if map.map_type != MAP_TYPE_HASH {
            return Err(self.wrong(&format!("map {map_name} is no hash map")));
        }
        let (key, key_size, value, value_size) = (map.key, map.key_size, map.value, map.value_size);
        let mut key = self.side(key, key_size, "key")?;
        let value = self.side(value, value_size, "value")?;
        for field in &mut key {
            field.tags.push("role:key".to_owned());
        }
        let (name, map) = (name.to_owned(), map_name.to_owned());
        self.object.map_iters.push(MapIter { name, map, key, key_size, value, value_size });
        Ok(())
    }

    /// The fields of a map's key or value.
    fn side(&mut self, id: u32, size: u32, what: &str) -> Result<Vec<StructField>, Error> {
        let t = self.btf.resolve(id).filter(|t| t.kind == TypeKind::Struct && t.size_or_type == size);
        let t = t.ok_or_else(|| self.wrong(&format!("its map's {what} is no struct of {size} bytes")))?;
        structure::fields(self.btf, t, self.budget)
    }

    fn target(&self, rest: &str, section: fn(&str) -> bool) -> Result<MapTarget, Error> {
        let [program, map] = self.parts(rest)?;
        self.program(program, section)?;
        self.map(map)?;
        Ok(MapTarget { program: program.to_owned(), map: map.to_owned() })
    }

    fn parts<'s, const N: usize>(&self, rest: &'s str) -> Result<[&'s str; N], Error> {
        let parts: Vec<&str> = rest.split("___").collect();
        let found = parts.len();
        match <[&str; N]>::try_from(parts) {
            Ok(parts) if parts.iter().all(|p| !p.is_empty()) => Ok(parts),
            _ => Err(self.wrong(&format!("its name must have {N} parts joined with `___`, and has {found}"))),
        }
    }

    fn map(&self, name: &str) -> Result<&super::Map, Error> {
        self.object.map(name).ok_or_else(|| self.wrong(&format!("there is no map {name}")))
    }

    fn program(&self, name: &str, section: fn(&str) -> bool) -> Result<(), Error> {
        let program = self.object.programs.iter().find(|p| p.name == name);
        let program = program.ok_or_else(|| self.wrong(&format!("there is no program {name}")))?;
        if section(&program.section) {
            return Ok(());
        }
        Err(self.wrong(&format!(
            "program {name} is of the wrong type for it, by its section {}",
            program.section
        )))
    }

    fn structure(&mut self, name: &str) -> Result<(Vec<StructField>, u32), Error> {
        let t = *self.structs.get(name).ok_or_else(|| self.wrong(&format!("there is no struct {name}")))?;
        Ok((structure::fields(self.btf, t, self.budget)?, t.size_or_type))
    }

    fn wrong(&self, why: &str) -> Error {
        Error::Marker { marker: self.name.to_owned(), why: why.to_owned() }
    }
}
