//! Programs of filters, and how a test gets one.

use crate::checks::result;
use libc::*;

pub const STRICT: c_uint = 0;
pub const FILTER: c_uint = 1;
pub const ACTION_AVAIL: c_uint = 2;
pub const NOTIF_SIZES: c_uint = 3;

pub const TSYNC: c_uint = 1;
pub const LOG_FLAG: c_uint = 2;
pub const SPEC_ALLOW: c_uint = 4;
pub const NEW_LISTENER: c_uint = 8;
pub const TSYNC_ESRCH: c_uint = 16;
pub const WAIT_KILLABLE: c_uint = 32;

pub const KILL_PROCESS: u32 = 0x8000_0000;
pub const KILL_THREAD: u32 = 0;
pub const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const USER_NOTIF: u32 = 0x7fc0_0000;
pub const TRACE: u32 = 0x7ff0_0000;
pub const LOG: u32 = 0x7ffc_0000;
pub const ALLOW: u32 = 0x7fff_0000;

/// An instruction: code, jumps, operand.
pub type Instruction = (u16, u8, u8, u32);

/// Instructions as they lie in memory.
pub fn encode(program: &[Instruction]) -> Vec<u64> {
    let word = |&(code, yes, no, operand): &Instruction| {
        u64::from(code) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(operand) << 32
    };
    program.iter().map(word).collect()
}

/// `seccomp(2)` as it is.
pub fn seccomp(operation: c_uint, flags: c_uint, address: usize) -> Result<i64, i32> {
    // SAFETY: the address is one that the caller keeps, or is meant to be refused.
    result(unsafe { syscall(SYS_seccomp, operation, flags, address) })
}

/// Installs a program.
pub fn install(program: &[Instruction], flags: c_uint) -> Result<i64, i32> {
    let words = encode(program);
    let head = [words.len() as u64, words.as_ptr().addr() as u64];
    seccomp(FILTER, flags, head.as_ptr().addr())
}

/// A program that says this of one call, and allows all others.
pub const fn about(call: c_long, verdict: u32) -> [Instruction; 4] {
    [(0x20, 0, 0, 0), (0x15, 0, 1, call as u32), (0x06, 0, 0, verdict), (0x06, 0, 0, ALLOW)]
}

/// Installs that.
pub fn filter(call: c_long, verdict: u32, flags: c_uint) -> Result<i64, i32> {
    install(&about(call, verdict), flags)
}

/// The call that tests forbid, since nothing else makes it.
pub const CALL: c_long = SYS_getpgrp;

/// Makes it.
pub fn call() -> Result<i64, i32> {
    // SAFETY: takes no address.
    result(unsafe { syscall(CALL) })
}

/// The same with arguments.
pub fn call_with(first: u64, second: u64) -> Result<i64, i32> {
    // SAFETY: the call takes no argument.
    result(unsafe { syscall(CALL, first, second) })
}

/// The value of a line of a task's status.
pub fn shown(pid: c_int, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}
