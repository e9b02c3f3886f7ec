//! Calls on a program's own memory: what each refuses, in which order, and what it has done by then.

use crate::checks::{Checks, result};
use crate::child;
use libc::*;
use std::{
    ffi::CStr,
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

const PAGE: usize = 4096;
const RW: c_int = PROT_READ | PROT_WRITE;
const PRIVATE: c_int = MAP_PRIVATE | MAP_ANONYMOUS;
const SHARED: c_int = MAP_SHARED | MAP_ANONYMOUS;
/// An address far from everything that is mapped, and one that no program has.
const NOWHERE: usize = 0x2000_0000_0000;
const KERNEL: usize = 0xffff_8000_0000_0000;

/// Of SIGSEGV: nothing is there; what is there may not be used so.
const SEGV_MAPERR: c_int = 1;
const SEGV_ACCERR: c_int = 2;

type Outcome = Result<i64, i32>;

fn map(address: usize, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> Outcome {
    // SAFETY: new memory, or an address where nobody has any.
    result(unsafe { syscall(SYS_mmap, address, length, protection, flags, file, offset) })
}

/// New private memory of so many pages.
fn pages(count: usize, protection: c_int, flags: c_int) -> usize {
    map(0, count * PAGE, protection, flags, -1, 0).map_or(0, |address| address as usize)
}

fn unmap(address: usize, length: usize) -> Outcome {
    // SAFETY: nobody uses the memory any longer, or it is to be refused.
    result(unsafe { syscall(SYS_munmap, address, length) })
}

fn protect(address: usize, length: usize, protection: c_int) -> Outcome {
    // SAFETY: of memory that only these checks use.
    result(unsafe { syscall(SYS_mprotect, address, length, protection) })
}

fn remap(address: usize, old: usize, new: usize, flags: c_int, target: usize) -> Outcome {
    // SAFETY: of memory that only these checks use.
    result(unsafe { syscall(SYS_mremap, address, old, new, flags, target) })
}

fn advise(address: usize, length: usize, advice: c_int) -> Outcome {
    // SAFETY: of memory that only these checks use.
    result(unsafe { syscall(SYS_madvise, address, length, advice) })
}

fn resident(address: usize, length: usize, out: usize) -> Outcome {
    // SAFETY: the kernel checks where it writes.
    result(unsafe { syscall(SYS_mincore, address, length, out) })
}

fn sync(address: usize, length: usize, flags: c_int) -> Outcome {
    // SAFETY: changes nothing.
    result(unsafe { syscall(SYS_msync, address, length, flags) })
}

fn lock(address: usize, length: usize) -> Outcome {
    // SAFETY: changes nothing that a program sees.
    result(unsafe { syscall(SYS_mlock, address, length) })
}

fn put(address: usize, value: u8) {
    // SAFETY: the caller's own writable memory.
    unsafe { (address as *mut u8).write_volatile(value) };
}

fn get(address: usize) -> u8 {
    // SAFETY: the caller's own readable memory.
    unsafe { (address as *const u8).read_volatile() }
}

/// A file of so many bytes, opened as `flags` say.
fn file(bytes: i64, flags: c_int) -> c_int {
    const NAME: &CStr = c"/tmp/own-memory";
    // SAFETY: a name that ends in 0.
    unsafe {
        let made = open(NAME.as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o600);
        ftruncate(made, bytes);
        let opened = open(NAME.as_ptr(), flags);
        unlink(NAME.as_ptr());
        close(made);
        opened
    }
}

fn mapping(checks: &mut Checks) {
    let readable = file(4 * PAGE as i64, O_RDONLY);
    let writable = file(4 * PAGE as i64, O_WRONLY);
    let validated = MAP_SHARED_VALIDATE;
    for (what, found, error) in [
        ("an offset within a page comes before a bad descriptor", map(0, 0, RW, MAP_PRIVATE, -1, 1), EINVAL),
        ("a bad descriptor comes before no length", map(0, 0, RW, MAP_PRIVATE, -1, 0), EBADF),
        ("no length", map(0, 0, RW, PRIVATE, -1, 0), EINVAL),
        ("neither private nor shared", map(0, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL),
        ("more than there are addresses", map(0, usize::MAX, RW, PRIVATE, -1, 0), ENOMEM),
        (
            "the last page of a file beyond all",
            map(0, PAGE, PROT_READ, MAP_PRIVATE, readable, i64::MAX & !4095),
            EOVERFLOW,
        ),
        ("a fixed address within a page", map(NOWHERE + 1, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0), EINVAL),
        ("a fixed address of the kernel's", map(KERNEL, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0), ENOMEM),
        ("to be stored to, opened to read", map(0, PAGE, RW, MAP_SHARED, readable, 0), EACCES),
        ("private, opened to write", map(0, PAGE, PROT_READ, MAP_PRIVATE, writable, 0), EACCES),
        ("a stack of a file", map(0, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, readable, 0), EINVAL),
        ("a stack that is shared", map(0, PAGE, RW, SHARED | MAP_GROWSDOWN, -1, 0), EINVAL),
        ("validated without a file", map(0, PAGE, RW, validated | MAP_ANONYMOUS, -1, 0), EINVAL),
        ("validated with what is not offered", map(0, PAGE, PROT_READ, validated | MAP_SYNC, readable, 0), EOPNOTSUPP),
        ("validated with no such flag", map(0, PAGE, PROT_READ, validated | 1 << 21, readable, 0), EOPNOTSUPP),
        (
            "large pages of a file that has none",
            map(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, readable, 0),
            EINVAL,
        ),
        ("large pages, of which there are none", map(0, PAGE, RW, PRIVATE | MAP_HUGETLB, -1, 0), ENOMEM),
        ("large pages of no such size", map(0, PAGE, RW, PRIVATE | MAP_HUGETLB | 3 << 26, -1, 0), EINVAL),
    ] {
        checks.equal(what, found, Err(error));
    }
    checks.check("a protection without a meaning is none", {
        let found = map(0, PAGE, PROT_READ | 0x40, PRIVATE, -1, 0);
        found.is_ok_and(|at| unmap(at as usize, PAGE) == Ok(0))
    });
    checks.check("shared, whatever flags there may be", {
        let found = map(0, PAGE, PROT_READ, MAP_SHARED | 1 << 21, readable, 0);
        found.is_ok_and(|at| unmap(at as usize, PAGE) == Ok(0))
    });
    let taken = pages(1, RW, PRIVATE);
    checks.equal("not in place of another", map(taken, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0), Err(EEXIST));
    for (what, found) in [
        ("unmap within a page", unmap(taken + 1, PAGE)),
        ("unmap nothing", unmap(taken, 0)),
        ("unmap the kernel's", unmap(KERNEL, PAGE)),
        ("unmap beyond the end", unmap(taken, usize::MAX - taken)),
    ] {
        checks.equal(what, found, Err(EINVAL));
    }
    checks.equal("unmap what is not there", unmap(NOWHERE, PAGE), Ok(0));
    unmap(taken, PAGE).ok();
    // SAFETY: both were opened here.
    unsafe { (close(readable), close(writable)) };
}

fn protecting(checks: &mut Checks) {
    let (down, up) = (PROT_GROWSDOWN, PROT_GROWSUP);
    let at = pages(4, RW, PRIVATE);
    unmap(at + 2 * PAGE, PAGE).ok();
    for (what, found, expected) in [
        ("in both directions", protect(at + 1, PAGE, down | up), Err(EINVAL)),
        ("within a page", protect(at + 1, 0, RW), Err(EINVAL)),
        ("no length comes before no such protection", protect(at, 0, 0x40), Ok(0)),
        ("a length that wraps, too", protect(at, usize::MAX - PAGE, 0x40), Err(ENOMEM)),
        ("no such protection comes before a hole", protect(NOWHERE, PAGE, 0x40), Err(EINVAL)),
        ("a hole", protect(NOWHERE, PAGE, RW), Err(ENOMEM)),
        ("a hole behind something", protect(at, 4 * PAGE, PROT_READ), Err(ENOMEM)),
        ("what grows down does not", protect(at, PAGE, RW | down), Err(EINVAL)),
        ("nothing grows up", protect(at, PAGE, RW | up), Err(EINVAL)),
        ("a hole comes before what grows", protect(NOWHERE, PAGE, RW | down), Err(ENOMEM)),
    ] {
        checks.equal(what, found, expected);
    }
    checks.equal("what lies before a hole was changed", fault(at, true), Some((SEGV_ACCERR, at)));
    checks.equal("what lies behind was not", fault(at + 3 * PAGE, true), None);
    unmap(at, 4 * PAGE).ok();
    let stack = pages(4, RW, PRIVATE | MAP_GROWSDOWN);
    checks.equal("from inside to the start of a stack", protect(stack + 2 * PAGE, PAGE, PROT_READ | down), Ok(0));
    checks.equal("its first page, too", fault(stack, true), Some((SEGV_ACCERR, stack)));
    checks.equal("not the page above", fault(stack + 3 * PAGE, true), None);
    unmap(stack, 4 * PAGE).ok();
    let readable = file(PAGE as i64, O_RDONLY);
    let shared = map(0, PAGE, PROT_READ, MAP_SHARED, readable, 0).unwrap_or(0) as usize;
    checks.equal("to be stored to, opened to read", protect(shared, PAGE, RW), Err(EACCES));
    unmap(shared, PAGE).ok();
    // SAFETY: opened here.
    unsafe { close(readable) };
}

/// The code and the address of the signal that a child gets which touches the address.
fn fault(address: usize, stores: bool) -> Option<(c_int, usize)> {
    static WRITER: AtomicI32 = AtomicI32::new(-1);
    extern "C" fn tell(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel's siginfo; two words are written.
        unsafe {
            let told = [(*info).si_code as usize, (*info).si_addr() as usize];
            write(WRITER.load(Relaxed), told.as_ptr().cast(), size_of_val(&told));
            _exit(1);
        }
    }
    let (mut told, mut ends) = ([0_usize; 2], [-1; 2]);
    // SAFETY: this program has one thread; the child ends by the signal or without it.
    unsafe {
        pipe(ends.as_mut_ptr());
        WRITER.store(ends[1], Relaxed);
        let child = fork();
        if child == 0 {
            let mut action: sigaction = std::mem::zeroed();
            action.sa_sigaction = tell as *const () as usize;
            action.sa_flags = SA_SIGINFO;
            sigaction(SIGSEGV, &action, null_mut());
            sigaction(SIGBUS, &action, null_mut());
            if stores {
                (address as *mut u8).write_volatile(1)
            } else {
                (address as *const u8).read_volatile();
            }
            _exit(0);
        }
        close(ends[1]);
        let read = read(ends[0], told.as_mut_ptr().cast(), size_of_val(&told));
        close(ends[0]);
        waitpid(child, null_mut(), 0);
        (read > 0).then_some((told[0] as c_int, told[1]))
    }
}

fn remapping(checks: &mut Checks) {
    let (may, fixed, keep) = (MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    let at = pages(4, RW, PRIVATE);
    protect(at + 2 * PAGE, 2 * PAGE, PROT_READ).ok();
    let far = pages(8, RW, PRIVATE);
    unmap(far, 8 * PAGE).ok();
    for (what, found, expected) in [
        ("no such flag", remap(at, PAGE, PAGE, 8, 0), Err(EINVAL)),
        ("fixed that may not move", remap(at, PAGE, PAGE, MREMAP_FIXED, far), Err(EINVAL)),
        ("kept that may not move", remap(at, PAGE, PAGE, MREMAP_DONTUNMAP, 0), Err(EINVAL)),
        ("kept and longer", remap(at, PAGE, 2 * PAGE, keep, 0), Err(EINVAL)),
        ("within a page", remap(at + 1, PAGE, PAGE, may, 0), Err(EINVAL)),
        ("to nothing", remap(at, PAGE, 0, may, 0), Err(EINVAL)),
        ("nothing there", remap(NOWHERE, PAGE, 2 * PAGE, may, 0), Err(EFAULT)),
        ("nothing there comes before a target within a page", remap(NOWHERE, PAGE, PAGE, fixed, far + 1), Err(EFAULT)),
        ("a target within a page", remap(at, PAGE, PAGE, fixed, far + 1), Err(EINVAL)),
        ("a target of the kernel's", remap(at, PAGE, PAGE, fixed, KERNEL), Err(EINVAL)),
        ("a target within the old", remap(at, 2 * PAGE, PAGE, fixed, at + PAGE), Err(EINVAL)),
        ("longer, of two areas", remap(at, 4 * PAGE, 5 * PAGE, may, 0), Err(EFAULT)),
        ("moved, of two areas", remap(at, 4 * PAGE, 4 * PAGE, fixed, far), Err(EFAULT)),
        ("a copy of private memory", remap(at, 0, PAGE, may, 0), Err(EINVAL)),
        ("longer than there are addresses", remap(at + PAGE, PAGE, usize::MAX / 2, may, 0), Err(ENOMEM)),
        ("longer where something is", remap(at, 2 * PAGE, 3 * PAGE, 0, 0), Err(ENOMEM)),
        ("as long as it is, of two areas", remap(at, 4 * PAGE, 4 * PAGE, 0, 0), Ok(at as i64)),
        ("shorter, of two areas", remap(at, 4 * PAGE, PAGE, 0, 0), Ok(at as i64)),
    ] {
        checks.equal(what, found, expected);
    }
    checks.equal("what was cut off", fault(at + PAGE, false), Some((SEGV_MAPERR, at + PAGE)));
    unmap(at, 4 * PAGE).ok();
    let shared = pages(2, RW, SHARED);
    put(shared, 7);
    let other = remap(shared, 0, 2 * PAGE, may, 0).unwrap_or(0) as usize;
    checks.check("a second view of shared memory", other != 0 && get(other) == 7);
    let moved = remap(shared, 2 * PAGE, 2 * PAGE, keep, 0).unwrap_or(0) as usize;
    checks.check("shared memory moves and stays", moved != 0 && get(moved) == 7 && get(shared) == 7);
    for view in [shared, other, moved] {
        unmap(view, 2 * PAGE).ok();
    }
    let locked = pages(1, RW, PRIVATE);
    put(locked, 9);
    lock(locked, PAGE).ok();
    let moved = remap(locked, PAGE, PAGE, keep, 0).unwrap_or(0) as usize;
    checks.check("private memory moves and reads as zeros", moved != 0 && get(moved) == 9 && get(locked) == 0);
    checks.equal("what is left is locked no longer", advise(locked, PAGE, MADV_DONTNEED), Ok(0));
    checks.equal("what moved is", advise(moved, PAGE, MADV_DONTNEED), Err(EINVAL));
    unmap(locked, PAGE).ok();
    unmap(moved, PAGE).ok();
}

fn advising(checks: &mut Checks) {
    const REMOVE: c_int = MADV_REMOVE;
    let private = pages(4, RW, PRIVATE);
    let shared = pages(2, RW, SHARED);
    let written = pages(1, PROT_WRITE, PRIVATE);
    let locked = pages(1, RW, PRIVATE);
    lock(locked, PAGE).ok();
    unmap(private + 2 * PAGE, PAGE).ok();
    put(private + 3 * PAGE, 5);
    for (what, found, expected) in [
        ("no such advice comes first", advise(private + 1, PAGE, 99), Err(EINVAL)),
        ("within a page", advise(private + 1, PAGE, MADV_NORMAL), Err(EINVAL)),
        ("a length that wraps to nothing", advise(private, usize::MAX, MADV_NORMAL), Err(EINVAL)),
        ("nothing", advise(NOWHERE, 0, MADV_DONTNEED), Ok(0)),
        ("a hole", advise(private, 4 * PAGE, MADV_DONTNEED), Err(ENOMEM)),
        ("all there is", advise(NOWHERE, PAGE, MADV_WILLNEED), Err(ENOMEM)),
        ("drop what is locked", advise(locked, PAGE, MADV_DONTNEED), Err(EINVAL)),
        ("free what is locked", advise(locked, PAGE, MADV_FREE), Err(EINVAL)),
        ("cool what is locked", advise(locked, PAGE, MADV_COLD), Err(EINVAL)),
        ("page out what is locked", advise(locked, PAGE, MADV_PAGEOUT), Err(EINVAL)),
        ("free what is shared", advise(shared, PAGE, MADV_FREE), Err(EINVAL)),
        ("wipe what is shared", advise(shared, PAGE, MADV_WIPEONFORK), Err(EINVAL)),
        ("remove of private memory", advise(private, PAGE, REMOVE), Err(EINVAL)),
        ("read ahead what can't be read", advise(written, PAGE, MADV_POPULATE_READ), Err(EINVAL)),
        ("write ahead", advise(written, PAGE, MADV_POPULATE_WRITE), Ok(0)),
        ("bring in a hole", advise(private, 4 * PAGE, MADV_POPULATE_WRITE), Err(ENOMEM)),
    ] {
        checks.equal(what, found, expected);
    }
    checks.equal("what lies behind a hole was dropped", get(private + 3 * PAGE), 0);
    put(shared, 1);
    put(shared + PAGE, 2);
    checks.equal("remove of shared memory", advise(shared, PAGE, REMOVE), Ok(0));
    checks.equal("what was removed is gone, and nothing else", (get(shared), get(shared + PAGE)), (0, 2));
    let file = file(2 * PAGE as i64, O_RDWR);
    let seen = map(0, 2 * PAGE, RW, MAP_SHARED, file, 0).unwrap_or(0) as usize;
    put(seen, 3);
    put(seen + PAGE, 4);
    checks.equal("remove of a file", advise(seen, PAGE, REMOVE), Ok(0));
    checks.equal("a hole in the file", (get(seen), get(seen + PAGE)), (0, 4));
    protect(seen, PAGE, PROT_READ).ok();
    checks.equal("remove of what can't be stored to", advise(seen, PAGE, REMOVE), Err(EACCES));
    lock(seen, PAGE).ok();
    checks.equal("remove of what is locked", advise(seen, PAGE, REMOVE), Err(EINVAL));
    for (at, count) in [(private, 4), (shared, 2), (written, 1), (locked, 1), (seen, 2)] {
        unmap(at, count * PAGE).ok();
    }
    // SAFETY: opened here.
    unsafe { close(file) };
    let at = pages(3, RW, PRIVATE);
    (0..3).for_each(|page| put(at + page * PAGE, 6));
    advise(at, PAGE, MADV_WIPEONFORK).ok();
    advise(at + PAGE, PAGE, MADV_DONTFORK).ok();
    let status = child::status(|| i32::from(get(at)) * 16 + i32::from(get(at + 2 * PAGE)));
    checks.equal("a child has zeros, and what was left to it", status, 6);
    checks.equal(
        "a child has not what it should not have",
        child::status(|| {
            let mut out = [0_u8; 1];
            resident(at + PAGE, PAGE, out.as_mut_ptr() as usize).err().unwrap_or(0)
        }),
        ENOMEM,
    );
    unmap(at, 3 * PAGE).ok();
}

fn looking(checks: &mut Checks) {
    let file = file(2 * PAGE as i64, O_RDWR);
    // SAFETY: two bytes of our own.
    unsafe { pwrite(file, b"ab".as_ptr().cast(), 2, 0) };
    let seen = map(0, 3 * PAGE, PROT_READ, MAP_SHARED, file, 0).unwrap_or(0) as usize;
    let private = pages(4, RW, PRIVATE);
    put(private + PAGE, 1);
    unmap(private + 3 * PAGE, PAGE).ok();
    let mut out = [9_u8; 4];
    let room = out.as_mut_ptr() as usize;
    for (what, found, expected) in [
        ("within a page", resident(private + 1, PAGE, room), Err(EINVAL)),
        ("beyond the end comes before the room", resident(KERNEL, PAGE, KERNEL), Err(ENOMEM)),
        ("no room comes before a hole", resident(NOWHERE, PAGE, KERNEL), Err(EFAULT)),
        ("a hole comes before room that is not there", resident(NOWHERE, PAGE, NOWHERE), Err(ENOMEM)),
        ("nothing", resident(NOWHERE, 0, room), Ok(0)),
        ("a hole", resident(private, 4 * PAGE, room), Err(ENOMEM)),
        ("memory", resident(private, 3 * PAGE, room), Ok(0)),
    ] {
        checks.equal(what, found, expected);
    }
    checks.equal("what was touched is there", out, [0, 1, 0, 9]);
    checks.equal("a file that nobody has looked at", resident(seen, 2 * PAGE, room), Ok(0));
    checks.equal("its bytes are in memory", out[0], 1);
    checks.equal("behind its end", fault(seen + 2 * PAGE, false), Some((BUS_ADRERR, seen + 2 * PAGE)));
    checks.equal("within a page that can't be stored to", fault(seen + 5, true), Some((SEGV_ACCERR, seen + 5)));
    checks.equal("where nothing is", fault(NOWHERE + 3, true), Some((SEGV_MAPERR, NOWHERE + 3)));
    lock(private, PAGE).ok();
    let both = MS_SYNC | MS_INVALIDATE;
    for (what, found, expected) in [
        ("no such flag", sync(seen, PAGE, 8), Err(EINVAL)),
        ("both ways", sync(seen, PAGE, MS_SYNC | MS_ASYNC), Err(EINVAL)),
        ("sync within a page", sync(seen + 1, PAGE, MS_SYNC), Err(EINVAL)),
        ("sync a length that wraps", sync(seen, usize::MAX - PAGE, MS_SYNC), Err(ENOMEM)),
        ("sync nothing", sync(NOWHERE, 0, MS_SYNC), Ok(0)),
        ("sync a hole", sync(NOWHERE, PAGE, MS_SYNC), Err(ENOMEM)),
        ("sync a file", sync(seen, 2 * PAGE, MS_SYNC), Ok(0)),
        ("invalidate what is locked", sync(private, PAGE, both), Err(EBUSY)),
        ("which comes before a hole behind it", sync(private, 4 * PAGE, both), Err(EBUSY)),
    ] {
        checks.equal(what, found, expected);
    }
    unmap(seen, 3 * PAGE).ok();
    unmap(private, 4 * PAGE).ok();
    // SAFETY: opened here.
    unsafe { close(file) };
}

fn locking(checks: &mut Checks) {
    let at = pages(4, RW, PRIVATE);
    let hidden = pages(1, PROT_NONE, PRIVATE);
    unmap(at + 2 * PAGE, PAGE).ok();
    // SAFETY: take no address but those of memory of these checks.
    let (second, all) = unsafe {
        (
            |address: usize, flags: c_int| result(syscall(SYS_mlock2, address, PAGE, flags)),
            |flags: c_int| result(syscall(SYS_mlockall, flags)),
        )
    };
    for (what, found, expected) in [
        ("no such flag", second(at, 2), Err(EINVAL)),
        ("a length that wraps", lock(at, usize::MAX - at), Err(EINVAL)),
        ("a hole", lock(at, 4 * PAGE), Err(ENOMEM)),
        ("what nobody may touch", lock(hidden, PAGE), Err(ENOMEM)),
        ("as it comes", second(at + 3 * PAGE, MLOCK_ONFAULT as c_int), Ok(0)),
        ("all, without saying which", all(0), Err(EINVAL)),
        ("all as it comes, without saying which", all(MCL_ONFAULT), Err(EINVAL)),
        ("all, with no such flag", all(MCL_CURRENT | 8), Err(EINVAL)),
    ] {
        checks.equal(what, found, expected);
    }
    let mut out = [0_u8; 2];
    resident(at + 3 * PAGE, PAGE, out.as_mut_ptr() as usize).ok();
    checks.equal("nothing came in", out[0], 0);
    checks.equal("what lies before a hole is locked", advise(at, PAGE, MADV_DONTNEED), Err(EINVAL));
    unmap(at, 4 * PAGE).ok();
    unmap(hidden, PAGE).ok();
    let user = |limit: u64, act: fn(usize) -> Outcome| {
        let at = pages(4, RW, PRIVATE);
        let limits = rlimit { rlim_cur: limit, rlim_max: limit };
        let status = child::status(|| {
            // SAFETY: takes no address but that of the limits.
            let plain = unsafe { setrlimit(RLIMIT_MEMLOCK, &limits) | setresuid(1000, 1000, 1000) } == 0;
            if plain { act(at).err().unwrap_or(0) } else { 255 }
        });
        unmap(at, 4 * PAGE).ok();
        status
    };
    let limit = 2 * PAGE as u64;
    checks.equal("a user that may lock nothing", user(0, |at| lock(at, PAGE)), EPERM);
    checks.equal("a user within the limit", user(limit, |at| lock(at, 2 * PAGE)), 0);
    checks.equal("a user over the limit", user(limit, |at| lock(at, 3 * PAGE)), ENOMEM);
    checks.equal("twice the same", user(limit, |at| lock(at, 2 * PAGE).and_then(|_| lock(at, PAGE))), 0);
    checks.equal(
        "new locked memory over it",
        user(limit, |_| map(0, 3 * PAGE, RW, PRIVATE | MAP_LOCKED, -1, 0)),
        EAGAIN,
    );
    checks.equal("none for who may lock nothing", user(0, |_| map(0, PAGE, RW, PRIVATE | MAP_LOCKED, -1, 0)), EPERM);
    checks.equal(
        "all, over the limit",
        user(limit, |_| {
            // SAFETY: takes no address.
            result(unsafe { syscall(SYS_mlockall, MCL_CURRENT) })
        }),
        ENOMEM,
    );
}

/// Tries everything; whether all is as the manual says.
pub fn run() -> bool {
    let mut checks = Checks::default();
    mapping(&mut checks);
    protecting(&mut checks);
    remapping(&mut checks);
    advising(&mut checks);
    looking(&mut checks);
    locking(&mut checks);
    checks.tell()
}
