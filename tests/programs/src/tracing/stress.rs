//! Many tracers and many tracees that stop, go on, fork, execute and end in any order. Whatever they do, all of them can be
//! waited for afterwards, and nobody is left.

use super::tracee::{fork, ptrace, wait, *};
use crate::{checks::Checks, choices::Choices};
use libc::*;
use std::{
    fs,
    ptr::null_mut,
    time::{Duration, Instant},
};

const TRACEES: usize = 6;
const TRACERS: usize = 4;
/// What each does before it ends by itself.
const STEPS: u32 = 150;
/// Nobody waits longer than this for the others.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(checks: &mut Checks, rounds: u64) {
    // SAFETY: takes no address: whose parents end becomes a child of this process.
    unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let before = tasks();
    for round in 1..=rounds {
        let everybody = storm(&mut Choices::of(&[round]));
        checks.equal("everybody was waited for", everybody, true);
    }
    checks.equal("there are as many tasks as before", tasks(), before);
}

/// Programs that there are.
fn tasks() -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| fs::metadata(format!("/proc/{pid}/exe")).is_ok()).count()
}

fn storm(choices: &mut Choices) -> bool {
    let tracees: Vec<c_int> = (0..TRACEES)
        .map(|_| {
            let mut own = Choices::of(&[choices.any()]);
            fork(move || tracee(&mut own))
        })
        .collect();
    let tracers: Vec<c_int> = (0..TRACERS)
        .map(|_| {
            let (mut own, tracees) = (Choices::of(&[choices.any()]), tracees.clone());
            fork(move || tracer(&mut own, &tracees))
        })
        .collect();
    for _ in 0..STEPS {
        let victim = choices.one_of(&tracees);
        let signal = choices.one_of(&[SIGSTOP, SIGCONT, SIGUSR1, SIGCONT]);
        // SAFETY: takes no address.
        unsafe { kill(victim, signal) };
        if choices.one_in(100) {
            let victim = choices.one_of(&tracers);
            // SAFETY: takes no address.
            unsafe { kill(victim, SIGKILL) };
        }
        if choices.one_in(60) {
            // SAFETY: takes no address.
            unsafe { kill(victim, SIGKILL) };
        }
        // SAFETY: takes no address.
        unsafe { sched_yield() };
    }
    // In any order.
    for &pid in tracees.iter().chain(&tracers) {
        // SAFETY: takes no address.
        unsafe { kill(pid, SIGKILL) };
    }
    let begin = Instant::now();
    loop {
        match wait(-1, __WALL | WNOHANG) {
            Err(ECHILD) => return true,
            Err(EAGAIN) if begin.elapsed() > PATIENCE => return false,
            // What was forked by those that are gone is killed when it is found here.
            Err(EAGAIN) => kill_children(),
            _ => {}
        }
    }
}

fn kill_children() {
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let by_parent = all.filter_map(|entry| {
        let pid: c_int = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.contains(&format!("\nPPid:\t{own}\n")).then_some(pid)
    });
    for pid in by_parent {
        // SAFETY: takes no address.
        unsafe { kill(pid, SIGKILL) };
    }
    std::thread::sleep(Duration::from_millis(5));
}

extern "C" fn ignore(_: c_int) {}

/// What a tracee does: calls, signals, children, threads, now and then a program.
fn tracee(choices: &mut Choices) -> c_int {
    // SAFETY: the handler takes nothing and does nothing; children end at once, threads too.
    unsafe {
        let handler: extern "C" fn(c_int) = ignore;
        signal(SIGUSR1, handler as usize);
        for _ in 0..STEPS {
            match choices.below(8) {
                0 => {
                    let child = libc::fork();
                    if child == 0 {
                        _exit(0);
                    }
                    waitpid(child, null_mut(), __WALL);
                }
                1 => {
                    raise(SIGUSR1);
                }
                2 => {
                    let _ = std::thread::spawn(|| getppid()).join();
                }
                3 if choices.one_in(10) => {
                    execl(c"/bin/true".as_ptr(), c"true".as_ptr(), null_mut::<c_char>());
                }
                4 => {
                    usleep(200);
                }
                _ => {
                    getppid();
                }
            }
        }
    }
    0
}

/// What a tracer does: attaches, lets go on in every way, looks, lets go, and ends without a word.
fn tracer(choices: &mut Choices, tracees: &[c_int]) -> c_int {
    for _ in 0..STEPS {
        let some = choices.one_of(tracees);
        match choices.below(12) {
            0 => {
                let _ = ptrace(ATTACH, some, 0, 0);
            }
            1 | 2 => {
                let kills = if choices.one_in(4) { EXITKILL } else { 0 };
                let _ = ptrace(SEIZE, some, 0, choices.below(128) as usize & !0x80 | kills);
            }
            3 => {
                let _ = ptrace(INTERRUPT, some, 0, 0);
            }
            4 if choices.one_in(20) => {
                let _ = ptrace(KILL, some, 0, 0);
            }
            _ => {}
        }
        let mut status = 0;
        // SAFETY: the status lives until the call is over.
        let told = unsafe { waitpid(-1, &raw mut status, __WALL | WNOHANG) };
        if told <= 0 || !WIFSTOPPED(status) {
            // SAFETY: takes no address.
            unsafe { sched_yield() };
            continue;
        }
        let own = registers(told);
        let _ = read_into::<u64>(PEEKDATA, told, own[INSTRUCTION] as usize);
        let _ = set_registers(told, &own);
        let signal = WSTOPSIG(status) & 0x7f;
        let given = if signal == SIGTRAP || choices.one_in(3) { 0 } else { signal as usize };
        let request = choices.one_of(&[CONT, SYSCALL, SYSCALL, SINGLESTEP, DETACH, LISTEN]);
        if ptrace(request, told, 0, given).is_err() {
            let _ = ptrace(CONT, told, 0, 0);
        }
    }
    0
}
