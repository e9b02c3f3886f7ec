//! A tracee as a test handles it: requests by number, and what a wait told.

use crate::checks::result;
use libc::*;

/// Requests that `libc` does not name for this target, or names with another type.
pub const TRACEME: c_long = 0;
pub const PEEKDATA: c_long = 2;
pub const PEEKUSER: c_long = 3;
pub const POKEDATA: c_long = 5;
pub const POKEUSER: c_long = 6;
pub const CONT: c_long = 7;
pub const KILL: c_long = 8;
pub const SINGLESTEP: c_long = 9;
pub const GETREGS: c_long = 12;
pub const SETREGS: c_long = 13;
pub const GETFPREGS: c_long = 14;
pub const SETFPREGS: c_long = 15;
pub const ATTACH: c_long = 16;
pub const DETACH: c_long = 17;
pub const SYSCALL: c_long = 24;
pub const SETOPTIONS: c_long = 0x4200;
pub const GETEVENTMSG: c_long = 0x4201;
pub const GETSIGINFO: c_long = 0x4202;
pub const SETSIGINFO: c_long = 0x4203;
pub const GETREGSET: c_long = 0x4204;
pub const SETREGSET: c_long = 0x4205;
pub const SEIZE: c_long = 0x4206;
pub const INTERRUPT: c_long = 0x4207;
pub const LISTEN: c_long = 0x4208;
pub const PEEKSIGINFO: c_long = 0x4209;
pub const GETSIGMASK: c_long = 0x420a;
pub const SETSIGMASK: c_long = 0x420b;
pub const GET_SYSCALL_INFO: c_long = 0x420e;

/// Options.
pub const SYSGOOD: usize = 1;
pub const FORK: usize = 2;
pub const VFORK: usize = 4;
pub const CLONE: usize = 8;
pub const EXEC: usize = 0x10;
pub const VFORK_DONE: usize = 0x20;
pub const EXIT: usize = 0x40;
pub const EXITKILL: usize = 0x10_0000;

/// Where words lie in `struct user_regs_struct`.
pub const RESULT: usize = 10;
pub const CALL_NUMBER: usize = 15;
pub const INSTRUCTION: usize = 16;

/// Calls ptrace as it is.
pub fn ptrace(request: c_long, pid: c_int, address: usize, data: usize) -> Result<i64, i32> {
    // SAFETY: addresses are the caller's own, large enough for the request, or meant to be refused.
    result(unsafe { syscall(SYS_ptrace, request, pid, address, data) })
}

/// A request that reads into a value.
pub fn read_into<T: Default>(request: c_long, pid: c_int, address: usize) -> Result<T, i32> {
    let mut value = T::default();
    ptrace(request, pid, address, (&raw mut value).addr()).map(|_| value)
}

pub type Registers = [u64; 27];

pub fn registers(pid: c_int) -> Registers {
    read_into(GETREGS, pid, 0).unwrap_or_default()
}

pub fn set_registers(pid: c_int, registers: &Registers) -> Result<i64, i32> {
    ptrace(SETREGS, pid, 0, registers.as_ptr().addr())
}

/// What a wait for this child or tracee tells, without sleeping if `options` say so.
pub fn wait(pid: c_int, options: c_int) -> Result<c_int, i32> {
    let mut status = 0;
    // SAFETY: the status lives until the call is over.
    match result(i64::from(unsafe { waitpid(pid, &raw mut status, options) })) {
        Ok(0) => Err(EAGAIN),
        Ok(_) => Ok(status),
        Err(error) => Err(error),
    }
}

/// The status of a stop for a signal, with an event or none.
pub const fn stop(signal: c_int, event: c_int) -> Result<c_int, i32> {
    Ok(event << 16 | signal << 8 | 0x7f)
}

/// The status of an end by exit.
pub const fn ended(code: c_int) -> Result<c_int, i32> {
    Ok(code << 8)
}

/// Forks a child that does `act` and ends with its result.
pub fn fork(act: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = act();
        // SAFETY: ends the child without what the parent registered.
        unsafe { _exit(code) };
    }
    child
}

/// A child that is traced by this thread, stopped by SIGSTOP, and then does `act`.
pub fn traced(act: impl FnOnce() -> c_int) -> c_int {
    let child = fork(|| {
        if ptrace(TRACEME, 0, 0, 0).is_err() {
            return 255;
        }
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) };
        act()
    });
    // The stop that it begins with, which each test sees as its first.
    if wait(child, 0) == stop(SIGSTOP, 0) { child } else { -1 }
}

/// A child that sleeps until a signal ends it.
pub fn sleeper() -> c_int {
    fork(|| {
        loop {
            // SAFETY: takes no address.
            unsafe { pause() };
        }
    })
}

/// Ends a child and waits for that.
pub fn kill_and_reap(pid: c_int) -> Result<c_int, i32> {
    // SAFETY: takes no address.
    unsafe { kill(pid, SIGKILL) };
    loop {
        let status = wait(pid, __WALL)?;
        if !WIFSTOPPED(status) {
            return Ok(status);
        }
        // It may stop once more, before its end.
        let _ = ptrace(CONT, pid, 0, 0);
    }
}

/// The letter of a task's state, and who traces it, as /proc tells.
pub fn shown(pid: c_int) -> (char, i32) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    (field("State:").chars().next().unwrap_or('?'), field("TracerPid:").parse().unwrap_or(-1))
}

/// Waits until /proc shows this of a task.
pub fn until(pid: c_int, is_right: impl Fn((char, i32)) -> bool) -> bool {
    patiently(|| is_right(shown(pid)))
}

/// Waits, for two minutes at most, until something is so.
pub fn patiently(is_so: impl Fn() -> bool) -> bool {
    (0..1200).any(|_| {
        let is_right = is_so();
        if !is_right {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        is_right
    })
}
