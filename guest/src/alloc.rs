//! The memory of a guest: lists of free blocks by size, before the system's allocator.
//!
//! A guest is interpreted, and asks for the same few sizes on each event. What the C library does to keep memory dense
//! costs thousands of instructions there; a block that comes off the list of its size costs twenty. Blocks have powers
//! of two as sizes and stay on their lists; what is large goes to the system.
#![allow(unsafe_code, reason = "an allocator hands out addresses")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr,
};

/// Smallest block, bytes: room for the link to the next one, with the alignment of all that Rust has.
const SMALLEST: usize = 16;
/// Sizes that have lists: 16 bytes to 32 KiB.
const CLASSES: usize = 12;
/// Blocks that are cut from a piece of the system's memory, bytes.
const PIECE: usize = 4096;

/// The allocator. [`export!`](crate::export) makes it that of the module.
#[doc(hidden)]
pub struct Blocks {
    free: [Cell<*mut u8>; CLASSES],
}

// SAFETY: a guest has one thread: modules for wasm32-wasip1 have no others, and nothing else uses this type.
unsafe impl Sync for Blocks {}

impl Blocks {
    #[allow(missing_docs, clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { free: [const { Cell::new(ptr::null_mut()) }; CLASSES] }
    }

    /// The list for blocks of this layout; `None` for what goes to the system.
    fn class(layout: Layout) -> Option<usize> {
        if layout.align() > SMALLEST || layout.size() > SMALLEST << (CLASSES - 1) {
            return None;
        }
        let blocks = layout.size().max(1).div_ceil(SMALLEST);
        Some(blocks.next_power_of_two().trailing_zeros() as usize)
    }

    /// Takes memory from the system, and puts all of it but one block on the list.
    #[cold]
    fn cut(&self, class: usize) -> *mut u8 {
        let size = SMALLEST << class;
        let count = (PIECE / size).max(1);
        let Ok(layout) = Layout::from_size_align(size * count, SMALLEST) else { return ptr::null_mut() };
        // SAFETY: the layout's size is not 0.
        let piece = unsafe { System.alloc(layout) };
        if !piece.is_null() {
            for at in 1..count {
                // SAFETY: `at * size` lies within the piece, which nobody has yet.
                self.put(class, unsafe { piece.add(at * size) });
            }
        }
        piece
    }

    fn put(&self, class: usize, block: *mut u8) {
        // SAFETY: a block has room for a pointer, is aligned for it, and belongs to nobody.
        unsafe { block.cast::<*mut u8>().write(self.free[class].get()) };
        self.free[class].set(block);
    }
}

// SAFETY: blocks are as large and aligned as their class says, which is at least what the layout asks for; a block is
// on a list or with its owner, never both.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller keeps what it promises to this function.
            return unsafe { System.alloc(layout) };
        };
        let block = self.free[class].get();
        if block.is_null() {
            return self.cut(class);
        }
        // SAFETY: a block on a list begins with the link that `put` wrote.
        self.free[class].set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Self::class(layout) {
            Some(class) => self.put(class, block),
            // SAFETY: it came from the system, as its layout has no list.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
        match (Self::class(layout), Self::class(wanted)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: it came from the system and goes back to it.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: as in `alloc`; the new block is another one and has room for what is copied.
                unsafe {
                    let moved = self.alloc(wanted);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_what_is_in_them_and_are_used_again() {
        let blocks = Blocks::new();
        let mut held = Vec::new();
        for round in 0..3u8 {
            for size in [0, 1, 16, 17, 100, 4096, 4097, 32 << 10, (32 << 10) + 1, 100_000] {
                let layout = Layout::from_size_align(size.max(1), 8).unwrap();
                // SAFETY: each block is written within its layout and given back once, with that layout.
                unsafe {
                    let block = blocks.alloc(layout);
                    assert_eq!(block as usize % 8, 0);
                    block.write_bytes(round + 1, layout.size());
                    held.push((block, layout, round + 1));
                }
            }
            let same = |&(block, layout, byte): &(*mut u8, Layout, u8)| {
                // SAFETY: written in whole above.
                unsafe { std::slice::from_raw_parts(block, layout.size()) }.iter().all(|b| *b == byte)
            };
            assert!(held.iter().all(same));
            for (block, layout, byte) in held.drain(..) {
                // SAFETY: as above; the block that comes back has the new size.
                unsafe {
                    let grown = blocks.realloc(block, layout, layout.size() * 3);
                    assert_eq!(grown.add(layout.size() - 1).read(), byte);
                    blocks.dealloc(grown, Layout::from_size_align(layout.size() * 3, 8).unwrap());
                }
            }
        }
        let layout = Layout::new::<[u64; 5]>();
        // SAFETY: as above.
        unsafe {
            let first = blocks.alloc(layout);
            blocks.dealloc(first, layout);
            assert_eq!(blocks.alloc(layout), first);
        }
    }

    #[test]
    fn each_size_has_the_smallest_list_with_room() {
        let class = |size, align| Blocks::class(Layout::from_size_align(size, align).unwrap());
        assert_eq!(
            [class(0, 1), class(16, 16), class(17, 1), class(33, 4)],
            [Some(0), Some(0), Some(1), Some(2)]
        );
        assert_eq!([class(32 << 10, 8), class((32 << 10) + 1, 8), class(8, 32)], [Some(11), None, None]);
    }
}
