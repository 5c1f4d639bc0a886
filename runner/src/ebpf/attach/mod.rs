//! Attaching a gadget's programs, by the kind that their section names.

mod cookie;
mod iterator;
mod perf_event;
mod specifications;
mod target;
mod user_probe;

use std::{collections::BTreeMap, os::fd::AsFd, sync::Arc, time::Duration};

use gadget::{
    metadata::{self, Names},
    object::{Object, Program},
};
use libbpf_rs::{Link, ProgramMut, ProgramType};

pub use iterator::Iterator;
pub use user_probe::UserProbe;

use super::{Error, LoadedGadget, PacketOptions, PacketProgram, Place, tracefs};
use crate::symbol::Patience;

/// The value of `attach_to` that leaves a program out.
pub const DISABLED: &str = "gadget_program_disabled";

/// How long is waited for the file system of a container.
const PATIENCE: Duration = Duration::from_secs(2);

/// The kinds of sections, besides those that see packets, whose programs can be attached.
const KINDS: [&str; 15] = [
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
    "uprobe",
    "uretprobe",
    "usdt",
];

/// Everything that is attached. Dropping it detaches.
#[derive(Default)]
pub struct Attached {
    /// One for each program that sees packets: it still has to be told which namespaces to watch.
    pub packet_programs: Vec<PacketProgram>,
    /// One for each probe in programs: it still has to be told whose.
    pub user_probes: Vec<UserProbe>,
    _links: Vec<Link>,
}

/// Attaches all programs of `gadget`. `targets` are the metadata's `attach_to`, by lower-case program name; `programs`
/// is what else the metadata says of them.
pub fn attach(
    gadget: &LoadedGadget,
    targets: &BTreeMap<String, String>,
    programs: &Names<metadata::Program>,
    packets: PacketOptions<'_>,
) -> Result<Attached, Error> {
    let by_tracepoint = |p: ProgramMut<'_>| p.prog_type() == ProgramType::Tracepoint;
    if gadget.programs().any(by_tracepoint) {
        tracefs::with_tracefs(|| attach_all(gadget, targets, programs, packets)).map_err(Error::Tracefs)?
    } else {
        attach_all(gadget, targets, programs, packets)
    }
}

/// Checks that every program is of a kind that can be attached, before any of them is loaded.
pub fn check(object: &Object) -> Result<(), Error> {
    let known = |section: &str| match kind(section) {
        "classifier" => place(section).is_some(),
        kind => section.starts_with("socket") || KINDS.contains(&kind),
    };
    let unsupported = |p: &&Program| !known(&p.section);
    match object.programs.iter().find(unsupported) {
        Some(p) => Err(Error::UnsupportedProgram { program: p.name.clone(), section: p.section.clone() }),
        None => Ok(()),
    }
}

/// Where the program of a section sees packets, if it does.
fn place(section: &str) -> Option<Place> {
    let mut parts = section.split('/');
    match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        ("classifier", Some("ingress"), Some(_), None) => Some(Place::Ingress),
        ("classifier", Some("egress"), Some(_), None) => Some(Place::Egress),
        (kind, ..) => kind.starts_with("socket").then_some(Place::Socket),
    }
}

/// Whether the object has programs that see packets.
pub fn sees_packets(object: &Object) -> bool {
    object.programs.iter().any(|p| place(&p.section).is_some())
}

/// Whether the object has programs of traffic control, which can be held to one interface.
pub fn sees_interfaces(object: &Object) -> bool {
    object.programs.iter().any(|p| matches!(place(&p.section), Some(Place::Ingress | Place::Egress)))
}

/// What a section says of how its program is attached.
fn kind(section: &str) -> &str {
    section.split('/').next().unwrap_or_default()
}

fn attach_all(
    gadget: &LoadedGadget,
    targets: &BTreeMap<String, String>,
    programs: &Names<metadata::Program>,
    packets: PacketOptions<'_>,
) -> Result<Attached, Error> {
    let mut attached = Attached::default();
    let specifications = specifications::Specifications::of(gadget)?.map(Arc::new);
    let patience = Patience::new(PATIENCE);
    for program in gadget.programs() {
        let name = program.name().to_string_lossy().into_owned();
        let section = program.section().to_string_lossy().into_owned();
        let target = targets.get(&name.to_lowercase()).map(String::as_str);
        if target == Some(DISABLED) {
            continue;
        }
        if let Some(place) = place(&section) {
            let program = PacketProgram::new(program.as_fd(), place, packets)?;
            attached.packet_programs.push(program);
            continue;
        }
        let link = match kind(&section) {
            // Attached by whoever reads what they make.
            "iter" => continue,
            kind @ ("uprobe" | "uretprobe" | "usdt") => {
                let specifications = specifications.clone().filter(|_| kind == "usdt");
                let probe = UserProbe::new(&program, &section, target, specifications, &patience)?;
                attached.user_probes.push(probe);
                continue;
            }
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
