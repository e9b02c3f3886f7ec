//! Copies between the kernel and the current address space's user memory.
//!
//! A page that is missing is asked for through [`FAULTS`], and the copy goes on; if that fails, or the address is no
//! user address, the copy ends with `EFAULT`. Never call these under a spinning lock: they can sleep.

use crate::sync::Hook;
use alloc::vec::Vec;
use base::Errno;

/// Brings in pages that a copy needs.
pub trait FaultHandler: Sync {
    /// Makes the page at `address` of the current address space present, for a store if `write`. Called on the
    /// stack of the task that copies, interrupts on.
    ///
    /// Errors: any; the copy then ends with `EFAULT`.
    fn fault(&self, address: u64, write: bool) -> Result<(), Errno>;
}

/// Who brings in pages; installed once at boot.
pub static FAULTS: Hook<dyn FaultHandler> = Hook::new();

/// Copies user memory into `out`. On an error, part of `out` may have been written.
///
/// Errors: `EFAULT`.
pub fn read(address: u64, out: &mut [u8]) -> Result<(), Errno> {
    let wanted = out.len();
    if read_partial(address, out) == wanted { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies as much user memory into `out` as can be read; says how many bytes.
pub fn read_partial(address: u64, out: &mut [u8]) -> usize {
    let _ = (address, out);
    todo!()
}

/// Copies `bytes` to user memory. On an error, part of it may have been written.
///
/// Errors: `EFAULT`.
pub fn write(address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if write_partial(address, bytes) == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies as much of `bytes` to user memory as can be written; says how many bytes.
pub fn write_partial(address: u64, bytes: &[u8]) -> usize {
    let _ = (address, bytes);
    todo!()
}

/// Sets `length` bytes of user memory to zero.
///
/// Errors: `EFAULT`; part may have been set.
pub fn zero(address: u64, length: usize) -> Result<(), Errno> {
    let _ = (address, length);
    todo!()
}

/// The bytes up to the first NUL, which is not among them.
///
/// Errors: `EFAULT`; `ENAMETOOLONG` no NUL among the first `max` bytes; `ENOMEM`.
pub fn read_string(address: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let _ = (address, max);
    todo!()
}

/// Loads an aligned word at once.
///
/// Errors: `EFAULT`; `EINVAL` not aligned.
pub fn load_u32(address: u64) -> Result<u32, Errno> {
    let _ = address;
    todo!()
}

/// Stores `new` in an aligned word if it is `old`, at once; gives the value that it found.
///
/// Errors: `EFAULT`; `EINVAL` not aligned.
pub fn compare_exchange_u32(address: u64, old: u32, new: u32) -> Result<u32, Errno> {
    let _ = (address, old, new);
    todo!()
}

/// Replaces an aligned word by what `update` makes of it, at once; gives the value before.
///
/// Errors: `EFAULT`; `EINVAL` not aligned.
pub fn fetch_update_u32(address: u64, mut update: impl FnMut(u32) -> u32) -> Result<u32, Errno> {
    let mut old = load_u32(address)?;
    loop {
        let found = compare_exchange_u32(address, old, update(old))?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}
