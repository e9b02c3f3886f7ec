//! The form of the lock on the machine and the host: a count of readers for each CPU, and one word that keeps them out.

use super::surroundings::{
    LOOKS, PARKER, PerCpu,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};
use crate::sync::primitive;

pub struct Crowd {
    /// The readers that have come in on each CPU and have not left, wherever they are now.
    readers: PerCpu<AtomicUsize>,
    /// A writer has the lock or waits for the readers to leave.
    writing: AtomicBool,
    /// Held by that writer.
    writer: primitive::Sleeping<()>,
    sleepers: AtomicUsize,
}

pub struct Reading<'a> {
    lock: &'a Crowd,
    count: &'a AtomicUsize,
}

pub struct Writing<'a> {
    lock: &'a Crowd,
    _alone: primitive::SleepingGuard<'a, ()>,
}

impl Crowd {
    pub fn new() -> Self {
        Self {
            readers: PerCpu::default(),
            writing: AtomicBool::new(false),
            writer: primitive::Sleeping::new(()),
            sleepers: AtomicUsize::new(0),
        }
    }

    pub fn read(&self) -> Reading<'_> {
        loop {
            let count = self.readers.here();
            // SeqCst, against `write`: either that sees this reader, or this sees the writer.
            count.fetch_add(1, SeqCst);
            if !self.writing.load(SeqCst) {
                return Reading { lock: self, count };
            }
            self.leave(count);
            self.wait_until(|| !self.writing.load(SeqCst));
        }
    }

    pub fn write(&self) -> Writing<'_> {
        let alone = primitive::sleep_lock(&self.writer);
        self.writing.store(true, SeqCst);
        self.wait_until(|| self.readers.iter().all(|(_, count)| count.load(SeqCst) == 0));
        Writing { lock: self, _alone: alone }
    }

    fn leave(&self, count: &AtomicUsize) {
        count.fetch_sub(1, SeqCst);
        if self.writing.load(SeqCst) {
            self.wake();
        }
    }

    fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        for _ in 0..LOOKS {
            if condition() {
                return;
            }
            core::hint::spin_loop();
        }
        // SeqCst, against `wake`: either that sees this sleeper, or the look after it sees the change.
        self.sleepers.fetch_add(1, SeqCst);
        loop {
            match PARKER.get() {
                Some(parker) => parker.wait_until(self.address(), &mut condition),
                None => core::hint::spin_loop(),
            }
            if condition() {
                break;
            }
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    fn wake(&self) {
        if self.sleepers.load(SeqCst) > 0
            && let Some(parker) = PARKER.get()
        {
            parker.wake_all(self.address());
        }
    }

    fn address(&self) -> usize {
        (&raw const self.sleepers).addr()
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.lock.leave(self.count);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // The next writer waits for `_alone`, which opens after this.
        self.lock.writing.store(false, SeqCst);
        self.lock.wake();
    }
}
