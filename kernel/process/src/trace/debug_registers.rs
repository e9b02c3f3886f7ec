//! A thread's debug registers as a tracer sees and sets them: `u_debugreg` of `struct user`.
//!
//! Registers 0 to 3 are addresses, 6 says what the last debug exception was about, 7 says which addresses are in use and for
//! what; 4 and 5 there are not. A wish is refused by the rules of Linux: `EINVAL` an address that is not the program's or not
//! a multiple of its length, a kind or length that there is not.

use base::Errno;
use machine::{
    breakpoints::{Breakpoints, COUNT},
    paging::USER_END,
};

/// Bits of register 7 that mean nothing in a program's.
const IGNORED: u64 = 0xffff_ffff_0000_fc00;
/// DR6 has these bits inverted, or set for ever.
const INVERTED: u64 = 0xffff_0ff0;
/// In DR6: the addresses that were hit, and a single step.
pub(crate) const HITS: u64 = 0xf;
pub(crate) const STEPPED: u64 = 1 << 14;

/// What an address is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    Execute,
    #[default]
    Write,
    Access,
}

/// One address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    address: u64,
    kind: Kind,
    /// 1, 2, 4 or 8 bytes.
    length: u64,
    is_in_use: bool,
}

impl Default for Slot {
    fn default() -> Self {
        Self { address: 0, kind: Kind::default(), length: 1, is_in_use: false }
    }
}

impl Slot {
    fn check(self) -> Result<Self, Errno> {
        let end = self.address.checked_add(self.length - 1).ok_or(Errno::EINVAL)?;
        if end < USER_END && self.address.is_multiple_of(self.length) { Ok(self) } else { Err(Errno::EINVAL) }
    }

    /// The slot as register 7 says; one that is not in use keeps its kind and length.
    fn controlled(self, is_in_use: bool, kind: u64, length: u64) -> Result<Self, Errno> {
        if !is_in_use {
            return Ok(Self { is_in_use, ..self });
        }
        let length = match length {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        let kind = match kind {
            0 if length == 1 => Kind::Execute,
            1 => Kind::Write,
            3 => Kind::Access,
            // Ports are nobody's here.
            _ => return Err(Errno::EINVAL),
        };
        Self { kind, length, is_in_use, ..self }.check()
    }

    /// Kind and length as in register 7.
    fn bits(self) -> u64 {
        let kind = match self.kind {
            Kind::Execute => 0,
            Kind::Write => 1,
            Kind::Access => 3,
        };
        let length = match self.length {
            1 => 0,
            2 => 1,
            8 => 2,
            _ => 3,
        };
        kind | length << 2
    }
}

/// The registers of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DebugRegisters {
    slots: [Slot; COUNT],
    /// Register 6, without its inversion.
    status: u64,
    /// Register 7 as it was written.
    control: u64,
}

impl DebugRegisters {
    /// A register; 0 for one that there is not.
    pub(crate) fn read(&self, index: usize) -> u64 {
        match index {
            6 => self.status ^ INVERTED,
            7 => self.control,
            _ => self.slots.get(index).map_or(0, |slot| slot.address),
        }
    }

    /// Sets a register. `EIO` there is no such; `EINVAL`, nothing changed.
    pub(crate) fn write(&mut self, index: usize, value: u64) -> Result<(), Errno> {
        match index {
            0..COUNT => self.slots[index] = Slot { address: value, ..self.slots[index] }.check()?,
            6 => self.status = value ^ INVERTED,
            7 => {
                let wanted = value & !IGNORED;
                let mut slots = self.slots;
                for (index, slot) in slots.iter_mut().enumerate() {
                    let bits = wanted >> (16 + 4 * index) & 0xf;
                    *slot = slot.controlled(wanted >> (2 * index) & 3 != 0, bits & 3, bits >> 2)?;
                }
                self.slots = slots;
                self.control = value;
            }
            _ => return Err(Errno::EIO),
        }
        Ok(())
    }

    /// What the processor's registers are to hold; none if no address is in use.
    pub(crate) fn breakpoints(&self) -> Option<Breakpoints> {
        let mut all = Breakpoints::default();
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.is_in_use) {
            all.addresses[index] = slot.address;
            all.control |= 2 << (2 * index) | slot.bits() << (16 + 4 * index);
        }
        (all.control != 0).then_some(all)
    }

    /// Notes a debug exception, as DR6 tells it. Which of the addresses in use were hit, and whether one of them is executed.
    pub(crate) fn note(&mut self, status: u64) -> (u64, bool) {
        let is_hit = |&(index, slot): &(usize, &Slot)| slot.is_in_use && status >> index & 1 != 0;
        let hit = self.slots.iter().enumerate().filter(is_hit);
        let (hits, executes) = hit.fold((0, false), |(hits, executes), (index, slot)| {
            (hits | 1 << index, executes || slot.kind == Kind::Execute)
        });
        self.status = hits | status & STEPPED;
        (hits, executes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Register 7 for one address.
    const fn control(index: u64, kind: u64, length: u64) -> u64 {
        1 << (2 * index) | (kind | length << 2) << (16 + 4 * index)
    }

    #[test]
    fn an_address_is_the_programs_and_a_multiple_of_its_length() {
        let mut registers = DebugRegisters::default();
        assert_eq!(registers.write(0, USER_END), Err(Errno::EINVAL));
        assert_eq!(registers.write(3, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(registers.write(0, 0x1001), Ok(()));
        for (length, expected) in
            [(0, Ok(())), (1, Err(Errno::EINVAL)), (2, Err(Errno::EINVAL)), (3, Err(Errno::EINVAL))]
        {
            assert_eq!(registers.write(7, control(0, 1, length)), expected, "{length}");
        }
        assert_eq!(registers.write(7, control(1, 1, 2)), Ok(()), "address 0, 8 bytes");
        assert_eq!(registers.write(1, 0x1004), Err(Errno::EINVAL));
        assert_eq!(registers.write(1, USER_END - 8), Ok(()));
    }

    #[test]
    fn kinds_and_lengths_are_those_that_there_are() {
        let mut registers = DebugRegisters::default();
        assert_eq!(registers.write(7, control(2, 2, 0)), Err(Errno::EINVAL), "ports");
        assert_eq!(registers.write(7, control(2, 0, 3)), Err(Errno::EINVAL), "instructions have no length");
        assert_eq!(registers.write(7, control(2, 2, 0) & !0xff), Ok(()), "nothing in use");
        assert_eq!([4, 5, 8].map(|index| registers.write(index, 0)), [Err(Errno::EIO); 3]);
        assert_eq!([4, 5].map(|index| registers.read(index)), [0, 0]);
    }

    #[test]
    fn a_refused_control_changes_nothing() {
        let mut registers = DebugRegisters::default();
        registers.write(1, 0x2001).unwrap();
        registers.write(7, control(0, 3, 0)).unwrap();
        let before = registers;
        assert_eq!(registers.write(7, control(0, 1, 0) | control(1, 1, 3)), Err(Errno::EINVAL));
        assert_eq!(registers, before);
    }

    #[test]
    fn the_processor_gets_what_is_in_use() {
        let mut registers = DebugRegisters::default();
        assert_eq!(registers.breakpoints(), None);
        registers.write(0, 0x1000).unwrap();
        registers.write(2, 0x3000).unwrap();
        registers.write(7, control(2, 1, 3) | 0xfc00).unwrap();
        let expected = Breakpoints { addresses: [0, 0, 0x3000, 0], control: 2 << 4 | 0b1101 << 24 };
        assert_eq!(registers.breakpoints(), Some(expected));
        assert_eq!(registers.read(7), control(2, 1, 3) | 0xfc00, "it is read as it was written");
    }

    #[test]
    fn the_status_tells_what_was_hit_of_what_is_in_use() {
        let mut registers = DebugRegisters::default();
        assert_eq!(registers.read(6), 0xffff_0ff0);
        registers.write(7, control(1, 1, 0) | control(3, 0, 0)).unwrap();
        assert_eq!(registers.note(0xffff_0ff0 | 0b0011), (0b0010, false));
        assert_eq!(registers.read(6), 0xffff_0ff2);
        assert_eq!(registers.note(0b1000 | STEPPED), (0b1000, true));
        assert_eq!(registers.read(6), 0xffff_4ff8);
        registers.write(6, 0).unwrap();
        assert_eq!(registers.read(6), 0);
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_reaches_the_kernel(writes in proptest::collection::vec((0usize..8, any::<u64>()), 0..20)) {
            let mut registers = DebugRegisters::default();
            for (index, value) in writes {
                let _ = registers.write(index, value % (1 << 48));
                if let Some(all) = registers.breakpoints() {
                    prop_assert!(all.addresses.iter().all(|&address| address < USER_END));
                    prop_assert_eq!(all.control & 0xff00, 0);
                    prop_assert_eq!(all.control & 0x5555 & 0xff, 0);
                }
            }
        }
    }
}
