//! What may not be done to a file's bytes: seals (`F_ADD_SEALS`), for files of `memfd_create`; and while it is executed.

use crate::execution::TextUse;
use base::Errno;
use bitflags::bitflags;
use machine::sync::{SpinLock, rank};

bitflags! {
    /// The seals of `fcntl(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Seals: u32 {
        /// `F_SEAL_SEAL`: no more seals.
        const SEAL = 1;
        /// `F_SEAL_SHRINK`: it may not get smaller.
        const SHRINK = 2;
        /// `F_SEAL_GROW`: it may not get larger.
        const GROW = 4;
        /// `F_SEAL_WRITE`: its bytes stay.
        const WRITE = 8;
        /// `F_SEAL_FUTURE_WRITE`: its bytes are changed only through mappings that there are.
        const FUTURE_WRITE = 16;
    }
}

impl Seals {
    /// Any of those that forbid writing.
    pub(crate) const NO_WRITE: Self = Self::WRITE.union(Self::FUTURE_WRITE);
}

/// The seals of a file, and who could change it past them; and who executes it.
pub struct Sealing {
    state: SpinLock<State>,
    text_use: TextUse,
}

struct State {
    seals: Seals,
    /// Shared mappings made through files that are open for writing.
    mappings: usize,
}

impl Sealing {
    pub(crate) fn new(seals: Seals) -> Self {
        Self { state: SpinLock::new(rank::FILE_STATE, State { seals, mappings: 0 }), text_use: TextUse::default() }
    }

    /// Who executes or writes it.
    pub(crate) fn text_use(&self) -> &TextUse {
        &self.text_use
    }

    /// The seals now.
    pub fn seals(&self) -> Seals {
        self.state.lock().seals
    }

    /// Whether any of `seals` is set: `EPERM`.
    pub(crate) fn check(&self, seals: Seals) -> Result<(), Errno> {
        if self.seals().intersects(seals) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Adds seals. `EPERM` no more may be added; `EBUSY` somebody could still write through a mapping.
    pub(crate) fn add(&self, seals: Seals) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.seals.contains(Seals::SEAL) {
            return Err(Errno::EPERM);
        }
        let begins = seals.contains(Seals::WRITE) && !state.seals.contains(Seals::WRITE);
        if begins && state.mappings > 0 {
            return Err(Errno::EBUSY);
        }
        state.seals |= seals;
        Ok(())
    }

    /// Notes a shared mapping through a file that is open for writing. `EPERM` bytes may not change, or with `writes` not
    /// by a new mapping.
    pub(crate) fn map(&self, writes: bool) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let forbidden = if writes { Seals::NO_WRITE } else { Seals::WRITE };
        if state.seals.intersects(forbidden) {
            return Err(Errno::EPERM);
        }
        state.mappings += 1;
        Ok(())
    }

    /// Takes back [`Sealing::map`].
    pub(crate) fn unmap(&self) {
        self.state.lock().mappings -= 1;
    }
}
