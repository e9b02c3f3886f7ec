//! User copies on the real machine: string instructions between `stac` and `clac`, each with a fix-up.
//!
//! The section `extable` lists pairs of distances: to an instruction that may fault, and to where the kernel goes on
//! if the fault can't be resolved. The page-fault entry asks [`fixup`] and [`kernel_fault`].

use super::smap::{clac, stac};
use crate::paging::USER_END;
use crate::user_memory::FAULTS;
use core::arch::asm;
use core::ptr::{addr_of, from_ref};

/// For `asm!`: an entry of the table. Where the kernel goes on if the instruction at the first label faults.
macro_rules! or_else {
    ($faulting:literal, $fixup:literal) => {
        concat!(
            ".pushsection extable,\"aR\",@progbits\n.p2align 2\n.long ",
            $faulting,
            " - .\n.long ",
            $fixup,
            " - .\n.popsection\n"
        )
    };
}
pub(super) use or_else;

/// Copies from user memory; gives how many bytes were not copied.
///
/// # Safety
/// `to` is good for a write of `length` bytes, and the user range lies in the user half.
#[inline]
pub unsafe fn copy_in(to: *mut u8, from: u64, length: usize) -> usize {
    // SAFETY: the kernel's side is the caller's; a fault on the user's side is resolved or ends the copy.
    unsafe { copy(to, from as *const u8, length) }
}

/// Copies to user memory; gives how many bytes were not copied.
///
/// # Safety
/// `from` is good for a read of `length` bytes, and the user range lies in the user half.
#[inline]
pub unsafe fn copy_out(to: u64, from: *const u8, length: usize) -> usize {
    // SAFETY: as in `copy_in`.
    unsafe { copy(to as *mut u8, from, length) }
}

/// # Safety
/// One side lies in the user half, the other is the kernel's and good for the access.
#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) -> usize {
    if length.is_multiple_of(8) {
        // SAFETY: the caller's promise.
        return unsafe { copy_words(to, from, length / 8) };
    }
    let left;
    // SAFETY: the caller answers for the ranges. Only string instructions run with user access allowed; the direction
    // flag is clear by the calling convention. A fault on the user's side goes on at 5 (words: what is left is tried
    // as bytes) or 4 (bytes: rcx tells what is left).
    unsafe {
        asm!(
            stac!(),
            "2: rep movsq",
            "mov ecx, {rest:e}",
            "3: rep movsb",
            "4:",
            clac!(),
            ".pushsection .text.fixup,\"ax\",@progbits",
            "5: lea rcx, [{rest} + rcx * 8]",
            "jmp 3b",
            ".popsection",
            or_else!("2b", "5b"),
            or_else!("3b", "4b"),
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => left,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack)
        );
    }
    left
}

/// [`copy`] of whole words; gives how many bytes were not copied.
///
/// # Safety
/// As for `copy`.
#[inline]
unsafe fn copy_words(to: *mut u8, from: *const u8, words: usize) -> usize {
    let left;
    // SAFETY: as in `copy`.
    unsafe {
        asm!(
            stac!(),
            "2: rep movsq",
            "4:",
            clac!(),
            ".pushsection .text.fixup,\"ax\",@progbits",
            "5: shl rcx, 3",
            "3: rep movsb",
            "jmp 4b",
            ".popsection",
            or_else!("2b", "5b"),
            or_else!("3b", "4b"),
            inout("rcx") words => left,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack)
        );
    }
    left
}

/// Sets user memory to zero; gives how many bytes were not set.
///
/// # Safety
/// The range lies in the user half.
pub unsafe fn zero(to: u64, length: usize) -> usize {
    let left;
    // SAFETY: as in `copy`.
    unsafe {
        asm!(
            stac!(),
            "2: rep stosq",
            "mov ecx, {rest:e}",
            "3: rep stosb",
            "jmp 4f",
            "5: lea rcx, [{rest} + rcx * 8]",
            "jmp 3b",
            "4:",
            clac!(),
            or_else!("2b", "5b"),
            or_else!("3b", "4b"),
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => left,
            inout("rdi") to => _,
            in("rax") 0u64,
            options(nostack)
        );
    }
    left
}

/// Loads a word; `None` if it can't be.
///
/// # Safety
/// An aligned word in the user half.
pub unsafe fn load_u32(address: u64) -> Option<u32> {
    let (value, done): (u32, u32);
    // SAFETY: one aligned load of the user's; a fault that can't be resolved goes on at 3 with `done` 0.
    unsafe {
        asm!(
            "xor {done:e}, {done:e}",
            "xor {value:e}, {value:e}",
            stac!(),
            "2: mov {value:e}, dword ptr [{address}]",
            "mov {done:e}, 1",
            "3:",
            clac!(),
            or_else!("2b", "3b"),
            address = in(reg) address,
            value = out(reg) value,
            done = out(reg) done,
            options(nostack)
        );
    }
    (done != 0).then_some(value)
}

/// Stores `new` if the word is `old`, at once; gives what was found, or `None` if the word can't be reached.
///
/// # Safety
/// An aligned word in the user half.
pub unsafe fn compare_exchange_u32(address: u64, old: u32, new: u32) -> Option<u32> {
    let (found, done): (u32, u32);
    // SAFETY: one locked instruction on an aligned word of the user's; a fault that can't be resolved goes on at 3 with
    // `done` 0.
    unsafe {
        asm!(
            "xor {done:e}, {done:e}",
            stac!(),
            "2: lock cmpxchg dword ptr [{address}], {new:e}",
            "mov {done:e}, 1",
            "3:",
            clac!(),
            or_else!("2b", "3b"),
            address = in(reg) address,
            new = in(reg) new,
            done = out(reg) done,
            inout("eax") old => found,
            options(nostack)
        );
    }
    (done != 0).then_some(found)
}

/// Where the kernel goes on if the instruction at `address` faults and nobody can help; `None` if it is no user copy.
pub(crate) fn fixup(address: u64) -> Option<u64> {
    let (first, end) = (addr_of!(FIRST), addr_of!(END));
    // SAFETY: the linker makes the two symbols bound the section, which holds only whole `Entry`s (the macro above
    // writes them) and is never written.
    let entries = unsafe { core::slice::from_raw_parts(first, end.offset_from_unsigned(first)) };
    let found = entries.iter().find(|entry| target(&entry.faulting) == address)?;
    Some(target(&found.fixup))
}

/// Tries to resolve a page fault of a user copy; `true`: the instruction can be tried again. Called on the stack of the
/// task that copies, interrupts on.
pub(crate) fn kernel_fault(address: u64, error_code: u32) -> bool {
    const WRITE: u32 = 1 << 1;
    let handler = FAULTS.get().filter(|_| address < USER_END);
    handler.is_some_and(|handler| handler.fault(address, error_code & WRITE != 0).is_ok())
}

/// Two distances, each from its own field.
#[repr(C)]
struct Entry {
    faulting: i32,
    fixup: i32,
}

unsafe extern "C" {
    #[link_name = "__start_extable"]
    static FIRST: Entry;
    #[link_name = "__stop_extable"]
    static END: Entry;
}

fn target(distance: &i32) -> u64 {
    (from_ref(distance).addr() as u64).wrapping_add_signed(i64::from(*distance))
}
