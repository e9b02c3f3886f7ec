//! What each thread did last, in memory that the test shares with all of them and a person finds in that of the machine.

use libc::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// With what each thread's page begins, for `xtask`, which looks for it in the memory of a machine that has ended.
pub const MARK: [u8; 24] = *b"menagerie fuzz: calls\0\0\0";

/// How many calls a page remembers.
const REMEMBERED: usize = 56;

/// A call that is going on has no result yet: no call returns this.
const GOING_ON: u64 = 0x8000_0000_0000_1234;

/// One call.
#[repr(C)]
struct Entry {
    number: AtomicU64,
    arguments: [AtomicU64; 6],
    result: AtomicU64,
}

/// One thread's page.
#[repr(C, align(4096))]
pub struct Ring {
    mark: [AtomicU64; 3],
    /// Seed, round, and which thread.
    pub seed: AtomicU64,
    /// The round.
    pub round: AtomicU64,
    /// The thread's place.
    pub place: AtomicU64,
    /// How many calls were begun in this round, by all who were at this place.
    pub begun: AtomicU64,
    /// The process that is there now.
    pub process: AtomicU64,
    entries: [Entry; REMEMBERED],
}

impl Ring {
    /// So many pages, shared with all children.
    pub fn several(count: usize) -> Option<&'static [Self]> {
        // SAFETY: a new mapping that is never undone; zeros are a ring, and every field is atomic.
        unsafe {
            let flags = MAP_SHARED | MAP_ANONYMOUS;
            let start = mmap(std::ptr::null_mut(), count * size_of::<Self>(), PROT_READ | PROT_WRITE, flags, -1, 0);
            (start != MAP_FAILED).then(|| std::slice::from_raw_parts(start.cast(), count))
        }
    }

    /// Begins a round.
    pub fn start(&self, seed: u64, round: u64, place: u64) {
        for (word, bytes) in self.mark.iter().zip(MARK.chunks_exact(8)) {
            word.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        self.seed.store(seed, Relaxed);
        self.round.store(round, Relaxed);
        self.place.store(place, Relaxed);
        self.begun.store(0, Relaxed);
        self.process.store(0, Relaxed);
        self.entries.iter().for_each(|entry| entry.number.store(u64::MAX, Relaxed));
    }

    /// Remembers that a call begins.
    pub fn begin(&self, index: u64, number: u64, arguments: &[u64; 6]) {
        let entry = &self.entries[index as usize % REMEMBERED];
        entry.number.store(number, Relaxed);
        entry.arguments.iter().zip(arguments).for_each(|(to, from)| to.store(*from, Relaxed));
        entry.result.store(GOING_ON, Relaxed);
    }

    /// Remembers what it gave.
    pub fn end(&self, index: u64, result: u64) {
        self.entries[index as usize % REMEMBERED].result.store(result, Relaxed);
    }

    /// The last calls in words, the last one last.
    pub fn last(&self, most: u64) -> Vec<String> {
        let begun = self.begun.load(Relaxed);
        (begun.saturating_sub(most)..begun).filter_map(|index| self.words(index)).collect()
    }

    fn words(&self, index: u64) -> Option<String> {
        let entry = &self.entries[index as usize % REMEMBERED];
        let number = entry.number.load(Relaxed);
        let (_, name, kinds) = super::calls::CALLS.iter().find(|(known, ..)| *known == number)?;
        let arguments: Vec<_> =
            entry.arguments[..kinds.len()].iter().map(|argument| format!("{:#x}", argument.load(Relaxed))).collect();
        let result = match entry.result.load(Relaxed) {
            GOING_ON => "goes on".to_owned(),
            result => format!("= {}", result as i64),
        };
        Some(format!("{index} {name}({}) {result}", arguments.join(", ")))
    }
}
