//! Futex queues: who sleeps on which word. [`crate::futex_calls`] reads the words and puts tasks to sleep.
//!
//! The word is read after the sleeper was queued, outside the queue's lock (reading can fault). Either the reader sees
//! the new value, or whoever stores it later finds the sleeper queued. A sleeper that finds its word changed although
//! it was woken meanwhile passes the wake-up on, so none is lost to somebody who would not have slept.

use crate::priority::Waiting;
use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use base::Errno;
use machine::sync::{
    SpinGuard, SpinLock,
    atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    rank,
};
use sched::WaitQueue;

/// How many queues the words are spread over; a power of two.
const BUCKETS: usize = 256;

/// What a word is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// A word that only one address space sees.
    Private {
        /// The address space's number.
        space: u64,
        /// The address.
        address: u64,
    },
    /// A word of something that several can map.
    Shared {
        /// The number of what is mapped.
        source: u64,
        /// The offset in it.
        offset: u64,
    },
}

impl Key {
    fn bucket(self) -> usize {
        let (Self::Private { space: high, address: low } | Self::Shared { source: high, offset: low }) = self;
        // Fibonacci hashing: the words' low bits hardly differ, the product's high bits do.
        let mixed = (low >> 2 ^ high << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % BUCKETS
    }
}

/// One who sleeps, or is about to, on a word.
pub struct Sleeper {
    bucket: AtomicUsize,
    woken: AtomicBool,
    /// Where it sleeps, unless on several words at once.
    pub queue: WaitQueue,
    /// Where it sleeps then.
    common: Option<Arc<WaitQueue>>,
}

/// What one who sleeps on a word is to be made to wait for, by `FUTEX_CMP_REQUEUE_PI`.
#[derive(Clone)]
pub struct Proxy {
    /// The lock.
    pub target: Key,
    /// Who.
    pub waiting: Arc<Waiting>,
}

impl Sleeper {
    /// Whether somebody woke it.
    pub fn is_woken(&self) -> bool {
        self.woken.load(Acquire)
    }

    #[inline]
    fn wake(&self) {
        self.woken.store(true, Release);
        self.common.as_deref().unwrap_or(&self.queue).wake_all();
    }
}

struct Entry {
    key: Key,
    bits: u32,
    sleeper: Arc<Sleeper>,
    /// Wake-ups are not for it then.
    proxy: Option<Proxy>,
}

type Bucket = VecDeque<Entry>;

/// A queue without sleepers keeps room for so many, so that most sleeps take no memory of the heap for it.
const KEPT: usize = 4;

/// All futex queues of the system.
pub struct FutexQueues {
    buckets: Box<[SpinLock<Bucket>]>,
}

impl FutexQueues {
    /// Nobody sleeps.
    pub fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| SpinLock::new(rank::FUTEX, Bucket::new())).collect() }
    }

    /// Queues a sleeper for wake-ups of `key` that have one of `bits`.
    pub fn enqueue(&self, key: Key, bits: u32) -> Arc<Sleeper> {
        self.enqueue_as(key, bits, None, None)
    }

    /// Queues one of the words that a task sleeps on at `common`.
    pub fn enqueue_one_of(&self, key: Key, common: Arc<WaitQueue>) -> Arc<Sleeper> {
        self.enqueue_as(key, u32::MAX, Some(common), None)
    }

    /// Queues a task that is to be made to wait for a lock.
    pub fn enqueue_proxy(&self, key: Key, proxy: Proxy) -> Arc<Sleeper> {
        self.enqueue_as(key, u32::MAX, None, Some(proxy))
    }

    #[inline]
    fn enqueue_as(&self, key: Key, bits: u32, common: Option<Arc<WaitQueue>>, proxy: Option<Proxy>) -> Arc<Sleeper> {
        let bucket = key.bucket();
        let woken = AtomicBool::new(false);
        let sleeper = Arc::new(Sleeper { bucket: bucket.into(), woken, queue: WaitQueue::new(), common });
        self.buckets[bucket].lock().push_back(Entry { key, bits, sleeper: sleeper.clone(), proxy });
        sleeper
    }

    /// The first who sleeps on `key`, to be made to wait for `target`, and whether it is the only one there.
    ///
    /// `EINVAL` it sleeps for something else.
    pub fn first_proxy(&self, key: Key, target: Key) -> Result<Option<(Arc<Waiting>, bool)>, Errno> {
        let bucket = self.buckets[key.bucket()].lock();
        let mut sleepers = bucket.iter().filter(|entry| entry.key == key);
        let Some(first) = sleepers.next() else { return Ok(None) };
        let proxy = first.proxy.as_ref().filter(|proxy| proxy.target == target).ok_or(Errno::EINVAL)?;
        Ok(Some((proxy.waiting.clone(), sleepers.next().is_none())))
    }

    /// Takes out the first who sleeps on `key`.
    pub fn take_proxy(&self, key: Key) {
        let mut bucket = self.buckets[key.bucket()].lock();
        let first = bucket.iter().position(|entry| entry.key == key);
        let taken = first.and_then(|first| bucket.remove(first));
        give_room_back(&mut bucket);
        drop(bucket);
        drop(taken);
    }

    /// Takes a sleeper out. False if somebody has woken it before.
    pub fn dequeue(&self, sleeper: &Arc<Sleeper>) -> bool {
        loop {
            let at = sleeper.bucket.load(Relaxed);
            let mut bucket = self.buckets[at].lock();
            if sleeper.is_woken() {
                return false;
            }
            // A requeue may have moved it to another bucket before the lock was had.
            if sleeper.bucket.load(Relaxed) == at {
                bucket.retain(|entry| !Arc::ptr_eq(&entry.sleeper, sleeper));
                give_room_back(&mut bucket);
                return true;
            }
        }
    }

    /// Wakes up to `most` sleepers of `key` that have one of `bits`, the longest-sleeping first; says how many.
    pub fn wake(&self, key: Key, most: usize, bits: u32) -> usize {
        wake_in(&mut self.buckets[key.bucket()].lock(), key, most, bits)
    }

    /// Wakes up to `wake` sleepers of `from` and moves up to `requeue` of the rest to `to`; says how many of each.
    pub fn requeue(&self, from: Key, to: Key, wake: usize, requeue: usize) -> (usize, usize) {
        let (first, second) = (from.bucket(), to.bucket());
        if first == second {
            let mut bucket = self.buckets[first].lock();
            let woken = wake_in(&mut bucket, from, wake, u32::MAX);
            let moving = bucket.iter_mut().filter(|entry| entry.key == from && entry.proxy.is_none()).take(requeue);
            return (woken, moving.map(|entry| entry.key = to).count());
        }
        let (mut source, mut target) = self.lock_both(first, second);
        let woken = wake_in(&mut source, from, wake, u32::MAX);
        let (mut at, mut moved) = (0, 0);
        while moved < requeue && at < source.len() {
            if source[at].key != from || source[at].proxy.is_some() {
                at += 1;
            } else if let Some(mut entry) = source.remove(at) {
                entry.key = to;
                entry.sleeper.bucket.store(second, Relaxed);
                target.push_back(entry);
                moved += 1;
            }
        }
        give_room_back(&mut source);
        (woken, moved)
    }

    /// Locks two different buckets, the lower number first.
    fn lock_both(&self, first: usize, second: usize) -> (SpinGuard<'_, Bucket>, SpinGuard<'_, Bucket>) {
        if first < second {
            let low = self.buckets[first].lock();
            (low, self.buckets[second].lock_nested())
        } else {
            let low = self.buckets[second].lock();
            (self.buckets[first].lock_nested(), low)
        }
    }
}

impl Default for FutexQueues {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn wake_in(bucket: &mut Bucket, key: Key, most: usize, bits: u32) -> usize {
    let mut woken = 0;
    if most > 0 {
        bucket.retain(|entry| {
            let wanted = woken < most && entry.key == key && entry.bits & bits != 0 && entry.proxy.is_none();
            if wanted {
                entry.sleeper.wake();
                woken += 1;
            }
            !wanted
        });
        give_room_back(bucket);
    }
    woken
}

/// The last sleeper may be gone: after thousands there is room for thousands.
#[inline]
fn give_room_back(bucket: &mut Bucket) {
    if bucket.is_empty() && bucket.capacity() > KEPT {
        *bucket = Bucket::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn key(number: u64) -> Key {
        Key::Private { space: 1, address: number * 4 }
    }

    #[test]
    fn a_sleeper_is_woken_once_and_only_by_its_bits() {
        let queues = FutexQueues::new();
        let sleeper = queues.enqueue(key(1), 0b01);
        assert_eq!(queues.wake(key(2), 9, u32::MAX), 0);
        assert_eq!(queues.wake(key(1), 9, 0b10), 0);
        assert_eq!(queues.wake(key(1), 9, 0b11), 1);
        assert!(sleeper.is_woken());
        assert_eq!(queues.wake(key(1), 9, u32::MAX), 0);
        assert!(!queues.dequeue(&sleeper));
    }

    #[test]
    fn who_have_left_leave_little_room_behind() {
        let queues = FutexQueues::new();
        let room = |queues: &FutexQueues| queues.buckets.iter().map(|bucket| bucket.lock().capacity()).max();
        let sleep = |count: usize| (0..count).map(|_| queues.enqueue(key(1), 1)).collect::<Vec<_>>();
        let sleepers = sleep(100);
        assert!(room(&queues) >= Some(100));
        assert_eq!(queues.wake(key(1), 100, 1), 100);
        assert!(room(&queues) <= Some(KEPT));
        drop(sleepers);
        assert!(sleep(100).iter().all(|sleeper| queues.dequeue(sleeper)));
        assert!(room(&queues) <= Some(KEPT));
        let _sleepers = sleep(100);
        let other = (2..).map(key).find(|other| other.bucket() != key(1).bucket()).unwrap();
        assert_eq!(queues.requeue(key(1), other, 1, 99), (1, 99));
        assert!(queues.buckets[key(1).bucket()].lock().capacity() <= KEPT);
    }

    proptest! {
        /// Against a plain list in the order of sleeping.
        #[test]
        fn queues_and_a_plain_list_agree(
            steps in proptest::collection::vec((0u8..4, 0u64..5, 0u64..5, 0usize..4, 0usize..4), 1..60),
        ) {
            let queues = FutexQueues::new();
            let mut model: Vec<(u64, usize)> = Vec::new();
            let mut sleepers = Vec::new();
            for (kind, from, to, count, more) in steps {
                match kind {
                    0 => {
                        model.push((from, sleepers.len()));
                        sleepers.push(queues.enqueue(key(from), u32::MAX));
                    }
                    1 => {
                        let mut left = count;
                        model.retain(|&(at, _)| { let hit = at == from && left > 0; left -= usize::from(hit); !hit });
                        prop_assert_eq!(queues.wake(key(from), count, u32::MAX), count - left);
                    }
                    2 if from != to => {
                        let mut left = count;
                        model.retain(|&(at, _)| { let hit = at == from && left > 0; left -= usize::from(hit); !hit });
                        let moving: Vec<_> = model.iter().copied().filter(|&(at, _)| at == from).take(more).collect();
                        let same_bucket = key(from).bucket() == key(to).bucket();
                        let moved = queues.requeue(key(from), key(to), count, more);
                        prop_assert_eq!(moved, (count - left, moving.len()));
                        for (_, who) in moving {
                            if same_bucket {
                                model.iter_mut().filter(|one| one.1 == who).for_each(|one| one.0 = to);
                            } else {
                                model.retain(|one| one.1 != who);
                                model.push((to, who));
                            }
                        }
                    }
                    _ => if let Some(&(_, who)) = model.get(count) {
                        prop_assert!(queues.dequeue(&sleepers[who]));
                        model.retain(|one| one.1 != who);
                    }
                }
                for (who, sleeper) in sleepers.iter().enumerate() {
                    let asleep = model.iter().any(|one| one.1 == who);
                    let left = !sleeper.is_woken();
                    prop_assert!(left || !asleep);
                }
            }
            for number in 0..5 {
                let expected = model.iter().filter(|one| one.0 == number).count();
                prop_assert_eq!(queues.wake(key(number), usize::MAX, u32::MAX), expected);
            }
        }
    }
}
