//! What a process may set of itself by prctl(2), what /proc tells of it then, and how long it may compute at a real-time
//! priority.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{fs, os::unix::fs::MetadataExt};

const PR_GET_SPECULATION_CTRL: c_int = 52;
const PR_SET_SPECULATION_CTRL: c_int = 53;

type Outcome = Result<i64, i32>;

fn control(operation: c_int, arguments: [u64; 4]) -> Outcome {
    let [first, second, third, fourth] = arguments;
    // SAFETY: pointers among the arguments are to what lives until the call is over, or are to be refused.
    result(unsafe { prctl(operation, first, second, third, fourth) }.into())
}

fn speculation(checks: &mut Checks) {
    const BYPASS: u64 = 0;
    const BRANCH: u64 = 1;
    const ENABLED: u64 = 2;
    const DISABLED: u64 = 4;
    let get = |kind, more| control(PR_GET_SPECULATION_CTRL, [kind, more, 0, 0]);
    let set = |kind, wish, more| control(PR_SET_SPECULATION_CTRL, [kind, wish, more, 0]);
    checks.equal("how it is", [get(BYPASS, 0), get(BRANCH, 0)], [Ok(2), Ok(2)]);
    checks.equal("no such", [get(7, 0), set(7, ENABLED, 0)], [Err(ENODEV), Err(ENODEV)]);
    checks.equal("too much", [get(0, 1), set(0, ENABLED, 1)], [Err(EINVAL), Err(EINVAL)]);
    checks.equal("stores", set(BYPASS, DISABLED, 0), Err(ENXIO));
    let branches = [ENABLED, DISABLED, 3].map(|wish| set(BRANCH, wish, 0));
    checks.equal("branches", branches, [Ok(0), Err(EPERM), Err(ERANGE)]);
}

fn counter(checks: &mut Checks) {
    let mut mode: c_int = 0;
    let got = control(PR_GET_TSC, [&raw mut mode as u64, 0, 0, 0]);
    checks.equal("the time stamp counter", (got, mode), (Ok(0), PR_TSC_ENABLE));
    let set = [PR_TSC_ENABLE as u64, 9].map(|mode| control(PR_SET_TSC, [mode, 0, 0, 0]));
    checks.equal("as it is", set, [Ok(0), Err(EINVAL)]);
    checks.equal("to nowhere", control(PR_GET_TSC, [8, 0, 0, 0]), Err(EFAULT));
    // SAFETY: reads a counter, or is refused.
    let read = || unsafe { std::arch::x86_64::_rdtsc() };
    let forbid = |mode: c_int| control(PR_SET_TSC, [mode as u64, 0, 0, 0]);
    let ended = child::status(|| {
        let mut mode: c_int = 0;
        let forbidden = forbid(PR_TSC_SIGSEGV);
        let got = control(PR_GET_TSC, [&raw mut mode as u64, 0, 0, 0]);
        if (forbidden, got, mode) != (Ok(0), Ok(0), PR_TSC_SIGSEGV) {
            return 1;
        }
        // A child inherits it, and may have it back.
        let inherited = child::status(|| read() as i32);
        let back = child::status(|| i32::from(forbid(PR_TSC_ENABLE) != Ok(0) || read() == 0));
        if (inherited, back) != (128 + SIGSEGV, 0) {
            return 2;
        }
        read() as i32
    });
    checks.equal("a counter that is forbidden", ended, 128 + SIGSEGV);
    // The others on a CPU where one may not read it, which gives way to them again and again.
    let ended = child::status(|| {
        // SAFETY: the set lives until the calls are over.
        unsafe {
            let mut one: cpu_set_t = std::mem::zeroed();
            CPU_SET(0, &mut one);
            sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const one);
        }
        let weak = child::start(|| {
            let forbidden = forbid(PR_TSC_SIGSEGV);
            for _ in 0..2000 {
                // SAFETY: takes nothing.
                unsafe { sched_yield() };
            }
            if forbidden != Ok(0) { 1 } else { read() as i32 }
        });
        let is_read = (0..2000).all(|_| {
            // SAFETY: takes nothing.
            unsafe { sched_yield() };
            read() > 0
        });
        i32::from(weak() != 128 + SIGSEGV) + 2 * i32::from(!is_read)
    });
    checks.equal("beside others", ended, 0);
}

fn memory(checks: &mut Checks) {
    let set = |what: c_int, address: u64, length: u64| control(PR_SET_MM, [what as u64, address, length, 0]);
    let found = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        i32::from(set(PR_SET_MM_ARG_START, 0x10_0000, 0) != Err(EPERM))
    });
    checks.equal("without the right", found, 0);
    checks.equal("a length for nothing", set(PR_SET_MM_ARG_START, 0x10_0000, 1), Err(EINVAL));
    let nobodys = [8, u64::MAX].map(|address| set(PR_SET_MM_ARG_START, address, 0));
    checks.equal("addresses of nobody", nobodys, [Err(EINVAL), Err(EINVAL)]);
    checks.equal("behind the end", set(PR_SET_MM_ARG_START, 0x7fff_ffff_e000, 0), Err(EINVAL));
    checks.equal("no such part", set(99, 0x10_0000, 0), Err(EINVAL));
    checks.equal("too long a vector", set(PR_SET_MM_AUXV, 8, 400), Err(EINVAL));
    checks.equal("a vector of nobody's", set(PR_SET_MM_AUXV, 8, 32), Err(EFAULT));
    let found = child::status(|| {
        let words = Box::leak(Box::new(*b"renamed\0by itself\0"));
        let start = words.as_ptr() as u64;
        let end = start + words.len() as u64;
        // The one that may come first is the one that keeps start before end.
        let ends = [(PR_SET_MM_ARG_END, end), (PR_SET_MM_ARG_START, start)];
        let first = if set(ends[0].0, ends[0].1, 0).is_ok() { 0 } else { 1 };
        let set_both = first == 0 && set(ends[1].0, ends[1].1, 0).is_ok()
            || first == 1 && set(ends[1].0, ends[1].1, 0).is_ok() && set(ends[0].0, ends[0].1, 0).is_ok();
        let shown = fs::read("/proc/self/cmdline").unwrap_or_default();
        let vector = [6_u64, 4096, 0, 0];
        let set_vector = set(PR_SET_MM_AUXV, vector.as_ptr() as u64, 32);
        let now: Vec<u8> = vector.iter().flat_map(|word| word.to_ne_bytes()).collect();
        i32::from(!set_both)
            + 2 * i32::from(shown != words[..])
            + 4 * i32::from(set_vector != Ok(0))
            + 8 * i32::from(fs::read("/proc/self/auxv").unwrap_or_default() != now)
    });
    checks.equal("arguments and vector", found, 0);
}

/// Files of /proc about a process.
fn files(checks: &mut Checks) {
    let vector = fs::read("/proc/self/auxv").unwrap_or_default();
    let word =
        |at: usize| vector.get(at..at + 8).map_or(0, |word| u64::from_ne_bytes(word.try_into().unwrap_or([0; 8])));
    let page = (0..vector.len() / 16).find(|at| word(16 * at) == AT_PAGESZ).map(|at| word(16 * at + 8));
    checks.equal("AT_PAGESZ", page, Some(4096));
    let last = vector.len().saturating_sub(16);
    checks.equal("the end of the vector", (word(last), vector.len() % 16), (0, 0));
    let mut seen = 0;
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = name.strip_suffix("_for_children").unwrap_or(&name);
        let text = fs::read_link(entry.path()).unwrap_or_default();
        let number = fs::metadata(entry.path()).map_or(0, |facts| facts.ino());
        checks.equal(&name, text.to_string_lossy().into_owned(), format!("{kind}:[{number}]"));
        checks.equal(&name, fs::read_link(format!("/proc/1/ns/{name}")).ok(), Some(text));
        checks.equal(&name, fs::File::open(entry.path()).map(drop).map_err(|error| error.raw_os_error()), Ok(()));
        seen += 1;
    }
    checks.equal("kinds of namespaces", seen, 10);
    let hidden = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        let looks = ["auxv", "ns/pid"].map(|name| fs::read_link(format!("/proc/1/{name}")).is_ok());
        i32::from(looks != [false; 2]) + 2 * i32::from(fs::read("/proc/1/auxv").is_ok())
    });
    checks.equal("of root's processes", hidden, 0);
    checks.check("config.gz", fs::read("/proc/config.gz").is_ok_and(|bytes| bytes.starts_with(b"\x1f\x8b")));
}

static WARNED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

extern "C" fn note(_: c_int) {
    WARNED.store(true, std::sync::atomic::Ordering::SeqCst);
}

/// A child at a real-time priority with this limit in microseconds, which does `work`.
fn at_priority(soft: rlim_t, hard: rlim_t, work: fn() -> i32) -> i32 {
    child::status(move || {
        let limit = rlimit { rlim_cur: soft, rlim_max: hard };
        let priority: c_int = 1;
        // SAFETY: limit and priority live until the calls are over; the handler stores to an atomic only.
        unsafe {
            signal(SIGXCPU, note as *const () as sighandler_t);
            setrlimit(RLIMIT_RTTIME as _, &raw const limit);
            // The C library has no such call.
            syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &raw const priority);
        }
        work()
    })
}

fn real_time(checks: &mut Checks) {
    let warned = at_priority(50_000, RLIM_INFINITY, || {
        while !WARNED.load(std::sync::atomic::Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the limit lives until the call is over.
        unsafe { getrlimit(RLIMIT_RTTIME as _, &raw mut limit) };
        // By a second for each warning.
        i32::from(limit.rlim_cur <= 50_000 || !(limit.rlim_cur - 50_000).is_multiple_of(1_000_000))
    });
    checks.equal("a warning, and the limit moves", warned, 0);
    let ended = at_priority(50_000, 100_000, || {
        loop {
            std::hint::spin_loop();
        }
    });
    checks.equal("the end", ended, 128 + SIGKILL);
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    speculation(&mut checks);
    counter(&mut checks);
    memory(&mut checks);
    files(&mut checks);
    real_time(&mut checks);
    checks.tell()
}
