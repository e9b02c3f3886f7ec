//! How much memory may be promised: the three modes of `vm.overcommit_memory` (proc(5)), by every call that promises some.

use crate::{
    checks::{Checks, result},
    child,
    settings::Setting,
};
use libc::*;
use std::{fs, ptr::null_mut};

const MIB: usize = 1 << 20;
const RW: c_int = PROT_READ | PROT_WRITE;
const PRIVATE: c_int = MAP_PRIVATE | MAP_ANONYMOUS;
const SHARED: c_int = MAP_SHARED | MAP_ANONYMOUS;

type Outcome = Result<i64, i32>;

fn map(length: usize, protection: c_int, flags: c_int) -> Outcome {
    // SAFETY: new memory, which nobody touches.
    result(unsafe { syscall(SYS_mmap, 0, length, protection, flags, -1, 0) })
}

fn unmap(address: Outcome, length: usize) {
    if let Ok(address) = address {
        // SAFETY: nobody uses it.
        unsafe { munmap(address as *mut c_void, length) };
    }
}

fn protect(address: Outcome, length: usize) -> Outcome {
    // SAFETY: of memory that nobody uses.
    address.and_then(|address| result(unsafe { syscall(SYS_mprotect, address, length, RW) }))
}

fn remap(address: Outcome, old: usize, new: usize) -> Outcome {
    // SAFETY: of memory that nobody uses.
    address.and_then(|address| result(unsafe { syscall(SYS_mremap, address, old, new, MREMAP_MAYMOVE) }))
}

/// Whether the heap can be made so much longer.
fn grows(length: usize) -> bool {
    // SAFETY: the heap only becomes longer, and is left alone there.
    unsafe {
        let end = syscall(SYS_brk, 0);
        syscall(SYS_brk, end + length as i64) > end
    }
}

fn segment(length: usize) -> Outcome {
    // SAFETY: takes no address; what is made goes at once.
    unsafe {
        let number = result(shmget(IPC_PRIVATE, length, IPC_CREAT | 0o600).into())?;
        result(shmctl(number as c_int, IPC_RMID, null_mut()).into())
    }
}

/// A row of /proc/meminfo in KiB.
fn row(name: &str) -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let row = text.lines().find(|row| row.split(':').next() == Some(name)).unwrap_or_default();
    row.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn worked(outcome: Outcome) -> Result<(), i32> {
    outcome.map(drop)
}

/// What is more than all memory is refused, and no sum.
fn guess(checks: &mut Checks) {
    let all = row("MemTotal") * 1024;
    let much = 2 * all;
    let found = child::status(|| {
        let mut checks = Checks::default();
        checks.equal("too much", map(much, RW, PRIVATE), Err(ENOMEM));
        checks.equal("shared", map(much, RW, SHARED), Err(ENOMEM));
        checks.equal("a segment", segment(much), Err(ENOMEM));
        checks.check("the heap", !grows(much));
        let reading = map(much, PROT_READ, PRIVATE);
        checks.equal("what is not written", worked(reading), Ok(()));
        checks.equal("and then is", protect(reading, much), Err(ENOMEM));
        let free = map(much, PROT_READ, PRIVATE | MAP_NORESERVE);
        checks.equal("what does not count", worked(protect(free, much)), Ok(()));
        checks.equal("and is written at once", worked(map(much, RW, PRIVATE | MAP_NORESERVE)), Ok(()));
        checks.equal("made longer", remap(map(MIB, RW, PRIVATE), MIB, much), Err(ENOMEM));
        let parts = [(); 4].map(|()| worked(map(all / 2, RW, PRIVATE)));
        checks.equal("in parts", parts, [Ok(()); 4]);
        i32::from(!checks.tell())
    });
    checks.equal("as a guess", found, 0);
}

/// Nothing is refused.
fn always(checks: &mut Checks) {
    let much = row("MemTotal") * 2048;
    let found = child::status(|| {
        let given = [map(much, RW, PRIVATE), map(much, RW, SHARED)].map(worked);
        i32::from(given != [Ok(()); 2] || !grows(much))
    });
    checks.equal("always", found, 0);
}

/// What counts, and for how long.
fn counts(checks: &mut Checks) {
    const MUCH: usize = 64 * MIB;
    let size = MUCH / 1024;
    let before = row("Committed_AS");
    let near = |more: usize| {
        let now = row("Committed_AS");
        now + 4096 > before + more && now < before + more + 4096
    };
    let private = map(MUCH, RW, PRIVATE);
    checks.check("private memory counts", near(size));
    let shared = map(MUCH, RW, SHARED);
    checks.check("shared memory too", near(2 * size));
    let others = [map(MUCH, PROT_READ, PRIVATE), map(MUCH, RW, PRIVATE | MAP_NORESERVE)];
    checks.check("neither what is not written nor what is not to", near(2 * size));
    let forked = child::status(|| i32::from(!near(3 * size)));
    checks.equal("a child's counts again", forked, 0);
    checks.check("until it ends", near(2 * size));
    others.into_iter().chain([private, shared]).for_each(|address| unmap(address, MUCH));
    checks.check("until it is unmapped", near(0));
}

/// No more than the limit.
fn never(checks: &mut Checks) {
    let reserve = Setting::new("/proc/sys/vm/admin_reserve_kbytes");
    // Written back last, since the size puts it to 0.
    let ratio = Setting::new("/proc/sys/vm/overcommit_ratio");
    let size = Setting::new("/proc/sys/vm/overcommit_kbytes");
    reserve.write("0");
    let limit = row("Committed_AS") + (64 << 10);
    size.table(checks, &["-1", "x"], &limit.to_string());
    checks.equal("the ratio then", ratio.read(), "0".to_owned());
    checks.equal("CommitLimit", row("CommitLimit"), limit / 4 * 4);
    let found = child::status(|| {
        let mut checks = Checks::default();
        const MUCH: usize = 128 * MIB;
        checks.equal("too much", map(MUCH, RW, PRIVATE), Err(ENOMEM));
        checks.equal("whatever it wants", map(MUCH, RW, PRIVATE | MAP_NORESERVE), Err(ENOMEM));
        checks.equal("shared", map(MUCH, RW, SHARED), Err(ENOMEM));
        checks.equal("a segment", segment(MUCH), Err(ENOMEM));
        checks.check("the heap", !grows(MUCH));
        checks.equal("not written", protect(map(MUCH, PROT_READ, PRIVATE), MUCH), Err(ENOMEM));
        let some = map(40 * MIB, RW, PRIVATE);
        checks.equal("some", worked(some), Ok(()));
        checks.equal("and longer", remap(some, 40 * MIB, MUCH), Err(ENOMEM));
        // SAFETY: a child would only end.
        let refused = unsafe {
            let child = fork();
            if child == 0 {
                _exit(0);
            }
            result(child.into())
        };
        checks.equal("a child with as much", refused, Err(ENOMEM));
        unmap(some, 40 * MIB);
        checks.equal("a child with less", child::status(|| 0), 0);
        i32::from(!checks.tell())
    });
    checks.equal("never", found, 0);
    reserve.write(&(48 << 10).to_string());
    let privileged = child::status(|| i32::from(map(40 * MIB, RW, PRIVATE).is_err()));
    let other = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        i32::from(map(40 * MIB, RW, PRIVATE) != Err(ENOMEM))
    });
    checks.equal("what is left for the privileged", (privileged, other), (0, 0));
    ratio.table(checks, &["-1", "x"], "50");
    checks.equal("the size then", size.read(), "0".to_owned());
    checks.check("half of the memory", row("CommitLimit").abs_diff(row("MemTotal") / 2) < 8);
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let mode = Setting::new("/proc/sys/vm/overcommit_memory");
    mode.table(&mut checks, &["3", "-1", "x"], "0");
    guess(&mut checks);
    counts(&mut checks);
    mode.write("1");
    always(&mut checks);
    mode.write("2");
    never(&mut checks);
    checks.tell()
}
