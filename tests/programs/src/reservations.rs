//! Reservations of CPU time: what `SCHED_DEADLINE` demands of parameters, rights, CPUs and children, what is shown of it, and
//! what it does to the task (sched_setattr(2), sched(7)).

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::{Duration, Instant},
};

pub const DEADLINE: c_int = 6;
const RESET_ON_FORK: u64 = 1;
pub const RECLAIM: u64 = 2;
const TELL_OVERRUNS: u64 = 4;
const KEEP_POLICY: u64 = 8;
const KEEP_PARAMETERS: u64 = 16;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;

/// `struct sched_attr`, its first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Attributes {
    /// A reservation in nanoseconds.
    pub fn reservation(runtime: u64, deadline: u64, period: u64, flags: u64) -> Self {
        let policy = DEADLINE as u32;
        Self { size: size_of::<Self>() as u32, policy, flags, runtime, deadline, period, ..Self::default() }
    }

    fn other() -> Self {
        Self { size: size_of::<Self>() as u32, ..Self::default() }
    }

    /// Gives the caller these.
    pub fn set(&self) -> Result<i64, i32> {
        self.set_of(0)
    }

    /// Gives a task these; 0 is the caller.
    fn set_of(&self, task: pid_t) -> Result<i64, i32> {
        // SAFETY: the structure lives until the call is over.
        result(unsafe { syscall(SYS_sched_setattr, task, &raw const *self, 0) })
    }

    fn get() -> Self {
        let mut own = Self::default();
        // SAFETY: as above; the call writes no more than the size that it is told.
        unsafe { syscall(SYS_sched_getattr, 0, &raw mut own, size_of::<Self>(), 0) };
        own
    }
}

/// One in two milliseconds, with these flags.
fn usual(flags: u64) -> Attributes {
    Attributes::reservation(MILLISECOND, 2 * MILLISECOND, 2 * MILLISECOND, flags)
}

fn parameters(checks: &mut Checks) {
    // Of a task that sleeps: one that runs pays for what it takes beyond a small part with many long periods.
    let asleep = holder(1);
    for (runtime, deadline, period, expected) in [
        (1_023, MILLISECOND, MILLISECOND, Err(EINVAL)),
        (1_024, 100 * MICROSECOND, 100 * MICROSECOND, Ok(0)),
        (1_024, 100 * MICROSECOND - 1, 100 * MICROSECOND - 1, Err(EINVAL)),
        (MILLISECOND, (1 << 22) * MICROSECOND, 0, Ok(0)),
        (MILLISECOND, MILLISECOND, (1 << 22) * MICROSECOND + 1, Err(EINVAL)),
        (MILLISECOND, 0, 2 * MILLISECOND, Err(EINVAL)),
        (3 * MILLISECOND, 2 * MILLISECOND, 4 * MILLISECOND, Err(EINVAL)),
        (MILLISECOND, 5 * MILLISECOND, 4 * MILLISECOND, Err(EINVAL)),
        (MILLISECOND, 1 << 63, 0, Err(EINVAL)),
        (MILLISECOND, 2 * MILLISECOND, 1 << 63, Err(EINVAL)),
        (MILLISECOND, 2 * MILLISECOND, 3 * MILLISECOND, Ok(0)),
    ] {
        let set = Attributes::reservation(runtime, deadline, period, 0).set_of(asleep);
        checks.equal(&format!("{runtime} of {deadline} in {period}"), set, expected);
    }
    end(&[asleep]);
    let with_priority = Attributes { priority: 1, ..usual(0) };
    checks.equal("a priority", with_priority.set(), Err(EINVAL));
    checks.equal("a flag that there is not", usual(1 << 20).set(), Err(EINVAL));
    let set = usual(TELL_OVERRUNS | RECLAIM | RESET_ON_FORK);
    checks.equal("all flags", (set.set(), Attributes::get()), (Ok(0), set));
    let kept = Attributes { flags: KEEP_PARAMETERS, ..Attributes::reservation(0, 0, 0, 0) };
    let left = Attributes { flags: TELL_OVERRUNS | RECLAIM, ..set };
    checks.equal("kept parameters", (kept.set(), Attributes::get()), (Ok(0), left));
    let longer =
        Attributes { flags: KEEP_POLICY, runtime: 2 * MILLISECOND, deadline: 8 * MILLISECOND, period: 0, ..set };
    checks.equal("a kept policy", longer.set(), Ok(0));
    checks.equal("its period", Attributes::get(), Attributes { flags: 0, period: 8 * MILLISECOND, ..longer });
    let none: c_int = 0;
    // SAFETY: numbers, and addresses of what lives until the calls are over.
    unsafe {
        checks.equal(
            "without parameters",
            result(syscall(SYS_sched_setscheduler, 0, DEADLINE, &raw const none)),
            Err(EINVAL),
        );
        checks.equal("sched_setparam", result(syscall(SYS_sched_setparam, 0, &raw const none)), Err(EINVAL));
        checks.equal("sched_getscheduler", result(syscall(SYS_sched_getscheduler, 0)), Ok(DEADLINE.into()));
        let bounds = [SYS_sched_get_priority_min, SYS_sched_get_priority_max];
        checks.equal("priorities", bounds.map(|call| result(syscall(call, DEADLINE))), [Ok(0), Ok(0)]);
        let mut turn = timespec { tv_sec: 7, tv_nsec: 7 };
        let got = result(syscall(SYS_sched_rr_get_interval, 0, &raw mut turn));
        checks.equal("a turn", (got, turn.tv_sec, turn.tv_nsec), (Ok(0), 0, 0));
    }
    let least = "/proc/sys/kernel/sched_deadline_period_min_us";
    let write = |text: &str| fs::write(least, text).map_err(|error| error.raw_os_error().unwrap_or(0));
    checks.equal("above the greatest", write("4194305"), Err(EINVAL));
    checks.equal(
        "a greater least period",
        [write("2001").map(|()| 0), usual(0).set(), write("100").map(|()| 0)],
        [Ok(0), Err(EINVAL), Ok(0)],
    );
    checks.equal("back", Attributes::other().set(), Ok(0));
}

fn shown(checks: &mut Checks) {
    checks.equal("a reservation", usual(0).set(), Ok(0));
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // Fields 18, 40 and 41; the first word is field 3.
    let fields = [18, 40, 41].map(|field| words.get(field - 3).copied());
    checks.equal("priority, rt_priority and policy", fields, [Some("-101"), Some("0"), Some("6")]);
    let table = fs::read_to_string("/proc/self/sched").unwrap_or_default();
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(':').nth(1));
    checks.equal("policy and prio", ["policy", "prio"].map(|name| line(name).map(str::trim)), [Some("6"), Some("-1")]);
    let number = |name| line(name).and_then(|word| word.trim().parse::<i64>().ok());
    checks.check("dl.runtime", number("dl.runtime").is_some_and(|left| left <= MILLISECOND as i64));
    checks.check("dl.deadline", number("dl.deadline").is_some_and(|deadline| deadline > 0));
    checks.equal("back", Attributes::other().set(), Ok(0));
}

fn rights(checks: &mut Checks) {
    let refused = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        i32::from(usual(0).set() != Err(EPERM))
    });
    checks.equal("without CAP_SYS_NICE", refused, 0);
    let refused = child::status(|| {
        let had = usual(0).set();
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        // Not even the same again, or less; only without.
        let less = Attributes::reservation(MILLISECOND, 4 * MILLISECOND, 0, 0);
        let set = [usual(0), less, Attributes::other()].map(|wish| wish.set());
        i32::from(had != Ok(0)) + 2 * i32::from(set != [Err(EPERM), Err(EPERM), Ok(0)])
    });
    checks.equal("after CAP_SYS_NICE", refused, 0);
}

fn children(checks: &mut Checks) {
    checks.equal("a reservation", usual(0).set(), Ok(0));
    // SAFETY: a child would end at once.
    let forked = unsafe { fork() };
    if forked == 0 {
        // SAFETY: as above.
        unsafe { _exit(1) };
    }
    checks.equal("a child", result(forked.into()), Err(EAGAIN));
    checks.equal(
        "a thread",
        std::thread::Builder::new().spawn(|| ()).map(drop).map_err(|error| error.raw_os_error()),
        Err(Some(EAGAIN)),
    );
    checks.equal("with a flag", usual(RESET_ON_FORK).set(), Ok(0));
    let plain = child::status(|| i32::from(Attributes::get() != Attributes::other()));
    checks.equal("a child without", plain, 0);
    checks.equal("back", Attributes::other().set(), Ok(0));
}

/// The CPUs that the caller may use.
fn cpus() -> cpu_set_t {
    // SAFETY: the set lives until the call is over; all its bits may be zero.
    unsafe {
        let mut set = std::mem::zeroed();
        sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut set);
        set
    }
}

fn use_cpus(set: &cpu_set_t) -> Result<i64, i32> {
    // SAFETY: the set lives until the call is over.
    result(unsafe { sched_setaffinity(0, size_of::<cpu_set_t>(), set) }.into())
}

/// On a machine of one CPU all of them are always used.
fn affinity(checks: &mut Checks) {
    let all = cpus();
    // SAFETY: all its bits may be zero.
    let mut one: cpu_set_t = unsafe { std::mem::zeroed() };
    let mut none = one;
    // SAFETY: both sets are as large as the number demands.
    let is_alone = unsafe {
        CPU_SET(0, &mut one);
        CPU_SET(1023, &mut none);
        CPU_COUNT(&all) == 1
    };
    checks.equal("one CPU", use_cpus(&one), Ok(0));
    checks.equal("a reservation there", usual(0).set(), if is_alone { Ok(0) } else { Err(EPERM) });
    checks.equal("all", (use_cpus(&all), usual(0).set()), (Ok(0), Ok(0)));
    let outcomes = [&one, &none, &all].map(use_cpus);
    checks.equal("with a reservation", outcomes, [if is_alone { Ok(0) } else { Err(EBUSY) }, Err(EBUSY), Ok(0)]);
    checks.equal("back", Attributes::other().set(), Ok(0));
}

/// A child with a reservation of so many hundredths of a CPU, which waits to be ended.
fn holder(hundredths: u64) -> pid_t {
    let Ok((mut start, started)) = std::io::pipe() else { return -1 };
    // SAFETY: this process has one thread.
    let child = unsafe { fork() };
    if child == 0 {
        let set = Attributes::reservation(hundredths * MILLISECOND, 100 * MILLISECOND, 0, 0).set();
        let answer = [u8::from(set.is_ok())];
        let _ = std::io::Write::write_all(&mut &started, &answer);
        loop {
            // SAFETY: takes nothing.
            unsafe { pause() };
        }
    }
    drop(started);
    let mut answer = [0];
    let _ = std::io::Read::read_exact(&mut start, &mut answer);
    if answer == [1] { child } else { -child }
}

/// Reserves so many milliseconds of each such period, says so, and waits to be ended.
pub fn hold(runtime: u64, period: u64) -> bool {
    if let Err(errno) = Attributes::reservation(runtime * MILLISECOND, period * MILLISECOND, 0, 0).set() {
        eprintln!("sched_setattr: {}", std::io::Error::from_raw_os_error(errno));
        return false;
    }
    println!("reserved");
    loop {
        // SAFETY: takes nothing.
        unsafe { pause() };
    }
}

fn end(children: &[pid_t]) {
    for child in children {
        // SAFETY: own children.
        unsafe {
            kill(child.abs(), SIGKILL);
            waitpid(child.abs(), std::ptr::null_mut(), 0);
        }
    }
}

fn admission(checks: &mut Checks) {
    // SAFETY: the set is a whole one.
    let count = unsafe { CPU_COUNT(&cpus()) } as usize;
    let half = Attributes::reservation(50 * MILLISECOND, 100 * MILLISECOND, 0, 0);
    let mut all: Vec<pid_t> = (0..count).map(|_| holder(94)).collect();
    checks.check("94 % of each CPU", all.iter().all(|&child| child > 0));
    checks.equal("half a CPU more", half.set(), Err(EBUSY));
    let limit = "/proc/sys/kernel/sched_rt_runtime_us";
    let write = |text: &str| fs::write(limit, text).map_err(|error| error.raw_os_error().unwrap_or(0));
    checks.equal("less than is reserved", write("900000"), Err(EBUSY));
    checks.equal("no limit", [write("-1"), half.set().map(drop)], [Ok(()), Ok(())]);
    checks.equal("back", Attributes::other().set(), Ok(0));
    checks.equal("the limit", write("950000"), Ok(()));
    end(&all.split_off(count - 1));
    checks.equal("in the place of one that has ended", half.set(), Ok(0));
    checks.equal("less", Attributes::reservation(40 * MILLISECOND, 100 * MILLISECOND, 0, 0).set(), Ok(0));
    checks.equal("back", Attributes::other().set(), Ok(0));
    end(&all);
    let ended = zombies(count);
    let large = Attributes::reservation(94 * MILLISECOND, 100 * MILLISECOND, 0, 0);
    checks.check("for who has ended", ended.iter().all(|&child| large.set_of(child) == Ok(0)));
    checks.equal("what these do not use", (half.set(), Attributes::other().set()), (Ok(0), Ok(0)));
    end(&ended);
    checks.equal("no time at all", (write("0"), half.set()), (Ok(()), Err(EPERM)));
    checks.equal("the limit", write("950000"), Ok(()));
}

/// Children that have ended and that nobody has waited for.
fn zombies(count: usize) -> Vec<pid_t> {
    let child = || {
        // SAFETY: this process has one thread; the structure lives until the call is over.
        unsafe {
            let child = fork();
            if child == 0 {
                _exit(0);
            }
            let mut told: siginfo_t = std::mem::zeroed();
            waitid(P_PID, child as id_t, &raw mut told, WEXITED | WNOWAIT);
            child
        }
    };
    (0..count).map(|_| child()).collect()
}

static OVERRAN: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: c_int) {
    OVERRAN.store(true, SeqCst);
}

fn overruns(checks: &mut Checks) {
    OVERRAN.store(false, SeqCst);
    checks.equal("a reservation", usual(TELL_OVERRUNS).set(), Ok(0));
    while !OVERRAN.load(SeqCst) {
        std::hint::spin_loop();
    }
    checks.equal("back", Attributes::other().set(), Ok(0));
}

/// Whoever yields waits for its next period.
fn yields(checks: &mut Checks) {
    let period = 20 * MILLISECOND;
    checks.equal("a reservation", Attributes::reservation(10 * MILLISECOND, period, 0, 0).set(), Ok(0));
    let before = Instant::now();
    for _ in 0..6 {
        // SAFETY: takes nothing.
        unsafe { sched_yield() };
    }
    checks.check("five periods", before.elapsed() >= Duration::from_nanos(5 * period));
    checks.equal("back", Attributes::other().set(), Ok(0));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    // SAFETY: the handler stores to an atomic only.
    unsafe { signal(SIGXCPU, note as *const () as sighandler_t) };
    parameters(&mut checks);
    shown(&mut checks);
    rights(&mut checks);
    children(&mut checks);
    affinity(&mut checks);
    admission(&mut checks);
    overruns(&mut checks);
    yields(&mut checks);
    checks.tell()
}
