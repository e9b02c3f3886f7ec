//! Exceptions of user mode: page faults are resolved, the rest becomes a signal.

use crate::{
    oom, restartable,
    signals::{FaultFacts, Signal, SignalInfo, code, send},
    task::{Task, current},
    trace::breakpoints,
};
use alloc::sync::Arc;
use base::Errno;
use container::Member;
use machine::{
    user::{Fault, UserContext},
    user_memory::FaultHandler,
};
use memory::{Access, FaultError, charge};

const DIVIDE: u8 = 0;
const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;
const OVERFLOW: u8 = 4;
const BOUND: u8 = 5;
const INVALID_OPCODE: u8 = 6;
const STACK_SEGMENT: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const FLOATING_POINT: u8 = 16;
const ALIGNMENT: u8 = 17;
const SIMD: u8 = 19;

/// Bits of a page fault's error code.
const PRESENT: u32 = 1;
const WRITE: u32 = 2;
const FETCH: u32 = 16;
/// Where `fcw`, `fsw` and `mxcsr` lie in the saved FPU state.
const CONTROL_WORD: usize = 0;
const STATUS_WORD: usize = 2;
const MXCSR: usize = 24;

/// Handles an exception of `task`, the current one.
pub(crate) fn handle(task: &Arc<Task>, context: &mut UserContext, fault: Fault) {
    let info = match fault.vector {
        PAGE_FAULT => match page_fault(task, fault) {
            Some(info) => info,
            None => return,
        },
        GENERAL_PROTECTION if restartable::may_have_counter(task) => return,
        DEBUG => match breakpoints::fault(task, context, fault.address) {
            Some(info) => info,
            None => return,
        },
        vector => {
            let (signal, code, address) = classify(vector, context.registers.rip);
            match code {
                Some(code) => SignalInfo::fault(signal, code, address),
                None => SignalInfo::kernel(signal),
            }
        }
    };
    let address = if fault.vector == PAGE_FAULT { fault.address } else { 0 };
    task.signals.lock().fault =
        FaultFacts { error_code: fault.error_code.into(), vector: fault.vector.into(), address };
    send::force(task, info);
}

/// The signal, `si_code` and `si_addr` of an exception other than a page fault, at this instruction.
fn classify(vector: u8, rip: u64) -> (Signal, Option<i32>, u64) {
    match vector {
        DIVIDE => (Signal::FPE, Some(code::FPE_INTDIV), rip),
        BREAKPOINT => (Signal::TRAP, None, 0),
        INVALID_OPCODE => (Signal::ILL, Some(code::ILL_ILLOPN), rip),
        OVERFLOW | BOUND => (Signal::SEGV, None, 0),
        STACK_SEGMENT => (Signal::BUS, None, 0),
        FLOATING_POINT | SIMD => (Signal::FPE, Some(floating_point_code(vector)), rip),
        ALIGNMENT => (Signal::BUS, Some(code::BUS_ADRALN), 0),
        _ => (Signal::SEGV, None, 0),
    }
}

fn floating_point_code(vector: u8) -> i32 {
    let raised = machine::fpu::with_current(|state| {
        let word = |at: usize| state.bytes().get(at..at + 2).map_or(0, |word| u16::from_le_bytes([word[0], word[1]]));
        if vector == SIMD {
            // Flags in the low six bits, masks seven bits above.
            word(MXCSR) & !(word(MXCSR) >> 7)
        } else {
            word(STATUS_WORD) & !word(CONTROL_WORD)
        }
    });
    which_exception(raised & 0x3f)
}

/// The `si_code` of raised, unmasked floating-point exceptions, in Linux's order.
fn which_exception(raised: u16) -> i32 {
    match raised {
        bits if bits & 0x01 != 0 => code::FPE_FLTINV,
        bits if bits & 0x04 != 0 => code::FPE_FLTDIV,
        bits if bits & 0x08 != 0 => code::FPE_FLTOVF,
        bits if bits & 0x12 != 0 => code::FPE_FLTUND,
        bits if bits & 0x20 != 0 => code::FPE_FLTRES,
        _ => 0,
    }
}

/// Resolves a page fault, or says which signal it is. Without memory somebody is killed; then, unless it is this process,
/// the access faults again.
#[inline]
fn page_fault(task: &Arc<Task>, fault: Fault) -> Option<SignalInfo> {
    let access = if fault.error_code & FETCH != 0 {
        Access::Execute
    } else if fault.error_code & WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    };
    let error = resolve(task, fault.address, access, fault.error_code & PRESENT == 0).err()?;
    let segv = |code| Some(SignalInfo::fault(Signal::SEGV, code, fault.address));
    match error {
        FaultError::NotMapped => segv(code::SEGV_MAPERR),
        FaultError::NoAccess => segv(code::SEGV_ACCERR),
        FaultError::BeyondEnd => Some(SignalInfo::fault(Signal::BUS, code::BUS_ADRERR, fault.address)),
        FaultError::OutOfMemory => {
            oom::relieve(task, true);
            None
        }
        FaultError::NotPaid => {
            send::kill_by(task, Signal::KILL);
            None
        }
    }
}

#[inline]
fn resolve(task: &Task, address: u64, access: Access, is_missing: bool) -> Result<(), FaultError> {
    let space = task.space().map_err(|_| FaultError::NotMapped)?;
    task.count_fault();
    if let Some(charger) = charge::CHARGER.get() {
        charger.count_fault(task.membership().word(charger.word()));
    }
    space.fault_within(address, access, is_missing, || task.memory_limits())
}

/// What brings in the pages that the kernel's own copies to and from user memory need.
pub struct UserCopies;

impl FaultHandler for UserCopies {
    fn fault(&self, address: u64, write: bool) -> Result<(), Errno> {
        let task = current().ok_or(Errno::EFAULT)?;
        let access = if write { Access::Write } else { Access::Read };
        loop {
            match resolve(&task, address, access, false) {
                Ok(()) => return Ok(()),
                Err(FaultError::OutOfMemory) if oom::relieve(&task, true) => {}
                Err(error) => {
                    if error == FaultError::NotPaid {
                        send::kill_by(&task, Signal::KILL);
                    }
                    return Err(Errno::EFAULT);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_become_the_signals_that_linux_sends() {
        assert_eq!(classify(DIVIDE, 5), (Signal::FPE, Some(code::FPE_INTDIV), 5));
        assert_eq!(classify(INVALID_OPCODE, 5), (Signal::ILL, Some(code::ILL_ILLOPN), 5));
        assert_eq!(classify(BREAKPOINT, 5), (Signal::TRAP, None, 0));
        assert_eq!(classify(13, 5), (Signal::SEGV, None, 0));
        assert_eq!(which_exception(0x04), code::FPE_FLTDIV);
        assert_eq!(which_exception(0x21), code::FPE_FLTINV);
    }
}
