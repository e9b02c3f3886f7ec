//! A queue of shared things that each lie in it at most once. Putting one in takes no memory, so that wake-ups can, which
//! come from interrupts too.

use alloc::sync::Arc;
use machine::sync::{IrqLock, rank};

/// What can lie in a chain of its kind.
pub(super) trait Linked: Sized {
    fn link(&self) -> &Link<Self>;
}

/// The place of one thing in its chain. Changes with the chain locked.
pub(super) struct Link<T>(IrqLock<State<T>>);

enum State<T> {
    Free,
    Last,
    Before(Arc<T>),
}

impl<T> Link<T> {
    pub(super) const fn new() -> Self {
        Self(IrqLock::new(rank::LEAF, State::Free))
    }
}

/// First in, first out.
pub(super) struct Chain<T>(IrqLock<Ends<T>>);

struct Ends<T> {
    first: Option<Arc<T>>,
    last: Option<Arc<T>>,
}

impl<T: Linked> Chain<T> {
    pub(super) const fn new() -> Self {
        Self(IrqLock::new(rank::OBSERVER, Ends { first: None, last: None }))
    }

    /// Puts it in at the end, unless it is there already. Whether it came in.
    pub(super) fn push(&self, item: Arc<T>) -> bool {
        let mut ends = self.0.lock();
        {
            let mut own = item.link().0.lock();
            if !matches!(*own, State::Free) {
                return false;
            }
            *own = State::Last;
        }
        match ends.last.replace(item.clone()) {
            Some(before) => *before.link().0.lock() = State::Before(item),
            None => ends.first = Some(item),
        }
        true
    }

    /// Takes the first one out.
    pub(super) fn pop(&self) -> Option<Arc<T>> {
        let mut ends = self.0.lock();
        let item = ends.first.take()?;
        let state = core::mem::replace(&mut *item.link().0.lock(), State::Free);
        let last = match state {
            State::Before(next) => {
                ends.first = Some(next);
                None
            }
            _ => ends.last.take(),
        };
        drop(ends);
        drop(last);
        Some(item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().first.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    struct Bead(usize, Link<Bead>);

    impl Linked for Bead {
        fn link(&self) -> &Link<Self> {
            &self.1
        }
    }

    proptest! {
        #[test]
        fn what_comes_in_once_goes_out_once_in_its_turn(steps in proptest::collection::vec(0usize..12, 0..60)) {
            let beads: Vec<Arc<Bead>> = (0..8).map(|number| Arc::new(Bead(number, Link::new()))).collect();
            let (chain, mut model) = (Chain::new(), VecDeque::new());
            for step in steps {
                match beads.get(step) {
                    Some(bead) => {
                        let is_new = !model.contains(&step);
                        prop_assert_eq!(chain.push(bead.clone()), is_new);
                        model.extend(is_new.then_some(step));
                    }
                    None => prop_assert_eq!(chain.pop().map(|bead| bead.0), model.pop_front()),
                }
                prop_assert_eq!(chain.is_empty(), model.is_empty());
            }
            while chain.pop().is_some() {}
            prop_assert!(beads.iter().all(|bead| Arc::strong_count(bead) == 1));
        }
    }
}
