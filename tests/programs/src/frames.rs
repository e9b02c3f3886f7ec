//! What a signal handler finds on its stack, and what becomes of a frame that it has changed: registers, FPU state, stacks
//! that end too early.

use crate::{checks::Checks, child};
use libc::*;
use std::{
    arch::asm,
    mem::zeroed,
    ptr::null_mut,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
};

const PAGE: usize = 4096;
/// What a child that is killed by SIGSEGV ends with.
const KILLED: i32 = 128 + SIGSEGV;
/// Where things lie in an FPU state.
const CONTROL: usize = 24;
const MARK: usize = 464;
const FEATURES: usize = 472;
const SIZE: usize = 480;
const IN_USE: usize = 512;
/// The SSE control word that a program starts with.
const DEFAULT_CONTROL: u32 = 0x1f80;

/// The vector registers and the SSE control word.
#[repr(C, align(32))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Registers {
    vectors: [[u8; 32]; 16],
    control: u32,
}

/// Declares a function that loads registers, sends the process a signal, and gives what is in the registers afterwards.
macro_rules! raise {
    ($name:ident, $instruction:literal, $kind:literal) => {
        fn $name(before: &Registers) -> Registers {
            let mut after = Registers { vectors: [[0; 32]; 16], control: 0 };
            // SAFETY: loads and stores what is there; all registers that it changes are told, and the control word is as
            // before at the end.
            unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    concat!($instruction, " ", $kind, "\\n, [{before} + 32 * \\n]"),
                    ".endr",
                    "ldmxcsr [{before} + 512]",
                    "syscall",
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    concat!($instruction, " [{after} + 32 * \\n], ", $kind, "\\n"),
                    ".endr",
                    "stmxcsr [{after} + 512]",
                    "ldmxcsr [{control}]",
                    before = in(reg) before,
                    after = in(reg) &raw mut after,
                    control = in(reg) &DEFAULT_CONTROL,
                    inout("rax") SYS_kill => _,
                    in("rdi") getpid(),
                    in("rsi") SIGUSR1,
                    clobber_abi("sysv64"),
                );
            }
            after
        }
    };
}

raise!(raise_wide, "vmovdqu", "ymm");
raise!(raise_narrow, "movdqu", "xmm");

fn has_halves() -> bool {
    is_x86_feature_detected!("avx")
}

fn raise(before: &Registers) -> Registers {
    if has_halves() { raise_wide(before) } else { raise_narrow(before) }
}

/// Registers that can be told from others with another `seed`.
fn pattern(seed: u8) -> Registers {
    let mut registers = Registers { vectors: [[0; 32]; 16], control: DEFAULT_CONTROL | u32::from(seed % 4) << 13 };
    for (number, vector) in registers.vectors.iter_mut().enumerate() {
        vector.fill(seed ^ (number as u8) << 4);
        if !has_halves() {
            vector[16..].fill(0);
        }
    }
    registers
}

/// The same without what only AVX knows.
fn lower_halves(mut registers: Registers) -> Registers {
    registers.vectors.iter_mut().for_each(|vector| vector[16..].fill(0));
    registers
}

/// `ucontext_t` of a handler, as words.
#[derive(Clone, Copy)]
struct Frame(*mut u64);

impl Frame {
    /// Where the FPU state is.
    fn state(self) -> usize {
        // SAFETY: the kernel has written a context there.
        unsafe { self.0.add(28).read() as usize }
    }

    fn put_state(self, address: usize) {
        // SAFETY: as above; what the kernel makes of it is what is to be seen.
        unsafe { self.0.add(28).write(address as u64) };
    }

    fn mask(self) -> u64 {
        // SAFETY: as above.
        unsafe { self.0.add(MASK).read() }
    }

    /// Changes a word of the FPU state.
    fn change(self, offset: usize, change: impl FnOnce(u32) -> u32) {
        let place = (self.state() + offset) as *mut u32;
        // SAFETY: the offsets here are within the state that the kernel has written.
        unsafe { place.write(change(place.read())) };
    }

    fn word(self, offset: usize) -> u32 {
        // SAFETY: as above.
        unsafe { ((self.state() + offset) as *const u32).read() }
    }

    /// Has the state where no page has been touched yet, in two of them.
    fn move_to_fresh_pages(self) {
        let length = self.word(SIZE) as usize + 4;
        // SAFETY: a file of this process's own, written from the state and mapped elsewhere.
        unsafe {
            let file = syscall(SYS_memfd_create, c"state".as_ptr(), 0) as c_int;
            pwrite(file, self.state() as *const c_void, length, (PAGE - 576) as off_t);
            let fresh = mmap(null_mut(), 2 * PAGE, PROT_READ, MAP_SHARED, file, 0);
            self.put_state(fresh as usize + PAGE - 576);
        }
    }
}

/// What is in the registers after a handler.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Comes {
    /// What was there before.
    Back,
    /// Of it what SSE knows.
    Lower,
    /// What a new program has.
    Initial,
    /// Nothing: the process dies.
    Death,
}

type Edit = (&'static str, fn(Frame), Comes);

/// What handlers do to their frames.
const EDITS: &[Edit] = &[
    ("nothing", |_| {}, Comes::Back),
    ("the state elsewhere", Frame::move_to_fresh_pages, Comes::Back),
    ("no state", |frame| frame.put_state(0), Comes::Initial),
    ("no first mark", |frame| frame.change(MARK, |_| 0), Comes::Lower),
    ("no last mark", |frame| frame.change(frame.word(SIZE) as usize, |_| 0), Comes::Lower),
    ("a size beyond the processor's", |frame| frame.change(SIZE, |_| 1 << 20), Comes::Lower),
    ("a size of the first part", |frame| frame.change(SIZE, |_| 512), Comes::Lower),
    ("halves not in use", |frame| frame.change(IN_USE, |used| used & !4), Comes::Lower),
    ("halves not among the features", |frame| frame.change(FEATURES, |_| 3), Comes::Lower),
    ("features that there are not", |frame| frame.change(FEATURES + 4, |_| u32::MAX), Comes::Back),
    ("reserved bits of the control word", |frame| frame.change(CONTROL, |_| u32::MAX), Comes::Death),
    ("a part in use that there is not", |frame| frame.change(IN_USE + 4, |_| 1 << 29), Comes::Death),
    ("the compact form", |frame| frame.change(IN_USE + 12, |_| 1 << 31), Comes::Death),
    ("reserved bytes of the header", |frame| frame.change(IN_USE + 16, |_| 1), Comes::Death),
    ("a state on 8 bytes", |frame| frame.put_state(frame.state() + 8), Comes::Death),
    ("a state nowhere", |frame| frame.put_state(PAGE), Comes::Death),
    ("a state in the kernel", |frame| frame.put_state(0xffff_8000_0000_0000), Comes::Death),
    ("a state at the end of user addresses", |frame| frame.put_state(0x7fff_ffff_ee00), Comes::Death),
    ("a state that no program can have", |frame| frame.put_state(0x8000_0000_0000_0000), Comes::Death),
];

/// The edit that handlers do.
static EDIT: AtomicUsize = AtomicUsize::new(0);
/// What a handler has found wrong.
static WRONG: AtomicU32 = AtomicU32::new(0);
/// Where a local variable of the handler was.
static STACK: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let here = 0_u8;
    STACK.store((&raw const here).addr(), SeqCst);
    let frame = Frame(context.cast());
    // SAFETY: loads only the control word, which the return loads again, and clears registers that are told.
    unsafe {
        if has_halves() {
            asm!("vzeroall", "ldmxcsr [{0}]", in(reg) &0x3f80_u32, clobber_abi("sysv64"));
        } else {
            asm!("xorps xmm0, xmm0", "xorps xmm7, xmm7", "ldmxcsr [{0}]", in(reg) &0x3f80_u32, clobber_abi("sysv64"));
        }
    }
    // SAFETY: the kernel has filled it in.
    let sender = unsafe { ((*info).si_signo, (*info).si_pid()) };
    let mut wrong = 0;
    let mut must = |what: bool, bit: u32| wrong |= u32::from(!what) << bit;
    // SAFETY: takes no address.
    must(sender == (signal, unsafe { getpid() }), 0);
    must(frame.state().is_multiple_of(64), 1);
    must(frame.word(MARK) == 0x4650_5853, 2);
    must(frame.word(MARK + 4) == frame.word(SIZE) + 4, 3);
    must(frame.word(frame.word(SIZE) as usize) == 0x4650_5845, 4);
    must(frame.word(FEATURES) & 3 == 3 && has_halves() == (frame.word(FEATURES) & 4 != 0), 5);
    must(frame.word(IN_USE) & !frame.word(FEATURES) == 0, 6);
    must((8..64).step_by(4).all(|at| frame.word(IN_USE + at) == 0), 7);
    WRONG.fetch_or(wrong, SeqCst);
    (EDITS[EDIT.load(SeqCst)].1)(frame);
}

fn catch(signal: c_int, handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void), flags: c_int) {
    // SAFETY: all zeros is an action; the handlers here are functions of this type.
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = SA_SIGINFO | flags;
        sigaction(signal, &raw const action, null_mut());
    }
}

/// What comes of a signal whose handler does the edit of this number: 0 what was expected, 1 other registers, 2 another
/// frame than expected.
fn edited(number: usize, seed: u8) -> i32 {
    EDIT.store(number, SeqCst);
    let before = pattern(seed);
    let after = raise(&before);
    let expected = match EDITS[number].2 {
        Comes::Back | Comes::Death => before,
        Comes::Lower => lower_halves(before),
        Comes::Initial => Registers { vectors: [[0; 32]; 16], control: DEFAULT_CONTROL },
    };
    if WRONG.load(SeqCst) != 0 {
        println!("wrong: the frame of {}: {:#x}", EDITS[number].0, WRONG.load(SeqCst));
        2
    } else {
        i32::from(after != expected)
    }
}

/// Handlers that change their frames, each in a child.
fn edits(checks: &mut Checks) {
    for (number, &(name, _, comes)) in EDITS.iter().enumerate() {
        let found = child::status(|| {
            catch(SIGUSR1, handler, 0);
            edited(number, 0x35)
        });
        checks.equal(name, found, if comes == Comes::Death { KILLED } else { 0 });
    }
}

/// A stack for handlers of which the last `room` bytes are in a page that may be written; below is one of another kind.
fn stack(room: usize, below: c_int) -> usize {
    // SAFETY: new memory that nobody else knows.
    unsafe {
        let pages = mmap(null_mut(), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(pages, 2 * PAGE, below);
        let base = pages as usize + room;
        let stack = stack_t { ss_sp: base as *mut c_void, ss_flags: 0, ss_size: 2 * PAGE };
        sigaltstack(&raw const stack, null_mut());
        base
    }
}

/// Stacks that end within a frame.
fn stacks(checks: &mut Checks) {
    let mut on = |what: &str, room: usize, below: c_int, expected: i32| {
        let found = child::status(|| {
            catch(SIGUSR1, handler, SA_ONSTACK);
            let base = stack(room, below);
            let result = edited(0, 0x5a);
            let used = STACK.load(SeqCst);
            if (base..base + 2 * PAGE).contains(&used) { result } else { 3 }
        });
        checks.equal(&format!("{what}, room {room}"), found, expected);
    };
    // All of the frame, and parts of the context and of the state, lie below.
    for room in [1, 100, 300, 600, 800, 1000, 1200] {
        on("a stack without memory below", room, PROT_NONE, KILLED);
        on("a stack that can't be written below", room, PROT_READ, KILLED);
        on("a stack that was never touched", room, PROT_READ | PROT_WRITE, 0);
    }
}

/// Calls sigreturn with a stack pointer where no frame is.
fn lost(pointer: usize) -> i32 {
    // SAFETY: never comes back: the process is killed.
    unsafe { asm!("mov rsp, {0}", "syscall", "ud2", in(reg) pointer, in("rax") SYS_rt_sigreturn, options(noreturn)) }
}

fn returns_to_nowhere(checks: &mut Checks) {
    for pointer in [0, PAGE, 0x7fff_ffff_eff8, 0xffff_8000_0000_0000] {
        checks.equal(&format!("sigreturn at {pointer:#x}"), child::status(|| lost(pointer)), KILLED);
    }
}

extern "C" fn fault_handler(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let blocks = Frame(context.cast()).mask() & 1 << (SIGUSR1 - 1) != 0;
    // SAFETY: ends the process.
    unsafe { _exit(if blocks { 7 } else { 8 }) };
}

/// A handler that can't be entered in sigsuspend: the frame of the fault has the mask from before that call.
fn suspended(checks: &mut Checks) {
    let found = child::status(|| {
        catch(SIGUSR1, handler, SA_ONSTACK);
        catch(SIGSEGV, fault_handler, 0);
        stack(1, PROT_NONE);
        // SAFETY: sets that live until the calls are over.
        unsafe {
            let (mut blocked, mut nothing): (sigset_t, sigset_t) = (zeroed(), zeroed());
            sigemptyset(&raw mut nothing);
            sigemptyset(&raw mut blocked);
            sigaddset(&raw mut blocked, SIGUSR1);
            sigprocmask(SIG_BLOCK, &raw const blocked, null_mut());
            kill(getpid(), SIGUSR1);
            sigsuspend(&raw const nothing);
        }
        1
    });
    checks.equal("the mask after a frame that could not be written", found, 7);
}

/// What [`marking_handler`] puts into its frame.
const MARKED: u64 = 0x1357_9bdf_0246_8ace;
/// Where `r15` is in a `ucontext_t`, in words; and `uc_sigmask`.
const R15: usize = 12;
const MASK: usize = 37;

extern "C" fn marking_handler(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let frame = Frame(context.cast());
    // SAFETY: the kernel has written a context there.
    unsafe {
        frame.0.add(R15).write(MARKED);
        frame.0.add(MASK).write(frame.mask() | 1 << (SIGUSR2 - 1));
    }
    frame.put_state(PAGE);
}

extern "C" fn marked_handler(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let frame = Frame(context.cast());
    // SAFETY: as above; then the process ends.
    unsafe {
        let is_marked = frame.0.add(R15).read() == MARKED && frame.mask() & 1 << (SIGUSR2 - 1) != 0;
        _exit(if is_marked { 7 } else { 8 });
    }
}

/// A frame whose FPU state can't be read: the fault finds what was blocked and the registers taken back already.
fn half_a_return(checks: &mut Checks) {
    let found = child::status(|| {
        catch(SIGUSR1, marking_handler, 0);
        catch(SIGSEGV, marked_handler, 0);
        raise(&pattern(1));
        1
    });
    checks.equal("what a frame without a state gives back", found, 7);
}

/// Processes that take signals and turns, each with registers of its own.
fn together(checks: &mut Checks) {
    let children: Vec<_> = (0..4)
        .map(|seed| {
            child::start(move || {
                catch(SIGUSR1, handler, 0);
                (0..500).map(|round| edited(0, seed * 64 + (round % 64) as u8)).max().unwrap_or(9)
            })
        })
        .collect();
    for ends in children {
        checks.equal("registers of one of several", ends(), 0);
    }
}

/// Tries all of them.
pub fn run() -> bool {
    let limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit that lives until the call is over. Who faults is to die, and not by the runtime's handler; without a
    // core.
    unsafe {
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &raw const limit);
    }
    let mut checks = Checks::default();
    edits(&mut checks);
    stacks(&mut checks);
    returns_to_nowhere(&mut checks);
    suspended(&mut checks);
    half_a_return(&mut checks);
    together(&mut checks);
    checks.tell()
}
