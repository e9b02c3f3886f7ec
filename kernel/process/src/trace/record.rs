//! A thread's registers as debuggers see them: `struct user_regs_struct` and `struct user` of x86-64.

use alloc::vec::Vec;
use base::Errno;
use machine::{
    fpu::{self, FpuState},
    paging::USER_END,
    user::Registers,
};

/// Words of `struct user_regs_struct`.
pub const WORDS: usize = 27;
/// The size of `struct user_fpregs_struct`, what FXSAVE writes.
pub const LEGACY_SIZE: usize = 512;
/// Bytes of `struct user`.
pub const USER_SIZE: u64 = 928;
/// Where its debug registers lie, and how many there are.
const DEBUG_REGISTERS: core::ops::Range<u64> = 848..848 + 8 * 8;
/// Where debuggers look for the components (XCR0) that an FPU state can hold.
const COMPONENTS: usize = 464;
/// Where XSAVE says which components are in use; FPU and SSE are the two lowest.
const IN_USE: usize = 512;
/// The segments of 64-bit user mode.
const USER_CODE: u64 = 0x33;
const USER_STACK: u64 = 0x2b;
/// The trap flag: the processor stops after each instruction.
pub(crate) const TRAP_FLAG: u64 = 1 << 8;
/// Flags that a debugger may set: carry to overflow, resume, alignment check.
const SETTABLE_FLAGS: u64 = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | TRAP_FLAG | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;

/// `struct user_regs_struct`. `call` is the system call that the thread came by, all ones for none; `bases` are those of FS
/// and GS.
pub(crate) fn words(r: &Registers, call: u64, bases: (u64, u64)) -> [u64; WORDS] {
    let general =
        [r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi];
    let rest = [call, r.rip, USER_CODE, r.rflags, r.rsp, USER_STACK, bases.0, bases.1, 0, 0, 0, 0];
    core::array::from_fn(|index| general.get(index).copied().unwrap_or_else(|| rest[index - general.len()]))
}

/// What a stopped thread left in its registers, for its tracer to look at and change.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub(crate) registers: Registers,
    /// The system call that it came by; all ones for none.
    pub(crate) call: u64,
    /// The bases of FS and GS.
    pub(crate) bases: (u64, u64),
    /// XSAVE's standard form, or FXSAVE's; empty if there was no memory for it.
    pub(crate) floating_point: Vec<u8>,
    /// The tracer has written to these.
    pub(crate) has_new_registers: bool,
    pub(crate) has_new_floating_point: bool,
}

impl Record {
    /// All words.
    pub fn words(&self) -> [u64; WORDS] {
        words(&self.registers, self.call, self.bases)
    }

    /// Sets a word of `struct user_regs_struct`. `EIO` no such, or the value is none for it.
    pub fn set_word(&mut self, index: usize, value: u64) -> Result<(), Errno> {
        let r = &mut self.registers;
        let must = |allowed: bool| if allowed { Ok(()) } else { Err(Errno::EIO) };
        let place = match index {
            0 => &mut r.r15,
            1 => &mut r.r14,
            2 => &mut r.r13,
            3 => &mut r.r12,
            4 => &mut r.rbp,
            5 => &mut r.rbx,
            6 => &mut r.r11,
            7 => &mut r.r10,
            8 => &mut r.r9,
            9 => &mut r.r8,
            10 => &mut r.rax,
            11 => &mut r.rcx,
            12 => &mut r.rdx,
            13 => &mut r.rsi,
            14 => &mut r.rdi,
            15 => &mut self.call,
            16 => &mut r.rip,
            17 => return must(value == USER_CODE),
            18 => {
                r.rflags = r.rflags & !SETTABLE_FLAGS | value & SETTABLE_FLAGS;
                self.has_new_registers = true;
                return Ok(());
            }
            19 => &mut r.rsp,
            20 => return must(value == USER_STACK),
            21 | 22 => {
                must(value < USER_END)?;
                if index == 21 { &mut self.bases.0 } else { &mut self.bases.1 }
            }
            // There are no segments that they could name.
            23..WORDS => return must(value == 0),
            _ => return Err(Errno::EIO),
        };
        *place = value;
        self.has_new_registers = true;
        Ok(())
    }

    /// The word at `offset` of `struct user`; what is neither a register nor known is 0. `EIO` it lies outside, or at no
    /// multiple of 8.
    pub fn user_word(&self, offset: u64) -> Result<u64, Errno> {
        check_offset(offset)?;
        Ok(self.words().get(offset as usize / 8).copied().unwrap_or(0))
    }

    /// Sets it. `EIO` as for [`Self::user_word`], or it is none of these registers.
    pub fn set_user_word(&mut self, offset: u64, value: u64) -> Result<(), Errno> {
        check_offset(offset)?;
        match offset / 8 {
            index @ 0..27 => self.set_word(index as usize, value),
            _ => Err(Errno::EIO),
        }
    }

    /// The FPU state with the components marked that it can have. `EIO` it is not known.
    pub fn extended_state(&self) -> Result<Vec<u8>, Errno> {
        let mut bytes = memory::heap::try_vec(self.floating_point.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.extend_from_slice(&self.floating_point);
        let place = bytes.get_mut(COMPONENTS..COMPONENTS + 8).ok_or(Errno::EIO)?;
        place.copy_from_slice(&fpu::state_parts().to_le_bytes());
        Ok(bytes)
    }

    /// Sets the FPU state. `EFAULT` not all of it is given; `EINVAL` the processor would refuse it.
    pub fn set_extended_state(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() != self.floating_point.len() {
            return Err(Errno::EFAULT);
        }
        checked(bytes)?;
        self.floating_point.copy_from_slice(bytes);
        self.has_new_floating_point = true;
        Ok(())
    }

    /// Sets the part of the FPU state that FXSAVE knows. `EINVAL` the processor would refuse it; `EIO` the rest is not known.
    pub fn set_legacy_state(&mut self, legacy: &[u8; LEGACY_SIZE]) -> Result<(), Errno> {
        let mut bytes = self.extended_state()?;
        bytes[..LEGACY_SIZE].copy_from_slice(legacy);
        if let Some(used) = bytes.get_mut(IN_USE) {
            *used |= 3;
        }
        self.set_extended_state(&bytes)
    }

    /// Gives the current task the FPU state.
    pub(crate) fn load_floating_point(&self) {
        let load = |state: &mut FpuState| {
            // It was checked when it was set.
            let filled = state.fill(|place| {
                place.copy_from_slice(&self.floating_point);
                Ok(())
            });
            if filled.is_ok() {
                fpu::load_current(state);
            }
        };
        FpuState::with_zeroed(load);
    }
}

/// `EINVAL` the processor would refuse this FPU state.
fn checked(bytes: &[u8]) -> Result<(), Errno> {
    FpuState::with_zeroed(|state| {
        state.fill(|place| {
            if place.len() != bytes.len() {
                return Err(Errno::EFAULT);
            }
            place.copy_from_slice(bytes);
            Ok(())
        })
    })
}

/// Which debug register lies at `offset` of `struct user`, if one does.
pub(crate) fn debug_register(offset: u64) -> Option<usize> {
    let is_one = DEBUG_REGISTERS.contains(&offset) && offset.is_multiple_of(8);
    is_one.then(|| (offset - DEBUG_REGISTERS.start) as usize / 8)
}

fn check_offset(offset: u64) -> Result<(), Errno> {
    if offset.is_multiple_of(8) && offset < USER_SIZE { Ok(()) } else { Err(Errno::EIO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let registers = Registers { r15: 1, rax: 11, rdi: 15, rip: 17, rflags: 0x202, rsp: 20, ..Default::default() };
        Record { registers, call: 16, bases: (22, 23), floating_point: std::vec![0; 512], ..Record::default() }
    }

    #[test]
    fn words_lie_where_the_c_structure_has_them() {
        let words = record().words();
        assert_eq!((words[0], words[10], words[14], words[15], words[16]), (1, 11, 15, 16, 17));
        assert_eq!((words[17], words[18], words[19], words[20]), (0x33, 0x202, 20, 0x2b));
        assert_eq!((words[21], words[22], words[26]), (22, 23, 0));
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_no_register_is_refused() {
        let mut record = record();
        for index in (0..17).chain([19, 21, 22]) {
            record.set_word(index, 0x1000 + index as u64).unwrap();
            assert_eq!(record.words()[index], 0x1000 + index as u64, "word {index}");
        }
        assert!(record.has_new_registers);
        assert_eq!(record.set_word(17, 0x10), Err(Errno::EIO));
        assert_eq!(record.set_word(21, u64::MAX), Err(Errno::EIO));
        assert_eq!(record.set_word(23, 0x2b), Err(Errno::EIO));
        assert_eq!(record.set_word(27, 0), Err(Errno::EIO));
    }

    #[test]
    fn of_the_flags_a_debugger_sets_only_those_of_a_program() {
        let mut record = record();
        record.set_word(18, u64::MAX).unwrap();
        assert_eq!(record.registers.rflags & 0x3000, 0, "the privilege of input and output stays");
        assert_eq!(record.registers.rflags & 0x202, 0x202);
        assert_ne!(record.registers.rflags & TRAP_FLAG, 0);
        record.set_word(18, 0).unwrap();
        assert_eq!(record.registers.rflags, 0x202);
    }

    #[test]
    fn offsets_into_the_user_area_are_those_of_words() {
        let mut record = record();
        assert_eq!(record.user_word(15 * 8), Ok(16));
        assert_eq!(record.user_word(27 * 8), Ok(0));
        assert_eq!(record.user_word(4), Err(Errno::EIO));
        assert_eq!(record.user_word(USER_SIZE), Err(Errno::EIO));
        assert_eq!([848, 848 + 56, 848 + 64, 848 + 4].map(debug_register), [Some(0), Some(7), None, None]);
        assert_eq!(record.set_user_word(224, 0), Err(Errno::EIO), "the FPU's part is set by other requests");
    }
}
