//! What a read costs: memory, time, and whether it panics.
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Counts the bytes that are alive, as they were asked for.
struct Meter;

#[global_allocator]
static METER: Meter = Meter;
static ALIVE: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);
static LARGEST: AtomicIsize = AtomicIsize::new(0);

/// More at once than any input may cost: refused, so that a lie about sizes ends this program and not the machine. The input is
/// on the disk then.
const ONCE: usize = 1 << 31;

/// So many more bytes, for a piece that is then so large.
fn grow(by: isize, piece: usize) {
    LARGEST.fetch_max(piece as isize, Relaxed);
    let alive = ALIVE.fetch_add(by, Relaxed) + by;
    MOST.fetch_max(alive, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > ONCE {
            return std::ptr::null_mut();
        }
        grow(layout.size() as isize, layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > ONCE {
            return std::ptr::null_mut();
        }
        grow(layout.size() as isize, layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        grow(-(layout.size() as isize), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    /// What grows in place or page by page is counted once: large pieces do.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > ONCE {
            return std::ptr::null_mut();
        }
        grow(size as isize - layout.size() as isize, size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What was seen of a read.
pub struct Seen {
    /// Whether it gave something.
    pub accepted: bool,
    /// The most bytes that were alive at once, of those that were not before.
    pub most: usize,
    /// Bytes of the largest piece that was asked for.
    pub largest: usize,
    /// What is wrong with it: it panicked, or said nothing of why it gave nothing.
    pub wrong: Option<String>,
    /// The time of processors that it took, or of the clock where the system does not tell.
    pub took: Duration,
}

/// Do it, and look. Nothing else of this program may run meanwhile.
pub fn watch(read: impl FnOnce() -> Result<(), String>) -> Seen {
    let begun = Instant::now();
    let used_before = used(begun);
    let before = ALIVE.load(Relaxed);
    MOST.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let done = catch_unwind(AssertUnwindSafe(read));
    let most = (MOST.load(Relaxed) - before).max(0) as usize;
    let largest = LARGEST.load(Relaxed).max(0) as usize;
    let took = used(begun).saturating_sub(used_before);
    let (accepted, wrong) = match done {
        Ok(Ok(())) => (true, None),
        Ok(Err(said)) if said.trim().is_empty() => (false, Some("its error says nothing".into())),
        Ok(Err(_)) => (false, None),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            (false, Some(format!("it panicked: {}", said.unwrap_or_default())))
        }
    };
    Seen { accepted, most, largest, wrong, took }
}

/// The time of processors that this program has used (Linux: in hundredths of a second), which a busy machine does not
/// lengthen; else the time since `begun`.
pub fn used(begun: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        // The name of the program is in brackets, and may hold anything; fields 14 and 15 of all are times.
        let rest = stat.rsplit_once(')')?.1;
        rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()
    });
    told.map_or_else(|| begun.elapsed(), |ticks| Duration::from_millis(10 * ticks))
}
