//! Waking, placing and moving tasks.

use crate::{
    Entity, Group, Nice, Schedulable, admission,
    cpu::{self, Cpu, Reason, TaskRef},
    domain,
    entity::RunState,
    policy::{Class, Policy, Priority, Server, placement},
    rest::{Activity, Woken},
};
use alloc::sync::Arc;
use base::{CpuSet, Errno};
use machine::{sync::IrqGuard, time, topology};

/// The CPU on which a task that belongs nowhere should go on.
#[inline]
pub(crate) fn place(task: &TaskRef, state: &RunState) -> &'static Cpu {
    let last = task.entity().cpu();
    if state.allowed == CpuSet::only(last) && machine::cpu::online().contains(last) {
        return known(last);
    }
    let choice = domain::choice(cpu::usable(&state.allowed), last, true);
    let here = machine::cpu::current();
    let chosen = match state.urgency() {
        Some(urgency) => placement::urgent(&choice, last, urgency, topology::get(), cpu::state),
        None => placement::wake_up(&choice, last, here, topology::get(), cpu::state),
    };
    let chosen = chosen.unwrap_or(here);
    known(chosen)
}

fn known(number: base::CpuId) -> &'static Cpu {
    match cpu::get(number) {
        Some(cpu) => cpu,
        None => panic!("sched: CPU {number} has no run queue"),
    }
}

/// Puts a task, whose state is locked, into the queue of `target`, and has that CPU look if the task goes before what
/// runs there. If `target` goes offline meanwhile, the task goes elsewhere.
#[inline]
pub(crate) fn enqueue_on(mut target: &'static Cpu, task: &TaskRef, state: &mut RunState) {
    let mut queue = target.queue.lock();
    while queue.closed {
        drop(queue);
        target = place(task, state);
        queue = target.queue.lock();
    }
    let number = target.number;
    let now = time::now();
    if !state.queued {
        state.queued_since = now;
        if let Some(server) = &state.server {
            server.wake(now);
        }
    }
    state.queued = true;
    let class = state.class();
    queue.members.add(class, state.group.as_ref(), task.clone(), state.standing);
    task.entity().set_cpu(number);
    target.publish(&queue);
    let goes_first = queue.members.wake_up_preempts(class, state.group.as_ref(), queue.unaccounted(now));
    // The first that waits beside a running task: that CPU must plan the end of the turn.
    let first_rival = queue.members.waiting() == 1 && queue.members.is_running();
    let is_here = number == machine::cpu::current();
    if first_rival && is_here && !goes_first {
        target.plan(&queue);
    }
    drop(queue);
    if goes_first {
        target.kick();
    } else if first_rival && !is_here {
        machine::ipi::reschedule(number);
    }
}

/// Has a task go on that has been woken; its run state is locked.
#[inline]
fn go_on(task: &TaskRef, state: &mut RunState) {
    if state.queued {
        // It has said that it will sleep but is still on its CPU: it stays there.
        return;
    }
    let entity = task.entity();
    let last = entity.cpu();
    let target = if entity.context().is_running() && cpu::usable(&state.allowed).contains(last) {
        known(last)
    } else {
        while entity.context().is_running() {
            core::hint::spin_loop();
        }
        place(task, state)
    };
    enqueue_on(target, task, state);
}

/// Wakes a task that sleeps, in whatever way.
#[inline]
pub(crate) fn wake(task: &TaskRef) -> Woken {
    let entity = task.entity();
    let sleeps = |activity| matches!(activity, Activity::Sleeping | Activity::Uninterruptible);
    entity.rest.wake(sleeps, || entity.lock(), |state| go_on(task, state))
}

/// Marks the task as interrupted and wakes it if it sleeps interruptibly; from then on such sleeps end at once, until
/// [`Entity::clear_interrupt`](crate::Entity::clear_interrupt). Signals do this. `have_look` makes the task look for work
/// before it next goes to user mode. `reference` gives the task, and is asked only if it sleeps. May be called from interrupts.
#[inline]
pub fn interrupt(entity: &Entity, reference: impl FnOnce() -> Option<TaskRef>, have_look: impl FnOnce()) {
    let wake = |state: &mut IrqGuard<'_, RunState>| {
        if let Some(task) = reference() {
            go_on(&task, state);
        }
    };
    if entity.rest.interrupt(have_look, || entity.lock(), wake) != Woken::Yes {
        // If it is in user mode on another CPU, this brings it out.
        let number = entity.cpu();
        if number != machine::cpu::current() && entity.activity() == Activity::Runnable {
            machine::ipi::reschedule(number);
        }
    }
}

/// First queueing of a new task, after everything about it is visible to others. It may run on another CPU before
/// this returns.
pub fn start(task: TaskRef) {
    let mut state = task.entity().lock();
    let here = machine::cpu::current();
    let choice = domain::choice(cpu::usable(&state.allowed), here, false);
    let chosen = match state.urgency() {
        Some(urgency) => placement::urgent(&choice, here, urgency, topology::get(), cpu::state),
        None => placement::new_task(&choice, here, topology::get(), cpu::state),
    };
    let chosen = chosen.unwrap_or(here);
    enqueue_on(known(chosen), &task, &mut state);
}

/// Where a queued task was found.
enum Found {
    /// It runs on that CPU.
    Running(&'static Cpu),
    /// It waited and has been taken out.
    Taken,
    /// It is on the way from one queue to another.
    Moving,
}

fn take_waiting(task: &TaskRef, state: &mut RunState) -> Found {
    let cpu = known(task.entity().cpu());
    let mut queue = cpu.queue.lock();
    if queue.members.current().is_some_and(|current| Arc::ptr_eq(current, task)) {
        return Found::Running(cpu);
    }
    match queue.members.remove(state.group.as_ref(), |member| Arc::ptr_eq(member, task)) {
        Some((_, standing)) => {
            cpu.publish(&queue);
            state.standing = standing;
            Found::Taken
        }
        None => Found::Moving,
    }
}

/// Sets the CPUs that the task may use. On return it runs only inside: if it ran outside, it has been pushed off by
/// an interrupt. A set without an online CPU means every online CPU. Not under a spinning lock.
pub fn set_allowed(task: &TaskRef, allowed: &CpuSet) {
    let entity = task.entity();
    let wanted = cpu::usable(allowed);
    let mut state = entity.lock();
    entity.store_allowed(&mut state, if allowed.intersects(&wanted) { *allowed } else { wanted });
    admission::follow(&state);
    loop {
        if !state.queued || cpu::get(entity.cpu()).is_none() || cpu::may_be_on(&state.allowed, entity.cpu()) {
            return;
        }
        match take_waiting(task, &mut state) {
            Found::Taken if !entity.context().is_running() => {
                enqueue_on(place(task, &state), task, &mut state);
                return;
            }
            Found::Taken => {
                // Still being saved on that CPU: put back, to be taken when that is over.
                enqueue_on(known(entity.cpu()), task, &mut state);
            }
            Found::Running(cpu) => {
                cpu.kick();
                drop(state);
                if cpu.number == machine::cpu::current() {
                    crate::schedule();
                }
                state = pause(entity);
                continue;
            }
            Found::Moving => {}
        }
        drop(state);
        state = pause(entity);
    }
}

/// Lets a little time pass. Two tasks may be pushing each other off: each must be able to go.
fn pause(entity: &crate::Entity) -> machine::sync::IrqGuard<'_, RunState> {
    crate::give_way();
    core::hint::spin_loop();
    entity.lock()
}

/// Sets the task's nice value.
pub fn set_nice(task: &TaskRef, nice: Nice) {
    let entity = task.entity();
    let mut state = entity.lock();
    entity.store_nice(&mut state, nice);
    if let Class::Fair { weight, .. } = state.class()
        && state.queued
        && let Some(cpu) = cpu::get(entity.cpu())
    {
        let mut queue = cpu.queue.lock();
        queue.members.set_weight(state.group.as_ref(), weight, |member| Arc::ptr_eq(member, task));
        cpu.publish(&queue);
    }
}

/// Sets the task's policy. It competes by it at once; if it runs, when it next gives its CPU away, which it is asked to do.
///
/// Errors, of a reservation only: `EPERM` the task may not use all CPUs of its domain, or none of their time may be
/// reserved; `EBUSY` others have reserved what it would need. May sleep.
pub fn set_policy(task: &TaskRef, policy: Policy) -> Result<(), Errno> {
    let entity = task.entity();
    let admission = admission::of(entity, policy)?;
    let server = match policy {
        Policy::Deadline(reservation) => Some(Arc::new(Server::new(reservation, entity.cpu(), time::now()))),
        _ => None,
    };
    let _admission = admission.note(server.as_ref());
    let before = change(
        entity,
        || Some(task.clone()),
        |state| {
            let last = state.server.as_ref().map(|last| last.standing());
            if let (Some(last), Some(server)) = (last.or(state.left_standing), &server) {
                server.succeed(last, time::now());
            }
            state.left_standing = last;
            state.policy = policy;
            entity.store_server(state, server)
        },
    );
    if entity.is_exempt() {
        // It ends, or has ended: it may be seen for long, but will use nothing.
        entity.release_reservation();
    }
    if let Some(last) = before {
        last.release();
    }
    Ok(())
}

/// Lends the task a real-time priority, which holds where it is greater than its own; none takes it back. Otherwise as
/// [`set_policy`].
pub fn lend(task: &TaskRef, priority: Option<Priority>) {
    if task.entity().lock().lent != priority {
        change(task.entity(), || Some(task.clone()), |state| state.lent = priority);
    }
}

/// Puts the task into `group`; without one it belongs to the machine's own. If it runs, the change takes effect when
/// it next gives its CPU away, which it is asked to do at once. `reference` gives the task, which is asked only if it is
/// awake. Not under a run queue's lock.
pub fn set_group(entity: &Entity, reference: impl FnOnce() -> Option<TaskRef>, group: Option<Arc<Group>>) {
    let before = change(entity, reference, |state| core::mem::replace(&mut state.group, group));
    drop(before);
}

/// Changes how a task competes: it is taken out of the queue before and put back after. What `what` returns.
fn change<R>(entity: &Entity, reference: impl FnOnce() -> Option<TaskRef>, what: impl FnOnce(&mut RunState) -> R) -> R {
    let mut state = entity.lock();
    let task = if state.queued { reference() } else { None };
    let found = task.as_ref().map(|task| take_waiting(task, &mut state));
    let result = what(&mut state);
    match (found, &task) {
        (Some(Found::Running(cpu)), _) => {
            state.is_misplaced = true;
            cpu.kick();
        }
        (Some(Found::Taken), Some(task)) => enqueue_on(known(entity.cpu()), task, &mut state),
        // Who moves it, or wakes it up, adds it to the new one.
        _ => {}
    }
    drop(state);
    drop(task);
    result
}

/// The task is exempt now (see [`crate::exempt`]): no limit of a group holds it any more.
pub(crate) fn unpark(task: &TaskRef) {
    let mut state = task.entity().lock();
    if state.queued && matches!(take_waiting(task, &mut state), Found::Taken) {
        enqueue_on(known(task.entity().cpu()), task, &mut state);
    }
}

/// The running task; none in an idle CPU's own loop or before the scheduler runs.
pub fn current() -> Option<TaskRef> {
    cpu::here().and_then(Cpu::running)
}

/// The running task, if it is a `T`.
pub fn current_as<T: Schedulable>() -> Option<Arc<T>> {
    let any: Arc<dyn core::any::Any + Send + Sync> = current()?;
    any.downcast().ok()
}

/// Calls `f` with the running task.
pub fn with_current<R>(f: impl FnOnce(&TaskRef) -> R) -> Option<R> {
    current().as_ref().map(f)
}

/// What `f` says of the running task. For interrupts and for whoever holds any lock but a leaf: `f` may take no lock, and
/// neither allocate nor free.
pub fn glance<R>(f: impl FnOnce(&TaskRef) -> R) -> Option<R> {
    cpu::here()?.glance(f)
}

/// Whether this CPU should be given to another task at the next chance.
#[inline]
pub fn need_resched() -> bool {
    machine::cpu::is_wanted()
}

/// Gives the CPU to the next task in turn; the caller stays runnable. Returns when it is its turn again. Not under a
/// spinning lock, nor in an interrupt.
pub fn schedule() {
    cpu::reschedule(Reason::Preempted);
}

/// [`schedule`] if [`need_resched`]: for long loops in the kernel.
pub fn give_way() {
    if need_resched() {
        schedule();
    }
}

/// [`give_way`] between the pieces of a call that may be long. Whether to go on: not if the task was told to end meanwhile, with
/// `for_signals` also not if anything else would end its interruptible sleep.
pub fn goes_on(for_signals: bool) -> bool {
    give_way();
    let is_called = |entity: &Entity| entity.is_exempt() || for_signals && entity.interrupt_pending();
    !glance(|task| is_called(task.entity())).unwrap_or(false)
}

/// The last look before user mode: gives the CPU to the next task in turn, and a task whose group has no time left
/// waits here for the next period. Called where [`need_resched`] says so; the caller holds no lock, also no sleeping
/// one.
pub fn before_user_mode() {
    cpu::reschedule(Reason::LeavesKernel);
}

/// For a thread of the kernel between two pieces of work, where it holds nothing: what [`before_user_mode`] is for others.
pub fn between_jobs() {
    if need_resched() {
        before_user_mode();
    }
}

/// `sched_yield(2)`: lets every other runnable task of this CPU run first.
pub fn sched_yield() {
    cpu::reschedule(Reason::Yields);
}

/// Ends the running task. The scheduler's reference to it is dropped by the next task on this CPU.
pub fn exit_current() -> ! {
    if let Some(task) = current() {
        task.entity().rest.end();
    }
    cpu::reschedule(Reason::Ends);
    panic!("sched: a task goes on that has ended");
}
