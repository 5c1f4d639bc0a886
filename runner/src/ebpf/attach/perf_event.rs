//! Programs of performance events (`perf_event/…`): each processor runs them so many times a second.

#![allow(unsafe_code, reason = "perf_event_open has no safe wrapper")]

use std::{
    fs, io,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
};

use gadget::metadata;
use libbpf_rs::{Link, ProgramMut};

/// Samples a second at most: more would keep the processors busy with nothing else.
const MAX_FREQUENCY: u64 = 10_000;

/// Opens what gadget.yaml says of `program` on every processor and attaches it there.
///
/// # Errors
/// When gadget.yaml does not say which event and how often, or the kernel has no such event.
pub(super) fn attach(
    program: &ProgramMut<'_>,
    described: Option<&metadata::Program>,
) -> Result<Vec<Link>, libbpf_rs::Error> {
    let attributes = described.ok_or("it does not name the program").and_then(attributes);
    let attributes = attributes.map_err(|why| {
        let name = program.name().to_string_lossy().into_owned();
        io::Error::other(format!(
            "gadget.yaml must say which event, and how often, at programs.{name}: {why}"
        ))
    })?;
    let attach = |cpu| {
        let event = open(&attributes, cpu)?.into_raw_fd();
        program.attach_perf_event(event).inspect_err(|_| {
            // SAFETY: the event was opened above, and libbpf takes it over only if it succeeds.
            drop(unsafe { OwnedFd::from_raw_fd(event) });
        })
    };
    processors()?.into_iter().map(attach).collect()
}

/// The event, by what gadget.yaml calls it.
fn attributes(described: &metadata::Program) -> Result<libbpf_sys::perf_event_attr, &'static str> {
    let perf = described.perf.as_ref().ok_or("perf is missing")?;
    let frequency = described.sampler_frequency.ok_or("sampler.frequency is missing")?;
    if !(1..=MAX_FREQUENCY).contains(&frequency) {
        return Err("sampler.frequency must be from 1 to 10000");
    }
    let (kind, config) = match (perf.kind.as_str(), perf.config.as_str()) {
        ("software", "count_sw_cpu_clock") => {
            (libbpf_sys::PERF_TYPE_SOFTWARE, libbpf_sys::PERF_COUNT_SW_CPU_CLOCK)
        }
        ("software", "count_sw_task_clock") => {
            (libbpf_sys::PERF_TYPE_SOFTWARE, libbpf_sys::PERF_COUNT_SW_TASK_CLOCK)
        }
        ("hardware", "count_hw_cpu_cycles") => {
            (libbpf_sys::PERF_TYPE_HARDWARE, libbpf_sys::PERF_COUNT_HW_CPU_CYCLES)
        }
        _ => return Err("perf.type and perf.config name no event that this version knows"),
    };
    let mut attributes = libbpf_sys::perf_event_attr {
        type_: kind,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        config: u64::from(config),
        sample_type: u64::from(libbpf_sys::PERF_SAMPLE_RAW),
        ..Default::default()
    };
    attributes.__bindgen_anon_1.sample_freq = frequency;
    attributes.set_freq(1);
    Ok(attributes)
}

fn open(attributes: &libbpf_sys::perf_event_attr, cpu: i32) -> io::Result<OwnedFd> {
    let attributes: *const _ = attributes;
    let (all_processes, no_group, flags) = (-1, -1, libbpf_sys::PERF_FLAG_FD_CLOEXEC);
    // SAFETY: the attributes live until the call returns, and say how large they are.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes, all_processes, cpu, no_group, flags) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The processors that run.
fn processors() -> io::Result<Vec<i32>> {
    const ONLINE: &str = "/sys/devices/system/cpu/online";
    let text = fs::read_to_string(ONLINE)?;
    ranges(text.trim()).ok_or_else(|| io::Error::other(format!("{ONLINE} holds {text:?}")))
}

/// Reads numbers such as `0-3,5`.
fn ranges(text: &str) -> Option<Vec<i32>> {
    let mut all = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (i32, i32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= 1 << 16 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_ranges() {
        assert_eq!(ranges("0"), Some(vec![0]));
        assert_eq!(ranges("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        for wrong in ["", "a", "1-", "0-99999999"] {
            assert_eq!(ranges(wrong), None, "{wrong}");
        }
        assert!(!processors().unwrap().is_empty());
    }

    #[test]
    fn an_event_is_named_in_whole() {
        let perf = |config: &str| metadata::Perf {
            kind: "software".to_owned(),
            config: config.to_owned(),
            sample_type: "sample_raw".to_owned(),
        };
        let program =
            |perf, frequency| metadata::Program { perf, sampler_frequency: frequency, ..Default::default() };
        assert!(attributes(&program(Some(perf("count_sw_cpu_clock")), Some(49))).is_ok());
        for wrong in [
            program(None, Some(49)),
            program(Some(perf("count_sw_cpu_clock")), None),
            program(Some(perf("count_sw_cpu_clock")), Some(0)),
            program(Some(perf("nosuch")), Some(49)),
        ] {
            assert!(attributes(&wrong).is_err());
        }
    }

    #[test]
    fn an_event_of_software_can_be_opened() {
        let perf = metadata::Perf {
            kind: "software".to_owned(),
            config: "count_sw_cpu_clock".to_owned(),
            sample_type: "sample_raw".to_owned(),
        };
        let program =
            metadata::Program { perf: Some(perf), sampler_frequency: Some(49), ..Default::default() };
        let attributes = attributes(&program).unwrap();
        assert!(open(&attributes, 0).is_ok());
        assert!(open(&attributes, 1 << 16).is_err());
    }
}
