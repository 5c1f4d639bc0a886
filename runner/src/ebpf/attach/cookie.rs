//! Attaching programs to places in files so that each event tells the program a number (a cookie).

#![allow(unsafe_code, reason = "libbpf-rs attaches what libbpf found, and takes no descriptors")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use libbpf_sys::{bpf_attach_type, bpf_link_create_opts};

/// A place in a file.
pub(super) struct Place {
    /// The instruction, in bytes from the file's start.
    pub(super) offset: u64,
    /// A counter of who looks, in bytes from the file's start; 0 if there is none.
    pub(super) counter: u64,
    /// What the program is told.
    pub(super) cookie: u64,
}

/// Attaches `program` to a performance event (Linux 5.15).
pub(super) fn to_event(program: &OwnedFd, event: &OwnedFd, cookie: u64) -> io::Result<OwnedFd> {
    let mut options = options();
    options.__bindgen_anon_1.perf_event.bpf_cookie = cookie;
    create(program, event.as_fd().as_raw_fd(), libbpf_sys::BPF_PERF_EVENT, &options)
}

/// Attaches `program` to all `places` of a file at once: the only way for one that was loaded for that (Linux 6.6).
pub(super) fn to_places(program: &OwnedFd, path: &CStr, places: &[Place]) -> io::Result<OwnedFd> {
    let all = |part: fn(&Place) -> u64| places.iter().map(part).collect::<Vec<_>>();
    let (offsets, counters, cookies) =
        (all(|place| place.offset), all(|place| place.counter), all(|place| place.cookie));
    let mut options = options();
    // Assigning a whole member of the union leaves nothing of it unset.
    options.__bindgen_anon_1.uprobe_multi = libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
        cnt: u32::try_from(places.len()).map_err(io::Error::other)?,
        path: path.as_ptr(),
        offsets: offsets.as_ptr(),
        ref_ctr_offsets: counters.as_ptr(),
        cookies: cookies.as_ptr(),
        ..Default::default()
    };
    create(program, 0, libbpf_sys::BPF_TRACE_UPROBE_MULTI, &options)
}

fn options() -> bpf_link_create_opts {
    bpf_link_create_opts { sz: size_of::<bpf_link_create_opts>() as libbpf_sys::size_t, ..Default::default() }
}

/// What `options` point to must live until this returns.
fn create(
    program: &OwnedFd,
    target: i32,
    kind: bpf_attach_type,
    options: &bpf_link_create_opts,
) -> io::Result<OwnedFd> {
    // SAFETY: the program is open, the options say how large they are, and what they point to is borrowed by callers.
    let fd = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), target, kind, options) };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
