//! The program that notes which network namespace a packet is in: one for all namespaces where the kernel lets a
//! program find that by itself, or else one for each.

#![allow(unsafe_code, reason = "loading instructions has no safe wrapper")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use libbpf_sys::bpf_insn;
use libbpf_sys::{
    BPF_ALU64, BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_tail_call, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K,
};
use libbpf_sys::{
    BPF_LD, BPF_LDX, BPF_MEM, BPF_MOV, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_STX, BPF_W, BPF_X,
};

use super::{Place, path::NetnsPath};

/// The dispatcher as libbpf would load it. Where one is loaded for each namespace, to have libbpf read and relocate an
/// object each time would take most of the time: [`load`] gives the kernel as good as the same instructions.
pub(in super::super) const DISPATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dispatcher.bpf.o"));

/// What a program of traffic control gives that has no opinion (`TCX_NEXT`, `TC_ACT_UNSPEC` of linux/bpf.h).
const NEXT: i32 = -1;

/// The registers of the program, by the kernel's numbers: the first is a call's result, the next ones its arguments.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
/// Survives a call.
const R6: u8 = 6;

/// Loads `bpf/dispatcher.bpf.c` for the namespace `netns`, to jump through `tail_call`.
pub(super) fn load(place: Place, netns: u32, tail_call: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    load_noting(place, &[copy(R6, R1), set(R1, netns.cast_signed())], tail_call)
}

/// Loads a dispatcher for all namespaces: it finds each packet's by itself.
///
/// # Errors
/// Where the kernel does not let it.
pub(super) fn load_for_all(place: Place, path: &NetnsPath, tail_call: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // Kernels tell the verifier that some of the pointers may be null, and not all the same ones.
    let follow = [
        copy(R6, R1),
        call_kernel(path.bpf_cast_to_kern_ctx),
        read(BPF_DW, R1, R0, path.dev),
        jump_if_null(R1, 4),
        read(BPF_DW, R1, R1, path.net),
        jump_if_null(R1, 2),
        read(BPF_W, R1, R1, path.inum),
        jump(1),
        set(R1, 0),
    ];
    load_noting(place, &follow, tail_call)
}

/// Loads a program that notes what `find` puts into register 1, and jumps. `find` keeps the context in register 6.
fn load_noting(place: Place, find: &[bpf_insn], tail_call: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// Offset of `cb` in `struct __sk_buff` of linux/bpf.h.
    const CB: i16 = 48;
    let (kind, otherwise) = match place {
        // Nobody reads the socket: keep no packet.
        Place::Socket => (libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER, 0),
        // Whoever comes next decides.
        Place::Ingress | Place::Egress => (libbpf_sys::BPF_PROG_TYPE_SCHED_CLS, NEXT),
    };
    let jump = [
        // skb->cb[0] = netns
        instruction(BPF_STX | BPF_MEM | BPF_W, R6, R1, CB, 0),
        copy(R1, R6),
        instruction(BPF_LD | BPF_DW | BPF_IMM, R2, BPF_PSEUDO_MAP_FD as u8, 0, tail_call.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        set(R3, 0),
        instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call as i32),
        set(R0, otherwise),
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    ];
    let code = [find, &jump].concat();
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

fn set(to: u8, value: i32) -> bpf_insn {
    instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
}

fn copy(to: u8, from: u8) -> bpf_insn {
    instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
}

/// `width` bytes at the offset `at` of what `from` points to.
fn read(width: u32, to: u8, from: u8, at: i16) -> bpf_insn {
    instruction(BPF_LDX | BPF_MEM | width, to, from, at, 0)
}

/// Leaves out the next `count` instructions.
fn jump(count: i16) -> bpf_insn {
    instruction(BPF_JMP | BPF_JA, 0, 0, count, 0)
}

fn jump_if_null(pointer: u8, count: i16) -> bpf_insn {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, pointer, 0, count, 0)
}

/// Calls the kernel's function of this number in its BTF.
fn call_kernel(function: u32) -> bpf_insn {
    instruction(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL as u8, 0, function.cast_signed())
}

fn instruction(code: u32, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
    let mut instruction = bpf_insn { code: code as u8, off, imm, ..Default::default() };
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
}
