//! `futex(2)`, robust lists, and what futexes have to do with the end of a task.

use crate::{
    futex::Key,
    sleep,
    task::{NumberedSpace, Task},
};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use machine::user_memory;
use memory::space::Location;
use sched::WaitQueue;

/// The bit of a futex word that says somebody waits.
pub(crate) const WAITERS: u32 = 0x8000_0000;
/// The bit that says the owner ended.
pub(crate) const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's number.
pub(crate) const TID_MASK: u32 = 0x3fff_ffff;
/// The most entries of a robust list that are looked at, as on Linux.
const ROBUST_LIMIT: usize = 2048;

/// A futex word of the calling task: its address, and whether only this address space uses it.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The address; `EINVAL` unless a multiple of 4.
    pub address: u64,
    /// `FUTEX_PRIVATE_FLAG`.
    pub private: bool,
}

/// What the word is known by. `EINVAL` unaligned; `EFAULT` nothing is mapped there.
#[inline]
pub(crate) fn key(task: &Task, word: Word) -> Result<Key, Errno> {
    if !word.address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if word.private {
        return Ok(Key::Private { space: task.space_number()?, address: word.address });
    }
    let NumberedSpace { space, number } = task.numbered_space()?;
    let private = Key::Private { space: number, address: word.address };
    Ok(match space.location(word.address)? {
        Location::Private { .. } => private,
        Location::Shared { source, offset } => Key::Shared { source, offset },
    })
}

/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET`: sleeps while the word is `expected`, until a wake-up with one of `bits` or the
/// deadline (ns since boot).
///
/// `EAGAIN` the word is another; `EINTR`; `ETIMEDOUT`; `EFAULT`; `EINVAL` unaligned or no bits.
pub fn wait(task: &Arc<Task>, word: Word, expected: u32, bits: u32, deadline: Option<u64>) -> Result<(), Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let futexes = &task.population().futexes;
    let key = key(task, word)?;
    // The common miss costs no queueing.
    if user_memory::load_u32(word.address)? != expected {
        return Err(Errno::EAGAIN);
    }
    let sleeper = futexes.enqueue(key, bits);
    let found = user_memory::load_u32(word.address);
    if found != Ok(expected) {
        if !futexes.dequeue(&sleeper) {
            // Somebody else was meant by the wake-up that took this one out.
            futexes.wake(key, 1, bits);
        }
        return found.and(Err(Errno::EAGAIN));
    }
    let result = sleeper.queue.wait_until_interruptible(|| sleeper.is_woken().then_some(()), deadline);
    match result {
        Ok(()) => Ok(()),
        Err(_) if !futexes.dequeue(&sleeper) => Ok(()),
        Err(error) => Err(sleep::error(error)),
    }
}

/// `futex_waitv(2)`: sleeps while each word has its value, until a wake-up at one of them or the deadline. Which it was.
///
/// Errors as [`wait`].
pub fn wait_for_any(task: &Arc<Task>, words: &[(Word, u32)], deadline: Option<u64>) -> Result<usize, Errno> {
    let futexes = &task.population().futexes;
    let keys = words.iter().map(|(word, _)| key(task, *word)).collect::<Result<Vec<_>, Errno>>()?;
    let common = Arc::new(WaitQueue::new());
    let mut sleepers = Vec::with_capacity(words.len());
    let mut slept = Ok(());
    for (&key, &(word, expected)) in keys.iter().zip(words) {
        sleepers.push(futexes.enqueue_one_of(key, common.clone()));
        slept = user_memory::load_u32(word.address)
            .and_then(|found| (found == expected).then_some(()).ok_or(Errno::EAGAIN));
        if slept.is_err() {
            break;
        }
    }
    if slept.is_ok() {
        let woken = || sleepers.iter().any(|sleeper| sleeper.is_woken()).then_some(());
        slept = common.wait_until_interruptible(woken, deadline).map_err(sleep::error);
    }
    // Whoever was woken counts, also when the wait ended for another reason.
    let mut woken = None;
    for (at, sleeper) in sleepers.iter().enumerate() {
        if !futexes.dequeue(sleeper) {
            woken = Some(at);
        }
    }
    woken.map_or_else(|| slept.map(|()| 0), Ok)
}

/// `FUTEX_WAKE` and `FUTEX_WAKE_BITSET`: wakes up to `most` sleepers with one of `bits`; says how many. `EINVAL` no bits.
pub fn wake(task: &Task, word: Word, most: usize, bits: u32) -> Result<usize, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(task.population().futexes.wake(key(task, word)?, most, bits))
}

/// `FUTEX_REQUEUE`, and with `expected` `FUTEX_CMP_REQUEUE`: wakes up to `most` sleepers and moves up to `moved` others to
/// `target`. Returns woken and moved. `EAGAIN` the word is not `expected`.
pub fn requeue(
    task: &Task,
    word: Word,
    target: Word,
    most: usize,
    moved: usize,
    expected: Option<u32>,
) -> Result<(usize, usize), Errno> {
    let (from, to) = (key(task, word)?, key(task, target)?);
    if let Some(expected) = expected
        && user_memory::load_u32(word.address)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    Ok(task.population().futexes.requeue(from, to, most, moved))
}

/// `FUTEX_WAKE_OP`: changes the second word as `operation` says, wakes up to `most` at the first, and up to `second_most`
/// at the second if its old value compares. `ENOSYS` an unknown operation.
pub fn wake_operation(
    task: &Task,
    word: Word,
    second: Word,
    most: usize,
    second_most: usize,
    operation: u32,
) -> Result<usize, Errno> {
    let operation = Operation::decode(operation)?;
    let (first_key, second_key) = (key(task, word)?, key(task, second)?);
    let old = user_memory::fetch_update_u32(second.address, |value| operation.apply(value))?;
    let futexes = &task.population().futexes;
    let mut woken = futexes.wake(first_key, most, u32::MAX);
    if operation.compares(old) {
        woken += futexes.wake(second_key, second_most, u32::MAX);
    }
    Ok(woken)
}

/// The packed operation of `FUTEX_WAKE_OP`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Operation {
    change: u32,
    argument: u32,
    comparison: u32,
    compared: i32,
}

impl Operation {
    fn decode(raw: u32) -> Result<Self, Errno> {
        let extend = |value: u32| ((value << 20) as i32) >> 20;
        let argument = extend(raw >> 12 & 0xfff) as u32;
        let argument = if raw >> 31 != 0 { 1u32.wrapping_shl(argument) } else { argument };
        let (change, comparison) = (raw >> 28 & 7, raw >> 24 & 0xf);
        if change > 4 || comparison > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(Self { change, argument, comparison, compared: extend(raw & 0xfff) })
    }

    fn apply(self, value: u32) -> u32 {
        match self.change {
            0 => self.argument,
            1 => value.wrapping_add(self.argument),
            2 => value | self.argument,
            3 => value & !self.argument,
            _ => value ^ self.argument,
        }
    }

    fn compares(self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            0 => old == self.compared,
            1 => old != self.compared,
            2 => old < self.compared,
            3 => old <= self.compared,
            4 => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// What an ending task owes to those who wait for it: robust futexes, then the word of `CLONE_CHILD_CLEARTID`. Nothing
/// here can fail: words that can't be reached are left.
pub(crate) fn exit(task: &Arc<Task>) {
    leave_locks(task);
    let address = task.set_clear_child_tid_to_none();
    if address != 0 && user_memory::write(address, &[0; 4]).is_ok() {
        // A word in the same place may be waited for through a shared mapping; Linux wakes that too.
        let _ = wake(task, Word { address, private: false }, 1, u32::MAX);
    }
}

/// What a task owes that ends or executes another program: others get its robust futexes, and those that lend priority.
pub(crate) fn leave_locks(task: &Task) {
    let head = task.robust_list();
    if head != 0 {
        task.forget_robust_list();
        // A list that can't be read is the program's loss.
        let _ = release_robust(task, head);
    }
    task.population().priority_futexes.leave(task);
}

fn release_robust(task: &Task, head: u64) -> Result<(), Errno> {
    let load = |address: u64| -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        user_memory::read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let offset = load(head + 8)?;
    let pending = load(head + 16)?;
    let mut entry = load(head)?;
    for _ in 0..ROBUST_LIMIT {
        if entry & !1 == head {
            break;
        }
        // The next is read first: the owner of the woken may free this one.
        let next = load(entry & !1);
        if entry & !1 != pending & !1 {
            release_word(task, (entry & !1).wrapping_add(offset), entry & 1 != 0)?;
        }
        entry = next?;
    }
    if pending & !1 != 0 {
        release_word(task, (pending & !1).wrapping_add(offset), pending & 1 != 0)?;
    }
    Ok(())
}

/// The owner of a word that `lends` priority is found by those who wait in another way.
fn release_word(task: &Task, address: u64, lends: bool) -> Result<(), Errno> {
    let own = task.tid().raw() as u32;
    let mut value = user_memory::load_u32(address)?;
    while value & TID_MASK == own {
        let found = user_memory::compare_exchange_u32(address, value, value & WAITERS | OWNER_DIED)?;
        if found == value {
            if value & WAITERS != 0 && !lends {
                wake(task, Word { address, private: false }, 1, u32::MAX)?;
            }
            break;
        }
        value = found;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_operation_is_taken_apart() {
        // FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 1)
        let operation = Operation::decode(1 << 28 | 4 << 24 | 1 << 12 | 1).unwrap();
        assert_eq!(operation.apply(5), 6);
        assert!(operation.compares(2) && !operation.compares(1));
        let shifted = Operation::decode(1 << 31 | 2 << 28 | 4 << 12 | 0xfff).unwrap();
        assert_eq!(shifted.apply(0), 16);
        assert_eq!(shifted.compared, -1);
        assert_eq!(Operation::decode(5 << 28), Err(Errno::ENOSYS));
    }
}
