//! `membarrier(2)`: memory barriers on the CPUs of others.
//!
//! An interrupt is a full barrier, and the return from it starts the instructions after it anew. A CPU that comes to
//! a process's memory while the others are interrupted has passed a full barrier itself, when it noted that it did.

use crate::task::Task;
use base::{CpuId, CpuSet, Errno, MAX_CPUS};
use bitflags::bitflags;
use core::sync::atomic::{Ordering::SeqCst, fence};
use machine::ipi;

bitflags! {
    /// The commands of `membarrier(2)` that change or use what a process has registered for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Command: u32 {
        /// Every CPU.
        const GLOBAL = 1;
        /// The CPUs of all that have registered for it.
        const GLOBAL_EXPEDITED = 1 << 1;
        /// Registers for that.
        const REGISTER_GLOBAL_EXPEDITED = 1 << 2;
        /// The CPUs of the caller's process.
        const PRIVATE_EXPEDITED = 1 << 3;
        /// Registers for that.
        const REGISTER_PRIVATE_EXPEDITED = 1 << 4;
        /// The same, and they see changed code.
        const PRIVATE_EXPEDITED_SYNC_CORE = 1 << 5;
        /// Registers for that.
        const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 6;
        /// The same, and restartable sequences are torn.
        const PRIVATE_EXPEDITED_RSEQ = 1 << 7;
        /// Registers for that.
        const REGISTER_PRIVATE_EXPEDITED_RSEQ = 1 << 8;
        /// What the process has registered for.
        const GET_REGISTRATIONS = 1 << 9;
    }
}

/// The commands that register, each one bit above what it registers for.
const REGISTRATIONS: Command = Command::REGISTER_GLOBAL_EXPEDITED
    .union(Command::REGISTER_PRIVATE_EXPEDITED)
    .union(Command::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
    .union(Command::REGISTER_PRIVATE_EXPEDITED_RSEQ);

/// `membarrier(2)`: 0 asks which commands there are. With `cpu`, which only sequences may have, that CPU alone.
///
/// `EINVAL` no such command, or `cpu` where it makes no sense; `EPERM` the process has not registered.
pub fn command(task: &Task, command: u32, cpu: Option<u32>) -> Result<u32, Errno> {
    if command == 0 {
        return Ok(Command::all().bits());
    }
    let command = Command::from_bits(command).filter(|command| command.bits().is_power_of_two());
    let command = command.ok_or(Errno::EINVAL)?;
    let process = task.process();
    if REGISTRATIONS.contains(command) {
        process.barriers.fetch_or(command.bits(), SeqCst);
        return Ok(0);
    }
    if command == Command::GET_REGISTRATIONS {
        return Ok(process.barriers.load(SeqCst));
    }
    if command == Command::GLOBAL || command == Command::GLOBAL_EXPEDITED {
        interrupt(&machine::cpu::online());
        return Ok(0);
    }
    if process.barriers.load(SeqCst) & command.bits() << 1 == 0 {
        return Err(Errno::EPERM);
    }
    let space = task.space()?;
    fence(SeqCst);
    let mut cpus = space.active_on();
    if let Some(cpu) = cpu {
        // Nothing runs on a CPU that there is not.
        let wanted = if cpu < MAX_CPUS as u32 { CpuSet::only(CpuId::new(cpu)) } else { CpuSet::default() };
        cpus = cpus.and(&wanted);
    }
    if command == Command::PRIVATE_EXPEDITED_RSEQ {
        // One that runs elsewhere by now was marked when it was switched to.
        let there = |thread: &Task| cpu.is_none_or(|cpu| thread.entity().cpu().raw() == cpu);
        process.threads().iter().filter(|thread| there(thread)).for_each(|thread| thread.sequence.mark());
    }
    interrupt(&cpus);
    Ok(0)
}

/// Interrupts these CPUs and waits until each was: what was stored before is seen there by what runs from then on.
pub(crate) fn interrupt(cpus: &CpuSet) {
    ipi::call(cpus, &|| fence(SeqCst));
}
