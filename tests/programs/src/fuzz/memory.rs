//! The memory that a task's arguments lie in, with a hole and a page that can't be written, and the mappings that calls
//! may change.

use crate::choices::Choices;
use libc::*;

/// Where arguments lie: for each of the six its pages.
const ARENA: usize = 0x10_0000_0000;
/// Pages for one argument: three that are whole, one that can only be read, and one that is not there.
const PAGES: usize = 5;
const PAGE: usize = 4096;
const WRITABLE: usize = 3;
/// Words that are filled for one argument.
pub const WORDS: usize = 64;
/// Where calls map, unmap, protect and advise.
const MAPPINGS: usize = 0x20_0000_0000;
const MAPPED_PAGES: usize = 32;

/// Where the context of the process is.
pub const CONTEXT: usize = 0x28_0000_0000;

/// Where each argument's memory begins; the address is in this thread's own arena.
fn start(index: usize) -> usize {
    ARENA + (lane() * 6 + index) * PAGES * PAGE
}

/// Each thread of a process has its own arena: the number that `lay_out` was told in this thread.
fn lane() -> usize {
    LANE.with(std::cell::Cell::get)
}

thread_local! {
    static LANE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Makes the arena of this thread, or mends it, and now and then the mappings. Whether that was possible.
pub fn lay_out(own_lane: usize) -> bool {
    LANE.with(|lane| lane.set(own_lane));
    let fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    let fine = (0..6).all(|index| {
        let start = start(index);
        // SAFETY: addresses that nothing else of this program is at; what was there is of the same kind.
        unsafe {
            let read_only = (start + WRITABLE * PAGE) as *mut c_void;
            mmap(start as *mut c_void, WRITABLE * PAGE, PROT_READ | PROT_WRITE, fixed, -1, 0) != MAP_FAILED
                && mmap(read_only, PAGE, PROT_READ, fixed, -1, 0) != MAP_FAILED
        }
    });
    renew_context();
    // SAFETY: as above.
    fine && unsafe {
        mmap(MAPPINGS as *mut c_void, MAPPED_PAGES * PAGE, PROT_READ | PROT_WRITE, fixed, -1, 0) != MAP_FAILED
    }
}

/// Ends the context of the process, if it is still there, and makes another in its place.
fn renew_context() {
    let mut made = 0_usize;
    // SAFETY: the word lives until the call is over; the kernel has chosen the address of the ring, and what lay where it
    // goes was another.
    unsafe {
        syscall(SYS_io_destroy, CONTEXT);
        if syscall(SYS_io_setup, 4_i64, &raw mut made) == 0 {
            mremap(made as *mut c_void, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, CONTEXT);
        }
    }
}

/// The memory of an argument, for a structure of another one.
pub fn of_argument(index: usize) -> u64 {
    start(index) as u64
}

/// An address for an argument: mostly good, then with what `fill` put there, else bad in one of the known ways.
pub fn pointer(index: usize, choices: &mut Choices, fill: impl FnOnce(&mut [u64; WORDS], &mut Choices)) -> u64 {
    let start = start(index);
    let mut words = [0; WORDS];
    fill(&mut words, choices);
    let good = match choices.below(40) {
        0 => return 0,
        1 => return 8,
        2 => {
            return choices.one_of(&[
                0x7fff_ffff_f000,
                0x8000_0000_0000_0000,
                0xffff_ffff_8000_0000,
                0xffff_8000_0000_1000,
            ]);
        }
        3 => return (start + WRITABLE * PAGE + 64) as u64,
        // The end of what can be written, and the end of what can be read.
        4 => return (start + WRITABLE * PAGE) as u64 - choices.below(24),
        5 => return ((start + (WRITABLE + 1) * PAGE) as u64) - choices.below(24),
        6 => start + choices.below(8) as usize,
        7 => start + PAGE - 8 * choices.below(8) as usize,
        _ => start,
    };
    // SAFETY: in the arena, which is mapped unless a call has undone that; then the task ends, as a program may.
    unsafe { std::ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), good as *mut u8, size_of_val(&words)) };
    good as u64
}

/// Memory of an argument that its structures may point to.
pub fn inner(index: usize) -> u64 {
    (start(index) + 2 * PAGE) as u64
}

/// Puts words at an address of the arena, for a structure that points to them.
pub fn put(address: u64, words: &[u64]) {
    // SAFETY: in the arena, as in `pointer`.
    unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), address as *mut u64, words.len()) };
}

/// The address of a mapping.
pub fn mapping(choices: &mut Choices) -> u64 {
    match choices.below(24) {
        0 => choices.one_of(&[0x1000, 0x7fff_ffff_f000, 0xffff_ffff_ffff_f000, 1 << 47, u64::MAX]),
        1..4 => 0,
        4 => (MAPPINGS as u64) + choices.below((MAPPED_PAGES * PAGE) as u64),
        // Now and then the arena, so that good addresses turn bad in the middle of a call of another thread.
        5 if choices.one_in(8) => (ARENA as u64) + choices.below(12 * PAGES as u64) * PAGE as u64,
        _ => (MAPPINGS as u64) + choices.below(MAPPED_PAGES as u64) * PAGE as u64,
    }
}
