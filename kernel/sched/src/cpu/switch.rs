//! Switching between tasks: the one that runs goes back to the queue or out of it, the next is chosen, and on its stack is
//! done what the switch left.

use super::{Cpu, RunQueue, TaskRef, here, may_be_on};
use crate::{Entity, real_time, wake};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use machine::{
    context::{self, Context},
    interrupts::{self, InterruptsOff},
    sync::{SpinGuard, order},
};

/// Why a CPU is given away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its turn is over, or another goes first.
    Preempted,
    /// `sched_yield`.
    Yields,
    /// It would go to user mode, and holds nothing of the kernel.
    LeavesKernel,
    /// It sleeps, if it has not been woken meanwhile.
    Blocks,
    /// It has ended.
    Ends,
}

/// What a switch leaves for the other side of it, besides contexts.
#[derive(Default)]
pub(super) struct Left {
    /// A task that may not stay on this CPU.
    moving: Option<TaskRef>,
    /// A task that has ended.
    ended: Option<TaskRef>,
}

/// Gives the CPU away. Returns when it is the caller's turn again.
pub(crate) fn reschedule(reason: Reason) {
    let off = interrupts::off();
    let Some(cpu) = here() else { return };
    machine::cpu::clear_wanted();
    let previous = cpu.running.lock_within(&off).clone();
    let leaving = previous.as_ref().map(|task| (task, task.entity()));
    let next = match release(cpu, leaving, reason, &off) {
        Released::Passed(next) => Some(next),
        Released::Open(queue) => next(cpu, previous.as_ref(), queue, &off),
    };
    if let (Some(previous), Some(next)) = (&previous, &next)
        && Arc::ptr_eq(previous, next)
    {
        drop(off);
        return;
    }
    if previous.is_none() && next.is_none() {
        return;
    }
    let to = make_current(cpu, next, &off);
    match leaving {
        Some((_, entity)) if reason != Reason::Ends => leave(entity.context(), to, off),
        None => leave(&cpu.idle_context(&off), to, off),
        Some(_) => {
            if let Some(previous) = previous {
                end(cpu, previous, to, off);
            }
        }
    }
}

/// What has come of taking the running task out.
enum Released<'a> {
    /// It has changed places with this one.
    Passed(TaskRef),
    /// The next is to be chosen. Others have not been told yet.
    Open(SpinGuard<'a, RunQueue>),
}

/// Takes the caller out of the run queue or puts it back, as `reason` says.
#[inline]
fn release<'a>(
    cpu: &'static Cpu,
    leaving: Option<(&TaskRef, &Entity)>,
    reason: Reason,
    off: &'a InterruptsOff,
) -> Released<'a> {
    let Some((task, entity)) = leaving else {
        let mut queue = cpu.queue.lock_within(off);
        queue.account(cpu.number);
        return Released::Open(queue);
    };
    let mut state = entity.lock_within(off);
    let mut queue = cpu.queue.lock_within(off);
    queue.account_for(task, entity, cpu.number);
    let stays = match reason {
        Reason::Ends => false,
        Reason::Blocks => entity.rest.goes_on(),
        Reason::Preempted | Reason::Yields | Reason::LeavesKernel => true,
    };
    let is_misplaced = core::mem::take(&mut state.is_misplaced);
    if stays && may_be_on(&state.allowed, cpu.number) && !queue.closed {
        if reason == Reason::Yields
            && !is_misplaced
            && real_time::nobody_waits()
            && let Some((next, turn)) = queue.members.pass_on()
        {
            let next = next.clone();
            // What others see of the queue is as it was.
            queue.statistics.switches += 1;
            cpu.plan_end(&queue, turn);
            entity.involuntary.fetch_add(1, Relaxed);
            return Released::Passed(next);
        }
        let members = &mut queue.members;
        if is_misplaced && let Some((task, standing)) = members.take_current() {
            members.add(state.class(), state.group.as_ref(), task, standing);
        } else if reason == Reason::Yields {
            members.put_back_yielding();
        } else if reason != Reason::LeavesKernel || entity.is_exempt() || !members.park(state.group.clone()) {
            members.put_back();
        }
    } else if let Some((_, standing)) = queue.members.take_current() {
        state.standing = standing;
        // A task that moves counts as queued all the while: who wakes it has nothing to do.
        state.queued = stays;
        if stays {
            cpu.left.lock_within(off).moving = Some(task.clone());
            cpu.has_left.store(true, Relaxed);
        } else {
            state.was_queued += queue.accounted_at.saturating_sub(state.queued_since);
        }
    }
    let count = if reason == Reason::Blocks { &entity.voluntary } else { &entity.involuntary };
    count.fetch_add(1, Relaxed);
    Released::Open(queue)
}

/// The next task of this CPU after `previous`, from its own queue or another's; `None` to idle.
#[inline]
fn next<'a>(
    cpu: &'static Cpu,
    previous: Option<&TaskRef>,
    mut queue: SpinGuard<'a, RunQueue>,
    off: &'a InterruptsOff,
) -> Option<TaskRef> {
    if !real_time::nobody_waits() {
        cpu.publish(&queue);
        drop(queue);
        real_time::pull(cpu);
        queue = cpu.queue.lock_within(off);
    }
    if queue.members.waiting() == 0 && !queue.closed {
        cpu.publish(&queue);
        drop(queue);
        cpu.pull(cpu.near_peers(), false);
        queue = cpu.queue.lock_within(off);
    }
    let now = queue.accounted_at;
    // Who waits at a CPU that goes offline is taken elsewhere.
    let next = if queue.closed { None } else { queue.members.pick(now).cloned() };
    if queue.members.is_out_of_time() {
        // It may have something to finish in the kernel; it is looked at again on its way to user mode.
        machine::cpu::set_wanted(cpu.number);
    }
    let stays = match (previous, &next) {
        (Some(previous), Some(next)) => Arc::ptr_eq(previous, next),
        (None, None) => true,
        _ => false,
    };
    queue.statistics.switches += u64::from(!stays);
    cpu.publish(&queue);
    cpu.plan(&queue);
    next
}

/// Makes `next` the task that runs here, or none; gives where it goes on.
#[inline]
fn make_current(cpu: &'static Cpu, next: Option<TaskRef>, off: &InterruptsOff) -> Arc<Context> {
    let to = match &next {
        Some(next) => {
            next.switched_in();
            next.entity().shared_context().clone()
        }
        None => cpu.idle_context(off),
    };
    *cpu.running.lock_within(off) = next;
    to
}

/// Leaves `from` for `to`; returns when something switches back. Nothing on this stack keeps the next task's alive, however
/// long it sleeps.
#[inline]
fn leave(from: &Context, to: Arc<Context>, off: InterruptsOff) {
    let held = order::save();
    context::switch_owned(from, to, &off);
    order::restore(held);
    finish_switch(off);
}

/// Leaves the task that has ended. Nothing may be left on this stack: it is never returned to.
fn end(cpu: &'static Cpu, previous: TaskRef, to: Arc<Context>, off: InterruptsOff) -> ! {
    let from = previous.entity().shared_context().clone();
    cpu.left.lock_within(&off).ended = Some(previous);
    cpu.has_left.store(true, Relaxed);
    context::switch_from_ended(from, to, off);
}

/// What is done first after a switch, on the stack of who runs now.
#[inline]
fn finish_switch(off: InterruptsOff) {
    let Some(cpu) = here() else { return };
    let ended = if cpu.has_left.load(Relaxed) { cpu.take_left() } else { None };
    let contexts = context::take_left();
    drop(off);
    drop(contexts);
    drop(ended);
    cpu.drop_what_was_left();
    real_time::push(cpu);
}

/// The first function of every task, on its own stack.
pub(crate) fn first_run() -> ! {
    let off = interrupts::off();
    order::restore(order::HeldLocks::default());
    finish_switch(off);
    let entry = here().and_then(Cpu::running).map(|task| task.entity().entry());
    match entry {
        Some(entry) => entry(),
        None => panic!("sched: a task runs that no CPU knows"),
    }
}

impl Cpu {
    /// Hands on what the last switch left to be moved, and gives what has ended, to be dropped with interrupts on.
    #[cold]
    fn take_left(&self) -> Option<TaskRef> {
        self.has_left.store(false, Relaxed);
        let Left { moving, ended } = core::mem::take(&mut *self.left.lock());
        if let Some(task) = moving {
            let mut state = task.entity().lock();
            wake::enqueue_on(wake::place(&task, &state), &task, &mut state);
        }
        ended
    }

    fn idle_context(&self, off: &InterruptsOff) -> Arc<Context> {
        match &*self.idle.lock_within(off) {
            Some(idle) => idle.clone(),
            None => panic!("sched: CPU {} has nothing to run and no idle loop", self.number),
        }
    }
}
