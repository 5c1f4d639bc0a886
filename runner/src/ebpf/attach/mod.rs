//! Attaching a gadget's programs, by the kind that their section names.

mod iterator;
mod perf_event;

use std::collections::BTreeMap;

use gadget::{
    metadata::{self, Names},
    object::{Object, Program},
};
use libbpf_rs::{Link, ProgramMut, ProgramType};

pub use iterator::Iterator;

use super::{Error, LoadedGadget, SocketFilter, tracefs};

/// The value of `attach_to` that leaves a program out.
pub const DISABLED: &str = "gadget_program_disabled";

/// The kinds of sections, besides socket filters, whose programs can be attached.
const KINDS: [&str; 12] = [
    "tracepoint",
    "tp",
    "raw_tracepoint",
    "raw_tp",
    "tp_btf",
    "kprobe",
    "kretprobe",
    "fentry",
    "fexit",
    "lsm",
    "iter",
    "perf_event",
];

/// Everything that is attached. Dropping it detaches.
#[derive(Default)]
pub struct Attached {
    /// One for each socket-filter program: it still has to be told which namespaces to watch.
    pub socket_filters: Vec<SocketFilter>,
    _links: Vec<Link>,
}

/// Attaches all programs of `gadget`. `targets` are the metadata's `attach_to`, by lower-case program name; `programs`
/// is what else the metadata says of them.
pub fn attach(
    gadget: &LoadedGadget,
    targets: &BTreeMap<String, String>,
    programs: &Names<metadata::Program>,
) -> Result<Attached, Error> {
    let by_tracepoint = |p: ProgramMut<'_>| p.prog_type() == ProgramType::Tracepoint;
    if gadget.programs().any(by_tracepoint) {
        tracefs::with_tracefs(|| attach_all(gadget, targets, programs)).map_err(Error::Tracefs)?
    } else {
        attach_all(gadget, targets, programs)
    }
}

/// Checks that every program is of a kind that can be attached, before any of them is loaded.
pub fn check(object: &Object) -> Result<(), Error> {
    let unsupported = |p: &&Program| !p.section.starts_with("socket") && !KINDS.contains(&kind(&p.section));
    match object.programs.iter().find(unsupported) {
        Some(p) => Err(Error::UnsupportedProgram { program: p.name.clone(), section: p.section.clone() }),
        None => Ok(()),
    }
}

/// What a section says of how its program is attached.
fn kind(section: &str) -> &str {
    section.split('/').next().unwrap_or_default()
}

fn attach_all(
    gadget: &LoadedGadget,
    targets: &BTreeMap<String, String>,
    programs: &Names<metadata::Program>,
) -> Result<Attached, Error> {
    let mut attached = Attached::default();
    for program in gadget.programs() {
        let name = program.name().to_string_lossy().into_owned();
        let section = program.section().to_string_lossy().into_owned();
        let target = targets.get(&name.to_lowercase()).map(String::as_str);
        if target == Some(DISABLED) {
            continue;
        }
        if section.starts_with("socket") {
            use std::os::fd::AsFd;
            attached.socket_filters.push(SocketFilter::new(program.as_fd())?);
            continue;
        }
        let link = match kind(&section) {
            // Attached by whoever reads what they make.
            "iter" => continue,
            "perf_event" => {
                // Described by the name that its section gives it, or its own.
                let called = section.split_once('/').and_then(|(_, called)| programs.get(called));
                let links = perf_event::attach(&program, called.or_else(|| programs.get(&name)));
                let links = links.map_err(|error| Error::Attach { program: name, section, error })?;
                attached._links.extend(links);
                continue;
            }
            "tracepoint" | "tp" => {
                attach_tracepoint(&program, target.or(section.split_once('/').map(|s| s.1)))
            }
            "raw_tracepoint" | "raw_tp" => attach_raw_tracepoint(&program, target),
            kind @ ("kprobe" | "kretprobe") => match target {
                Some(function) => program.attach_kprobe(kind == "kretprobe", function),
                None => program.attach(),
            },
            _ => program.attach(),
        };
        let link = link.map_err(|error| Error::Attach { program: name, section, error })?;
        attached._links.push(link);
    }
    Ok(attached)
}

fn attach_tracepoint(program: &ProgramMut<'_>, target: Option<&str>) -> Result<Link, libbpf_rs::Error> {
    use libbpf_rs::TracepointCategory;

    match target.and_then(|t| t.split_once('/')) {
        Some((category, name)) => {
            program.attach_tracepoint(TracepointCategory::Custom(category.to_owned()), name)
        }
        None => program.attach(),
    }
}

fn attach_raw_tracepoint(program: &ProgramMut<'_>, target: Option<&str>) -> Result<Link, libbpf_rs::Error> {
    match target {
        Some(name) => program.attach_raw_tracepoint(name),
        None => program.attach(),
    }
}
