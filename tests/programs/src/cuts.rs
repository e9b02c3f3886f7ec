//! Memory whose file is cut off.

use crate::child;
use libc::*;
use std::{
    ffi::CStr,
    ptr::null_mut,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

const PATH: &CStr = c"/tmp/probe-cuts";
const PAGE: usize = 4096;
/// How often a file is cut off while somebody stores in it.
const ROUNDS: usize = 300;

fn open_file(flags: c_int) -> c_int {
    // SAFETY: a path with its NUL.
    unsafe { open(PATH.as_ptr(), flags | O_CREAT, 0o600) }
}

fn resize(file: c_int, size: usize) -> bool {
    // SAFETY: takes no address.
    unsafe { ftruncate(file, size as off_t) == 0 }
}

/// Three pages of the file; at no address if they can't be mapped.
fn map(file: c_int, how: c_int) -> *mut u8 {
    // SAFETY: a new mapping, where nothing else is.
    let mapped = unsafe { mmap(null_mut(), 3 * PAGE, PROT_READ | PROT_WRITE, how, file, 0) };
    if mapped == MAP_FAILED { null_mut() } else { mapped.cast() }
}

/// What a child ends with that loads a byte.
fn load(base: *const u8, offset: usize) -> i32 {
    // SAFETY: mapped by this program, so a byte or the end of the child.
    child::status(|| i32::from(unsafe { base.wrapping_add(offset).read_volatile() }))
}

fn cut(check: &mut impl FnMut(&str, bool)) {
    let file = open_file(O_RDWR | O_TRUNC);
    let bytes = [9_u8; 3 * PAGE];
    // SAFETY: the bytes live until the call is over.
    check("a file of three pages", unsafe { write(file, bytes.as_ptr().cast(), bytes.len()) } == bytes.len() as isize);
    let (shared, private) = (map(file, MAP_SHARED), map(file, MAP_PRIVATE));
    for page in 0..3 {
        // SAFETY: all three pages are there.
        let read = unsafe { (shared.add(page * PAGE).read_volatile(), private.add(page * PAGE).replace(8)) };
        check("a page of the file", read == (9, 9));
    }
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check("a pipe", unsafe { pipe(ends.as_mut_ptr()) } == 0);
    let later = child::start(|| {
        let mut byte = 0_u8;
        // SAFETY: the byte lives until the call is over; the page is mapped, whatever becomes of it.
        unsafe { (read(ends[0], (&raw mut byte).cast(), 1), private.add(2 * PAGE).read_volatile()) };
        0
    });
    check("the file is cut off in its second page", resize(file, PAGE + 10));
    check("what is left is there", load(shared, 0) == 9 && load(shared, PAGE + 9) == 9 && load(private, PAGE) == 8);
    check("the rest of the page is zero", load(shared, PAGE + 10) == 0);
    check("what is gone is a bus error", load(shared, 2 * PAGE) == 128 + SIGBUS);
    check("a copy of it too", load(private, 2 * PAGE) == 128 + SIGBUS);
    // SAFETY: the byte lives until the call is over.
    check("a child goes on", unsafe { write(ends[1], bytes.as_ptr().cast(), 1) } == 1);
    check("it has lost its copy", later() == 128 + SIGBUS);
    // SAFETY: the page is mapped, whatever becomes of it.
    let got = unsafe { pread(file, shared.add(2 * PAGE).cast(), 1, 0) };
    check("the kernel can't store there", got == -1 && std::io::Error::last_os_error().raw_os_error() == Some(EFAULT));
    check("the file is made longer", resize(file, 3 * PAGE));
    check("it is zero there", load(shared, 2 * PAGE) == 0 && load(private, 2 * PAGE) == 0);
    check("it is emptied", open_file(O_WRONLY | O_TRUNC) >= 0 && load(shared, 0) == 128 + SIGBUS);
    // SAFETY: a path with its NUL.
    let by_name = resize(file, 3 * PAGE) && load(shared, 0) == 0 && unsafe { truncate(PATH.as_ptr(), 0) } == 0;
    check("it is emptied by name", by_name && load(shared, 0) == 128 + SIGBUS);
}

/// Nobody keeps a page who faults while the file is cut off.
fn race(check: &mut impl FnMut(&str, bool)) {
    let file = open_file(O_RDWR | O_TRUNC);
    let shared = map(file, MAP_SHARED);
    let done = AtomicBool::new(false);
    let at = shared.addr();
    let (mut fits, mut left) = (true, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: a path with its NUL.
            let zeros = unsafe { open(c"/dev/zero".as_ptr(), O_RDONLY) };
            while !done.load(Relaxed) {
                // SAFETY: the page is mapped as long as this thread runs; without a page in the file, it is EFAULT.
                unsafe { read(zeros, at as *mut c_void, 1) };
            }
        });
        for _ in 0..ROUNDS {
            fits &= resize(file, 3 * PAGE);
            thread::yield_now();
            fits &= resize(file, 0);
            let mut there = 0_u8;
            // SAFETY: the byte lives until the call is over.
            fits &= unsafe { mincore(shared.cast(), PAGE, &raw mut there) } == 0;
            left += there & 1;
        }
        done.store(true, Relaxed);
    });
    check("a file that is cut off again and again", fits);
    check("nobody keeps its pages", left == 0);
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what}");
        }
    };
    cut(&mut check);
    race(&mut check);
    let _ = std::fs::remove_file("/tmp/probe-cuts");
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}
