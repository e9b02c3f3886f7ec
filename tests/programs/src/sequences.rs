//! Restartable sequences, `rseq(2)`, and memory barriers on the CPUs of others, `membarrier(2)`.

use crate::child;
use libc::*;
use std::{
    arch::asm,
    io::Error,
    ptr::{null, null_mut},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
};

const SIGNATURE: u32 = 0x5305_3053;
const UNREGISTER: c_int = 1;
const NO_CPU: u32 = u32::MAX;

/// `struct rseq`.
#[repr(C, align(32))]
struct Area {
    start: AtomicU32,
    cpu: AtomicU32,
    sequence: AtomicU64,
    flags: AtomicU32,
    node: AtomicU32,
    rest: [u32; 2],
}

/// `struct rseq_cs`.
#[repr(C, align(32))]
#[derive(Default)]
struct Description {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

impl Area {
    const fn new() -> Self {
        Self {
            start: AtomicU32::new(7),
            cpu: AtomicU32::new(7),
            sequence: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            node: AtomicU32::new(7),
            rest: [0; 2],
        }
    }

    fn register(&self, length: usize, flags: c_int, signature: u32) -> i32 {
        // SAFETY: the areas here are never freed, and the kernel writes to them what they are made for.
        errno_of(unsafe { syscall(SYS_rseq, self, length, flags, signature) })
    }

    fn cpus(&self) -> (u32, u32) {
        (self.start.load(SeqCst), self.cpu.load(SeqCst))
    }

    /// Goes round in a sequence until it is torn; what it was.
    fn spin(&self) -> Description {
        let mut description = Description::default();
        // SAFETY: the sequence is described as it is before it is entered, and touches nothing; what makes no sense as
        // an instruction is jumped over.
        unsafe {
            asm!(
                "lea {at}, [rip + 2f]",
                "mov [{description} + 8], {at}",
                "lea {end}, [rip + 3f]",
                "sub {end}, {at}",
                "mov [{description} + 16], {end}",
                "lea {at}, [rip + 4f]",
                "mov [{description} + 24], {at}",
                "mov [{area} + 8], {description}",
                "2:",
                "pause",
                "jmp 2b",
                "3:",
                ".long 0x53053053",
                "4:",
                description = in(reg) &raw mut description,
                area = in(reg) self,
                at = out(reg) _,
                end = out(reg) _,
            );
        }
        description
    }
}

fn errno_of(result: c_long) -> i32 {
    if result < 0 { Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

fn barrier(command: c_int, flags: u32, cpu: c_int) -> Result<i64, i32> {
    // SAFETY: takes no address.
    let result = unsafe { syscall(SYS_membarrier, command, flags, cpu) };
    if result < 0 { Err(errno_of(result)) } else { Ok(result) }
}

/// The CPU that the task runs on, and its node.
fn place() -> (u32, u32) {
    let (mut cpu, mut node) = (0, 0);
    // SAFETY: two numbers that live until the call is over.
    unsafe { syscall(SYS_getcpu, &raw mut cpu, &raw mut node, 0) };
    (cpu, node)
}

/// The CPUs that the task may use.
fn allowed() -> Vec<usize> {
    // SAFETY: all zeros is a set of CPUs, which lives until the call is over.
    unsafe {
        let mut set: cpu_set_t = std::mem::zeroed();
        sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut set);
        (0..CPU_SETSIZE as usize).filter(|&cpu| CPU_ISSET(cpu, &set)).collect()
    }
}

fn stay_on(cpus: &[usize]) {
    // SAFETY: as above.
    unsafe {
        let mut set: cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|&cpu| CPU_SET(cpu, &mut set));
        sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const set);
    }
}

static HANDLED: AtomicBool = AtomicBool::new(false);

/// Where the handler goes back to.
static GOES_ON_AT: AtomicU64 = AtomicU64::new(0);

extern "C" fn handle(_signal: c_int, _: *const siginfo_t, context: *const ucontext_t) {
    // SAFETY: the kernel points to the context, which lives until the handler is over.
    let address = unsafe { (*context).uc_mcontext.gregs[REG_RIP as usize] };
    GOES_ON_AT.store(address as u64, SeqCst);
    HANDLED.store(true, SeqCst);
}

fn handle_signal(signal: c_int) {
    // SAFETY: zeros are an action; the handler only stores to statics.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handle as *const () as sighandler_t, SA_SIGINFO);
        sigaction(signal, &raw const action, null_mut());
    }
}

/// Whether a signal that comes in a sequence tears it.
fn is_torn_by_signal(area: &Area) -> bool {
    let soon =
        itimerval { it_interval: timeval { tv_sec: 0, tv_usec: 0 }, it_value: timeval { tv_sec: 0, tv_usec: 5_000 } };
    loop {
        HANDLED.store(false, SeqCst);
        // SAFETY: the time lives until the call is over.
        unsafe { setitimer(ITIMER_REAL, &raw const soon, null_mut()) };
        let sequence = area.spin();
        // A task that came to this CPU may have torn it: the signal comes later, and finds no sequence.
        while !HANDLED.load(SeqCst) {
            std::hint::spin_loop();
        }
        let address = GOES_ON_AT.load(SeqCst);
        if address == sequence.abort {
            return true;
        }
        if address.wrapping_sub(sequence.start) < sequence.length {
            return false;
        }
    }
}

/// A place to go on at: behind a signature.
static SIGNED: [u32; 2] = [SIGNATURE, 0];

/// What becomes of a child that says it is in a sequence which it describes so, when a handler is to be entered. What
/// `describe` is shown is right.
fn told(area: &Area, describe: impl FnOnce(&mut Description) -> bool) -> i32 {
    child::status(|| {
        let abort = (&raw const SIGNED[1]) as u64;
        let mut description = Description { start: 0x1000, length: 8, abort, ..Description::default() };
        let is_pointed_to = describe(&mut description);
        let address = if is_pointed_to { (&raw const description) as u64 } else { 8 };
        area.sequence.store(address, SeqCst);
        // SAFETY: takes no address.
        unsafe { raise(SIGUSR1) };
        i32::from(area.sequence.load(SeqCst) != 0)
    })
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what}");
        }
    };
    static AREA: Area = Area::new();
    static OTHER: Area = Area::new();
    let area = &AREA;
    check("a flag that there is not", area.register(32, 2, SIGNATURE) == EINVAL);
    check("nothing to unregister", area.register(32, UNREGISTER, SIGNATURE) == EINVAL);
    check("too short", area.register(24, 0, SIGNATURE) == EINVAL);
    // SAFETY: addresses that the kernel must refuse.
    let at = |address: usize| errno_of(unsafe { syscall(SYS_rseq, address, 32, 0, SIGNATURE) });
    check("misaligned", at(&raw const AREA as usize + 16) == EINVAL);
    check("no user address", at(1 << 47) == EFAULT);
    check("registered", area.register(32, 0, SIGNATURE) == 0);
    check("registered twice", area.register(32, 0, SIGNATURE) == EBUSY);
    check("with another signature", area.register(32, 0, 1) == EPERM);
    check("with another length", area.register(64, 0, SIGNATURE) == EINVAL);
    check("another area", OTHER.register(32, 0, SIGNATURE) == EINVAL);
    check("unregistered with another signature", area.register(32, UNREGISTER, 1) == EPERM);

    let cpus = allowed();
    for &cpu in cpus.iter().cycle().take(cpus.len() + 1) {
        stay_on(&[cpu]);
        let here = cpu as u32;
        check("the area tells the CPU", area.cpus() == (here, here) && place().0 == here);
        check("and its node", area.node.load(SeqCst) == place().1);
    }
    handle_signal(SIGALRM);
    check("a signal tears a sequence", is_torn_by_signal(area));
    check("which is over then", area.sequence.load(SeqCst) == 0);
    // SAFETY: the child, on the same CPU, is busy until it is killed; this process has one thread.
    let rival = unsafe { fork() };
    if rival == 0 {
        loop {
            std::hint::spin_loop();
        }
    }
    area.spin();
    check("another task on the CPU tears a sequence", area.sequence.load(SeqCst) == 0);
    // SAFETY: the child of above.
    unsafe { (kill(rival, SIGKILL), waitpid(rival, null_mut(), 0)) };
    stay_on(&cpus);

    handle_signal(SIGUSR1);
    let killed = 128 + SIGSEGV;
    check("a child has the area too", child::status(|| area.register(32, UNREGISTER, SIGNATURE)) == 0);
    check("a sequence elsewhere is over", told(area, |_| true) == 0);
    check("one that can't be read kills", told(area, |_| false) == killed);
    let version = told(area, |description| {
        description.version = 1;
        true
    });
    check("a version that there is not kills", version == killed);
    let inside = told(area, |description| {
        description.start = description.abort - 4;
        true
    });
    check("a way out inside kills", inside == killed);
    let long = told(area, |description| {
        description.length = u64::MAX;
        true
    });
    check("one that wraps kills", long == killed);
    static UNSIGNED: [u32; 2] = [0; 2];
    let unsigned = told(area, |description| {
        description.abort = (&raw const UNSIGNED[1]) as u64;
        true
    });
    check("a way out without the signature kills", unsigned == killed);

    check("another thread has none", other_thread(|| OTHER.register(32, UNREGISTER, SIGNATURE)) == EINVAL);
    barriers(&mut check, &OTHER);
    check("unregistered", area.register(32, UNREGISTER, SIGNATURE) == 0);
    check("the area says so", area.cpus() == (0, NO_CPU) && area.node.load(SeqCst) == 0);
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

fn other_thread(act: impl FnOnce() -> i32 + Send + 'static) -> i32 {
    std::thread::spawn(act).join().unwrap_or(-1)
}

/// `membarrier(2)`; a thread of its own uses the area.
fn barriers(check: &mut impl FnMut(&str, bool), area: &'static Area) {
    const GLOBAL: c_int = 1;
    const GLOBAL_EXPEDITED: c_int = 2;
    const PRIVATE: c_int = 8;
    const SYNC_CORE: c_int = 32;
    const SEQUENCES: c_int = 128;
    const REGISTRATIONS: c_int = 512;
    check("all commands are there", barrier(0, 0, 0) == Ok(1023));
    check("no command has this number", barrier(1024, 0, 0) == Err(EINVAL) && barrier(-1, 0, 0) == Err(EINVAL));
    check("nor two at once", barrier(GLOBAL | PRIVATE, 0, 0) == Err(EINVAL));
    check("a flag where there is none", barrier(0, 1, 0) == Err(EINVAL) && barrier(PRIVATE, 1, 0) == Err(EINVAL));
    check("a flag that there is not", barrier(SEQUENCES, 2, 0) == Err(EINVAL));
    check("for all", barrier(GLOBAL, 0, 0) == Ok(0) && barrier(GLOBAL_EXPEDITED, 0, 0) == Ok(0));
    check("nothing is registered", barrier(REGISTRATIONS, 0, 0) == Ok(0));
    for command in [PRIVATE, SYNC_CORE, SEQUENCES] {
        check("unregistered", barrier(command, 0, 0) == Err(EPERM));
        check("to be registered", barrier(command << 1, 0, 0) == Ok(0));
        check("registered", barrier(command, 0, 0) == Ok(0));
    }
    check("three are registered", barrier(REGISTRATIONS, 0, 0) == Ok((PRIVATE | SYNC_CORE | SEQUENCES) as i64 * 2));
    check("a child has registered too", child::status(|| i32::from(barrier(PRIVATE, 0, 0) != Ok(0))) == 0);
    check("a CPU that there is not", barrier(SEQUENCES, 1, 1_000_000) == Ok(0));

    static TORN: AtomicBool = AtomicBool::new(false);
    let thread = std::thread::spawn(move || {
        let registered = area.register(32, 0, SIGNATURE);
        area.spin();
        TORN.store(true, SeqCst);
        registered
    });
    while !TORN.load(SeqCst) {
        barrier(SEQUENCES, 1, area.cpu.load(SeqCst) as c_int).ok();
        barrier(SEQUENCES, 0, 0).ok();
        // SAFETY: takes no address.
        unsafe { poll(null::<pollfd>().cast_mut(), 0, 1) };
    }
    check("a barrier tears another's sequence", thread.join().is_ok_and(|registered| registered == 0));
}
