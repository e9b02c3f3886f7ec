//! What happens at a limit: pages that can be read again go first; then somebody is killed, or waits.
//!
//! A charge that is refused leaves the number of the full account in the task's word (its upper half). Whoever asked for
//! the page gives up all locks and comes here.

use super::account::{Event, Number};
use super::control::{Kill, TASKS};
use super::ledger::{Full, Ledger, read_note};
use super::{INDEX, Memory};
use base::{Errno, NodeId};
use container::{Lineage, Member};
use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use machine::frame::{Frame, FrameNotes};
use machine::sync::atomic::AtomicU64;
use memory::charge::{ChargeKind, PageCharger, Relief};
use memory::reclaim;

/// Pages that are reclaimed at once.
const BATCH: usize = 32;
/// How long a task sleeps before it looks again whether a process that was killed has gone, ns.
const DYING: u64 = 10_000_000;
/// The same for a task that waits for room, which is woken when there is some.
const WAITING: u64 = 1_000_000_000;

/// Calls `f` with the running task's word of this controller; without a task, with the root's.
#[inline]
fn with_word<R>(f: impl Fn(&AtomicU64) -> R) -> R {
    let mut result = None;
    if let Some(tasks) = TASKS.get() {
        tasks.with_current(&mut |task| result = Some(f(task.membership().word(INDEX))));
    }
    result.unwrap_or_else(|| f(&AtomicU64::new(0)))
}

impl PageCharger for Ledger {
    fn charge(&self, kind: ChargeKind, node: NodeId) -> Result<NonZeroU32, Errno> {
        let note = with_word(|word| {
            let reclaim = |full: Number| self.reclaim(full, BATCH) as u64;
            Ledger::charge(self, word, kind, node, reclaim).inspect_err(|Full(level)| {
                let full = u64::from(*level) << 32;
                // The lower half may be changed by a move meanwhile.
                let _ = word.fetch_update(Relaxed, Relaxed, |word| Some(word & u64::from(u32::MAX) | full));
            })
        });
        note.ok().and_then(NonZeroU32::new).ok_or(Errno::ENOMEM)
    }

    fn charge_ahead(&self, kind: ChargeKind, node: NodeId, most: u64) -> Option<(NonZeroU32, u64)> {
        let (note, count) = with_word(|word| Ledger::charge_ahead(self, word, kind, node, most))?;
        NonZeroU32::new(note).map(|note| (note, count))
    }

    fn moved(&self, note: u32, from: NodeId, to: NodeId) {
        self.moved_node(note, from, to);
    }

    fn copies_files(&self) -> bool {
        with_word(|word| self.account_of(word)) != self.root
    }

    fn relieve(&self, in_fault: bool) -> Relief {
        let taken = with_word(|word| word.fetch_and(u64::from(u32::MAX), Relaxed));
        let full = (taken >> 32) as Number;
        let Some(tasks) = TASKS.get() else { return Relief::NotLimited };
        if full == 0 {
            return Relief::NotLimited;
        }
        // The account may be another's by now if the task was moved: then there is room, or it is met again.
        if self.has_room(full) {
            return Relief::Retry;
        }
        let wait = || if in_fault { self.wait_for_room(full) } else { Relief::NotLimited };
        if self.accounts.get(full).kill_disabled.load(Relaxed) {
            return wait();
        }
        let inside = |task: &dyn Member| self.accounts.is_below(self.account_of(task.membership().word(INDEX)), full);
        match tasks.kill_largest(&inside, self.hierarchical_limit(full)) {
            Kill::Killed(victim) => {
                let number = self.account_of(victim.membership().word(INDEX));
                self.accounts.get(number).kills.fetch_add(1, Relaxed);
            }
            Kill::Dying => {}
            Kill::Nobody => return wait(),
        }
        let alive = tasks.sleep(&mut || self.has_room(full), DYING);
        if alive { Relief::Retry } else { Relief::Dying }
    }

    fn word(&self) -> usize {
        INDEX
    }

    fn count_fault(&self, word: &AtomicU64) {
        self.count_event(word, Event::Fault);
    }

    fn count_major_fault(&self) {
        with_word(|word| self.count_event(word, Event::MajorFault));
    }

    fn pages(&self, kind: ChargeKind) -> u64 {
        self.all_pages(kind)
    }

    fn is_over_soft_limit(&self, note: u32) -> bool {
        if read_note(note).0 == 0 {
            return false;
        }
        let number = self.accounts.open_for(read_note(note).0);
        self.accounts.upwards(number).any(|level| self.usage(level) > self.accounts.get(level).soft_limit.load(Relaxed))
    }
}

impl FrameNotes for Ledger {
    fn freed(&self, note: u32, node: NodeId) {
        self.uncharge(note, node);
        // SeqCst, as in `wait_for_room`: the sleeper sees the room, or this sees the sleeper.
        if self.sleepers.load(SeqCst) > 0
            && let Some(tasks) = TASKS.get()
        {
            tasks.wake();
        }
    }
}

impl Ledger {
    /// Frees up to `most` pages of the account and those below it that can be read again; says how many.
    pub fn reclaim(&self, level: Number, most: usize) -> usize {
        let inside = |frame: &Frame| {
            let (number, _) = read_note(frame.note());
            number != 0 && self.accounts.is_below(self.accounts.open_for(number), level)
        };
        reclaim::reclaim(&inside, most)
    }

    /// Sleeps until a full account has room or faults no longer wait there.
    fn wait_for_room(&self, full: Number) -> Relief {
        let Some(tasks) = TASKS.get() else { return Relief::NotLimited };
        let account = self.accounts.get(full);
        account.waiting.fetch_add(1, SeqCst);
        self.sleepers.fetch_add(1, SeqCst);
        let disabled = account.kill_disabled.load(SeqCst);
        let mut ready = || self.has_room(full) || account.kill_disabled.load(SeqCst) != disabled;
        let alive = loop {
            if !tasks.sleep(&mut ready, WAITING) {
                break false;
            }
            if ready() {
                break true;
            }
        };
        self.sleepers.fetch_sub(1, SeqCst);
        account.waiting.fetch_sub(1, SeqCst);
        if alive { Relief::Retry } else { Relief::Dying }
    }

    /// Has faults that wait look again.
    pub fn look_again(&self) {
        if let Some(tasks) = TASKS.get() {
            tasks.wake();
        }
    }
}

/// Makes the task one that pays from the account of `to`.
pub fn assign(task: &dyn Member, to: Lineage<'_, Memory>) {
    let number = u64::from(to.own().number());
    let word = task.membership().word(INDEX);
    let _ = word.fetch_update(Relaxed, Relaxed, |word| Some(word & !u64::from(u32::MAX) | number));
}
