//! Copies between the kernel and the current address space's user memory.
//!
//! A page that is missing is asked for through [`FAULTS`], and the copy goes on; if that fails, or the address is no
//! user address, the copy ends with `EFAULT`. Never call these under a spinning lock: they can sleep.

use crate::arch;
use crate::frame::FRAME_SIZE;
use crate::paging::USER_END;
use crate::sync::Hook;
use alloc::vec::Vec;
use base::Errno;
use core::mem::MaybeUninit;
use core::ops::Deref;

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
#[inline]
pub fn read(address: u64, out: &mut [u8]) -> Result<(), Errno> {
    if !is_within(address, out.len()) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `out` is ours to write, and as many bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::copy_in(out.as_mut_ptr(), address, out.len()) };
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies as much user memory into `out` as can be read; says how many bytes.
pub fn read_partial(address: u64, out: &mut [u8]) -> usize {
    let length = within(address, out.len());
    // SAFETY: `out` is ours to write, and the first `length` bytes at `address` are user addresses.
    length - unsafe { arch::user_memory::copy_in(out.as_mut_ptr(), address, length) }
}

/// Copies `bytes` to user memory. On an error, part of it may have been written.
///
/// Errors: `EFAULT`.
#[inline]
pub fn write(address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if !is_within(address, bytes.len()) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `bytes` is ours to read, and as many bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::copy_out(address, bytes.as_ptr(), bytes.len()) };
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies `N` words from user memory.
///
/// Errors: `EFAULT`.
#[inline]
pub fn read_array<const N: usize>(address: u64) -> Result<[u64; N], Errno> {
    if !is_within(address, N * 8) {
        return Err(Errno::EFAULT);
    }
    let mut words = MaybeUninit::<[u64; N]>::uninit();
    // SAFETY: `words` is ours to write, and as many bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::copy_in(words.as_mut_ptr().cast(), address, N * 8) };
    // SAFETY: nothing is left to copy, so all words are there; they may have any bits.
    if left == 0 { Ok(unsafe { words.assume_init() }) } else { Err(Errno::EFAULT) }
}

/// Copies words from user memory into `out`. On an error, part of `out` may have been written.
///
/// Errors: `EFAULT`.
#[inline]
pub fn read_words(address: u64, out: &mut [u64]) -> Result<(), Errno> {
    if !is_within(address, out.len() * 8) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `out` is ours to write, and as many bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::copy_in(out.as_mut_ptr().cast(), address, out.len() * 8) };
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies `words` to user memory. On an error, part of it may have been written.
///
/// Errors: `EFAULT`.
#[inline]
pub fn write_words(address: u64, words: &[u64]) -> Result<(), Errno> {
    if !is_within(address, words.len() * 8) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `words` is ours to read, and as many bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::copy_out(address, words.as_ptr().cast(), words.len() * 8) };
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies as much of `bytes` to user memory as can be written; says how many bytes.
pub fn write_partial(address: u64, bytes: &[u8]) -> usize {
    let length = within(address, bytes.len());
    // SAFETY: `bytes` is ours to read, and the first `length` bytes at `address` are user addresses.
    length - unsafe { arch::user_memory::copy_out(address, bytes.as_ptr(), length) }
}

/// Sets `length` bytes of user memory to zero.
///
/// Errors: `EFAULT`; part may have been set.
pub fn zero(address: u64, length: usize) -> Result<(), Errno> {
    let within = within(address, length);
    // SAFETY: the first `within` bytes at `address` are user addresses.
    let left = unsafe { arch::user_memory::zero(address, within) };
    if within == length && left == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// A string from user memory; a short one, as most paths are, needs no memory of the heap.
pub struct UserText(TextForm);

enum TextForm {
    Short { bytes: [u8; STRING_PART], length: usize },
    Long(Vec<u8>),
}

impl UserText {
    /// No bytes.
    pub const EMPTY: Self = Self(TextForm::Short { bytes: [0; STRING_PART], length: 0 });
}

impl Deref for UserText {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            TextForm::Short { bytes, length } => &bytes[..*length],
            TextForm::Long(bytes) => bytes,
        }
    }
}

/// [`read_string`] for what is looked at and dropped.
///
/// Errors: as for that.
pub fn read_text(address: u64, max: usize) -> Result<UserText, Errno> {
    let mut bytes = [0; STRING_PART];
    // The next page need not be there.
    let part = (FRAME_SIZE - (address % FRAME_SIZE as u64) as usize).min(STRING_PART).min(max);
    read(address, &mut bytes[..part])?;
    Ok(UserText(match first_zero(&bytes[..part]) {
        Some(length) => TextForm::Short { bytes, length },
        None => TextForm::Long(read_string(address, max)?),
    }))
}

/// The bytes up to the first NUL, which is not among them.
///
/// Errors: `EFAULT`; `ENAMETOOLONG` no NUL among the first `max` bytes; `ENOMEM`.
pub fn read_string(address: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let mut string = Vec::new();
    while string.len() < max {
        // Up to the end of a page at a time: the next one need not be there.
        let at = address.checked_add(string.len() as u64).ok_or(Errno::EFAULT)?;
        let part = (STRING_PART - (at % STRING_PART as u64) as usize).min(max - string.len());
        let mut buffer = [0; STRING_PART];
        let buffer = &mut buffer[..part];
        read(at, buffer)?;
        let end = first_zero(buffer);
        let found = &buffer[..end.unwrap_or(part)];
        string.try_reserve(found.len()).map_err(|_| Errno::ENOMEM)?;
        string.extend_from_slice(found);
        if end.is_some() {
            return Ok(string);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Loads an aligned word at once.
///
/// Errors: `EFAULT`; `EINVAL` not aligned.
pub fn load_u32(address: u64) -> Result<u32, Errno> {
    check_word(address)?;
    // SAFETY: an aligned word of user addresses.
    unsafe { arch::user_memory::load_u32(address) }.ok_or(Errno::EFAULT)
}

/// Stores `new` in an aligned word if it is `old`, at once; gives the value that it found.
///
/// Errors: `EFAULT`; `EINVAL` not aligned.
pub fn compare_exchange_u32(address: u64, old: u32, new: u32) -> Result<u32, Errno> {
    check_word(address)?;
    // SAFETY: an aligned word of user addresses.
    unsafe { arch::user_memory::compare_exchange_u32(address, old, new) }.ok_or(Errno::EFAULT)
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

/// How much of a string is read at once; divides the size of a page. Most paths are no longer.
const STRING_PART: usize = 64;

/// Where the first NUL is, looked for by words.
fn first_zero(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks();
    for (index, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        // The lowest byte whose subtraction borrows is the first that is 0.
        let zeros = word.wrapping_sub(ONES) & !word & ONES << 7;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&byte| byte == 0).map(|index| words.len() * 8 + index)
}

/// Whether all of the bytes at `address` have user addresses.
#[inline]
pub(crate) fn is_within(address: u64, length: usize) -> bool {
    USER_END.checked_sub(length as u64).is_some_and(|last| address <= last) || length == 0
}

/// How many of the bytes at `address` have user addresses.
fn within(address: u64, length: usize) -> usize {
    usize::try_from(USER_END.saturating_sub(address)).unwrap_or(usize::MAX).min(length)
}

fn check_word(address: u64) -> Result<(), Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if is_within(address, 4) { Ok(()) } else { Err(Errno::EFAULT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_within_user_addresses_if_their_end_does_and_no_bytes_anywhere() {
        assert!(is_within(USER_END - 8, 8) && is_within(0, USER_END as usize) && is_within(u64::MAX, 0));
        assert!(!is_within(USER_END - 7, 8) && !is_within(1, USER_END as usize) && !is_within(u64::MAX, 1));
        assert!(!is_within(0, usize::MAX));
    }

    #[test]
    fn the_first_zero_is_found_whatever_comes_before_and_after() {
        for length in 0..20 {
            for at in 0..length {
                for (before, after) in [(1, 0), (0x80, 1), (0xff, 0xff), (1, 0x80)] {
                    let byte = |index| {
                        if index < at {
                            before
                        } else if index == at {
                            0
                        } else {
                            after
                        }
                    };
                    let bytes: Vec<u8> = (0..length).map(byte).collect();
                    assert_eq!(first_zero(&bytes), Some(at));
                }
            }
            assert_eq!(first_zero(&alloc::vec![0x80; length]), None);
            assert_eq!(first_zero(&alloc::vec![1; length]), None);
        }
    }
}
