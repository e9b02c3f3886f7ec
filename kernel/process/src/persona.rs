//! The execution domain of a task, `personality(2)`: in what it differs from a plain Linux program.

use base::Errno;
use bitflags::bitflags;

bitflags! {
    /// The bits of `personality(2)`: a domain in the low byte, flags above. All are kept; those named here are obeyed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Persona: u32 {
        /// `uname(2)` tells a release that starts with 2.6.
        const UNAME26 = 0x2_0000;
        /// Programs, libraries and stacks lie where they would without chance.
        const NO_RANDOMIZE = 0x4_0000;
        /// Page 0 is mapped.
        const PAGE_ZERO = 0x10_0000;
        /// The old layout of memory.
        const OLD_LAYOUT = 0x20_0000;
        /// What can be read can be executed.
        const READ_IMPLIES_EXECUTE = 0x40_0000;
        const _ = !0;
    }
}

impl Persona {
    /// The domain of 32-bit programs (`PER_LINUX32`), for whom the machine is an i686.
    const LINUX32: u32 = 8;
    /// The value of the call that only asks.
    const ASK: u32 = u32::MAX;

    /// What must not reach a program that has more rights than who starts it (`PER_CLEAR_ON_SETID`).
    pub const UNSAFE: Self =
        Self::NO_RANDOMIZE.union(Self::PAGE_ZERO).union(Self::OLD_LAYOUT).union(Self::READ_IMPLIES_EXECUTE);

    /// What `uname(2)` tells as the machine.
    pub fn machine(self) -> &'static [u8] {
        if self.bits() & 0xff == Self::LINUX32 { b"i686" } else { b"x86_64" }
    }
}

impl crate::Task {
    /// Its execution domain.
    pub fn persona(&self) -> Persona {
        self.with_belongings(|own| own.persona)
    }

    /// `personality(2)`: sets the execution domain, unless `wanted` only asks, and returns the one before.
    pub fn set_persona(&self, wanted: u32) -> Result<Persona, Errno> {
        let wanted = (wanted != Persona::ASK).then(|| Persona::from_bits_retain(wanted));
        Ok(self.with_belongings(|own| {
            let before = own.persona;
            own.persona = wanted.unwrap_or(before);
            before
        }))
    }
}
