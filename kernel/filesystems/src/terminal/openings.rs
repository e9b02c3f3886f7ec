//! Who has a terminal open. A line that is cut ends all openings of it; the terminal may be opened anew.

use base::Errno;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use machine::sync::{SpinLock, rank};

/// One opening of a terminal: it lasts until the line is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening(u32);

/// All openings of a terminal.
pub struct Openings {
    state: SpinLock<State>,
    /// How often the line was cut; changed with `state` locked.
    cuts: AtomicU32,
}

#[derive(Default)]
struct State {
    /// How many there are.
    count: usize,
    /// Nobody else may open it.
    exclusive: bool,
    /// The line is gone for good.
    gone: bool,
}

impl Openings {
    /// Nobody has it open.
    pub fn new() -> Self {
        Self { state: SpinLock::new(rank::FILE_STATE, State::default()), cuts: AtomicU32::new(0) }
    }

    /// One more. `EIO` the line is gone; `EBUSY` somebody has it for himself, and the caller does not `force` it.
    pub fn add(&self, force: bool) -> Result<Opening, Errno> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Errno::EIO);
        }
        if state.exclusive && !force {
            return Err(Errno::EBUSY);
        }
        state.count += 1;
        Ok(Opening(self.cuts.load(Acquire)))
    }

    /// One less; whether it was the last, with which exclusive use ends.
    pub fn remove(&self, opening: Opening) -> bool {
        let mut state = self.state.lock();
        if self.is_over(opening) {
            return false;
        }
        state.count -= 1;
        if state.count == 0 {
            state.exclusive = false;
        }
        state.count == 0
    }

    /// Ends all of them; if the line is `gone`, no other begins.
    pub fn end_all(&self, gone: bool) {
        let mut state = self.state.lock();
        *state = State { gone: state.gone || gone, ..State::default() };
        self.cuts.store(self.cuts.load(Acquire).wrapping_add(1), Release);
    }

    /// Whether the line was cut since.
    pub fn is_over(&self, opening: Opening) -> bool {
        self.cuts.load(Acquire) != opening.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.state.lock().count == 0
    }

    /// Whether nobody else may open it (`TIOCEXCL`).
    pub fn is_exclusive(&self) -> bool {
        self.state.lock().exclusive
    }

    /// Lets nobody else open it, or everybody again.
    pub fn set_exclusive(&self, exclusive: bool) {
        self.state.lock().exclusive = exclusive;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_ends_all_openings_but_not_the_next() {
        let openings = Openings::new();
        let (one, two) = (openings.add(false).unwrap(), openings.add(false).unwrap());
        assert!(!openings.remove(one) && !openings.is_empty());
        openings.end_all(false);
        assert!(openings.is_over(two) && openings.is_empty());
        let three = openings.add(false).unwrap();
        assert!(!openings.remove(two), "it was over already");
        assert!(!openings.is_over(three) && openings.remove(three));
        openings.end_all(true);
        assert_eq!(openings.add(true), Err(Errno::EIO));
    }

    #[test]
    fn exclusive_use_ends_with_the_last_opening() {
        let openings = Openings::new();
        let one = openings.add(false).unwrap();
        openings.set_exclusive(true);
        assert_eq!(openings.add(false), Err(Errno::EBUSY));
        let two = openings.add(true).unwrap();
        assert!(!openings.remove(one) && openings.is_exclusive());
        assert!(openings.remove(two) && !openings.is_exclusive());
        assert!(openings.add(false).is_ok());
    }
}
