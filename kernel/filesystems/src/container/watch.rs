//! Those who poll a control file. Rule: interfaces.md, section 8.2.

use alloc::sync::{Arc, Weak};
use container::{Notice, Watcher};
use core::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};
use machine::sync::{IrqLock, rank};
use sched::{Timer, TimerCall, WaitQueue};

/// Changes that come so soon (ns) after the last notice are told together at the end of that time.
const PACE: u64 = 10_000_000;

/// When notices were given and are to be given.
#[derive(Default)]
struct Pace {
    last: Option<u64>,
    due: bool,
}

/// What a change asks for.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    Tell,
    TellAt(u64),
    /// It will be told already.
    Nothing,
}

impl Pace {
    fn changed(&mut self, now: u64) -> Step {
        if self.due {
            return Step::Nothing;
        }
        match self.last.map(|last| last + PACE).filter(|&end| now < end) {
            Some(end) => {
                self.due = true;
                Step::TellAt(end)
            }
            None => {
                self.last = Some(now);
                Step::Tell
            }
        }
    }

    fn is_told(&mut self, now: u64) {
        *self = Self { last: Some(now), due: false };
    }
}

/// A watched control file.
pub(super) struct FileWatcher {
    /// How often it was told that the file has changed, and one more: an open file that was not read yet is behind.
    told: AtomicU64,
    changed: WaitQueue,
    pace: IrqLock<Pace>,
    timer: Timer,
}

impl FileWatcher {
    /// The watcher behind this notice.
    pub(super) fn of(notice: &Notice) -> Option<Arc<Self>> {
        let watcher: Arc<dyn Any + Send + Sync> = notice.watch(|| Self::new());
        watcher.downcast().ok()
    }

    fn new() -> Arc<Self> {
        Arc::new_cyclic(|own: &Weak<Self>| Self {
            told: AtomicU64::new(1),
            changed: WaitQueue::new(),
            pace: IrqLock::new(rank::LEAF, Pace::default()),
            timer: Timer::new(own.clone()),
        })
    }

    /// A number that grows with every notice.
    pub(super) fn told(&self) -> u64 {
        self.told.load(SeqCst)
    }

    /// Woken by every notice.
    pub(super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    fn tell(&self) {
        self.told.fetch_add(1, SeqCst);
        self.changed.wake_all();
    }
}

impl Watcher for FileWatcher {
    fn changed(&self) {
        let step = self.pace.lock().changed(machine::time::now());
        match step {
            Step::Tell => self.tell(),
            Step::TellAt(deadline) => self.timer.set(deadline),
            Step::Nothing => {}
        }
    }
}

impl TimerCall for FileWatcher {
    fn expired(&self) {
        self.pace.lock().is_told(machine::time::now());
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_soon_after_a_notice_come_as_one_and_the_last_is_told() {
        let mut pace = Pace::default();
        assert_eq!(pace.changed(5), Step::Tell);
        assert_eq!(pace.changed(6), Step::TellAt(5 + PACE));
        assert_eq!(pace.changed(5 + PACE - 1), Step::Nothing);
        pace.is_told(5 + PACE);
        assert_eq!(pace.changed(6 + PACE), Step::TellAt(5 + 2 * PACE));
        pace.is_told(5 + 2 * PACE);
        assert_eq!(pace.changed(5 + 3 * PACE), Step::Tell);
    }
}
