//! Interrupts from one CPU to another.
//!
//! A call is made through mailboxes, without a lock or an allocation: the caller fills the one outgoing call of
//! its own block, sets its bit in each target's `incoming`, interrupts the targets and waits. While it waits it
//! serves calls to itself, so CPUs that call each other at once don't wait for ever.

use super::cpu;
use super::interrupts::{self, vector};
use super::local_apic;
use base::{CpuId, CpuSet, MAX_CPUS};
use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// What a CPU's block keeps for calls.
pub(super) struct Mailbox {
    /// Bit *n*: CPU *n* wants its outgoing call run here.
    incoming: [AtomicU64; MAX_CPUS / 64],
    /// What this CPU wants run by others: a pointer to the `&dyn Fn` on the caller's stack. Valid while
    /// `unfinished` is not 0.
    outgoing: AtomicPtr<()>,
    /// How many targets have not yet run it.
    unfinished: AtomicUsize,
    /// Whether this CPU is making a call: there is one outgoing call only.
    calling: Cell<bool>,
}

impl Mailbox {
    pub(super) const fn new() -> Self {
        Self {
            incoming: [const { AtomicU64::new(0) }; MAX_CPUS / 64],
            outgoing: AtomicPtr::new(core::ptr::null_mut()),
            unfinished: AtomicUsize::new(0),
            calling: Cell::new(false),
        }
    }
}

/// Makes `cpu` call its reschedule handler soon; with interrupts off there, as soon as they are on. Nothing
/// for a CPU that has not been started.
pub fn reschedule(cpu: CpuId) {
    let off = interrupts::off();
    if cpu::started().contains(cpu)
        && let Some(target) = cpu::local(cpu)
    {
        local_apic::send(&off, target.apic_id.get(), vector::RESCHEDULE);
    }
}

/// Runs `function` on each CPU of `cpus` that has been started (also if it is offline by now), with interrupts off there, and returns when all have; on this
/// CPU too if it is among them.
///
/// Must not be called with an `IrqLock` held (a target may spin for it, deaf to interrupts), nor from inside
/// `function`. Panics if a call is being made on this CPU.
pub fn call(cpus: &CpuSet, function: &(dyn Fn() + Sync)) {
    let off = interrupts::off();
    let here = cpu::here();
    let own = CpuId::new(here.id.get());
    let targets = cpus.and(&cpu::started()).without(&CpuSet::only(own));
    let count = targets.count();
    if count > 0 {
        let mailbox = &here.mailbox;
        assert!(!mailbox.calling.replace(true), "a call to other CPUs from inside another one");
        let pointer: *const &(dyn Fn() + Sync) = &raw const function;
        mailbox.outgoing.store(pointer.cast_mut().cast(), Ordering::Relaxed);
        // Release, with the fetch_or below: who sees the bit sees what to run and the count.
        mailbox.unfinished.store(count, Ordering::Release);
        for target in targets.iter().filter_map(cpu::local) {
            target.mailbox.incoming[own.index() / 64].fetch_or(1 << (own.index() % 64), Ordering::Release);
            local_apic::send(&off, target.apic_id.get(), vector::CALL);
        }
        if cpus.contains(own) {
            function();
        }
        // Acquire: what the targets did is seen after this.
        while mailbox.unfinished.load(Ordering::Acquire) > 0 {
            serve_calls();
            super::panic::halt_if_stopping();
            core::hint::spin_loop();
        }
        mailbox.calling.set(false);
    } else if cpus.contains(own) {
        function();
    }
}

/// Runs what other CPUs want run here. Interrupts are off.
pub(super) fn serve_calls() {
    let own = cpu::here();
    for (index, word) in own.mailbox.incoming.iter().enumerate() {
        if word.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let mut callers = word.swap(0, Ordering::Acquire);
        while callers != 0 {
            let caller = CpuId::new(index as u32 * 64 + callers.trailing_zeros());
            callers &= callers - 1;
            let Some(caller) = cpu::local(caller) else { continue };
            let pointer = caller.mailbox.outgoing.load(Ordering::Relaxed);
            // SAFETY: the caller's bit was set (and taken) once for this call, after the pointer was stored, and
            // the caller stays in `call`, which keeps the function alive, until the count is 0; this CPU's
            // share of it is given back only in the next line. `Sync` lets several CPUs run it.
            let function: &(dyn Fn() + Sync) = unsafe { *pointer.cast::<&(dyn Fn() + Sync)>() };
            function();
            caller.mailbox.unfinished.fetch_sub(1, Ordering::Release);
        }
    }
}
