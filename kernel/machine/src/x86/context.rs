//! Contexts: what a CPU must remember of a task that does not run, and switching between two.
//!
//! Callee-saved registers stay on the task's kernel stack. FPU state lies at the top of that stack, so that a
//! new task costs one piece of memory. FS and GS bases are kept here: programs change them only by asking the
//! kernel (FSGSBASE is off).

use super::interrupts::{self, InterruptsOff};
pub use super::stack::STACK_SIZE;
use super::stack::Stack;
use super::{cpu, fpu};
use crate::paging::USER_END;
use crate::user::UserContext;
use alloc::boxed::Box;
use alloc::sync::Arc;
use base::Errno;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::{FsBase, KernelGsBase};

/// Bytes of all kernel stacks, those that are kept for later included.
pub fn stack_bytes() -> u64 {
    super::stack::mapped_bytes()
}

/// A kernel stack and the state of what runs on it.
#[derive(Debug)]
pub struct Context {
    /// The stack; `None` for a context that adopted the one it ran on.
    stack: Option<Stack>,
    /// Where the FPU state lies on that stack; null without one.
    area: *mut u8,
    /// The stack pointer while it does not run. For the CPU that has set `running`, and for the switch away.
    stack_pointer: UnsafeCell<u64>,
    /// Whether a CPU runs it, or is still saving it.
    running: AtomicBool,
    fs_base: AtomicU64,
    gs_base: AtomicU64,
    /// The registers of the program that runs on it, from a [`ShownUser`]; null for none.
    user: AtomicPtr<UserContext>,
}

// SAFETY: the stack pointer and the FPU area are read and written only in `switch`, by the CPU that took `running`
// (or by the only owner, before the context has run); clearing it hands both on, with all that was stored before.
// The rest is atomic or does not change.
unsafe impl Sync for Context {}
// SAFETY: as above; nothing in it belongs to a CPU.
unsafe impl Send for Context {}

impl Context {
    /// A context that will begin with `entry`, interrupts on, in the state of a new program.
    ///
    /// Errors: `ENOMEM`.
    pub fn new(entry: fn() -> !) -> Result<Self, Errno> {
        let stack = Stack::new()?;
        let area = stack.top().wrapping_sub(fpu::area_size());
        // SAFETY: the stack is new and ours; its top has room for the state and, below it, for what `begin` and
        // `switch_stacks` pop: six callee-saved registers (`entry` in rbx), the address of `begin`, and a zero as
        // the end of backtraces. The area is on 64 bytes, so the ABI's alignment holds in `begin`.
        let pointer = unsafe {
            fpu::write_initial(area);
            let words: [u64; 8] = [0, 0, 0, 0, entry as usize as u64, 0, begin as *const () as u64, 0];
            let place = area.cast::<[u64; 8]>().sub(1);
            place.write(words);
            place.expose_provenance() as u64
        };
        Ok(Self {
            stack: Some(stack),
            area,
            stack_pointer: UnsafeCell::new(pointer),
            running: AtomicBool::new(false),
            fs_base: AtomicU64::new(0),
            gs_base: AtomicU64::new(0),
            user: AtomicPtr::new(core::ptr::null_mut()),
        })
    }

    /// The context of what runs on this CPU now, on whatever stack: it becomes the CPU's idle task. It has no
    /// user state.
    pub fn adopt_current() -> Self {
        Self {
            stack: None,
            area: core::ptr::null_mut(),
            stack_pointer: UnsafeCell::new(0),
            running: AtomicBool::new(true),
            fs_base: AtomicU64::new(0),
            gs_base: AtomicU64::new(0),
            user: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Gives the program's FS and GS bases. For the current task's own context they take effect at once.
    /// Panics for an address that is not user mode's: with the kernel's in GS, a non-maskable interrupt would take the
    /// program's data for the kernel's.
    pub fn set_user_bases(&self, fs: u64, gs: u64, current: bool) {
        assert!(fs < USER_END && gs < USER_END, "FS base {fs:#x} or GS base {gs:#x} is no user address");
        self.fs_base.store(fs, Ordering::Relaxed);
        self.gs_base.store(gs, Ordering::Relaxed);
        if current {
            self.load_bases();
        }
    }

    /// The program's FS and GS bases.
    pub fn user_bases(&self) -> (u64, u64) {
        (self.fs_base.load(Ordering::Relaxed), self.gs_base.load(Ordering::Relaxed))
    }

    /// Gives this context, which has not run yet, the current task's FPU state: the child of a fork.
    pub fn inherit_fpu(&self) {
        assert!(!self.running.load(Ordering::Acquire), "a context's FPU state is set while it runs");
        if !self.area.is_null() {
            // SAFETY: the area belongs to this context, which no CPU runs.
            unsafe { fpu::save(self.area) };
        }
    }

    /// Whether a CPU runs it, or is still saving it.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Keeps the registers of the program that is to run on this context, the current one, where [`Self::user`] finds them.
    /// Panics if others are kept already.
    pub fn show_user(&self, user: Box<UserContext>) -> ShownUser<'_> {
        let user = Box::into_raw(user);
        let old = self.user.swap(user, Ordering::Release);
        assert!(old.is_null(), "the registers of two programs on one context");
        ShownUser { user, context: self, _stays: PhantomData }
    }

    /// A copy of the registers with which its program last came into the kernel, as they are now. `current`: it is the
    /// current task's own context. None while a CPU runs it otherwise, and without a program.
    pub fn user(&self, current: bool) -> Option<UserContext> {
        let off = interrupts::off();
        // As in `callers`.
        if !current && self.running.swap(true, Ordering::Acquire) {
            return None;
        }
        let user = self.user.load(Ordering::Acquire);
        // SAFETY: a pointer that is not null is that of a `ShownUser`, which takes it back before it gives up what it points
        // to, and which lies on this context's stack: as long as `running` is taken, or this is that stack, nobody else
        // reads or writes there.
        let copy = (!user.is_null()).then(|| unsafe { ptr::read_volatile(user) });
        if !current {
            self.running.store(false, Ordering::Release);
        }
        drop(off);
        copy
    }

    /// Writes the return addresses on its stack to `out`, innermost first, as far as there is room. None while a CPU runs
    /// it.
    pub fn callers(&self, out: &mut [u64]) {
        let Some(stack) = &self.stack else { return };
        let off = interrupts::off();
        // As if this CPU ran it: who wants to, waits for the moment that this takes.
        if self.running.swap(true, Ordering::Acquire) {
            return;
        }
        // SAFETY: `running` was taken, so the pointer is this CPU's to read.
        let saved = unsafe { *self.stack_pointer.get() };
        let top = stack.top().addr() as u64;
        let word = |address: u64| -> Option<u64> {
            let inside = (top - STACK_SIZE..=top - 8).contains(&address) && address.is_multiple_of(8);
            let place: *const u64 = core::ptr::with_exposed_provenance(address as usize);
            // SAFETY: an aligned word of the stack, which is mapped and which nobody writes while `running` is taken.
            inside.then(|| unsafe { place.read_volatile() })
        };
        // `switch_stacks` has pushed six registers, the frame pointer first.
        let (mut frame, mut caller) = (word(saved + 40), word(saved + 48));
        for place in out {
            let Some(address) = caller.filter(|&address| address != 0) else { break };
            *place = address;
            caller = frame.and_then(|frame| word(frame.checked_add(8)?));
            frame = frame.and_then(word);
        }
        self.running.store(false, Ordering::Release);
        drop(off);
    }

    #[inline]
    fn load_bases(&self) {
        FsBase::write(VirtAddr::new_truncate(self.fs_base.load(Ordering::Relaxed)));
        // In kernel mode the program's GS base waits in the other register.
        KernelGsBase::write(VirtAddr::new_truncate(self.gs_base.load(Ordering::Relaxed)));
    }
}

/// The registers of a program, which lie on the heap, for as long as it runs on a [`Context`]. Not to be given to another
/// task.
pub struct ShownUser<'a> {
    /// From a box; nobody else's but for reading while this context does not run.
    user: *mut UserContext,
    context: &'a Context,
    _stays: PhantomData<*const ()>,
}

impl Deref for ShownUser<'_> {
    type Target = UserContext;

    fn deref(&self) -> &UserContext {
        // SAFETY: the pointer is a box's and valid until `drop`; nobody writes there but by `deref_mut`.
        unsafe { &*self.user }
    }
}

impl DerefMut for ShownUser<'_> {
    fn deref_mut(&mut self) -> &mut UserContext {
        // SAFETY: as above, and `self` is borrowed alone. `Context::user` reads only while this context does not run.
        unsafe { &mut *self.user }
    }
}

impl Drop for ShownUser<'_> {
    fn drop(&mut self) {
        self.context.user.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: the pointer came from a box in `show_user`, and nobody finds it any more: who reads has `running`, which is
        // this context's now.
        drop(unsafe { Box::from_raw(self.user) });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        assert!(!*self.running.get_mut() || self.stack.is_none(), "a context is dropped while a CPU runs it");
    }
}

/// Leaves `previous`, which runs now, for `next`; returns when something switches back to `previous`, perhaps on
/// another CPU. Interrupts stay off; the other side finds them off.
///
/// If another CPU is still about to leave `next`, this waits for it. Panics if it never does: one context would
/// run on two CPUs.
#[inline]
pub fn switch(previous: &Context, next: &Context, _off: &InterruptsOff) {
    if next.running.swap(true, Ordering::Acquire) {
        wait_for(next);
    }
    if !previous.area.is_null() {
        // SAFETY: the area belongs to `previous`, which this CPU runs: nobody writes there from its last switch to
        // it until this one.
        unsafe { fpu::save_again(previous.area) };
    }
    if !next.area.is_null() {
        next.load_bases();
        // SAFETY: the area belongs to `next`, which is now this CPU's; `new`, `inherit_fpu` or the last switch
        // away from it filled it.
        unsafe { fpu::load(next.area) };
    }
    // SAFETY: `previous` runs on this CPU (its `running` is set, or the stack pointers below are wrong for
    // everybody, which the swap above of whoever wants it would show), so its pointer is ours to write until
    // `running` is cleared; `next`'s was stored by `new` or by the switch away from it, whose clearing of
    // `running` the swap above has seen. Both outlive the switch: the callers keep the tasks alive.
    unsafe { switch_stacks(previous.stack_pointer.get(), *next.stack_pointer.get(), previous.running.as_ptr()) };
}

/// Refuses programs on this CPU the time stamp counter, until [`allow_counter`]: `rdtsc` in user mode is a general protection
/// fault.
pub fn forbid_counter() {
    set_counter_flag(true);
}

/// Allows programs on this CPU to read the time stamp counter. Whether they were not.
pub fn allow_counter() -> bool {
    let off = interrupts::off();
    let is_forbidden = Cr4::read().contains(Cr4Flags::TIMESTAMP_DISABLE);
    if is_forbidden {
        set_counter_flag(false);
    }
    drop(off);
    is_forbidden
}

fn set_counter_flag(forbids: bool) {
    let off = interrupts::off();
    // SAFETY: the flag changes only what `rdtsc` does in user mode; the rest is written back as it was read, and with
    // interrupts off nobody else writes this CPU's register in between.
    unsafe { Cr4::update(|flags| flags.set(Cr4Flags::TIMESTAMP_DISABLE, forbids)) };
    drop(off);
}

/// Waits until the CPU that is leaving `next` has left, and takes it.
#[cold]
fn wait_for(next: &Context) {
    let mut patience = 1_000_000_000u64;
    while next.running.swap(true, Ordering::Acquire) {
        patience -= 1;
        assert!(patience > 0, "a switch to a context that another CPU runs");
        core::hint::spin_loop();
    }
}

/// What a switch has left for the other side.
pub struct Left {
    _next: Arc<Context>,
    _ended: Option<Arc<Context>>,
}

/// [`switch`] to a context that nothing on the stack left behind should keep alive, since that stack may sleep for long:
/// it waits for [`take_left`] on the other side. `previous` is kept alive by its own stack.
///
/// Panics if what was left there by an earlier call on this CPU was not taken.
#[inline]
pub fn switch_owned(previous: &Context, next: Arc<Context>, off: &InterruptsOff) {
    let to = leave_behind(next, None);
    // SAFETY: the per-CPU slot holds a reference until `take_left`, which runs on the other side of the switch, when
    // this one is not used any longer. Where this returns, on whatever CPU, it is not used again.
    switch(previous, unsafe { &*to }, off);
}

#[inline]
fn leave_behind(next: Arc<Context>, ended: Option<Arc<Context>>) -> *const Context {
    let to = Arc::as_ptr(&next);
    let untaken = cpu::here().left.replace(Some(Left { _next: next, _ended: ended }));
    assert!(untaken.is_none(), "a CPU switches again before the contexts of the last switch were taken");
    to
}

/// Leaves `previous`, whose task has ended, for `next`, for ever. As [`switch_owned`]: the stack that this runs on keeps
/// nothing alive.
pub fn switch_from_ended(previous: Arc<Context>, next: Arc<Context>, off: InterruptsOff) -> ! {
    let from = Arc::as_ptr(&previous);
    let to = leave_behind(next, Some(previous));
    // SAFETY: as in `switch_owned`, for both; and this does not return.
    let (from, to) = unsafe { (&*from, &*to) };
    switch(from, to, &off);
    unreachable!("an ended task runs again")
}

/// What the last [`switch_owned`] or [`switch_from_ended`] on this CPU has left. Asked after each switch, interrupts off; to
/// be dropped with interrupts on.
#[inline]
pub fn take_left() -> Option<Left> {
    cpu::here().left.take()
}

/// Pushes what the ABI says a function keeps, stores the stack pointer at `save`, takes the other stack, says
/// that the old one may be run by others, and pops.
///
/// # Safety
/// `next` was stored by this function or laid out by `Context::new`, and only this CPU uses it.
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(save: *mut u64, next: u64, running: *mut bool) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "mov byte ptr [rdx], 0", // stores are seen in order: whoever sees this sees the stack too
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The first code of a new context: `entry` is in rbx.
///
/// # Safety
/// For `switch_stacks` only, with the stack that `Context::new` laid out.
#[unsafe(naked)]
unsafe extern "C" fn begin() {
    // Where `switch_stacks` returns to, the stack is 8 off; a function is called with it on 16.
    naked_asm!("sti", "push 0", "call rbx", "ud2")
}
