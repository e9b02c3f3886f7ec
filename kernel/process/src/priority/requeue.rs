//! `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_CMP_REQUEUE_PI`: condition variables whose mutex lends priority. Who waits for the
//! condition is made to wait for the mutex, and wakes up when it has that.

use super::{Attempt, Outcome, Waiting, attempt, exchange, fetch, finish, member, named};
use crate::{
    futex::Proxy,
    futex_calls::{self, WAITERS, Word},
    sleep,
    task::Task,
};
use alloc::sync::Arc;
use base::Errno;
use machine::user_memory;

/// `FUTEX_WAIT_REQUEUE_PI`: sleeps while the word is `expected`, until somebody's [`requeue`] makes the caller wait for
/// `target` and it has that.
///
/// `EAGAIN` the word is another, or a signal came when it waited for `target` already; `EINVAL` both are one word;
/// `EDEADLK`; `EFAULT`; `ETIMEDOUT`; `EINTR`.
pub fn wait_to_be_requeued(
    task: &Arc<Task>,
    word: Word,
    expected: u32,
    deadline: Option<u64>,
    target: Word,
) -> Result<(), Errno> {
    if word.address == target.address {
        return Err(Errno::EINVAL);
    }
    let (key, target_key) = (futex_calls::key(task, word)?, futex_calls::key(task, target)?);
    if key == target_key {
        return Err(Errno::EINVAL);
    }
    let population = task.population();
    if user_memory::load_u32(word.address)? != expected {
        return Err(Errno::EAGAIN);
    }
    let waiting = Waiting::new(task);
    let sleeper = population.futexes.enqueue_proxy(key, Proxy { target: target_key, waiting: waiting.clone() });
    let found = user_memory::load_u32(word.address);
    let slept = if found == Ok(expected) {
        let done = || (waiting.outcome() != Outcome::Waits).then_some(());
        waiting.queue.wait_until_interruptible(done, deadline).map_err(sleep::error)
    } else {
        found.and(Err(Errno::EAGAIN))
    };
    let Err(error) = slept else { return finish(task, &waiting, target_key, target.address) };
    // Under the lock of those who requeue.
    let mut locked = population.priority_futexes.lock();
    if waiting.outcome() != Outcome::Waits {
        drop(locked);
        return finish(task, &waiting, target_key, target.address);
    }
    if locked.table.waits_for(task.tid()).is_some() {
        locked.table.give_up(task.tid());
        return Err(if error == Errno::EINTR { Errno::EAGAIN } else { error });
    }
    population.futexes.dequeue(&sleeper);
    Err(error)
}

/// `FUTEX_CMP_REQUEUE_PI`: has the first who sleeps on `word` take `target` if that is free, and up to `moved` others wait
/// for it. How many in all.
///
/// `EAGAIN` the word is not `expected`; `EINVAL` both are one word, or somebody sleeps on it for another target;
/// `EDEADLK`, `ESRCH`, `EPERM` as [`lock`](super::lock); `EFAULT`.
pub fn requeue(task: &Task, word: Word, target: Word, moved: usize, expected: u32) -> Result<usize, Errno> {
    let (key, target_key) = (futex_calls::key(task, word)?, futex_calls::key(task, target)?);
    if key == target_key {
        return Err(Errno::EINVAL);
    }
    let population = task.population();
    loop {
        if user_memory::load_u32(word.address)? != expected {
            return Err(Errno::EAGAIN);
        }
        let value = user_memory::load_u32(target.address)?;
        let named = named(task, value);
        let mut locked = population.priority_futexes.lock();
        // The word once more: nobody is moved who has just come.
        if exchange(word.address, expected, expected) != Some(true) {
            drop(locked);
            fetch(word.address)?;
            continue;
        }
        let Some((first, is_alone)) = population.futexes.first_proxy(key, target_key)? else { return Ok(0) };
        let mark = if is_alone || moved == 0 { 0 } else { WAITERS };
        let place = (target_key, target.address);
        let (mut owner, mut left, mut done) = (None, moved.saturating_add(1), 0);
        match attempt(&locked, place, &first.task, value, named.as_ref(), mark)? {
            Attempt::Again => {
                drop(locked);
                fetch(target.address)?;
                continue;
            }
            Attempt::Owned => {
                population.futexes.take_proxy(key);
                first.tell(Outcome::Owns);
                owner = Some(first.task.clone());
                (left, done) = (moved, 1);
            }
            Attempt::Owner(found) => owner = found.or(owner),
        }
        while left > 0
            && let Some((next, _)) = population.futexes.first_proxy(key, target_key)?
        {
            population.futexes.take_proxy(key);
            let owner = owner.as_ref().unwrap_or(&next.task);
            if locked.table.wait(target_key, member(owner), member(&next.task), next.clone()).is_err() {
                next.tell(Outcome::Deadlock);
                break;
            }
            (left, done) = (left - 1, done + 1);
        }
        drop(locked);
        owner.iter().for_each(|owner| population.priority_futexes.check_left(owner));
        return Ok(done);
    }
}
