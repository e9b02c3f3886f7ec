//! `prctl(2)`: the operations that make sense here.

use crate::{
    core_dump::Dumpable,
    credentials,
    identity::SecureBits,
    signals::Signal,
    task::{Name, Task},
};
use alloc::vec::Vec;
use base::Errno;
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
        // The only timing that there is.
        number::PR_GET_TIMING => {}
        number::PR_SET_TIMING if first == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Reads a name up to its NUL; what lies behind need not be readable.
fn read_name(address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    let read = user_memory::read_partial(address, bytes);
    if read < bytes.len() && !bytes[..read].contains(&0) { Err(Errno::EFAULT) } else { Ok(()) }
}
