//! A thread's debug registers at work: a tracer sets them while it is stopped, they are loaded wherever it goes to user mode,
//! and tell it by SIGTRAP.
//!
//! A switch to the thread marks it, as it does one with a restartable sequence ([`crate::restartable`]): others pay nothing. What
//! a CPU still has of a thread that has left it is taken away when another one is stopped by it.

use super::debug_registers::{DebugRegisters, HITS, STEPPED};
use crate::{
    signals::{Signal, SignalInfo, code},
    task::Task,
};
use base::Errno;
use machine::{breakpoints, user::UserContext};

/// The resume flag: the instruction at a breakpoint is executed.
const RESUME_FLAG: u64 = 1 << 16;

/// A debug register of a stopped tracee; 0 for one that there is not.
pub(super) fn register(tracee: &Task, index: usize) -> u64 {
    tracee.tracing.debug_registers.lock().as_ref().map_or(DebugRegisters::default().read(index), |all| all.read(index))
}

/// Sets a debug register of a stopped tracee. `EIO` there is no such; `EINVAL` the value is none for it.
pub(super) fn set_register(tracee: &Task, index: usize, value: u64) -> Result<(), Errno> {
    tracee.tracing.debug_registers.lock().get_or_insert_default().write(index, value)?;
    tracee.sequence.note_breakpoints(true);
    Ok(())
}

/// Gives this CPU the breakpoints of `task`, the current one, or none. Whether there are any.
pub(crate) fn load(task: &Task) -> bool {
    let wanted = task.tracing.debug_registers.lock().as_ref().and_then(|all| all.breakpoints());
    match &wanted {
        Some(wanted) => breakpoints::load(wanted),
        None => breakpoints::unload(),
    }
    wanted.is_some()
}

/// A new program has none.
pub(crate) fn forget(task: &Task) {
    let old = task.tracing.debug_registers.lock().take();
    if old.is_some() {
        task.sequence.note_breakpoints(true);
    }
}

/// What a debug exception of `task`, the current one, comes to; `status` is DR6. `None`: it goes on.
pub(crate) fn fault(task: &Task, context: &mut UserContext, status: u64) -> Option<SignalInfo> {
    let registers = &mut context.registers;
    let is_traced = task.tracing.is_traced();
    let has_stepped = status & STEPPED != 0;
    if has_stepped && !is_traced && task.tracing.end_step(registers) {
        // The tracer that stepped it is gone.
        return None;
    }
    let (hits, executes) = {
        let mut all = task.tracing.debug_registers.lock();
        if is_traced || all.is_some() { all.get_or_insert_default().note(status) } else { (0, false) }
    };
    if status & HITS != 0 && hits == 0 {
        // Those of a thread that was here before; its own are loaded again.
        breakpoints::unload();
        task.sequence.note_breakpoints(true);
    }
    if executes {
        registers.rflags |= RESUME_FLAG;
    }
    let code = match (has_stepped, hits) {
        (true, _) => code::TRAP_TRACE,
        (false, 1..) => code::TRAP_HWBKPT,
        (false, 0) if status & HITS != 0 => return None,
        // The instruction `int1`.
        (false, 0) => code::TRAP_BRKPT,
    };
    Some(SignalInfo::fault(Signal::TRAP, code, registers.rip))
}
