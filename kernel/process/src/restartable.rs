//! Restartable sequences, `rseq(2)`: each thread may have an area in which it finds the CPU that it runs on, and in
//! which it says which instructions must not be torn apart by another task on that CPU or by a signal handler.
//!
//! The area (`struct rseq`): the CPU twice, the address of the sequence under way, flags, the CPU's node. A sequence
//! (`struct rseq_cs`): version, flags, first instruction, length, where to go on if it was torn. Whoever switches to
//! the task marks the area as out of date (`Sequence::mark`); before the task then goes back to user mode it puts it
//! right. A thread whose area or sequence makes no sense gets SIGSEGV.
//!
//! By the same mark a thread that may not read the time stamp counter (`PR_SET_TSC` of prctl(2)) takes that right from the
//! CPU that it comes to. The CPU gets it back when a thread that has it misses it: see `may_have_counter`. So does a thread that
//! has breakpoints (`trace::breakpoints`) give them to the CPU.

use crate::{
    signals::{Signal, SignalInfo, send},
    task::Task,
    trace::breakpoints,
};
use alloc::sync::Arc;
use base::Errno;
use core::{
    ops::Range,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};
use machine::{
    paging::USER_END,
    topology,
    user::{Registers, UserContext},
    user_memory,
};

/// The size of the first version of the area, which is also how it must be aligned (`AT_RSEQ_ALIGN`).
pub const AREA_SIZE: u32 = 32;
/// How much of the area means something (`AT_RSEQ_FEATURE_SIZE`): all up to the node.
pub const FEATURE_SIZE: u32 = 24;

/// `RSEQ_FLAG_UNREGISTER`.
const UNREGISTER: u32 = 1;
/// What stands for a CPU in an area that is not registered.
const NO_CPU: u32 = u32::MAX;
/// Where the address of the sequence under way lies in the area, and the flags.
const UNDER_WAY: u64 = 8;
const FLAGS: u64 = 16;
/// The thread may not read the time stamp counter.
const NO_COUNTER: u8 = 1;
/// It has breakpoints, or had some until now.
const BREAKPOINTS: u8 = 2;

/// The area of one thread. Changed by the thread itself only, but for the mark.
#[derive(Default)]
pub(crate) struct Sequence {
    area: AtomicU64,
    length: AtomicU32,
    signature: AtomicU32,
    /// What else a CPU has to learn of the thread: [`NO_COUNTER`], [`BREAKPOINTS`].
    special: AtomicU8,
    /// There is an area, or something special: switches mark.
    is_watched: AtomicBool,
    /// The area may be out of date, and a sequence torn; the CPU may let the thread read the counter.
    marked: AtomicBool,
}

impl Sequence {
    /// Has the thread look at its area and at the CPU before it goes on in user mode, if there is anything to look at.
    #[inline]
    pub(crate) fn mark(&self) {
        if self.is_watched.load(Relaxed) {
            self.marked.store(true, SeqCst);
        }
    }

    /// Whether the thread has to look.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.marked.load(Relaxed)
    }

    /// A forked child has its parent's area, in its own memory.
    pub(crate) fn inherit(&self, parent: &Self) {
        self.set(parent.area.load(Relaxed), parent.length.load(Relaxed), parent.signature.load(Relaxed));
    }

    /// There is no area any longer.
    pub(crate) fn forget(&self) {
        self.set(0, 0, 0);
    }

    fn set(&self, area: u64, length: u32, signature: u32) {
        self.area.store(area, Relaxed);
        self.length.store(length, Relaxed);
        self.signature.store(signature, Relaxed);
        self.watch();
    }

    fn watch(&self) {
        let is_watched = self.area.load(Relaxed) != 0 || self.special.load(Relaxed) != 0;
        self.is_watched.store(is_watched, Relaxed);
        self.marked.store(is_watched, SeqCst);
    }

    /// Whether the thread may not read the time stamp counter.
    #[inline]
    pub(crate) fn forbids_counter(&self) -> bool {
        self.special.load(Relaxed) & NO_COUNTER != 0
    }

    /// Forbids the thread to read the time stamp counter, or allows it, from when it next goes to user mode.
    pub(crate) fn forbid_counter(&self, forbids: bool) {
        self.note(NO_COUNTER, forbids);
    }

    /// The thread's breakpoints have changed, or there are none any longer. For the thread, and for a tracer while it is stopped.
    pub(crate) fn note_breakpoints(&self, may_have: bool) {
        self.note(BREAKPOINTS, may_have);
    }

    fn note(&self, special: u8, is_so: bool) {
        if is_so {
            self.special.fetch_or(special, Relaxed);
        } else {
            self.special.fetch_and(!special, Relaxed);
        }
        self.watch();
    }
}

/// `rseq(2)`: registers the area of the calling thread, or with the flag `RSEQ_FLAG_UNREGISTER` takes it back.
///
/// `EINVAL` another flag, a misaligned or short area, another area or length than the one that there is; `EPERM` another
/// signature than it has; `EBUSY` it is registered already; `EFAULT` no user address.
pub fn register(task: &Task, area: u64, length: u32, flags: u32, signature: u32) -> Result<(), Errno> {
    let sequence = &task.sequence;
    let registered = sequence.area.load(Relaxed);
    let is_this = registered == area && sequence.length.load(Relaxed) == length;
    let is_signed = sequence.signature.load(Relaxed) == signature;
    match flags {
        UNREGISTER => {
            if registered == 0 || !is_this {
                return Err(Errno::EINVAL);
            }
            if !is_signed {
                return Err(Errno::EPERM);
            }
            tell(area, 0, NO_CPU, 0)?;
            sequence.forget();
            Ok(())
        }
        0 if registered != 0 => Err(match (is_this, is_signed) {
            (false, _) => Errno::EINVAL,
            (true, false) => Errno::EPERM,
            (true, true) => Errno::EBUSY,
        }),
        0 => {
            if length < AREA_SIZE || !area.is_multiple_of(AREA_SIZE.into()) {
                return Err(Errno::EINVAL);
            }
            if area.checked_add(length.into()).is_none_or(|end| end > USER_END) {
                return Err(Errno::EFAULT);
            }
            sequence.set(area, length, signature);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Puts the area of `task`, the current one, right: CPU and node, and a torn sequence goes on where it wants to.
#[cold]
pub(crate) fn before_user_mode(task: &Arc<Task>, context: &mut UserContext) {
    // First, so that a switch from here on is seen the next time.
    task.sequence.marked.store(false, SeqCst);
    let special = task.sequence.special.load(Relaxed);
    if special & NO_COUNTER != 0 {
        machine::context::forbid_counter();
    }
    if special & BREAKPOINTS != 0 && !breakpoints::load(task) {
        task.sequence.note_breakpoints(false);
    }
    let area = task.sequence.area.load(Relaxed);
    if area == 0 {
        return;
    }
    let cpu = machine::cpu::current();
    let node = topology::get().node_of(cpu);
    let result = abort(task, &mut context.registers).and_then(|()| tell(area, cpu.raw(), cpu.raw(), node.raw()));
    if result.is_err() {
        send::force(task, SignalInfo::kernel(Signal::SEGV));
    }
}

/// Has a torn sequence go on where it wants to, before a handler is entered. Any error means SIGSEGV.
pub(crate) fn before_handler(task: &Task, context: &mut UserContext) -> Result<(), Errno> {
    if task.sequence.area.load(Relaxed) == 0 { Ok(()) } else { abort(task, &mut context.registers) }
}

fn tell(area: u64, start: u32, cpu: u32, node: u32) -> Result<(), Errno> {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&start.to_le_bytes());
    bytes[4..].copy_from_slice(&cpu.to_le_bytes());
    user_memory::write(area, &bytes)?;
    user_memory::write(area + 20, &node.to_le_bytes())
}

/// An instruction of `task`, the current one, was refused: whether it was so because of another thread that may not read the
/// counter. Then the CPU allows it again, and the instruction is to be tried again.
pub(crate) fn may_have_counter(task: &Task) -> bool {
    !task.sequence.forbids_counter() && machine::context::allow_counter()
}

/// Sends the thread to where its sequence goes on when torn, if it is inside one; there is none under way afterwards.
fn abort(task: &Task, registers: &mut Registers) -> Result<(), Errno> {
    let area = task.sequence.area.load(Relaxed);
    let mut address = [0; 8];
    user_memory::read(area + UNDER_WAY, &mut address)?;
    let address = u64::from_le_bytes(address);
    if address == 0 {
        return Ok(());
    }
    let mut bytes = [0; Description::SIZE];
    user_memory::read(address, &mut bytes)?;
    let description = Description::parse(&bytes)?;
    let mut signature = [0; 4];
    user_memory::read(description.abort.wrapping_sub(4), &mut signature)?;
    if u32::from_le_bytes(signature) != task.sequence.signature.load(Relaxed) {
        return Err(Errno::EINVAL);
    }
    let is_inside = description.instructions.contains(&registers.rip);
    // Linux obeys no flag any longer.
    if is_inside && (description.flags != 0 || user_memory::load_u32(area + FLAGS)? != 0) {
        return Err(Errno::EINVAL);
    }
    user_memory::write(area + UNDER_WAY, &[0; 8])?;
    if is_inside {
        registers.rip = description.abort;
    }
    Ok(())
}

/// `struct rseq_cs`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Description {
    flags: u32,
    instructions: Range<u64>,
    abort: u64,
}

impl Description {
    const SIZE: usize = 32;

    /// `EINVAL` a version that there is not, addresses that are no user's, a way out that lies inside.
    fn parse(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        let half = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (version, flags, start, length, abort) = (half(0), half(4), word(8), word(16), word(24));
        let end = start.checked_add(length).filter(|&end| end < USER_END).ok_or(Errno::EINVAL)?;
        let instructions = start..end;
        if version != 0 || abort >= USER_END || instructions.contains(&abort) {
            return Err(Errno::EINVAL);
        }
        Ok(Self { flags, instructions, abort })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(version: u32, start: u64, length: u64, abort: u64) -> Result<Description, Errno> {
        let mut bytes = [0; Description::SIZE];
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        bytes[4..8].copy_from_slice(&3u32.to_le_bytes());
        for (at, word) in [(8, start), (16, length), (24, abort)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        Description::parse(&bytes)
    }

    #[test]
    fn a_sequence_lies_in_user_space_and_its_way_out_outside_of_it() {
        let fine = Description { flags: 3, instructions: 0x1000..0x1010, abort: 0x1010 };
        assert_eq!(described(0, 0x1000, 0x10, 0x1010), Ok(fine));
        assert!(described(0, 0x1000, 0x10, 0xfff).is_ok());
        for (version, start, length, abort) in [
            (1, 0x1000, 0x10, 0x2000),
            (0, 0x1000, 0x10, 0x1000),
            (0, 0x1000, 0x10, 0x100f),
            (0, 0x1000, 0x10, USER_END),
            (0, USER_END, 0, 0x1000),
            (0, 0x1000, u64::MAX, 0x2000),
        ] {
            assert_eq!(described(version, start, length, abort), Err(Errno::EINVAL));
        }
    }
}
