//! The alternate signal stack of a thread, `sigaltstack(2)`.

use base::Errno;

/// `SS_ONSTACK`: the thread runs on it (shown, never set).
pub const ON_STACK: u32 = 1;
/// `SS_DISABLE`: there is none.
pub const DISABLED: u32 = 2;
/// `SS_AUTODISARM`: forgotten while a handler runs on it.
pub const AUTODISARM: u32 = 1 << 31;
/// `MINSIGSTKSZ`.
pub const MINIMUM: u64 = 2048;

/// `stack_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: u64,
    /// `SS_*` flags.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
}

impl AlternateStack {
    /// No alternate stack.
    pub const NONE: Self = Self { base: 0, flags: DISABLED, size: 0 };

    /// Whether a stack pointer lies on it. With `SS_AUTODISARM` it never counts as being in use.
    pub const fn holds(&self, pointer: u64) -> bool {
        self.flags & AUTODISARM == 0 && pointer > self.base && pointer - self.base <= self.size
    }

    /// How `sigaltstack(2)` shows it to a thread with this stack pointer.
    pub const fn shown(self, pointer: u64) -> Self {
        let state = if self.size == 0 {
            DISABLED
        } else if self.holds(pointer) {
            ON_STACK
        } else {
            0
        };
        Self { flags: self.flags & AUTODISARM | state, ..self }
    }

    /// Replaces it, for a thread with this stack pointer. `EPERM` in use; `EINVAL` flags; `ENOMEM` too small.
    pub fn replace(&mut self, new: Self, pointer: u64) -> Result<(), Errno> {
        if self.size != 0 && self.holds(pointer) {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !AUTODISARM;
        if mode != DISABLED && mode != ON_STACK && mode != 0 {
            return Err(Errno::EINVAL);
        }
        if mode == DISABLED {
            *self = Self { base: 0, size: 0, flags: new.flags };
        } else if new.size < MINIMUM {
            return Err(Errno::ENOMEM);
        } else {
            *self = new;
        }
        Ok(())
    }

    /// Where a handler's frame goes when its action asks for the alternate stack: the top, unless there is none or the
    /// thread runs on it already.
    pub const fn top_for(&self, pointer: u64) -> Option<u64> {
        if self.size == 0 || self.holds(pointer) { None } else { Some(self.base.wrapping_add(self.size)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_in_use_can_not_be_replaced() {
        let new = AlternateStack { base: 0x1000, flags: 0, size: 0x4000 };
        let mut stack = AlternateStack::NONE;
        stack.replace(new, 0x9000).unwrap();
        assert_eq!(stack.replace(AlternateStack::NONE, 0x2000), Err(Errno::EPERM));
        assert_eq!(stack.shown(0x2000).flags, ON_STACK);
        assert_eq!(stack.top_for(0x2000), None);
        assert_eq!(stack.top_for(0x9000), Some(0x5000));
        assert_eq!(stack.replace(AlternateStack { size: 2047, ..new }, 0x9000), Err(Errno::ENOMEM));
        assert_eq!(stack.replace(AlternateStack { flags: 4, ..new }, 0x9000), Err(Errno::EINVAL));
        stack.replace(AlternateStack::NONE, 0x9000).unwrap();
        assert_eq!(stack.shown(0x2000).flags, DISABLED);
    }
}
