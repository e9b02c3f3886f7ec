//! What each action does.

use super::filter::*;
use crate::{
    checks::Checks,
    tracing::tracee::{ended, fork, patiently, wait},
};
use libc::*;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

pub fn run(checks: &mut Checks) {
    results(checks);
    facts(checks);
    ends(checks);
    traps(checks);
    strict(checks);
    logged(checks);
}

/// What the call gives a child that has these filters.
fn with(filters: &[u32]) -> Result<i64, i32> {
    let child = fork(|| {
        if filters.iter().any(|&verdict| filter(CALL, verdict, 0) != Ok(0)) {
            return 255;
        }
        match call() {
            Ok(0) => 0,
            Ok(_) => 254,
            Err(error) => error.min(253),
        }
    });
    let status = wait(child, 0)?;
    if WIFEXITED(status) { Ok(WEXITSTATUS(status).into()) } else { Err(status) }
}

fn results(checks: &mut Checks) {
    let died = Err(SIGSYS);
    let rows: [(&str, &[u32], Result<i64, i32>); 15] = [
        ("allowed", &[ALLOW | 7], Ok(254)),
        ("logged", &[LOG], Ok(254)),
        ("an errno", &[ERRNO | EPERM as u32], Ok(1)),
        ("no errno", &[ERRNO], Ok(0)),
        ("the largest errno", &[ERRNO | 0xffff], Ok(253)),
        ("nobody traces", &[TRACE], Ok(ENOSYS.into())),
        ("nobody answers", &[USER_NOTIF], Ok(ENOSYS.into())),
        ("an end", &[KILL_PROCESS], died),
        ("the only thread's end", &[KILL_THREAD], died),
        ("a trap without handler", &[TRAP], died),
        ("no action", &[0x0004_0000], died),
        ("of two errnos the newest", &[ERRNO | 1, ERRNO | 2], Ok(2)),
        ("the strictest is older", &[ERRNO | 1, ALLOW, TRACE], Ok(1)),
        ("the strictest is newer", &[ALLOW, ERRNO | 3, TRAP], died),
        ("an interruption that is none", &[ERRNO | EINTR as u32], Ok(EINTR.into())),
    ];
    for (what, filters, expected) in rows {
        checks.equal(what, with(filters), expected);
    }
}

/// A filter sees number, architecture, the instruction behind the call, and both halves of each argument.
fn facts(checks: &mut Checks) {
    let returns = |offset: u32, first: u64, second: u64| {
        let child = fork(|| {
            let program = [
                (0x20, 0, 0, 0),
                (0x15, 1, 0, CALL as u32),
                (0x06, 0, 0, ALLOW),
                (0x20, 0, 0, offset),
                (0x54, 0, 0, 0xff),
                (0x44, 0, 0, ERRNO),
                (0x16, 0, 0, 0),
            ];
            let installed = install(&program, 0) == Ok(0);
            if installed { call_with(first, second).err().unwrap_or(0) } else { 255 }
        });
        wait(child, 0)
    };
    checks.equal("the number", returns(0, 0, 0), ended(CALL as c_int & 0xff));
    checks.equal("the architecture", returns(4, 0, 0), ended(0x3e));
    checks.equal("the first argument", returns(16, 0x1122_3344_5566_7788, 0), ended(0x88));
    checks.equal("its upper half", returns(20, 0x1122_3344_5566_7788, 0), ended(0x44));
    checks.equal("the second argument", returns(24, 1, 0x99), ended(0x99));
}

fn ends(checks: &mut Checks) {
    let child = fork(|| {
        // SAFETY: the signal is ignored and blocked; a filter does not care.
        unsafe {
            let mut all = std::mem::zeroed();
            sigfillset(&raw mut all);
            sigprocmask(SIG_BLOCK, &raw const all, std::ptr::null_mut());
            signal(SIGSYS, SIG_IGN);
        }
        let _ = filter(CALL, KILL_PROCESS, 0);
        c_int::from(call().is_ok())
    });
    checks.equal("nothing helps against an end", wait(child, 0), Ok(SIGSYS));
    let child = fork(|| {
        // SAFETY: as above.
        unsafe { signal(SIGSYS, SIG_IGN) };
        let _ = filter(CALL, TRAP, 0);
        c_int::from(call().is_ok())
    });
    checks.equal("nor to ignore a trap", wait(child, 0), Ok(SIGSYS));
    let directory = format!("/tmp/filters-{}", std::process::id());
    let _ = std::fs::create_dir(&directory);
    let child = fork(|| {
        let limit = rlimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
        // SAFETY: the limit is there for the call.
        let allowed = unsafe { setrlimit(RLIMIT_CORE, &raw const limit) } == 0;
        let there = std::env::set_current_dir(&directory).is_ok();
        let _ = filter(CALL, KILL_PROCESS, 0);
        c_int::from(allowed && there && call().is_ok())
    });
    checks.equal("an end leaves a core", wait(child, 0), Ok(SIGSYS | 0x80));
    let _ = std::fs::remove_dir_all(&directory);
    let child = fork(|| {
        std::thread::spawn(|| {
            let _ = filter(CALL, KILL_THREAD, 0);
            let _ = call();
            // SAFETY: ends this process, which the thread is not to come to.
            unsafe { _exit(1) };
        });
        let gone = || std::fs::read_dir("/proc/self/task").is_ok_and(|all| all.count() == 1);
        if patiently(gone) { 7 } else { 2 }
    });
    checks.equal("a thread ends alone", wait(child, 0), ended(7));
    let child = fork(|| {
        std::thread::spawn(|| {
            let is_zombie = || shown(std::process::id() as c_int, "State:").is_some_and(|state| state.starts_with('Z'));
            let code = if patiently(is_zombie) { 6 } else { 2 };
            // SAFETY: ends this process.
            unsafe { _exit(code) };
        });
        let _ = filter(CALL, KILL_THREAD, 0);
        c_int::from(call().is_ok())
    });
    checks.equal("so does the first one", wait(child, 0), ended(6));
    let child = fork(|| {
        std::thread::spawn(|| {
            let _ = filter(CALL, KILL_PROCESS, 0);
            let _ = call();
        });
        loop {
            // SAFETY: takes no address.
            unsafe { pause() };
        }
    });
    checks.equal("a thread ends all", wait(child, 0), Ok(SIGSYS));
}

static TOLD: [AtomicI32; 5] = [const { AtomicI32::new(0) }; 5];
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static INSTRUCTION: AtomicU64 = AtomicU64::new(0);

extern "C" fn note(_signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both to a handler with SA_SIGINFO; of a SIGSYS the union has these fields.
    unsafe {
        let words = info.cast::<i32>();
        for (place, at) in TOLD.iter().zip([0, 1, 2, 6, 7]) {
            place.store(words.add(at).read(), SeqCst);
        }
        ADDRESS.store(info.cast::<u64>().add(2).read(), SeqCst);
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        INSTRUCTION.store(registers[REG_RIP as usize] as u64, SeqCst);
        // What the call gives.
        registers[REG_RAX as usize] += 1000;
    }
}

fn traps(checks: &mut Checks) {
    let child = fork(|| {
        // SAFETY: the handler has the form that SA_SIGINFO asks for.
        unsafe {
            let mut action: sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = SA_SIGINFO;
            sigaction(SIGSYS, &raw const action, std::ptr::null_mut());
        }
        let mut checks = Checks::default();
        let _ = filter(CALL, TRAP | 77, 0);
        checks.equal("the handler gives the result, on top of the number", call(), Ok(CALL + 1000));
        let told = TOLD.each_ref().map(|word| word.load(SeqCst));
        checks.equal("what it is told", told, [SIGSYS, 77, 1, CALL as i32, 0xc000_003e_u32 as i32]);
        checks.equal("where", ADDRESS.load(SeqCst), INSTRUCTION.load(SeqCst));
        c_int::from(!checks.all_right())
    });
    checks.equal("a trap", wait(child, 0), ended(0));
}

fn strict(checks: &mut Checks) {
    let strict = |act: fn()| {
        wait(
            fork(|| {
                // Rust's own handler makes calls.
                // SAFETY: the default needs no function.
                unsafe { signal(SIGSEGV, SIG_DFL) };
                let _ = seccomp(STRICT, 0, 0);
                act();
                // SAFETY: ends this thread, the only one.
                unsafe { syscall(SYS_exit, 9) };
                0
            }),
            0,
        )
    };
    checks.equal("what is allowed", strict(|| ()), ended(9));
    let transfers = || {
        // SAFETY: no byte is copied.
        unsafe { write(1, std::ptr::null(), 0) };
    };
    checks.equal("to write", strict(transfers), ended(9));
    let forbidden = || {
        let _ = call();
    };
    checks.equal("what is not", strict(forbidden), Ok(SIGKILL));
    let counter = || {
        // SAFETY: changes nothing.
        unsafe { std::hint::black_box(core::arch::x86_64::_rdtsc()) };
    };
    checks.equal("nor the counter", strict(counter), Ok(SIGSEGV));
    let child = fork(|| {
        // SAFETY: takes no address.
        unsafe { prctl(PR_SET_SECCOMP, 1) };
        // SAFETY: exit_group is none of the four.
        unsafe { _exit(0) }
    });
    checks.equal("nor to end as a process", wait(child, 0), Ok(SIGKILL));
}

/// A line in the log: what is logged by itself, what only with the flag, and what root wants none of.
fn logged(checks: &mut Checks) {
    let setting = "/proc/sys/kernel/seccomp/actions_logged";
    let read = || std::fs::read_to_string(setting).unwrap_or_default();
    let all = "kill_process kill_thread trap errno user_notif trace log\n";
    checks.equal("all is logged", read().as_str(), all);
    let available = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    checks.equal("all that there is", available.as_str(), &format!("{} allow\n", all.trim()));
    let set = |text: &str| std::fs::write(setting, text).map_err(|error| error.raw_os_error().unwrap_or(0));
    checks.equal("no such", set("trap nothing"), Err(EINVAL));
    checks.equal("not what is allowed", set("allow"), Err(EINVAL));
    // The log takes few such lines in a while, so that each is tried until it is there.
    let is_told = |verdict: u32, flags: c_uint| {
        patiently(|| {
            let child = fork(|| c_int::from(filter(CALL, verdict, flags).is_err() || call() == Ok(-1)));
            let _ = wait(child, 0);
            has_line(child, verdict)
        })
    };
    checks.equal("LOG is logged", is_told(LOG, 0), true);
    checks.equal("an end is logged", is_told(KILL_PROCESS, 0), true);
    checks.equal("an errno with the flag", is_told(ERRNO | 1, LOG_FLAG), true);
    checks.equal("fewer", (set("errno\n"), read().as_str()), (Ok(()), "errno\n"));
    let child = fork(|| {
        let filtered = filter(CALL, LOG, 0).is_ok();
        c_int::from(!(filtered && call().is_ok()))
    });
    checks.equal("a call that is not to be logged", wait(child, 0), ended(0));
    checks.equal("an errno still is", is_told(ERRNO | 2, LOG_FLAG), true);
    checks.equal("that one was not", has_line(child, LOG), false);
    checks.equal("all again", set(all), Ok(()));
}

fn has_line(pid: c_int, verdict: u32) -> bool {
    let mut bytes = vec![0_u8; 1 << 20];
    // SAFETY: as many bytes are there; 3 reads all that the log holds.
    let length = unsafe { klogctl(3, bytes.as_mut_ptr().cast(), bytes.len() as c_int) };
    let text = String::from_utf8_lossy(&bytes[..length.max(0) as usize]).into_owned();
    let (process, code) = (format!(" pid={pid} "), format!(" code={:#x}", verdict & 0xffff_0000));
    let signal = if verdict == KILL_PROCESS { " sig=31 " } else { " sig=0 " };
    let call = format!(" syscall={CALL} ");
    let is_it = |line: &str| [process.as_str(), signal, call.as_str()].iter().all(|part| line.contains(part));
    text.lines().any(|line| line.contains("type=1326") && is_it(line) && line.ends_with(&code))
}
