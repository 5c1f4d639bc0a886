//! Attaching to network namespaces, many of them.

#![allow(unsafe_code, reason = "running a program on a packet has no safe wrapper")]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use libbpf_rs::ObjectBuilder;
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::{container::namespace, ebpf::KernelBtf};

/// Filters that jump to a program that does nothing: one with a dispatcher for each namespace, then one with a
/// dispatcher for all, if this kernel lets it.
fn filters() -> (libbpf_rs::Object, Vec<PacketProgram>) {
    let object = ObjectBuilder::default().open_memory(DISPATCHER).unwrap().load().unwrap();
    let path = path();
    let filters = [None, path.as_ref()].into_iter().map(|path| {
        let options = PacketOptions { path, interface: None };
        PacketProgram::new(object.progs().next().unwrap().as_fd(), Place::Socket, options).unwrap()
    });
    let filters = filters.take(if path.is_some() { 2 } else { 1 }).collect();
    (object, filters)
}

fn path() -> Option<NetnsPath> {
    NetnsPath::find(&KernelBtf::new(None))
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

/// What `program` noted of a packet in the namespace of the calling thread.
fn noted(program: &OwnedFd) -> u32 {
    let packet = [0_u8; 64];
    // `struct __sk_buff`, of which only `cb` may be given and is given back.
    let mut context = [0_u32; 48];
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
    context[48 / 4]
}

#[test]
fn the_dispatcher_notes_the_namespace_and_jumps() {
    let (_object, filters) = filters();
    let filter = &filters[0];
    let netns = 0xf000_1234;
    let program = dispatcher::load(Place::Socket, netns, filter.tail_call.as_fd()).unwrap();
    // The program that it jumps to is the object's own, whose constant is 0: what is noted last is that.
    assert_eq!(noted(&program), 0, "it did not jump");
    filter.tail_call.delete(&0_u32.to_ne_bytes()).unwrap();
    assert_eq!(noted(&program), netns);
}

#[test]
fn one_dispatcher_finds_the_namespace_of_each_packet() {
    let (_object, filters) = filters();
    // Linux 6.2 came with bpf_cast_to_kern_ctx.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let is_let = (numbers.next(), numbers.next()) >= (Some(6), Some(2));
    assert_eq!(filters.len(), if is_let { 2 } else { 1 });
    let Some(filter) = filters.get(1) else { return };
    let program = filter.dispatcher.as_ref().expect("the kernel takes it");
    assert_eq!(noted(program), 0, "it did not jump");
    filter.tail_call.delete(&0_u32.to_ne_bytes()).unwrap();
    let own = || namespace::netns_of(&File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
    assert_eq!(noted(program), own());
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(noted(program), own());
        });
    });
    for place in [Place::Ingress, Place::Egress] {
        let program =
            dispatcher::load_for_all(place, &path().unwrap(), program_array().unwrap().as_fd()).unwrap();
        assert_eq!(noted(&program), own());
    }
}

#[test]
fn namespaces_that_come_and_go_leave_nothing_behind() {
    let rounds = std::env::var("IGX_TEST_NETWORKS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let (_object, filters) = filters();
    let before = open_files();
    for (_, filter) in (0..rounds).flat_map(|round| filters.iter().map(move |filter| (round, filter))) {
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
    assert!(filters.iter().all(|filter| filter.networks.lock().unwrap().is_empty()));
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
    let (_object, filters) = filters();
    let networks: Vec<_> = (0..200).map(|_| network()).collect();
    for filter in filters {
        let began = Instant::now();
        for file in &networks {
            filter.attach(namespace::netns_of(file).unwrap(), file).unwrap();
        }
        let took = began.elapsed();
        println!("200 network namespaces: {took:?}, one dispatcher: {}", filter.dispatcher.is_some());
        // Some 30 ms on an idle machine with a dispatcher for each; others may be busy on this one.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
