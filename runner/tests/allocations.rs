//! No event on its way from the kernel's bytes to text costs an allocation, whatever the mode.
//!
//! A test binary of its own: it counts what the whole process allocates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "an allocator that counts is one, and allocators are unsafe")]

#[path = "../benches/trace_sni.rs"]
mod trace_sni;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use runner::output::Mode;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: all that it does beside counting, which does not allocate, is what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_event_costs_no_allocation() {
    for (mode, columns) in [
        (Mode::Columns, None),
        (Mode::Columns, Some(80)),
        (Mode::Json, None),
        (Mode::JsonPretty, None),
        (Mode::Yaml, None),
    ] {
        let mut line = trace_sni::Pipeline::new(mode, columns);
        let mut out = Vec::with_capacity(1 << 21);
        // The first ones look up a second of the clock and the names of users.
        (0..1000).for_each(|n| line.event(n, &mut out));
        out.clear();
        let before = COUNT.with(Cell::get);
        (1000..1400).for_each(|n| line.event(n, &mut out));
        assert_eq!(COUNT.with(Cell::get) - before, 0, "{mode} {columns:?}");
        assert!(out.len() > 400 * 40, "{mode} {columns:?}");
    }
    // It is told of what does allocate.
    let before = COUNT.with(Cell::get);
    std::hint::black_box(Box::new(1));
    assert_eq!(COUNT.with(Cell::get) - before, 1);
}
