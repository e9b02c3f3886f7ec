//! A list of all values of one kind that there are, which keeps none of them alive and little memory of those that are gone.

use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{Rank, SpinLock};

/// So many that are gone may stay in a list, or half of it if that is more.
const GONE: usize = 32;

/// Values, and some that are gone, whose memory the list keeps.
pub struct WeakList<T> {
    values: SpinLock<Vec<Weak<T>>>,
    /// How many went since those that are gone were last taken out.
    gone: AtomicUsize,
}

impl<T> WeakList<T> {
    /// An empty list, whose lock has this rank.
    pub const fn new(rank: Rank) -> Self {
        Self { values: SpinLock::new(rank, Vec::new()), gone: AtomicUsize::new(0) }
    }

    /// Adds a value. Without memory for one more it is none the worse, but is not listed.
    pub fn add(&self, value: &Arc<T>) {
        let mut values = self.values.lock();
        if values.len() == values.capacity() {
            values.retain(|value| value.strong_count() > 0);
        }
        if values.try_reserve(1).is_ok() {
            values.push(Arc::downgrade(value));
        }
    }

    /// A value goes, or will soon. Each time that half of the list may be gone, what is gone is taken out; while somebody
    /// uses the list, that is left to the next. Any lock may be held.
    pub fn note_gone(&self) {
        if self.gone.fetch_add(1, Relaxed) < GONE {
            return;
        }
        if let Some(mut values) = self.values.try_lock()
            && self.gone.load(Relaxed) >= GONE.max(values.len() / 2)
        {
            self.gone.store(0, Relaxed);
            values.retain(|value| value.strong_count() > 0);
        }
    }

    /// All that there are; what is new meanwhile may not be among them. `ENOMEM`.
    pub fn all(&self) -> Result<Vec<Arc<T>>, Errno> {
        let mut all = Vec::new();
        let count = self.values.lock().len();
        all.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
        all.extend(self.values.lock().iter().filter_map(Weak::upgrade).take(count));
        Ok(all)
    }

    /// How many the list holds that are gone.
    #[cfg(test)]
    pub fn gone(&self) -> usize {
        self.values.lock().iter().filter(|value| value.strong_count() == 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::sync::rank;

    #[test]
    fn a_list_keeps_few_of_those_that_are_gone() {
        let list = WeakList::new(rank::BUFFER);
        let mut values: Vec<_> = (0..200).map(Arc::new).collect();
        values.iter().for_each(|value| list.add(value));
        assert_eq!(list.all().unwrap().len(), 200);
        while let Some(value) = values.pop() {
            drop(value);
            list.note_gone();
            assert!(list.gone() <= values.len() + GONE + 1, "{} beside {}", list.gone(), values.len());
        }
    }

    #[test]
    fn who_goes_while_the_list_is_used_waits_for_nobody() {
        let list = WeakList::new(rank::BUFFER);
        let values: Vec<_> = (0..100).map(Arc::new).collect();
        values.iter().for_each(|value| list.add(value));
        drop(values);
        let used = list.values.lock();
        (0..100).for_each(|_| list.note_gone());
        drop(used);
        assert_eq!(list.gone(), 100);
        list.note_gone();
        assert_eq!(list.gone(), 0);
    }
}
