//! What root decides about core dumps: /proc/sys/kernel/core_* and /proc/sys/fs/suid_dumpable (core(5), proc(5)).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// Whether a process leaves a core, and who may look into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Dumpable {
    /// `SUID_DUMP_DISABLE`: it leaves none.
    No = 0,
    /// `SUID_DUMP_USER`: it leaves one that is its own.
    Yes = 1,
    /// `SUID_DUMP_ROOT`: it leaves one that only root can read.
    AsRoot = 2,
}

impl Dumpable {
    /// The value with this number.
    pub const fn new(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::No),
            1 => Some(Self::Yes),
            2 => Some(Self::AsRoot),
            _ => None,
        }
    }
}

/// The longest pattern.
const LONGEST: usize = 127;

struct Pattern {
    bytes: [u8; LONGEST],
    length: usize,
}

static PATTERN: SpinLock<Pattern> = SpinLock::new(rank::TASK, Pattern::CORE);

impl Pattern {
    const CORE: Self = {
        let mut bytes = [0; LONGEST];
        bytes[0] = b'c';
        bytes[1] = b'o';
        bytes[2] = b'r';
        bytes[3] = b'e';
        Self { bytes, length: 4 }
    };
}

static USES_PID: AtomicBool = AtomicBool::new(false);
static PIPE_LIMIT: AtomicU32 = AtomicU32::new(0);
static PRIVILEGED: AtomicU8 = AtomicU8::new(Dumpable::No as u8);

/// `core_pattern`.
pub fn pattern() -> Vec<u8> {
    let pattern = PATTERN.lock();
    pattern.bytes[..pattern.length].to_vec()
}

/// Sets that to the first 127 bytes of the text.
pub fn set_pattern(text: &[u8]) {
    let mut pattern = PATTERN.lock();
    pattern.length = text.len().min(LONGEST);
    let length = pattern.length;
    pattern.bytes[..length].copy_from_slice(&text[..length]);
}

/// `core_uses_pid`.
pub fn uses_pid() -> bool {
    USES_PID.load(Relaxed)
}

/// Sets that.
pub fn set_uses_pid(uses: bool) {
    USES_PID.store(uses, Relaxed);
}

/// `core_pipe_limit`: how many programs may read cores at once, each waited for; 0 any number, and none is waited for.
pub fn pipe_limit() -> u32 {
    PIPE_LIMIT.load(Relaxed)
}

/// Sets that.
pub fn set_pipe_limit(limit: u32) {
    PIPE_LIMIT.store(limit, Relaxed);
}

/// `suid_dumpable`: what becomes of a process that changes who it is.
pub fn of_privileged() -> Dumpable {
    Dumpable::new(PRIVILEGED.load(Relaxed).into()).unwrap_or(Dumpable::No)
}

/// Sets that.
pub fn set_of_privileged(value: Dumpable) {
    PRIVILEGED.store(value as u8, Relaxed);
}
