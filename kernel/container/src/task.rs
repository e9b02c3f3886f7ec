//! The life of a task in its containers: fork, exit, the reaping, and the time that it runs.

use crate::{
    container::Container,
    framework::Framework,
    inspect::Counted,
    member::{Member, Phase, TaskPlace},
    moves::{MoveContext, Mover, Moving},
    set::{ContainerSet, SetReference},
    subsystem::MAX_SUBSYSTEMS,
};
use base::{
    CpuId, Errno,
    charge::Payer,
    device::{Device, DeviceAccess},
};
use core::cell::Cell;
use machine::sync::{Arc, CrowdReadGuard, MutexGuard, ReadGuard};

/// The permission to make one task visible. Dropped unused, it gives back what the subsystems charged.
#[must_use = "dropping it is a failed fork"]
pub struct Admission<'a> {
    framework: &'a Framework,
    set: SetReference,
    /// How many of the subsystems that have `can_fork` agreed. 0 again once the child keeps the charges.
    agreed: usize,
    words: [u64; MAX_SUBSYSTEMS],
    /// Where the child is born in another container than its parent's.
    entry: Option<Entry<'a>>,
    // Dropped last: until then no move of the process comes in between.
    _gate: Option<ReadGuard<'a, ()>>,
}

/// What a birth into another container holds: all that a move holds.
struct Entry<'a> {
    target: &'a Arc<Container>,
    parent: &'a Arc<dyn Member>,
    _target: MutexGuard<'a, ()>,
    _manage: CrowdReadGuard<'a>,
}

impl Entry<'_> {
    /// Calls `f` with the move that `task` makes into the target: it comes from nowhere else.
    fn with_move<R>(&self, task: &Arc<dyn Member>, set: &SetReference, f: impl FnOnce(&MoveContext<'_>) -> R) -> R {
        let tasks = [Moving { task: task.clone(), from: set.clone(), to: set.clone(), moved: Cell::new(true) }];
        let writer = Mover::task(&**self.parent);
        f(&MoveContext { target: self.target, tasks: &tasks, moved: None, writer: &writer })
    }
}

impl Framework {
    /// Asks every subsystem that wants it whether `parent` may have one more child, which will be born in the
    /// containers of `parent`. Until the result is used or dropped, no move of the parent's process goes on; so
    /// nothing that waits long, user memory least of all, belongs in between.
    ///
    /// Errors: that of the first subsystem that refuses; then nothing is charged. Locks: takes the gate; call with
    /// no spinning lock held.
    pub fn can_fork<'a>(&'a self, parent: &'a dyn Member) -> Result<Admission<'a>, Errno> {
        let gate = parent.gate().fork();
        // A parent that was never admitted is the kernel itself, whose children begin in the roots.
        let set = parent.membership().set().unwrap_or_else(|| self.root_set.clone());
        self.ask(set, parent.membership().words(), None, Some(gate))
    }

    /// The same for a child that will be born in `target`, and in the other hierarchies where its parent is
    /// (`CLONE_INTO_CGROUP`). Until the result is used or dropped, `target` stays as it is.
    ///
    /// Errors: `ENODEV` the container is removed; what can_attach of the subsystems bound there says, then what
    /// can_fork says; then nothing is charged. Locks: *manage*, the container, the gate.
    pub fn can_fork_into<'a>(
        &'a self,
        parent: &'a Arc<dyn Member>,
        target: &'a Arc<Container>,
    ) -> Result<Admission<'a>, Errno> {
        let manage = self.manage.read();
        let closed = target.lock.lock();
        if target.is_removed() {
            return Err(Errno::ENODEV);
        }
        let gate = parent.gate().fork();
        let own = parent.membership().set().unwrap_or_else(|| self.root_set.clone());
        let words = parent.membership().words();
        let Some(set) = self.set_in(&own, target) else {
            // The parent is in there itself.
            return self.ask(own, words, None, Some(gate));
        };
        let entry = Entry { target, parent, _target: closed, _manage: manage };
        entry.with_move(parent, &set, |context| self.ask_all(target, context.tasks, context.writer))?;
        self.ask(set, words, Some(entry), Some(gate))
    }

    /// The same for a task without a parent, which begins in the root of every hierarchy: the first task, threads
    /// of the kernel, release agents.
    pub fn can_start(&self) -> Result<Admission<'_>, Errno> {
        self.ask(self.root_set.clone(), [0; MAX_SUBSYSTEMS], None, None)
    }

    fn ask<'a>(
        &'a self,
        set: SetReference,
        words: [u64; MAX_SUBSYSTEMS],
        entry: Option<Entry<'a>>,
        gate: Option<ReadGuard<'a, ()>>,
    ) -> Result<Admission<'a>, Errno> {
        let mut admission = Admission { framework: self, set, agreed: 0, words, entry, _gate: gate };
        for &index in &self.callbacks.can_fork {
            self.counts.count(index, Counted::CanFork);
            admission.set.state(index).can_fork()?;
            admission.agreed += 1;
        }
        Ok(admission)
    }

    /// Takes an exiting task out of its containers. Afterwards it is in no `tasks` file and in no count, but `pids`
    /// and the accounts still know where it was, until [`release`](Self::release).
    ///
    /// Call it once, before `wait4` can report the task. Locks: sets; call with no lock of rank `SET` or higher.
    pub fn exit(&self, task: &dyn Member) {
        if !self.callbacks.exit.is_empty() {
            let Some(set) = self.with_own_set_locked(task, |set, _| {
                task.membership().with_place(|place| {
                    place.phase = Phase::Exiting;
                    debug_assert!(place.set.as_ref().is_some_and(|own| own.is(set)));
                });
            }) else {
                return;
            };
            for &index in &self.callbacks.exit {
                self.counts.count(index, Counted::Exit);
                set.state(index).exit(task);
            }
        }
        let mut own = None;
        let mut last = false;
        let left = self.with_own_set_locked(task, |_, tasks| {
            let index = task.membership().with_place(|place| {
                place.phase = Phase::Left;
                place.index
            });
            own = Some(take_out(tasks, index));
            last = tasks.is_empty();
        });
        self.counts.count_exit();
        if last && let Some(set) = left {
            self.set_emptied(&set);
        }
        // Here, without a lock: it may be the last reference to the task.
        drop(own);
    }

    /// Forgets a task that was reaped: the subsystems give back what they held for a zombie. Call it after
    /// [`exit`](Self::exit), once. Locks: set table; call with no spinning lock held.
    pub fn release(&self, task: &dyn Member) {
        let left = |place: &mut TaskPlace| {
            debug_assert!(place.set.is_none() || place.phase == Phase::Left, "a task is reaped before it has ended");
            place.set.take()
        };
        let Some(set) = task.membership().with_place(left) else {
            return;
        };
        for &index in &self.callbacks.release {
            self.counts.count(index, Counted::Release);
            set.state(index).release();
        }
    }

    /// Accounts that the task ran on `cpu`, so many ns in user mode and in the kernel. Called by that CPU at a
    /// switch or tick, with the run queue locked. What a task runs after it was reaped, on its way to its last switch,
    /// is accounted in the roots, which is where /proc shows it.
    pub fn charge_time(&self, task: &dyn Member, cpu: CpuId, user: u64, system: u64) {
        let charge = |set: &ContainerSet| {
            for &index in &self.callbacks.charge_time {
                set.state(index).charge_time(cpu, user, system);
            }
        };
        if task.membership().with_set(charge).is_none() {
            charge(&self.root_set);
        }
    }

    /// Whether the task may open or make a file for the device.
    ///
    /// Errors: that of the first subsystem that refuses. Locks: those of the subsystems; call with none of rank
    /// `CONTROLLER` or higher.
    pub fn device_access(&self, task: &dyn Member, device: &Device, access: DeviceAccess) -> Result<(), Errno> {
        if self.callbacks.device_access.is_empty() {
            return Ok(());
        }
        let Some(set) = task.membership().set() else { return Ok(()) };
        let mut asked = self.callbacks.device_access.iter();
        asked.try_for_each(|&index| set.state(index).device_access(device, access))
    }

    /// Calls `f` with the states of a live task of subsystem `S` while no move and no exit of it goes on. `None` if `S` is
    /// disabled or the task is not live.
    ///
    /// Locks: holds a set; `f` takes none of lower rank. Call with none of rank `SET_TABLE` or higher.
    pub fn with_settled_states<S: crate::Subsystem, R>(
        &self,
        member: &dyn Member,
        f: impl FnOnce(crate::Lineage<'_, S>) -> R,
    ) -> Option<R> {
        if !self.enabled().contains(S::INDEX) {
            return None;
        }
        let (mut f, mut result) = (Some(f), None);
        self.with_own_set_locked(member, |set, _| {
            if member.membership().is_live() {
                result = f.take().map(|f| f(crate::Lineage::new(set.state(S::INDEX))));
            }
        });
        result
    }

    /// Calls `f` with the task's set and its list of tasks locked. `None` if the task is in no set.
    fn with_own_set_locked(
        &self,
        task: &dyn Member,
        mut f: impl FnMut(&ContainerSet, &mut alloc::vec::Vec<Arc<dyn Member>>),
    ) -> Option<SetReference> {
        loop {
            let set = task.membership().set()?;
            let mut tasks = set.tasks();
            // A move may have switched the set between the look and the lock.
            if task.membership().with_place(|place| place.set.as_ref().is_some_and(|now| now.is(&set))) {
                f(&set, &mut tasks);
                drop(tasks);
                return Some(set);
            }
        }
    }

    /// The last task left a set: its containers may have become empty.
    pub(crate) fn set_emptied(&self, set: &ContainerSet) {
        set.places().for_each(|container| self.left(container));
    }

    /// The last task of a set left one of its containers.
    pub(crate) fn left(&self, container: &Arc<Container>) {
        if container.leave() {
            self.may_be_empty(container);
        }
    }
}

impl Admission<'_> {
    /// Who pays for what the kernel spends for the child: the containers that it will be born in. `None` if no subsystem asks
    /// for charges.
    pub fn payer(&self) -> Option<Arc<dyn Payer>> {
        self.set.payer()
    }

    /// Makes the child a live task of its parent's containers, in all hierarchies at once. It must not run before.
    /// Locks: a set; may be called with locks of lower rank held.
    pub fn admit(self, child: &Arc<dyn Member>) {
        self.admit_and(child, || ());
    }

    /// The same; then, before any move of the parent's process goes on, `enter` makes the child known otherwise: a move of
    /// that process takes all the threads that it knows.
    pub fn admit_and(mut self, child: &Arc<dyn Member>, enter: impl FnOnce()) {
        let membership = child.membership();
        membership.set_words(&self.words);
        self.agreed = 0;
        {
            let mut tasks = self.set.tasks();
            membership.with_place(|place| {
                place.set = Some(self.set.clone());
                place.index = tasks.len();
                place.phase = Phase::Live;
            });
            tasks.push(child.clone());
            if tasks.len() == 1 {
                self.set.places().for_each(|container| container.enter());
            }
            if let Some(entry) = &self.entry {
                for index in self.framework.concerned(self.framework.callbacks.attach, entry.target) {
                    let state = self.set.state(index);
                    state.attach(&**child, state);
                }
            }
        }
        self.framework.counts.count_fork();
        for &index in &self.framework.callbacks.fork {
            self.framework.counts.count(index, Counted::Fork);
            self.set.state(index).fork(&**child);
        }
        if let Some(entry) = self.entry.take() {
            entry.with_move(child, &self.set, |context| self.framework.tell_all(context));
        }
        membership.has_arrived();
        enter();
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        for &index in self.framework.callbacks.can_fork[..self.agreed].iter().rev() {
            self.framework.counts.count(index, Counted::CancelFork);
            self.set.state(index).cancel_fork();
        }
        if let Some(entry) = &self.entry {
            entry.with_move(entry.parent, &self.set, |context| self.framework.cancel_all(context));
        }
    }
}

/// Takes the task at `index` out of the list of a set; the last one moves into its place.
pub(crate) fn take_out(tasks: &mut alloc::vec::Vec<Arc<dyn Member>>, index: usize) -> Arc<dyn Member> {
    let task = tasks.swap_remove(index);
    if let Some(moved) = tasks.get(index) {
        moved.membership().with_place(|place| place.index = index);
    }
    task
}
