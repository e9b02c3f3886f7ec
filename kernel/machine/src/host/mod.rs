//! The host's implementation: locks on std, CPUs that are numbers of threads, clocks that a test can set.
//!
//! It makes the crates above compile and run under `cargo test`; it moves no hardware. What makes no sense on a
//! host (user mode, a stack switch, power) panics with its name.

pub mod breakpoints;
#[cfg(not(loom))]
pub mod frame;
pub mod host;
#[cfg(not(loom))]
pub mod paging;
pub mod parking;
#[cfg(not(loom))]
pub mod user_memory;

pub mod boot {
    //! A host has no boot loader: no command line, no initramfs.
    use crate::boot::BootInfo;

    /// What is known from boot on: nothing on a host.
    pub fn info() -> &'static BootInfo {
        &BootInfo { command_line: "", initramfs: None, symbols: None, has_fw_cfg: false }
    }
}

/// A host gives no table of symbols.
pub(crate) fn symbol_table() -> Option<(u64, &'static [u8])> {
    None
}

pub mod console {
    //! Serial ports: a host has none, what is written goes to standard error.

    /// Writes to standard error, whatever the port.
    pub fn write(_port: u8, bytes: &[u8]) {
        use std::io::Write;
        // Nobody to tell if standard error is closed.
        let _ = std::io::stderr().write_all(bytes);
    }

    /// Whether serial port `port` exists: never.
    pub fn has_port(_port: u8) -> bool {
        false
    }
}

pub mod context {
    //! Kernel stacks: a value without a stack, so that tasks can be made in host tests.
    use crate::interrupts::InterruptsOff;
    use crate::user::UserContext;
    use base::Errno;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::sync::Arc;

    /// Bytes of the stack that a context would have.
    pub const STACK_SIZE: u64 = 32 * 1024;

    /// A host has no counter to refuse.
    pub fn forbid_counter() {}

    /// Nor to allow.
    pub fn allow_counter() -> bool {
        false
    }

    /// There are no kernel stacks.
    pub fn stack_bytes() -> u64 {
        0
    }

    /// A program's registers.
    pub struct ShownUser<'a> {
        user: Box<UserContext>,
        context: core::marker::PhantomData<&'a Context>,
    }

    impl core::ops::Deref for ShownUser<'_> {
        type Target = UserContext;

        fn deref(&self) -> &UserContext {
            &self.user
        }
    }

    impl core::ops::DerefMut for ShownUser<'_> {
        fn deref_mut(&mut self) -> &mut UserContext {
            &mut self.user
        }
    }

    /// What is kept of a task that does not run.
    #[derive(Debug, Default)]
    pub struct Context {
        fs: AtomicU64,
        gs: AtomicU64,
    }

    impl Context {
        /// A context that would start in `entry`.
        pub fn new(_entry: fn() -> !) -> Result<Self, Errno> {
            Ok(Self::default())
        }

        /// The context of the running thread.
        pub fn adopt_current() -> Self {
            Self::default()
        }

        /// Nothing runs on a host's contexts.
        pub fn is_running(&self) -> bool {
            false
        }

        /// Nothing shows the registers of a host's contexts.
        pub fn show_user(&self, user: Box<UserContext>) -> ShownUser<'_> {
            ShownUser { user, context: core::marker::PhantomData }
        }

        /// See [`Self::show_user`].
        pub fn user(&self, _current: bool) -> Option<UserContext> {
            None
        }

        /// A host's contexts have no stacks.
        pub fn callers(&self, _out: &mut [u64]) {}

        /// Takes over nothing: a host has no floating-point state of tasks.
        pub fn inherit_fpu(&self) {}

        /// Sets the bases of the FS and GS segments in user mode.
        pub fn set_user_bases(&self, fs: u64, gs: u64, _current: bool) {
            self.fs.store(fs, Relaxed);
            self.gs.store(gs, Relaxed);
        }

        /// The bases of FS and GS in user mode.
        pub fn user_bases(&self) -> (u64, u64) {
            (self.fs.load(Relaxed), self.gs.load(Relaxed))
        }
    }

    /// Panics: a host thread is switched by the host.
    pub fn switch(_previous: &Context, _next: &Context, _off: &InterruptsOff) {
        panic!("context::switch: there are no contexts to switch between on the host");
    }

    /// Panics, as [`switch`].
    pub fn switch_from_ended(_previous: Arc<Context>, _next: Arc<Context>, _off: InterruptsOff) -> ! {
        panic!("context::switch_from_ended: there are no contexts to switch between on the host");
    }

    /// Panics, as [`switch`].
    pub fn switch_owned(_previous: &Context, _next: Arc<Context>, _off: &InterruptsOff) {
        panic!("context::switch_owned: there are no contexts to switch between on the host");
    }

    /// What a switch leaves.
    pub struct Left {
        _next: Arc<Context>,
    }

    /// What [`switch_owned`] left: nothing.
    pub fn take_left() -> Option<Left> {
        None
    }
}

pub mod cpu {
    //! CPUs are numbers that threads carry.
    use super::host::{CPU, OFFLINE, USER_CYCLES, WANTED};
    use crate::interrupts::InterruptsOff;
    use base::{CpuId, CpuSet};
    use core::sync::atomic::Ordering::SeqCst;

    /// The CPU that this thread stands for (0 unless set).
    pub fn current() -> CpuId {
        CPU.with(|cpu| CpuId::new(cpu.get()))
    }

    /// Whether the CPU that this thread stands for is marked.
    pub fn is_wanted() -> bool {
        WANTED[current().index()].load(SeqCst)
    }

    /// Marks a CPU; says whether it was marked.
    pub fn set_wanted(cpu: CpuId) -> bool {
        WANTED[cpu.index()].swap(true, SeqCst)
    }

    /// Takes the mark from the CPU that this thread stands for.
    pub fn clear_wanted() {
        WANTED[current().index()].store(false, SeqCst);
    }

    /// The CPUs of the topology.
    pub fn possible() -> CpuSet {
        CpuSet::first(crate::topology::get().cpus.len())
    }

    /// The CPUs of the topology without those that this thread has withdrawn.
    pub fn online() -> CpuSet {
        possible().without(&OFFLINE.with(|offline| offline.get()))
    }

    /// Takes a CPU out of [`online`], for this thread.
    pub fn withdraw(cpu: CpuId) {
        OFFLINE.with(|offline| offline.set(offline.get().or(&CpuSet::only(cpu))));
    }

    /// Nothing has to be told to a host's CPU.
    pub fn park(_off: &InterruptsOff) {}

    /// The CPU that this thread stands for is in [`online`] again.
    pub fn unpark(_off: &InterruptsOff) {
        OFFLINE.with(|offline| offline.set(offline.get().without(&CpuSet::only(current()))));
    }

    /// A processor with a name and nothing else.
    pub fn identity() -> crate::cpu::Identity {
        crate::cpu::Identity { vendor: String::from("host"), name: String::from("host"), ..Default::default() }
    }

    /// The processor's feature word for programs: none.
    pub fn capability_word() -> u32 {
        0
    }

    /// The user-mode cycles that the test has set, once.
    pub fn take_user_cycles() -> u64 {
        USER_CYCLES.with(|cycles| cycles.replace(0))
    }

    /// Starts nothing: the host's CPUs are its threads.
    pub fn start_others(_entry: fn() -> !) {}

    /// Gives the host's CPU to another thread.
    pub fn halt_until_interrupt(off: InterruptsOff) {
        drop(off);
        std::thread::yield_now();
    }
}

pub mod fpu {
    //! Floating-point state: bytes that nobody interprets.
    use base::Errno;

    /// The state of the floating-point and vector registers.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct FpuState(Vec<u8>);

    impl FpuState {
        /// The bytes in the layout of XSAVE.
        pub fn bytes(&self) -> &[u8] {
            &self.0
        }

        /// What `work` does with a state whose bytes are 0.
        pub fn with_zeroed<R>(work: impl FnOnce(&mut Self) -> R) -> R {
            work(&mut Self(vec![0; state_size()]))
        }

        /// Takes a state from bytes, [`state_size`] of them, which `fill` gives. Errors: those of `fill`.
        pub fn fill(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), Errno>) -> Result<(), Errno> {
            fill(&mut self.0)
        }
    }

    /// Bytes of a state: those of FXSAVE.
    pub fn state_size() -> usize {
        512
    }

    /// The parts of a state: none besides FXSAVE's.
    pub fn state_parts() -> u64 {
        0
    }

    /// What `work` does with the state of the current task: zeroes.
    pub fn with_current<R>(work: impl FnOnce(&mut FpuState) -> R) -> R {
        FpuState::with_zeroed(work)
    }

    /// Saves the state of the current task in user memory: zeroes.
    #[cfg(not(loom))]
    pub fn save_to_user(address: u64) -> Result<(), Errno> {
        crate::user_memory::zero(address, state_size())
    }

    /// Takes over a state from user memory: nothing to do.
    pub fn load_from_user(_address: u64, _parts: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// The same.
    pub fn load_legacy_from_user(_address: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// Gives the task the state of a new program: nothing to do.
    pub fn reset_current() {}

    /// Takes over a state: nothing to do.
    pub fn load_current(_state: &FpuState) {}
}

pub mod interrupts {
    //! A host has no interrupts to turn off; the guard counts, so that `enabled` answers as on the machine.
    use super::host::INTERRUPTS_OFF;
    use core::marker::PhantomData;

    /// Keeps interrupts off until dropped.
    #[derive(Debug)]
    pub struct InterruptsOff {
        not_send: PhantomData<*const ()>,
    }

    /// Turns interrupts off.
    pub fn off() -> InterruptsOff {
        INTERRUPTS_OFF.with(|depth| depth.set(depth.get() + 1));
        InterruptsOff { not_send: PhantomData }
    }

    /// Nothing interrupts a host's CPU.
    pub fn counts(_cpu: base::CpuId) -> crate::interrupts::Counts {
        crate::interrupts::Counts::default()
    }

    /// Whether interrupts are on.
    pub fn enabled() -> bool {
        INTERRUPTS_OFF.with(|depth| depth.get() == 0)
    }

    impl Drop for InterruptsOff {
        fn drop(&mut self) {
            INTERRUPTS_OFF.with(|depth| depth.set(depth.get() - 1));
        }
    }
}

pub mod ipi {
    //! Interrupts between CPUs: counted, or done at once on the caller's thread.
    use super::host::RESCHEDULES;
    use base::{CpuId, CpuSet};
    use core::sync::atomic::Ordering::Relaxed;

    /// Notes that `cpu` was asked to reschedule; `host::reschedules` tells how often.
    pub fn reschedule(cpu: CpuId) {
        RESCHEDULES[cpu.index()].fetch_add(1, Relaxed);
    }

    /// Calls `f` once for each CPU of the set, on this thread, which carries that CPU's number meanwhile.
    pub fn call(cpus: &CpuSet, f: &(dyn Fn() + Sync)) {
        let here = crate::cpu::current();
        for cpu in cpus.iter() {
            super::host::set_cpu(cpu);
            f();
        }
        super::host::set_cpu(here);
    }
}

pub mod log {
    //! The log goes to standard error; what is kept is for the whole test program.
    use crate::log::Ring;
    use core::fmt;
    use std::sync::{Mutex, PoisonError};

    static RING: Mutex<Ring> = Mutex::new(Ring::new());

    /// Shows a line, which has no newline, behind `stamp`.
    pub fn show(stamp: fmt::Arguments<'_>, line: &[u8]) {
        eprintln!("{stamp}{}", String::from_utf8_lossy(line));
    }

    /// Looks at or adds to what is kept.
    pub fn with_ring<R>(f: impl FnOnce(&mut Ring) -> R) -> R {
        f(&mut RING.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody sleeps on a host: who waits looks again and again.
    pub fn tell_readers() {}
}

pub mod power {
    //! A host test ends by itself.

    /// Panics.
    pub fn off() -> ! {
        panic!("power::off on the host")
    }

    /// Panics.
    pub fn reset() -> ! {
        panic!("power::reset on the host")
    }

    /// Panics.
    pub fn exit_qemu(code: u8) -> ! {
        panic!("power::exit_qemu({code}) on the host")
    }

    /// Panics.
    pub fn halt_all() -> ! {
        panic!("power::halt_all on the host")
    }
}

pub mod random {
    //! Random bytes from the host's hash seeds.
    use std::hash::{BuildHasher, RandomState};

    /// Fills `out` with bytes that differ from run to run.
    pub fn fill(out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = RandomState::new().hash_one(chunk.len()).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

pub mod time {
    //! The host's clock, or the one that the test has set for its thread.
    use super::host::CLOCK;
    use std::{sync::LazyLock, time::Instant, time::SystemTime};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// Nanoseconds since boot.
    pub fn now() -> u64 {
        CLOCK.with(|clock| clock.get()).unwrap_or_else(|| START.elapsed().as_nanos() as u64)
    }

    /// Nanoseconds since the epoch.
    pub fn realtime() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }

    /// What that is ahead of the time since boot.
    pub fn epoch() -> u64 {
        realtime().saturating_sub(now())
    }

    /// Changes nothing: the time of day is the host's.
    pub fn set_epoch(_epoch: u64) {}

    /// Lets go of the frame: no program runs here that could read the clock.
    #[cfg(not(loom))]
    pub fn share(_page: crate::frame::Frame) {}

    /// Cycles of the counter in a second: one per nanosecond.
    pub fn cycles_per_second() -> u64 {
        1_000_000_000
    }

    /// Nanoseconds of one cycle, in units of 2^-32.
    pub(crate) fn nanoseconds_per_cycle() -> u64 {
        1 << 32
    }
}

pub mod timer {
    //! The one-shot timer: remembered, never fired.
    use super::host::DEADLINE;

    /// Remembers the deadline; `host::deadline` tells it.
    pub fn set(deadline: Option<u64>) {
        DEADLINE.with(|set| set.set(deadline));
    }
}

pub mod topology {
    //! Four CPUs on two nodes, or what the test has set for its thread.
    use super::host::TOPOLOGY;
    use crate::topology::Topology;

    /// The machine as a whole.
    pub fn get() -> &'static Topology {
        TOPOLOGY.with(|topology| topology.get()).unwrap_or_else(super::host::default_topology)
    }
}

pub mod user {
    //! User mode does not exist on the host.
    use crate::user::{Exit, Registers};

    /// The user-mode state of a task.
    #[derive(Clone, Debug, Default)]
    pub struct UserContext {
        /// The general registers.
        pub registers: Registers,
        /// The system call that it came by.
        pub call: u64,
    }

    impl UserContext {
        /// Panics: a host test has no user mode.
        pub fn run(&mut self) -> Exit {
            panic!("UserContext::run on the host")
        }
    }
}
