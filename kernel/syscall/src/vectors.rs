//! Vectors: several ranges of user memory that one call works on.

use crate::{
    abi::IoVector,
    arguments::UserPtr,
    transfer::{MOST, check_range},
};
use alloc::vec::Vec;
use base::Errno;
use machine::user_memory;
use memory::heap;

/// The most vectors of one call (`UIO_MAXIOV`).
const VECTORS: usize = 1024;

/// The vectors of a call, checked as Linux does: `EINVAL` more than 1024 or lengths that overflow.
pub(crate) fn vectors(list: UserPtr<IoVector>, count: usize) -> Result<Vec<(u64, usize)>, Errno> {
    if count > VECTORS {
        return Err(Errno::EINVAL);
    }
    let mut left = MOST;
    let mut ranges = heap::try_vec(count)?;
    for vector in list.read_array(count)? {
        if vector.length > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let length = (vector.length as usize).min(left);
        left -= length;
        ranges.push((vector.base, length));
    }
    Ok(ranges)
}

/// Copies `bytes` out over the ranges; how many went. `EFAULT` if none could.
pub(crate) fn scatter(bytes: &[u8], ranges: &[(u64, usize)]) -> Result<usize, Errno> {
    let mut done = 0;
    for &(address, length) in ranges {
        let piece = length.min(bytes.len() - done);
        let copied = user_memory::write_partial(address, &bytes[done..done + piece]);
        done += copied;
        if copied < piece {
            break;
        }
    }
    if done == 0 && !bytes.is_empty() { Err(Errno::EFAULT) } else { Ok(done) }
}

/// Copies the ranges in, one behind the other, up to the first address that can't be read, and says whether there was
/// one. `EFAULT` a range that reaches beyond user space.
pub(crate) fn gather(ranges: &[(u64, usize)]) -> Result<(Vec<u8>, bool), Errno> {
    let total: usize = ranges.iter().map(|(_, length)| length).sum();
    let mut bytes = heap::try_zeroed(total)?;
    let mut done = 0;
    for &(address, length) in ranges {
        check_range(address, length)?;
        let copied = user_memory::read_partial(address, &mut bytes[done..done + length]);
        done += copied;
        if copied < length {
            break;
        }
    }
    bytes.truncate(done);
    Ok((bytes, done < total))
}

/// The ranges of a message's vectors, for sockets. `EMSGSIZE` more than a message may have; the errors of vectors.
pub(crate) fn message_vectors(list: UserPtr<IoVector>, count: u64) -> Result<Vec<(u64, usize)>, Errno> {
    if count > VECTORS as u64 {
        return Err(Errno::EMSGSIZE);
    }
    vectors(list, count as usize)
}

/// The ranges of `vmsplice`, each within user space.
pub(crate) fn checked_vectors(list: UserPtr<IoVector>, count: usize) -> Result<Vec<(u64, usize)>, Errno> {
    let ranges = vectors(list, count)?;
    ranges.iter().try_for_each(|&(address, length)| check_range(address, length))?;
    Ok(ranges)
}
