//! Asynchronous input and output: io_setup and its relatives, their errors, their ring, and all at once.

mod errors;
mod life;
mod storm;

pub use storm::run as storm;

use crate::checks::{Checks, result};
use libc::*;
use std::ptr::null_mut;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
struct Block {
    data: u64,
    key: u32,
    transfer_flags: u32,
    operation: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_file: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Event {
    data: u64,
    object: u64,
    result: i64,
    second: i64,
}

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

/// Not known by all versions of the C library's names.
pub const SYS_IO_PGETEVENTS: c_long = 333;

const WITH_EVENT_FILE: u32 = 1;
const WITH_PRIORITY: u32 = 2;

impl Block {
    fn new(operation: u16, file: c_int, buffer: *const u8, length: usize, offset: i64) -> Self {
        let (buffer, length) = (buffer as u64, length as u64);
        Self { operation, descriptor: file as u32, buffer, length, offset, data: 77, ..Self::default() }
    }

    fn poll(file: c_int, events: c_short) -> Self {
        Self::new(POLL, file, events as usize as *const u8, 0, 0)
    }

    fn event(&self, result: i64) -> Event {
        Event { data: self.data, object: std::ptr::from_ref(self) as u64, result, second: 0 }
    }
}

/// A context; ended when dropped.
struct Context(u64);

impl Context {
    fn new(requests: c_long) -> Result<Self, i32> {
        let mut context = 0;
        // SAFETY: the word lives until the call is over.
        result(unsafe { syscall(SYS_io_setup, requests, &raw mut context) })?;
        Ok(Self(context))
    }

    fn submit(&self, blocks: &mut [*mut Block]) -> Result<i64, i32> {
        // SAFETY: the list lives until the call is over; what it leads to is the caller's affair.
        result(unsafe { syscall(SYS_io_submit, self.0, blocks.len(), blocks.as_mut_ptr()) })
    }

    /// Submits one.
    fn start(&self, block: &mut Block) -> Result<i64, i32> {
        self.submit(&mut [block])
    }

    /// Submits one that ends by itself; its result.
    fn does(&self, block: &mut Block) -> Result<i64, i32> {
        self.start(block)?;
        match self.wait(1)?[..] {
            [event] if event == block.event(event.result) => Ok(event.result),
            _ => Ok(i64::MIN),
        }
    }

    fn get(&self, least: c_long, most: c_long, timeout: *mut timespec) -> Result<Vec<Event>, i32> {
        let mut events = vec![Event::default(); most.clamp(0, 1000) as usize];
        // SAFETY: the list has room for as many; the time lives until the call is over.
        let call = unsafe { syscall(SYS_io_getevents, self.0, least, most, events.as_mut_ptr(), timeout) };
        events.truncate(result(call)? as usize);
        Ok(events)
    }

    /// Waits for so many.
    fn wait(&self, count: c_long) -> Result<Vec<Event>, i32> {
        self.get(count, count, null_mut())
    }

    fn cancel(&self, block: &mut Block) -> Result<i64, i32> {
        // SAFETY: the request lives until the call is over.
        result(unsafe { syscall(SYS_io_cancel, self.0, std::ptr::from_mut(block), null_mut::<Event>()) })
    }

    fn end(&self) -> Result<i64, i32> {
        // SAFETY: takes no address of Rust's.
        result(unsafe { syscall(SYS_io_destroy, self.0) })
    }

    /// A word of the ring.
    fn word(&self, index: usize) -> u32 {
        // SAFETY: the ring is mapped as long as the context lives.
        unsafe { (self.0 as *const u32).add(index).read_volatile() }
    }

    fn set_word(&self, index: usize, value: u32) {
        // SAFETY: as above; that is for programs to write.
        unsafe { (self.0 as *mut u32).add(index).write_volatile(value) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

const NUMBER: usize = 0;
const PLACES: usize = 1;
const HEAD: usize = 2;
const TAIL: usize = 3;

fn zero() -> timespec {
    timespec { tv_sec: 0, tv_nsec: 0 }
}

fn counter(initial: c_uint) -> c_int {
    // SAFETY: takes no address.
    unsafe { eventfd(initial, EFD_NONBLOCK) }
}

/// What an event file counts, and no more afterwards.
fn count(file: c_int) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the word lives until the call is over.
    unsafe { read(file, (&raw mut value).cast(), 8) };
    value
}

fn close_all(files: &[c_int]) {
    for &file in files {
        // SAFETY: takes no address.
        unsafe { close(file) };
    }
}

fn add(file: c_int, value: u64) {
    // SAFETY: the word lives until the call is over.
    unsafe { write(file, (&raw const value).cast(), 8) };
}

fn pipe_ends() -> [c_int; 2] {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { pipe(ends.as_mut_ptr()) };
    ends
}

/// A context, which nobody ends; 0 if there can be none.
pub fn context() -> u64 {
    Context::new(8).map_or(0, |new| std::mem::ManuallyDrop::new(new).0)
}

/// Has the context tell an event of this file, if it has room.
pub fn make_event(context: u64, file: c_int) {
    let _ = std::mem::ManuallyDrop::new(Context(context)).start(&mut Block::poll(file, POLLIN));
}

/// For how many requests there are contexts in the system.
fn requests() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/fs/aio-nr").unwrap_or_default();
    text.trim().parse().unwrap_or(u64::MAX)
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    errors::set_up(&mut checks);
    errors::submit(&mut checks);
    errors::reap(&mut checks);
    life::transfers(&mut checks);
    life::ring(&mut checks);
    life::polls(&mut checks);
    life::spaces(&mut checks);
    life::signals(&mut checks);
    checks.tell()
}
