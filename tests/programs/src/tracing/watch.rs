//! Debug registers: a tracee is stopped where it writes, reads or executes what is watched, wherever it runs, and nobody else.

use super::tracee::{fork, ptrace, wait, *};
use crate::checks::Checks;
use libc::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const REGISTERS: usize = 848;
const STATUS: usize = 6;
const CONTROL: usize = 7;
/// Kinds, and lengths as register 7 has them.
const EXECUTE: u64 = 0;
const WRITE: u64 = 1;
const ACCESS: u64 = 3;
const BYTE: u64 = 0;
const WORD: u64 = 2;
/// `si_code`.
const STEPPED: i32 = 2;
const HIT: i32 = 4;

// Stored to by plain instructions: older QEMUs don't see what atomic ones do to a watched address.
static VALUES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn address(index: usize) -> u64 {
    VALUES[index].as_ptr().addr() as u64
}

fn set(child: c_int, register: usize, value: u64) -> Result<i64, i32> {
    ptrace(POKEUSER, child, REGISTERS + 8 * register, value as usize)
}

fn get(child: c_int, register: usize) -> Result<u64, i32> {
    read_into(PEEKUSER, child, REGISTERS + 8 * register)
}

/// Register 7 for one address.
const fn control(register: usize, kind: u64, length: u64) -> u64 {
    1 << (2 * register) | (kind | length << 2) << (16 + 4 * register)
}

/// Lets it go on; how it stops or ends, but for news of its children.
fn next(child: c_int) -> Result<c_int, i32> {
    loop {
        let _ = ptrace(CONT, child, 0, 0);
        let status = wait(child, 0);
        if status != stop(SIGCHLD, 0) {
            return status;
        }
    }
}

/// How it stops: `si_code` of its SIGTRAP, and which addresses were hit.
fn next_hit(child: c_int) -> Result<(i32, u64), i32> {
    let status = next(child)?;
    if Ok(status) != stop(SIGTRAP, 0) {
        return Err(-status);
    }
    let info: [i32; 32] = read_into(GETSIGINFO, child, 0)?;
    Ok((info[2], get(child, STATUS)? & 0xf))
}

pub fn run(checks: &mut Checks) {
    refused(checks);
    kinds(checks);
    instructions(checks);
    everywhere(checks);
    others(checks);
    by_the_kernel(checks);
}

fn refused(checks: &mut Checks) {
    let child = traced(|| 0);
    checks.equal("at first there are none", [0, 1, 2, 3, 7].map(|register| get(child, register)), [Ok(0); 5]);
    checks.equal("nothing has happened", get(child, STATUS), Ok(0xffff_0ff0));
    checks.equal("two that there are not", [4, 5].map(|register| set(child, register, 0)), [Err(EIO); 2]);
    checks.equal("are 0", [4, 5].map(|register| get(child, register)), [Ok(0); 2]);
    checks.equal("between two", ptrace(POKEUSER, child, REGISTERS + 4, 0), Err(EIO));
    checks.equal("the kernel", set(child, 0, 0xffff_ffff_8000_0000), Err(EINVAL));
    checks.equal("the first address beyond", set(child, 0, 0x7fff_ffff_f000), Err(EINVAL));
    checks.equal("an odd address", set(child, 1, 0x1001), Ok(0));
    checks.equal("is none of eight bytes", set(child, CONTROL, control(1, WRITE, WORD)), Err(EINVAL));
    checks.equal("but of one", set(child, CONTROL, control(1, WRITE, BYTE)), Ok(0));
    checks.equal("ports", set(child, CONTROL, control(0, 2, BYTE)), Err(EINVAL));
    checks.equal("instructions have no length", set(child, CONTROL, control(0, EXECUTE, WORD)), Err(EINVAL));
    checks.equal("nothing has changed", get(child, CONTROL), Ok(control(1, WRITE, BYTE)));
    checks.equal("it ends", next(child), ended(0));
}

fn kinds(checks: &mut Checks) {
    let child = traced(|| {
        VALUES[0].store(1, Relaxed);
        VALUES[0].store(VALUES[0].load(Relaxed) + 1, Relaxed);
        let read = VALUES[1].load(Relaxed);
        VALUES[2].store(read, Relaxed);
        VALUES[3].store(read, Relaxed);
        VALUES[0].load(Relaxed) as c_int
    });
    for register in 0..4 {
        checks.equal("an address", set(child, register, address(register)), Ok(0));
    }
    let all = control(0, WRITE, WORD) | control(1, ACCESS, WORD) | control(3, WRITE, WORD);
    checks.equal("three are in use", set(child, CONTROL, all), Ok(0));
    checks.equal("a write", next_hit(child), Ok((HIT, 1)));
    let value: Result<u64, i32> = read_into(PEEKDATA, child, address(0) as usize);
    checks.equal("which was done", value, Ok(1));
    checks.equal("a write after a read", next_hit(child), Ok((HIT, 1)));
    checks.equal("a read", next_hit(child), Ok((HIT, 2)));
    checks.equal("the last one", next_hit(child), Ok((HIT, 8)));
    checks.equal("what was hit is forgotten when told", set(child, STATUS, 0xffff_0ff0), Ok(0));
    let _ = ptrace(SINGLESTEP, child, 0, 0);
    checks.equal("a step", wait(child, 0), stop(SIGTRAP, 0));
    let info: Result<[i32; 32], i32> = read_into(GETSIGINFO, child, 0);
    checks.equal("is a step", (info.map(|info| info[2]), get(child, STATUS)), (Ok(STEPPED), Ok(0xffff_4ff0)));
    checks.equal("it ends", next(child), ended(2));
}

#[inline(never)]
extern "C" fn target() {
    VALUES[3].fetch_add(1, Relaxed);
}

fn instructions(checks: &mut Checks) {
    let child = traced(|| {
        let act: extern "C" fn() = std::hint::black_box(target);
        for _ in 0..3 {
            act();
        }
        VALUES[3].load(Relaxed) as c_int
    });
    let place = target as *const () as u64;
    let _ = set(child, 2, place);
    checks.equal("an instruction", set(child, CONTROL, control(2, EXECUTE, BYTE)), Ok(0));
    for _ in 0..2 {
        checks.equal("is come to", next_hit(child), Ok((HIT, 4)));
        checks.equal("and not executed yet", registers(child)[INSTRUCTION], place);
    }
    checks.equal("no longer", set(child, CONTROL, 0), Ok(0));
    checks.equal("it ends", next(child), ended(3));
}

/// The CPUs that this process may use.
fn cpus() -> Vec<usize> {
    // SAFETY: room for the set.
    unsafe {
        let mut set: cpu_set_t = std::mem::zeroed();
        sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut set);
        (0..CPU_SETSIZE as usize).filter(|&cpu| CPU_ISSET(cpu, &set)).collect()
    }
}

fn move_to(cpu: usize) {
    // SAFETY: the set is there.
    unsafe {
        let mut set: cpu_set_t = std::mem::zeroed();
        CPU_SET(cpu, &mut set);
        sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const set);
    }
}

/// It is stopped on each CPU, and one that does the same in memory of its own is not, on any that it was on.
fn everywhere(checks: &mut Checks) {
    let all = cpus();
    let work = || {
        for &cpu in &all {
            move_to(cpu);
            VALUES[0].store(cpu as u64, Relaxed);
            // SAFETY: takes no address.
            unsafe { sched_yield() };
            VALUES[0].store(cpu as u64, Relaxed);
        }
        7
    };
    let child = traced(work);
    let _ = set(child, 0, address(0));
    let _ = set(child, CONTROL, control(0, WRITE, WORD));
    let hits = all.iter().flat_map(|_| [(); 2]).filter(|()| next_hit(child) == Ok((HIT, 1))).count();
    checks.equal("twice on each CPU", hits, 2 * all.len());
    // It sleeps, and its registers may still be where it was.
    checks.equal("nobody else", wait(fork(work), 0), ended(7));
    checks.equal("it ends", next(child), ended(7));
}

/// Threads, children and executed programs have none.
fn others(checks: &mut Checks) {
    let child = traced(|| {
        let thread = std::thread::spawn(|| VALUES[0].store(1, Relaxed));
        let fine = thread.join().is_ok();
        let forked = wait(
            fork(|| {
                VALUES[0].store(2, Relaxed);
                3
            }),
            0,
        ) == ended(3);
        VALUES[0].store(u64::from(fine && forked), Relaxed);
        // SAFETY: the program and its name are constants.
        unsafe { execl(c"/bin/true".as_ptr(), c"true".as_ptr(), std::ptr::null_mut::<c_char>()) }
    });
    let _ = set(child, 0, address(0));
    let _ = set(child, CONTROL, control(0, WRITE, WORD));
    checks.equal("only the thread itself", next_hit(child), Ok((HIT, 1)));
    let value: Result<u64, i32> = read_into(PEEKDATA, child, address(0) as usize);
    checks.equal("after the others", value, Ok(1));
    checks.equal("an exec", next(child), stop(SIGTRAP, 0));
    checks.equal("leaves none", [0, CONTROL].map(|register| get(child, register)), [Ok(0); 2]);
    checks.equal("it ends", next(child), ended(0));
}

/// What the kernel does for the program does not stop it, whatever tricks it plays at the entry.
fn by_the_kernel(checks: &mut Checks) {
    let child = traced(|| {
        let mut ends = [0; 2];
        // SAFETY: addresses of what is there, as long as is said; the selector is the stack's own.
        unsafe {
            pipe(ends.as_mut_ptr());
            write(ends[1], c"12345678".as_ptr().cast(), 8);
            read(ends[0], VALUES[0].as_ptr().cast(), 8);
            write(ends[1], VALUES[0].as_ptr().cast(), 8);
            let selector = VALUES[1].as_ptr();
            selector.write(0x2b);
            std::arch::asm!(
                "mov ss, word ptr [{selector}]",
                "syscall",
                selector = in(reg) selector,
                inout("rax") SYS_getppid => _,
                out("rcx") _,
                out("r11") _,
            );
        }
        c_int::from(VALUES[0].load(Relaxed) != u64::from_le_bytes(*b"12345678"))
    });
    let _ = set(child, 0, address(0));
    let _ = set(child, 1, address(1));
    let both = control(0, WRITE, WORD) | control(1, ACCESS, BYTE);
    checks.equal("watched", set(child, CONTROL, both), Ok(0));
    // The store of the selector, and perhaps its load: the processor may lose that at the entry into the kernel.
    checks.equal("its own store", next_hit(child), Ok((HIT, 2)));
    let mut status = next(child);
    if status == stop(SIGTRAP, 0) {
        status = next(child);
    }
    checks.equal("it ends", status, ended(0));
}
