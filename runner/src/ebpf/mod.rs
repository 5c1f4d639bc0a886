//! A gadget's programs in this machine's kernel: loading them (CO-RE, parameters, maps that others provide),
//! attaching them (one file a kind) and reading what they send.
//!
//! `unsafe` lives here and in [`crate::socket`] only, where libbpf-rs and nix have no word for something.

pub mod attach;
mod bpffs;
pub mod kernel_btf;
pub mod load;
pub mod packet_program;
pub mod param;
pub(crate) mod perf_ring;
mod private_mount;
pub mod reader;
mod ring;
mod trace_pipe;
pub(crate) mod tracefs;
pub mod usage;

use std::sync::Mutex;

pub use kernel_btf::{KernelBtf, ObjectBtf};
pub use load::{LoadedGadget, Loader};
pub use packet_program::{NetnsPath, PacketOptions, PacketProgram, Place};
pub use reader::Reader;
pub(crate) use trace_pipe::TracePipe;

/// What can go wrong between an object and the kernel.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error("cannot read the gadget's object: {error}{}", libbpf_said())]
    Open { error: libbpf_rs::Error },
    #[error("the kernel refuses the gadget's programs: {error}{}{}", hint(error), libbpf_said())]
    Load { error: libbpf_rs::Error },
    #[error("cannot attach program {program} to {section}: {error}; {}{}", lacks(section), libbpf_said())]
    Attach { program: String, section: String, error: libbpf_rs::Error },
    #[error("program {program} is of a kind that this version cannot attach: section {section}")]
    UnsupportedProgram { program: String, section: String },
    #[error("the gadget's object has no program {0}: it is damaged; remove the image and pull it again")]
    NoProgram(String),
    #[error("cannot read the list that program {program} makes: {source}")]
    Iterate { program: String, source: std::io::Error },
    #[error("cannot mount tracefs at /sys/kernel/tracing: {0}; gadgets with tracepoints need it")]
    Tracefs(#[source] std::io::Error),
    #[error("cannot mount the BPF file system at /sys/fs/bpf: {0}; the gadget shares maps there")]
    Bpffs(#[source] std::io::Error),
    #[error("cannot use {what}: {source}")]
    Map { what: String, source: libbpf_rs::Error },
    #[error("the gadget's object has no map {0}: it is damaged; remove the image and pull it again")]
    NoMap(String),
    #[error("cannot watch the packets of network namespace {netns}: {source}")]
    Socket { netns: u32, source: std::io::Error },
    #[error(transparent)]
    Namespace(#[from] crate::container::namespace::Error),
    #[error(
        "this kernel has no BTF ({path}: {source}); gadgets need a kernel built with CONFIG_DEBUG_INFO_BTF"
    )]
    KernelBtf { path: &'static str, source: std::io::Error },
    #[error("cannot fit the gadget to this kernel: {0}")]
    Relocate(String),
    #[error("invalid value {value:?} for --{key}: {reason}")]
    Param { key: String, value: String, reason: String },
}

fn hint(error: &libbpf_rs::Error) -> &'static str {
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => {
            "; igx must be root, and the kernel must allow such programs (lockdown may not)"
        }
        _ => "",
    }
}

/// What a kernel may lack for a program of this section.
fn lacks(section: &str) -> &'static str {
    match section.split('/').next().unwrap_or_default() {
        "kprobe" | "kretprobe" => "this kernel has no such function, or no kprobes (CONFIG_KPROBES)",
        "tracepoint" | "tp" | "raw_tracepoint" | "raw_tp" | "tp_btf" => "this kernel has no such tracepoint",
        "perf_event" => "this kernel has no such performance event, or forbids it (perf_event_paranoid)",
        "uprobe" | "uretprobe" | "usdt" => "this kernel has no probes in programs (CONFIG_UPROBES)",
        "iter" => "this kernel has no such iterator (they came with Linux 5.8)",
        "fentry" | "fexit" => {
            "this kernel has no such function, or cannot attach to functions (CONFIG_FTRACE)"
        }
        _ => "this kernel does not support it",
    }
}

/// The last warnings that libbpf wrote, kept so that an error can show them. libbpf prints; it does not return text.
static LIBBPF_LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Lines kept of libbpf's warnings: its verifier logs can be thousands of lines long.
const LIBBPF_LOG_LINES: usize = 40;

/// Collects libbpf's warnings instead of letting it write to stderr. Call once, before anything is loaded.
pub fn capture_libbpf_log() {
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, line| {
        tracing::debug!(target: "libbpf", "{}", line.trim_end());
        if let Ok(mut log) = LIBBPF_LOG.lock() {
            if log.len() >= LIBBPF_LOG_LINES {
                log.remove(0);
            }
            log.push(line);
        }
    })));
}

/// Gets libbpf ready, in a thread of its own.
///
/// Before its first object libbpf asks the kernel a score of questions, and remembers the answers. Asked while the
/// image is still being read, they delay nothing.
pub fn warm_up() {
    let asked = std::thread::Builder::new().name("warm-up".to_owned()).spawn(|| {
        let mut builder = libbpf_rs::ObjectBuilder::default();
        // What fails here fails again, and is told, when it matters.
        builder.open_memory(packet_program::DISPATCHER).and_then(libbpf_rs::OpenObject::load).is_ok()
    });
    if let Err(error) = asked {
        tracing::debug!("libbpf is not asked in advance: {error}");
    }
}

/// Takes what libbpf wrote since the last call, as lines below an error message.
fn libbpf_said() -> String {
    let lines = LIBBPF_LOG.lock().map(|mut log| std::mem::take(&mut *log)).unwrap_or_default();
    let text = lines.concat();
    match text.trim_end() {
        "" => String::new(),
        text => format!("\n{text}"),
    }
}
