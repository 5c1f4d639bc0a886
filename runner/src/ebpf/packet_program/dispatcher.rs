//! The program that notes which network namespace a packet is in.

#![allow(unsafe_code, reason = "loading instructions has no safe wrapper")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::Place;

/// The dispatcher as libbpf would load it. One is loaded for each namespace, and to have libbpf read and relocate an
/// object each time would take most of the time: [`load`] gives the kernel the same instructions.
pub(in super::super) const DISPATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dispatcher.bpf.o"));

/// What a program of traffic control gives that has no opinion (`TCX_NEXT`, `TC_ACT_UNSPEC` of linux/bpf.h).
const NEXT: i32 = -1;

/// Loads `bpf/dispatcher.bpf.c` for the namespace `netns`, to jump through `tail_call`.
pub(super) fn load(place: Place, netns: u32, tail_call: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use libbpf_sys::{BPF_ALU64, BPF_K, BPF_MOV, BPF_PSEUDO_MAP_FD, BPF_STX, BPF_W};
    use libbpf_sys::{BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_tail_call, BPF_IMM, BPF_JMP, BPF_LD, BPF_MEM};

    /// Offset of `cb` in `struct __sk_buff` of linux/bpf.h.
    const CB: i16 = 48;
    let (kind, otherwise) = match place {
        // Nobody reads the socket: keep no packet.
        Place::Socket => (libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER, 0),
        // Whoever comes next decides.
        Place::Ingress | Place::Egress => (libbpf_sys::BPF_PROG_TYPE_SCHED_CLS, NEXT),
    };
    let set = |register, value: i32| instruction(BPF_ALU64 | BPF_MOV | BPF_K, register, 0, 0, value);
    let code = [
        set(2, netns.cast_signed()),
        // skb->cb[0] = netns; the context is in register 1, where the jump wants it.
        instruction(BPF_STX | BPF_MEM | BPF_W, 1, 2, CB, 0),
        instruction(BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD as u8, 0, tail_call.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        set(3, 0),
        instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call as i32),
        set(0, otherwise),
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    ];
    // SAFETY: name, licence and code live through the call, and the code has the length that is given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            c"ig_net_disp".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as libbpf_sys::size_t,
            std::ptr::null_mut(),
        )
    };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn instruction(code: u32, to: u8, from: u8, off: i16, imm: i32) -> libbpf_sys::bpf_insn {
    let mut instruction = libbpf_sys::bpf_insn { code: code as u8, off, imm, ..Default::default() };
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
}
