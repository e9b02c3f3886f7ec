//! `prctl(2)`: the operations that make sense here.

use crate::{
    core_dump::Dumpable,
    credentials,
    exec::image::USER_END,
    filters::calls,
    identity::SecureBits,
    process::Program,
    signals::Signal,
    task::{Name, Task},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, Errno};
use core::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::prctl as number;
use machine::user_memory;

/// The auxiliary vector of the program; newer than the list of numbers.
const PR_GET_AUXV: u32 = 0x4155_5856;

/// `prctl(2)` of the current task; pointers in the arguments are its own.
///
/// `EINVAL` an unknown operation or argument; `EFAULT`; `EPERM` as the manual says of each.
pub fn prctl(task: &Task, operation: u32, arguments: [u64; 4]) -> Result<u64, Errno> {
    let [first, second, third, fourth] = arguments;
    let rest_is_zero = second == 0 && third == 0 && fourth == 0;
    let process = task.process();
    match operation {
        number::PR_SET_NAME => {
            let mut bytes = [0; crate::task::NAME_MAX];
            read_name(first, &mut bytes)?;
            task.set_name(Name::new(&bytes));
        }
        number::PR_GET_NAME => {
            let mut bytes = [0; 16];
            let name = task.name();
            bytes[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
            user_memory::write(first, &bytes)?;
        }
        PR_GET_AUXV if third == 0 && fourth == 0 => {
            let vector = process.program().map_or_else(Vec::new, |program| program.vector.clone());
            let length = vector.len().min(usize::try_from(second).unwrap_or(usize::MAX));
            user_memory::write(first, &vector[..length])?;
            return Ok(vector.len() as u64);
        }
        number::PR_SET_PDEATHSIG => {
            let wish = i32::try_from(first).map_err(|_| Errno::EINVAL)?;
            if wish != 0 {
                Signal::new(wish)?;
            }
            task.parent_death_signal.store(wish as u32, Relaxed);
        }
        number::PR_GET_PDEATHSIG => {
            user_memory::write(first, &task.parent_death_signal.load(Relaxed).to_le_bytes())?;
        }
        number::PR_SET_DUMPABLE => {
            // Only the kernel makes a process one whose core is root's.
            let value = Dumpable::new(first).filter(|&value| value != Dumpable::AsRoot);
            process.set_dumpable(value.ok_or(Errno::EINVAL)?);
        }
        number::PR_GET_DUMPABLE => return Ok(process.dumpable() as u64),
        number::PR_SET_KEEPCAPS if first <= 1 => task.with_belongings(|own| {
            if own.secure_bits.contains(SecureBits::KEEP_CAPS_LOCKED) {
                return Err(Errno::EPERM);
            }
            own.secure_bits.set(SecureBits::KEEP_CAPS, first == 1);
            Ok(())
        })?,
        number::PR_GET_KEEPCAPS => {
            return Ok(task.with_belongings(|own| own.secure_bits.contains(SecureBits::KEEP_CAPS)).into());
        }
        number::PR_SET_SECUREBITS => {
            let wanted = u32::try_from(first).map_err(|_| Errno::EPERM)?;
            let who = task.credentials();
            task.with_belongings(|own| {
                own.secure_bits = own.secure_bits.change(wanted, &who)?;
                Ok(())
            })?;
        }
        number::PR_GET_SECUREBITS => return Ok(task.with_belongings(|own| own.secure_bits.bits()).into()),
        number::PR_CAPBSET_READ => {
            let one = crate::identity::capability(first)?;
            return Ok(task.credentials().bounding.contains(one).into());
        }
        number::PR_CAPBSET_DROP => credentials::drop_bounding(task, first)?,
        number::PR_CAP_AMBIENT if third == 0 && fourth == 0 => return credentials::ambient(task, first, second),
        number::PR_SET_NO_NEW_PRIVS if first == 1 && rest_is_zero => {
            task.with_belongings(|own| own.no_new_privileges = true);
        }
        number::PR_GET_NO_NEW_PRIVS if first == 0 && rest_is_zero => {
            return Ok(task.with_belongings(|own| own.no_new_privileges).into());
        }
        number::PR_SET_SECCOMP => {
            let task = task.reference().ok_or(Errno::EINVAL)?;
            calls::set_mode(&task, first, second)?;
        }
        number::PR_GET_SECCOMP => return Ok(task.filter_mode() as u64),
        number::PR_SET_CHILD_SUBREAPER => process.kinship().subreaper.store(first != 0, Relaxed),
        number::PR_GET_CHILD_SUBREAPER => {
            let is_set = i32::from(process.kinship().subreaper.load(Relaxed));
            user_memory::write(first, &is_set.to_le_bytes())?;
        }
        number::PR_SET_TIMERSLACK => task.set_timer_slack(first),
        number::PR_GET_TIMERSLACK => return Ok(task.timer_slack()),
        number::PR_SET_THP_DISABLE if rest_is_zero => {
            task.space()?.set_small_pages_only(first != 0);
        }
        number::PR_GET_THP_DISABLE if first == 0 && rest_is_zero => {
            return Ok(task.space()?.has_small_pages_only().into());
        }
        number::PR_GET_TID_ADDRESS => user_memory::write(first, &task.clear_child_tid().to_le_bytes())?,
        number::PR_GET_SPECULATION_CTRL if rest_is_zero => return speculation(first).map(|()| SPECULATION_ENABLED),
        number::PR_SET_SPECULATION_CTRL if third == 0 && fourth == 0 => set_speculation(first, second)?,
        number::PR_GET_TSC => {
            let mode = if task.sequence.forbids_counter() { number::PR_TSC_SIGSEGV } else { number::PR_TSC_ENABLE };
            user_memory::write(first, &mode.to_le_bytes())?;
        }
        number::PR_SET_TSC if first == u64::from(number::PR_TSC_ENABLE) => task.sequence.forbid_counter(false),
        number::PR_SET_TSC if first == u64::from(number::PR_TSC_SIGSEGV) => task.sequence.forbid_counter(true),
        number::PR_SET_MM => set_memory(task, first, second, [third, fourth])?,
        // The only timing that there is.
        number::PR_GET_TIMING => {}
        number::PR_SET_TIMING if first == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Nothing is done against it.
const SPECULATION_ENABLED: u64 = number::PR_SPEC_ENABLE as u64;

/// Checks a kind of speculation. `ENODEV` there is no such.
fn speculation(kind: u64) -> Result<(), Errno> {
    const KINDS: [u64; 2] = [number::PR_SPEC_STORE_BYPASS as u64, number::PR_SPEC_INDIRECT_BRANCH as u64];
    if KINDS.contains(&kind) { Ok(()) } else { Err(Errno::ENODEV) }
}

/// `PR_SET_SPECULATION_CTRL`, as of a Linux that was started without measures against speculation. `ENODEV`; `ENXIO` it can't
/// be chosen; `EPERM` to end it; `ERANGE` no such wish.
fn set_speculation(kind: u64, wish: u64) -> Result<(), Errno> {
    const END: [u64; 2] = [number::PR_SPEC_DISABLE as u64, number::PR_SPEC_FORCE_DISABLE as u64];
    speculation(kind)?;
    if kind == u64::from(number::PR_SPEC_STORE_BYPASS) {
        Err(Errno::ENXIO)
    } else if END.contains(&wish) {
        Err(Errno::EPERM)
    } else if wish == SPECULATION_ENABLED {
        Ok(())
    } else {
        Err(Errno::ERANGE)
    }
}

/// `PR_SET_MM`: where /proc finds arguments and environment, and what it shows as the auxiliary vector. Errors, in this
/// order: `EINVAL` arguments that mean nothing; `EPERM` without CAP_SYS_RESOURCE; of the vector `EINVAL` too long, `EFAULT`;
/// else `EINVAL` an address of nobody, a part that can't be set, or an end before the start; `EFAULT` nothing lies there.
fn set_memory(task: &Task, what: u64, address: u64, [length, rest]: [u64; 2]) -> Result<(), Errno> {
    /// The longest vector that Linux keeps.
    const LONGEST: u64 = 384;
    let what = u32::try_from(what).map_err(|_| Errno::EINVAL)?;
    if rest != 0 || length != 0 && what != number::PR_SET_MM_AUXV {
        return Err(Errno::EINVAL);
    }
    if !task.credentials().has(Capabilities::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    let process = task.process();
    let old = process.program().ok_or(Errno::EINVAL)?;
    let (mut arguments, mut environment, mut vector) = (old.arguments, old.environment, old.vector.clone());
    if what == number::PR_SET_MM_AUXV {
        if length > LONGEST {
            return Err(Errno::EINVAL);
        }
        vector.clear();
        vector.resize(length as usize, 0);
        user_memory::read(address, &mut vector)?;
        // It ends whatever the program says.
        let end = vector.len().saturating_sub(16);
        vector[end..].fill(0);
    } else {
        if !(memory::LOWEST..USER_END).contains(&address) {
            return Err(Errno::EINVAL);
        }
        let place = match what {
            number::PR_SET_MM_ARG_START => &mut arguments.0,
            number::PR_SET_MM_ARG_END => &mut arguments.1,
            number::PR_SET_MM_ENV_START => &mut environment.0,
            number::PR_SET_MM_ENV_END => &mut environment.1,
            _ => return Err(Errno::EINVAL),
        };
        *place = address;
        if arguments.0 > arguments.1 || environment.0 > environment.1 {
            return Err(Errno::EINVAL);
        }
        task.space()?.area_from(address).ok_or(Errno::EFAULT)?;
    }
    let new = Program {
        file: old.file.clone(),
        execution: old.execution.clone(),
        arguments,
        environment,
        stack: old.stack,
        vector,
    };
    process.set_program(Arc::new(new));
    Ok(())
}

/// Reads a name up to its NUL; what lies behind need not be readable.
fn read_name(address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    let read = user_memory::read_partial(address, bytes);
    if read < bytes.len() && !bytes[..read].contains(&0) { Err(Errno::EFAULT) } else { Ok(()) }
}
