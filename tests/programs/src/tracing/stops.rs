//! What a tracer is told, sees and changes.

use super::tracee::{ptrace, wait, *};
use crate::checks::Checks;
use libc::*;
use std::ptr::null_mut;

pub fn run(checks: &mut Checks) {
    signals(checks);
    calls(checks);
    memory(checks);
    events(checks);
    steps(checks);
    groups(checks);
    shown_calls(checks);
}

fn signals(checks: &mut Checks) {
    // SAFETY: takes no address.
    let own = unsafe { getpid() };
    let child = traced(|| {
        // SAFETY: the handler is a constant, and takes nothing.
        unsafe {
            signal(SIGUSR2, SIG_IGN);
            kill(getpid(), SIGUSR2);
            kill(getpid(), SIGUSR1);
            kill(getpid(), SIGUSR1);
        }
        3
    });
    checks.equal("it shows that it is stopped, and by whom", shown(child), ('t', own));
    checks.equal("nothing is told twice", wait(child, WNOHANG), Err(EAGAIN));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("an ignored signal is told", wait(child, 0), stop(SIGUSR2, 0));
    let _ = ptrace(CONT, child, 0, SIGUSR2 as usize);
    checks.equal("a signal is told", wait(child, 0), stop(SIGUSR1, 0));
    let info: [i32; 32] = read_into(GETSIGINFO, child, 0).unwrap_or_default();
    checks.equal("who sent it", (info[0], info[2], info[4]), (SIGUSR1, 0, child));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("what is withheld ends nothing", wait(child, 0), stop(SIGUSR1, 0));
    let _ = ptrace(CONT, child, 0, SIGTERM as usize);
    checks.equal("what is given instead does", wait(child, 0), Ok(SIGTERM));
}

fn calls(checks: &mut Checks) {
    let child = traced(|| {
        // SAFETY: takes no address.
        let (parent, none) = unsafe { (syscall(SYS_getppid), syscall(SYS_getuid)) };
        c_int::from(parent != 77) + 2 * c_int::from(none != -1)
    });
    checks.equal("options", ptrace(SETOPTIONS, child, 0, SYSGOOD), Ok(0));
    let next = || {
        let _ = ptrace(SYSCALL, child, 0, 0);
        wait(child, 0)
    };
    // The end of the call that raised SIGSTOP was before the stop: the next is a beginning.
    let mut at = next();
    while at == stop(SIGTRAP | 0x80, 0) && registers(child)[CALL_NUMBER] != SYS_getppid as u64 {
        at = next();
    }
    checks.equal("a call begins", at, stop(SIGTRAP | 0x80, 0));
    let mut info = [0_u8; 88];
    let length = ptrace(GET_SYSCALL_INFO, child, 88, info.as_mut_ptr().addr());
    checks.equal("what is told of it", (length, info[0], info[24]), (Ok(80), 1, SYS_getppid as u8));
    checks.equal("it has no result yet", registers(child)[RESULT] as i64, -i64::from(ENOSYS));
    checks.equal("it ends", next(), stop(SIGTRAP | 0x80, 0));
    let length = ptrace(GET_SYSCALL_INFO, child, 88, info.as_mut_ptr().addr());
    checks.equal("what is told of that", (length, info[0], info[32]), (Ok(33), 2, 0));
    checks.equal("as much as there is room for", ptrace(GET_SYSCALL_INFO, child, 1, info.as_mut_ptr().addr()), Ok(33));
    let mut changed = registers(child);
    changed[RESULT] = 77;
    checks.equal("another result", set_registers(child, &changed), Ok(0));
    checks.equal("the next", next(), stop(SIGTRAP | 0x80, 0));
    checks.equal("is left out", ptrace(POKEUSER, child, CALL_NUMBER * 8, usize::MAX), Ok(0));
    checks.equal("its end is told", next(), stop(SIGTRAP | 0x80, 0));
    checks.equal("with no result", registers(child)[RESULT] as i64, -i64::from(ENOSYS));
    changed = registers(child);
    changed[RESULT] = -1_i64 as u64;
    let _ = set_registers(child, &changed);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("it found both", wait(child, 0), ended(0));
}

fn memory(checks: &mut Checks) {
    static CONSTANT: u64 = 0x1122_3344_5566_7788;
    let at = (&raw const CONSTANT).addr();
    // SAFETY: takes no address.
    let hidden = unsafe { mmap(null_mut(), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
    // SAFETY: as above.
    let shared = unsafe { mmap(null_mut(), 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) };
    // SAFETY: the constant is there; another process may have changed it.
    let child = traced(|| c_int::from(unsafe { (&raw const CONSTANT).read_volatile() } != 99));
    checks.equal("a constant", read_into(PEEKDATA, child, at), Ok(CONSTANT));
    checks.equal("is written", ptrace(POKEDATA, child, at, 99), Ok(0));
    checks.equal("and read", read_into(PEEKDATA, child, at), Ok(99_u64));
    // SAFETY: as above.
    let own = unsafe { (&raw const CONSTANT).read_volatile() };
    checks.equal("here it is as it was", own, 0x1122_3344_5566_7788);
    checks.equal("what may not be read", read_into(PEEKDATA, child, hidden.addr()), Ok(0_u64));
    checks.equal("nor written", ptrace(POKEDATA, child, hidden.addr() + 8, 5), Ok(0));
    checks.equal("holds what is written", read_into(PEEKDATA, child, hidden.addr() + 8), Ok(5_u64));
    checks.equal("what is shared to be read", ptrace(POKEDATA, child, shared.addr(), 5), Err(EIO));
    let file = std::fs::File::options().read(true).write(true).open(format!("/proc/{child}/mem"));
    let file = file.map(|file| {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; 8];
        let read = file.read_at(&mut bytes, at as u64).ok();
        let hole = file.read_at(&mut bytes.clone(), 8).err().and_then(|error| error.raw_os_error());
        let written = file.write_at(&[98], at as u64).ok();
        (read, u64::from_le_bytes(bytes), hole, written)
    });
    checks.equal("the same as a file", file.ok(), Some((Some(8), 99, Some(EIO), Some(1))));
    checks.equal("as a word", read_into(PEEKDATA, child, at), Ok(98_u64));
    let _ = ptrace(POKEDATA, child, at, 99);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("the tracee finds it", wait(child, 0), ended(0));
    // SAFETY: both were mapped above.
    unsafe { (munmap(hidden, 4096), munmap(shared, 4096)) };
}

fn events(checks: &mut Checks) {
    let child = traced(|| {
        // SAFETY: the grandchild ends at once; the program is a constant.
        unsafe {
            let grandchild = libc::fork();
            if grandchild == 0 {
                _exit(4);
            }
            let mut status = 0;
            waitpid(grandchild, &raw mut status, 0);
            execl(c"/bin/true".as_ptr(), c"true".as_ptr(), null_mut::<c_char>());
        }
        9
    });
    let _ = ptrace(SETOPTIONS, child, 0, FORK | EXEC | EXIT);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("a fork", wait(child, 0), stop(SIGTRAP, 1));
    let grandchild = read_into::<u64>(GETEVENTMSG, child, 0).unwrap_or_default() as c_int;
    checks.equal("the child begins stopped", wait(grandchild, __WALL), stop(SIGSTOP, 0));
    checks.equal("it shows its tracer", shown(grandchild).0, 't');
    let _ = ptrace(CONT, grandchild, 0, 0);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("it is about to end", wait(grandchild, 0), stop(SIGTRAP, 6));
    checks.equal("with this", read_into(GETEVENTMSG, grandchild, 0), Ok(4_u64 << 8));
    let _ = ptrace(CONT, grandchild, 0, 0);
    checks.equal("its end is the tracer's first", wait(grandchild, 0), ended(4));
    // Its wait may find the end, and it may execute, a moment before SIGCHLD comes; on Linux the signal is always first.
    let mut heard = 0;
    for _ in 0..2 {
        let status = wait(child, 0);
        if status == stop(SIGCHLD, 0) {
            heard += 1;
            let _ = ptrace(CONT, child, 0, SIGCHLD as usize);
        } else {
            checks.equal("an exec", status, stop(SIGTRAP, 4));
            let by = read_into(GETEVENTMSG, child, 0);
            checks.equal("by the thread with this number", by, Ok(child as u64));
            let _ = ptrace(CONT, child, 0, 0);
        }
    }
    checks.equal("the parent hears of it", heard, 1);
    checks.equal("the end", wait(child, 0), stop(SIGTRAP, 6));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("is", wait(child, 0), ended(0));
    vforks(checks);
}

fn vforks(checks: &mut Checks) {
    let child = traced(|| {
        // SAFETY: the child of vfork does nothing but end.
        let status = std::process::Command::new("/bin/true").status();
        c_int::from(!status.is_ok_and(|status| status.success()))
    });
    let _ = ptrace(SETOPTIONS, child, 0, VFORK | CLONE | FORK | VFORK_DONE);
    let _ = ptrace(CONT, child, 0, 0);
    let first = wait(child, 0);
    checks.check("a vfork or fork", first == stop(SIGTRAP, 2) || first == stop(SIGTRAP, 1));
    let grandchild = read_into::<u64>(GETEVENTMSG, child, 0).unwrap_or_default() as c_int;
    checks.equal("begins stopped", wait(grandchild, __WALL), stop(SIGSTOP, 0));
    let _ = ptrace(CONT, child, 0, 0);
    let _ = ptrace(CONT, grandchild, 0, 0);
    checks.equal("an exec without the option is a signal", wait(grandchild, 0), stop(SIGTRAP, 0));
    let mut told = Vec::new();
    if first == stop(SIGTRAP, 2) {
        told.push(wait(child, 0) == stop(SIGTRAP, 5));
        let _ = ptrace(CONT, child, 0, 0);
    }
    checks.check("the vfork is done", told.iter().all(|&right| right));
    checks.equal("detached", ptrace(DETACH, grandchild, 0, 0), Ok(0));
    checks.equal("its parent's signal", wait(child, 0), stop(SIGCHLD, 0));
    let _ = ptrace(CONT, child, 0, SIGCHLD as usize);
    checks.equal("the parent has reaped it", wait(child, 0), ended(0));
}

fn steps(checks: &mut Checks) {
    let child = traced(|| (0..1000).fold(0, |done, _| std::hint::black_box(done)));
    let before = registers(child)[INSTRUCTION];
    let mut places = vec![before];
    for _ in 0..50 {
        let _ = ptrace(SINGLESTEP, child, 0, 0);
        if wait(child, 0) != stop(SIGTRAP, 0) {
            break;
        }
        places.push(registers(child)[INSTRUCTION]);
    }
    checks.equal("each step is told", places.len(), 51);
    checks.check("and is one", places.windows(2).all(|pair| pair[0] != pair[1]));
    checks.equal("the trap flag is not shown", registers(child)[18] & 0x100, 0);
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("then it runs", wait(child, 0), ended(0));
    #[cfg(target_arch = "x86_64")]
    let child = traced(|| {
        // SAFETY: a breakpoint, and nothing else.
        unsafe { std::arch::asm!("int3") };
        0
    });
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("a breakpoint", wait(child, 0), stop(SIGTRAP, 0));
    let info: [i32; 32] = read_into(GETSIGINFO, child, 0).unwrap_or_default();
    checks.equal("is of the kernel", (info[0], info[2]), (SIGTRAP, 0x80));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("and passed", wait(child, 0), ended(0));
}

fn groups(checks: &mut Checks) {
    let child = sleeper();
    checks.equal("seized", ptrace(SEIZE, child, 0, 0), Ok(0));
    // SAFETY: takes no address.
    let send = |signal: c_int| unsafe { kill(child, signal) };
    send(SIGSTOP);
    checks.equal("the signal first", wait(child, 0), stop(SIGSTOP, 0));
    let _ = ptrace(CONT, child, 0, SIGSTOP as usize);
    checks.equal("then the stop", wait(child, 0), stop(SIGSTOP, 128));
    checks.equal("it stays stopped", ptrace(LISTEN, child, 0, 0), Ok(0));
    checks.equal("and is not to be looked at", read_into::<Registers>(GETREGS, child, 0), Err(ESRCH));
    checks.equal("nor told", wait(child, WNOHANG), Err(EAGAIN));
    send(SIGCONT);
    checks.equal("until it goes on", wait(child, 0), stop(SIGTRAP, 128));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("SIGCONT itself", wait(child, 0), stop(SIGCONT, 0));
    let _ = ptrace(CONT, child, 0, 0);
    checks.equal("it sleeps again", until(child, |shown| shown.0 == 'S'), true);
    checks.equal("interrupted", ptrace(INTERRUPT, child, 0, 0), Ok(0));
    checks.equal("stops", wait(child, 0), stop(SIGTRAP, 128));
    checks.equal("the call is to begin again", registers(child)[RESULT] as i64, -514);
    checks.equal("detached with a signal", ptrace(DETACH, child, 0, 0), Ok(0));
    checks.equal("it has no tracer", shown(child).1, 0);
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
    let child = sleeper();
    checks.equal("attached", ptrace(ATTACH, child, 0, 0), Ok(0));
    checks.equal("it stops", wait(child, 0), stop(SIGSTOP, 0));
    let _ = ptrace(CONT, child, 0, SIGSTOP as usize);
    checks.equal("with its process", wait(child, 0), stop(SIGSTOP, 0));
    let info = read_into::<[i32; 32]>(GETSIGINFO, child, 0);
    checks.equal("which is no signal", info, Err(EINVAL));
    checks.equal("detached", ptrace(DETACH, child, 0, 0), Ok(0));
    checks.equal("it is stopped as any", wait(child, WUNTRACED), stop(SIGSTOP, 0));
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
}

/// `/proc/PID/syscall`.
fn shown_calls(checks: &mut Checks) {
    let words = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let child = sleeper();
    // It may sleep elsewhere before.
    let sleeps = || words(&child.to_string()).first().is_some_and(|call| call.parse() == Ok(SYS_pause));
    checks.equal("a call that sleeps", patiently(sleeps), true);
    let told = words(&child.to_string());
    checks.equal("with all that there is to tell", told.len(), 9);
    checks.check("comes from where it is", told.last().is_some_and(|word| word.starts_with("0x") && word.len() > 6));
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
    let child = crate::tracing::tracee::fork(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    checks.equal("a child that computes", patiently(|| words(&child.to_string()) == ["running"]), true);
    checks.equal("killed", kill_and_reap(child), Ok(SIGKILL));
    let own = words("self");
    checks.equal("the call that reads it", (own.len(), own[0].parse()), (9, Ok(SYS_read)));
}
