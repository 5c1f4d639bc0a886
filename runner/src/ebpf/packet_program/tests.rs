//! Attaching to network namespaces, many of them.

#![allow(unsafe_code, reason = "running a program on a packet has no safe wrapper")]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use libbpf_rs::ObjectBuilder;
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::container::namespace;

/// A filter that jumps to a program that does nothing.
fn filter() -> (libbpf_rs::Object, PacketProgram) {
    let object = ObjectBuilder::default().open_memory(DISPATCHER).unwrap().load().unwrap();
    let filter = PacketProgram::new(object.progs().next().unwrap().as_fd(), Place::Socket, None).unwrap();
    (object, filter)
}

/// A network namespace that lives as long as the file.
fn network() -> File {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    })
    .join()
    .unwrap()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn programs() -> usize {
    libbpf_rs::query::ProgInfoIter::default().filter(|program| program.name == "ig_net_disp").count()
}

#[test]
fn the_dispatcher_notes_the_namespace_and_jumps() {
    let (_object, filter) = filter();
    let netns = 0xf000_1234;
    let program = dispatcher::load(Place::Socket, netns, filter.tail_call.as_fd()).unwrap();
    // The program that it jumps to is the object's own, whose constant is 0: what is noted last is that.
    let packet = [0_u8; 64];
    // `struct __sk_buff`, of which only `cb` may be given and is given back.
    let mut context = [0_u32; 48];
    let mut run = || {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: packet.as_ptr().cast(),
            data_size_in: packet.len() as u32,
            ctx_in: context.as_ptr().cast(),
            ctx_size_in: size_of_val(&context) as u32,
            ctx_out: context.as_mut_ptr().cast(),
            ctx_size_out: size_of_val(&context) as u32,
            ..Default::default()
        };
        // SAFETY: all pointers are to memory of the sizes given, which lives through the call.
        let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
        assert_eq!(result, 0);
        let noted = context[48 / 4];
        context.fill(0);
        noted
    };
    assert_eq!(run(), 0, "it did not jump");
    filter.tail_call.delete(&0_u32.to_ne_bytes()).unwrap();
    assert_eq!(run(), netns);
}

#[test]
fn namespaces_that_come_and_go_leave_nothing_behind() {
    let rounds = std::env::var("IGX_TEST_NETWORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let (_object, filter) = filter();
    let before = open_files();
    for _ in 0..rounds {
        let file = network();
        let netns = namespace::netns_of(&file).unwrap();
        assert!(!filter.join(netns), "nobody watches it yet");
        filter.attach(netns, &file).unwrap();
        filter.attach(netns, &file).unwrap();
        assert!(filter.join(netns));
        filter.detach(netns);
        filter.detach(netns);
        assert_eq!(filter.networks.lock().unwrap().len(), 1);
        filter.detach(netns);
    }
    assert!(filter.networks.lock().unwrap().is_empty());
    // Other tests have files open and programs loaded, too, but not for long.
    let began = Instant::now();
    while open_files() >= before + 50 || programs() > 50 {
        let (files, programs) = (open_files(), programs());
        let left = format!("{before} files were open, now {files}; {programs} programs are left");
        assert!(began.elapsed() < Duration::from_secs(60), "{left}");
        thread::yield_now();
    }
}

#[test]
fn two_hundred_namespaces_are_attached_to_in_a_fraction_of_a_second() {
    let (_object, filter) = filter();
    let networks: Vec<_> = (0..200).map(|_| network()).collect();
    let began = Instant::now();
    for file in &networks {
        filter.attach(namespace::netns_of(file).unwrap(), file).unwrap();
    }
    let took = began.elapsed();
    println!("200 network namespaces: {took:?}");
    // Some 30 ms on an idle machine; others may be busy on this one.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
