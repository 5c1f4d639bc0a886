//! Charts in Mermaid's language: which program does what to which map.
//!
//! What is drawn is what Inspektor Gadget draws: an access is a map loaded into the register that the kernel's function
//! expects it in, before the next call. Programs are sorted by name, accesses come in the order of the code.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use super::{Bounded, Code, MAX_TEXT, helper};
use crate::object::{Error, Map};

/// What a program does to a map: (map, what).
type Access<'a> = (&'a str, &'static str);

impl<'a> Code<'a> {
    /// A flowchart: programs point at the maps that they use. `maps` are the object's.
    ///
    /// # Errors
    /// When it is far longer than that of any real gadget.
    pub fn flowchart(&self, maps: &[Map]) -> Result<String, Error> {
        super::write(&mut MAX_TEXT.clone(), |out| self.write_flowchart(maps, out))
    }

    /// A sequence diagram: what each program does to maps, in the order of its code.
    ///
    /// # Errors
    /// When it is far longer than that of any real gadget.
    pub fn sequence(&self) -> Result<String, Error> {
        super::write(&mut MAX_TEXT.clone(), |out| self.write_sequence(out))
    }

    fn write_flowchart(&self, maps: &[Map], out: &mut Bounded<'_>) -> fmt::Result {
        writeln!(out, "flowchart LR")?;
        let mut names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
        names.sort_unstable();
        for name in names.into_iter().map(Plain) {
            writeln!(out, "{name}[(\"{name}\")]")?;
        }
        for (name, accesses) in self.accesses() {
            let name = Plain(name);
            let mut drawn = HashSet::new();
            for (map, _) in &accesses {
                if !drawn.insert(map) {
                    continue;
                }
                // One arrow a map, whatever the order in the code.
                let all = ["Lookup", "Update", "Delete", "EventOutput"];
                let done: Vec<_> = all.into_iter().filter(|what| accesses.contains(&(*map, *what))).collect();
                writeln!(out, "{name} -- \"{}\" --> {}", done.join("+"), Plain(map))?;
            }
            writeln!(out, "{name}[\"{name}\"]")?;
        }
        Ok(())
    }

    fn write_sequence(&self, out: &mut Bounded<'_>) -> fmt::Result {
        let programs = self.accesses();
        writeln!(out, "sequenceDiagram\nbox eBPF Programs")?;
        for (name, _) in &programs {
            writeln!(out, "participant {}", Plain(name))?;
        }
        writeln!(out, "end\nbox eBPF Maps")?;
        let mut seen = HashSet::new();
        for (map, _) in programs.iter().flat_map(|(_, accesses)| accesses) {
            if seen.insert(map) {
                writeln!(out, "participant {}", Plain(map))?;
            }
        }
        writeln!(out, "end")?;
        for (name, accesses) in &programs {
            for (map, what) in accesses {
                writeln!(out, "{}->>{}: {what}", Plain(name), Plain(map))?;
            }
        }
        Ok(())
    }

    /// What each program does to maps, each access once.
    fn accesses(&self) -> Vec<(&'a str, Vec<Access<'a>>)> {
        let of = |functions: &[usize]| {
            let mut found = Vec::new();
            let mut seen = HashSet::new();
            // The map that each argument of a call was last loaded with.
            let mut loaded: [Option<&'a str>; 16] = [None; 16];
            for instruction in functions.iter().flat_map(|f| &self.functions[*f].instructions) {
                if let Some((register, map)) = instruction.map() {
                    loaded[usize::from(register & 0xf)] = Some(map);
                }
                let Some(number) = instruction.helper() else { continue };
                let access = match number {
                    helper::MAP_LOOKUP_ELEM => loaded[1].map(|map| (map, "Lookup")),
                    helper::MAP_UPDATE_ELEM => loaded[1].map(|map| (map, "Update")),
                    helper::MAP_DELETE_ELEM => loaded[1].map(|map| (map, "Delete")),
                    helper::PERF_EVENT_OUTPUT => loaded[2].map(|map| (map, "EventOutput")),
                    _ => None,
                };
                found.extend(access.filter(|access| seen.insert(*access)));
                loaded = [None; 16];
            }
            found
        };
        self.programs.iter().map(|program| (program.name, of(&program.functions))).collect()
    }
}

/// A name that cannot be taken for anything else in a chart, or by a terminal. Names in C are left as they are.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
        self.0.chars().try_for_each(|c| f.write_char(plain(c)))
    }
}
