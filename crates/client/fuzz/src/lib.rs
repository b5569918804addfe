//! What the targets share: a guard of the memory that a document may take up.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Per byte of the document, at its worst.
const FACTOR: usize = 40;
/// For tables and buffers that do not depend on the document.
const BASE: usize = 1 << 20;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn take(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(held, Relaxed);
}

// SAFETY: all is left to the system's allocator; only the sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller keeps the promises of this function, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; the memory came from the same allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `parse`, and panics if it takes up more memory than a small multiple of `document`.
pub fn bounded(document: &[u8], parse: impl FnOnce(&[u8])) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    parse(document);
    let peak = PEAK.load(Relaxed).saturating_sub(before);
    assert!(peak <= document.len() * FACTOR + BASE, "{} bytes took up {peak}", document.len());
}
