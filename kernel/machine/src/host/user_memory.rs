//! User copies on the host: each page is looked up in the tables of the thread's address space, as the hardware
//! would, and asked for through the same hook.

use crate::frame::{FRAME_SIZE, Frame};
use crate::paging::look_up_current;
use crate::user_memory::FAULTS;

/// The frame of the page at `address`, asked for if it is missing.
fn page(address: u64, write: bool) -> Option<Frame> {
    let page = address - address % FRAME_SIZE as u64;
    // Another thread may take the page away in between; then it is asked for again.
    loop {
        if let Some(frame) = look_up_current(page, write) {
            return Some(frame);
        }
        FAULTS.get()?.fault(address, write).ok()?;
    }
}

/// Calls `each` with the frame, the offset in it, the distance from `address` and the length of each part; gives the
/// number of bytes behind the first page that is not there.
fn for_each_page(address: u64, length: usize, write: bool, mut each: impl FnMut(&Frame, usize, usize, usize)) -> usize {
    let mut done = 0;
    while done < length {
        let at = address + done as u64;
        let offset = (at % FRAME_SIZE as u64) as usize;
        let part = (FRAME_SIZE - offset).min(length - done);
        let Some(frame) = page(at, write) else { break };
        each(&frame, offset, done, part);
        done += part;
    }
    length - done
}

/// Copies from user memory; gives how many bytes were not copied.
///
/// # Safety
/// `to` is good for a write of `length` bytes, and the user range lies in the user half.
pub unsafe fn copy_in(to: *mut u8, from: u64, length: usize) -> usize {
    for_each_page(from, length, false, |frame, offset, done, part| {
        // SAFETY: a part of what the caller gives.
        frame.read(offset, unsafe { core::slice::from_raw_parts_mut(to.add(done), part) });
    })
}

/// Copies to user memory; gives how many bytes were not copied.
///
/// # Safety
/// `from` is good for a read of `length` bytes, and the user range lies in the user half.
pub unsafe fn copy_out(to: u64, from: *const u8, length: usize) -> usize {
    for_each_page(to, length, true, |frame, offset, done, part| {
        // SAFETY: a part of what the caller gives.
        frame.write(offset, unsafe { core::slice::from_raw_parts(from.add(done), part) });
    })
}

/// Sets user memory to zero; gives how many bytes were not set.
///
/// # Safety
/// The range lies in the user half.
pub unsafe fn zero(to: u64, length: usize) -> usize {
    for_each_page(to, length, true, |frame, offset, _, part| frame.zero(offset, part))
}

/// Loads a word; `None` if it can't be.
///
/// # Safety
/// An aligned word in the user half.
pub unsafe fn load_u32(address: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    // SAFETY: the array is ours; the caller answers for the address.
    (unsafe { copy_in(bytes.as_mut_ptr(), address, 4) } == 0).then(|| u32::from_ne_bytes(bytes))
}

/// Stores `new` if the word is `old`; gives what was found, or `None` if the word can't be reached. Not atomic against
/// other threads of the host.
///
/// # Safety
/// An aligned word in the user half.
pub unsafe fn compare_exchange_u32(address: u64, old: u32, new: u32) -> Option<u32> {
    let frame = page(address, true)?;
    let offset = (address % FRAME_SIZE as u64) as usize;
    let mut found = [0; 4];
    frame.read(offset, &mut found);
    let found = u32::from_ne_bytes(found);
    if found == old {
        frame.write(offset, &new.to_ne_bytes());
    }
    Some(found)
}
