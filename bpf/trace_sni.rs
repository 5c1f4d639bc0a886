//! The trace_sni gadget, for who runs, tests or measures it: its object, its metadata and, with the feature
//! `skeleton`, a typed handle that loads the real program without a runner.

/// `gadget.yaml`, as it goes into the image.
pub const METADATA: &str = include_str!("../gadget.yaml");

/// The compiled CO-RE object. It relocates against a `struct gadget_socket_value` that the loader must supply.
#[cfg(feature = "object")]
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trace_sni.bpf.o"));

#[cfg(feature = "skeleton")]
pub mod load;

/// The types that libbpf-cargo generates from the object: maps, programs, parameters and the event.
#[cfg(feature = "skeleton")]
#[allow(
    missing_docs,
    unsafe_code,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    clippy::needless_pass_by_value,
    clippy::redundant_clone,
    reason = "generated"
)]
pub mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/trace_sni.skel.rs"));
}
