//! Moving tasks. Rule: interfaces.md, section 6.

use crate::{
    container::Container,
    files::Writer,
    framework::Framework,
    hierarchy::Subsystems,
    member::{Member, Phase, TaskPlace},
    set::{ContainerSet, SetReference},
    state::Lineage,
    subsystem::Subsystem,
    task::take_out,
};
use alloc::{collections::BTreeSet, vec::Vec};
use base::{Credentials, Errno, Pid, Uid, number};
use core::cell::{Cell, OnceCell};
use machine::sync::Arc;

/// A move as a subsystem sees it: some tasks, from where they are, into one container.
pub struct Move<'a, S> {
    pub(crate) context: &'a MoveContext<'a>,
    pub(crate) target: Lineage<'a, S>,
}

impl<'a, S: Subsystem> Move<'a, S> {
    /// Who asked for the move.
    pub fn writer(&self) -> &'a Credentials {
        self.context.writer.credentials()
    }

    /// The state of the container that the tasks go to, and those above it.
    pub fn target(&self) -> Lineage<'a, S> {
        self.target
    }

    /// The tasks, each with the states that it comes from. A child that is born into a container comes from there:
    /// before it is there, its parent stands for it.
    pub fn tasks(&self) -> impl Iterator<Item = (&'a dyn Member, Lineage<'a, S>)> + use<'a, S> {
        let context = self.context;
        let chosen =
            context.tasks.iter().filter(|moving| context.moved.is_none_or(|moved| moving.moved.get() == moved));
        chosen.map(|moving| (&*moving.task, Lineage::new(moving.from.state(S::INDEX))))
    }
}

/// What the typed callbacks of a move are made from.
pub(crate) struct MoveContext<'a> {
    pub(crate) target: &'a Arc<Container>,
    pub(crate) tasks: &'a [Moving],
    /// Only those that were switched, or only those that were not.
    pub(crate) moved: Option<bool>,
    pub(crate) writer: &'a Mover<'a>,
}

/// Who asked for a move; a task and its credentials are looked at when a subsystem asks.
pub(crate) struct Mover<'a> {
    who: Who<'a>,
    credentials: OnceCell<Arc<Credentials>>,
}

enum Who<'a> {
    /// The kernel itself, which may do everything.
    Kernel,
    Task(&'a dyn Member),
    Writer(&'a Writer<'a>),
}

impl<'a> Mover<'a> {
    pub(crate) fn task(task: &'a dyn Member) -> Self {
        Self { who: Who::Task(task), credentials: OnceCell::new() }
    }

    fn writer(writer: &'a Writer<'a>) -> Self {
        Self { who: Who::Writer(writer), credentials: OnceCell::new() }
    }

    fn kernel() -> Self {
        Self { who: Who::Kernel, credentials: OnceCell::new() }
    }

    fn credentials(&self) -> &Credentials {
        self.credentials.get_or_init(|| match self.who {
            Who::Task(task) => task.credentials(),
            Who::Writer(writer) => writer.credentials(),
            Who::Kernel => Arc::new(Credentials::root()),
        })
    }
}

/// One task of a move.
pub(crate) struct Moving {
    pub(crate) task: Arc<dyn Member>,
    pub(crate) from: SetReference,
    pub(crate) to: SetReference,
    /// Whether it was switched.
    pub(crate) moved: Cell<bool>,
}

impl Framework {
    /// Does what a write to `tasks` (`whole_process`: `procs`) asks for.
    ///
    /// Errors, nothing moved: `EINVAL` no number, or a kernel thread; `ESRCH`; `EACCES`; `ENODEV` the container was
    /// removed; else what the first refusing subsystem says.
    /// Locks: takes *manage*, the container, the gate; call with none of these held.
    pub(crate) fn move_by_text(
        &self,
        target: &Arc<Container>,
        text: &[u8],
        writer: &Writer<'_>,
        whole_process: bool,
    ) -> Result<(), Errno> {
        let number = number::parse_unsigned(text).ok().and_then(|number| i32::try_from(number).ok());
        let task = match number.ok_or(Errno::EINVAL)? {
            0 => writer.task().ok_or(Errno::ESRCH)?,
            number => self.tasks.find(Pid::new(number)).ok_or(Errno::ESRCH)?,
        };
        if task.is_kernel_thread() {
            return Err(Errno::EINVAL);
        }
        let opener = writer.opener.euid;
        if opener != Uid::ROOT {
            let leader = if whole_process { self.tasks.find(task.process_id()) } else { None };
            let credentials = leader.as_ref().unwrap_or(&task).credentials();
            if opener != credentials.uid && opener != credentials.suid {
                return Err(Errno::EACCES);
            }
        }
        self.move_task(target, task, &Mover::writer(writer), whole_process)
    }

    fn move_task(
        &self,
        target: &Arc<Container>,
        task: Arc<dyn Member>,
        writer: &Mover<'_>,
        whole_process: bool,
    ) -> Result<(), Errno> {
        let _manage = self.manage.read();
        let _target = target.lock.lock();
        if target.is_removed() {
            return Err(Errno::ENODEV);
        }
        if !whole_process {
            let other = task.clone();
            let _gate = other.gate().close();
            return match self.moving(task, target, None) {
                Some(moving) => self.perform(target, &[moving], writer),
                None => Ok(()),
            };
        }
        let _gate = task.gate().close();
        self.carry(target, task.threads(), writer)
    }

    /// Moves all live tasks of `source` to `target`, process by process. Where a subsystem refuses one the others move all
    /// the same, and its error is returned. Held: *manage*, exclusively.
    pub(crate) fn transfer(&self, source: &Arc<Container>, target: &Arc<Container>) -> Result<(), Errno> {
        let _target = target.lock.lock();
        // A fork that is under way adds a child to the source until its parent has been moved.
        loop {
            let mut tasks = self.tasks_of(source);
            tasks.retain(|task| !task.is_kernel_thread());
            if tasks.is_empty() {
                return Ok(());
            }
            let (mut tried, mut refused) = (BTreeSet::new(), Ok(()));
            // Subsystems that are being told of a birth are told of no move meanwhile. The parent is here too, and its gate
            // lets this pass when the birth is over.
            for task in tasks.into_iter().filter(|task| !task.membership().is_arriving()) {
                if tried.insert(task.process_id()) {
                    let _gate = task.gate().close();
                    let here = self.tasks_of(source).into_iter();
                    let own = here.filter(|other| other.process_id() == task.process_id()).collect();
                    refused = refused.and(self.carry(target, own, &Mover::kernel()));
                }
            }
            refused?;
        }
    }

    /// Moves tasks of one process. Held: *manage*, the target's lock, the gate.
    fn carry(&self, target: &Arc<Container>, tasks: Vec<Arc<dyn Member>>, writer: &Mover<'_>) -> Result<(), Errno> {
        let mut moving = Vec::with_capacity(tasks.len());
        for task in tasks {
            moving.extend(self.moving(task, target, moving.last()));
        }
        if moving.is_empty() { Ok(()) } else { self.perform(target, &moving, writer) }
    }

    /// Where a task comes from and goes to; `None` if it is there, or past moving. `known` is another one of the same
    /// move, which saves looking for the set if both come from the same places.
    fn moving(&self, task: Arc<dyn Member>, target: &Arc<Container>, known: Option<&Moving>) -> Option<Moving> {
        let live = |place: &mut TaskPlace| if place.phase == Phase::Live { place.set.clone() } else { None };
        let from = task.membership().with_place(live)?;
        let to = match known.filter(|known| known.from.is(&from)) {
            Some(known) => known.to.clone(),
            None => self.set_in(&from, target)?,
        };
        Some(Moving { task, from, to, moved: Cell::new(false) })
    }

    /// The set that differs from `base` in being in `target`; `None` if `base` is that.
    pub(crate) fn set_in(&self, base: &SetReference, target: &Arc<Container>) -> Option<SetReference> {
        let hierarchy = target.hierarchy();
        let place = if target.is_root() { None } else { Some(target) };
        let old = base.place(hierarchy.number());
        if old.map(Arc::as_ptr) == place.map(Arc::as_ptr) {
            return None;
        }
        let subsystems = hierarchy.subsystems().iter();
        Some(self.sets.moved(base, hierarchy.number(), [old, place], &target.states, subsystems))
    }

    /// Asks, switches, and tells. Held: *manage*, the target, the gate.
    fn perform(&self, target: &Arc<Container>, moving: &[Moving], writer: &Mover<'_>) -> Result<(), Errno> {
        self.ask_all(target, moving, writer)?;
        let moved = self.switch(target, moving);
        if moved < moving.len() {
            self.cancel_all(&MoveContext { target, tasks: moving, moved: Some(false), writer });
        }
        if moved > 0 {
            self.tell_all(&MoveContext { target, tasks: moving, moved: Some(true), writer });
        }
        Ok(())
    }

    /// Those of some subsystems that are bound to the hierarchy of `target`.
    pub(crate) fn concerned(
        &self,
        some: Subsystems,
        target: &Container,
    ) -> impl DoubleEndedIterator<Item = usize> + use<> {
        some.intersection(target.hierarchy().subsystems()).iter()
    }

    /// can_attach of all; where one refuses, cancel_attach of those before it.
    pub(crate) fn ask_all(&self, target: &Arc<Container>, moving: &[Moving], writer: &Mover<'_>) -> Result<(), Errno> {
        let context = MoveContext { target, tasks: moving, moved: None, writer };
        for index in self.concerned(self.callbacks.can_attach, target) {
            if let Err(errno) = target.state(index).can_attach(&context) {
                let agreed = self.concerned(self.callbacks.can_attach, target).filter(|&other| other < index);
                agreed.rev().for_each(|other| target.state(other).cancel_attach(&context));
                return Err(errno);
            }
        }
        Ok(())
    }

    /// cancel_attach of all that have agreed.
    pub(crate) fn cancel_all(&self, context: &MoveContext<'_>) {
        let all = self.concerned(self.callbacks.can_attach, context.target);
        all.rev().for_each(|index| context.target.state(index).cancel_attach(context));
    }

    /// post_attach of all.
    pub(crate) fn tell_all(&self, context: &MoveContext<'_>) {
        let all = self.concerned(self.callbacks.post_attach, context.target);
        all.for_each(|index| context.target.state(index).post_attach(context));
    }

    /// Switches the sets of all tasks but those that exit meanwhile; how many it were.
    fn switch(&self, target: &Container, moving: &[Moving]) -> usize {
        self.switches.begin();
        let (mut rest, mut moved) = (moving, 0);
        while let Some(first) = rest.first() {
            let alike = |other: &&Moving| other.from.is(&first.from) && other.to.is(&first.to);
            let (run, others) = rest.split_at(rest.iter().take_while(alike).count());
            moved += self.switch_run(target, &first.from, &first.to, run);
            rest = others;
        }
        self.switches.end();
        moved
    }

    /// The same for tasks that all go from one set to one other.
    fn switch_run(&self, target: &Container, from: &SetReference, to: &SetReference, run: &[Moving]) -> usize {
        let (mut old, mut new) = ContainerSet::two(from, to);
        let first = new.len();
        let concerned = self.callbacks.attach.intersection(target.hierarchy().subsystems());
        for moving in run {
            let membership = moving.task.membership();
            let next = to.clone();
            // The gate keeps other moves away, so only exit can have changed anything since `moving`.
            let switched = membership.with_place(|place| {
                let live = place.phase == Phase::Live;
                live.then(|| (core::mem::replace(&mut place.index, new.len()), place.set.replace(next)))
            });
            let Some((index, before)) = switched else { continue };
            new.push(take_out(&mut old, index));
            // `from` has the set too, so this is not its last reference.
            drop(before);
            moving.moved.set(true);
            for index in concerned.iter() {
                // Of a subsystem that is bound both have a state.
                if let (Some(from), Some(to)) = (&from.states[index], &to.states[index]) {
                    to.attach(&*moving.task, &**from);
                }
            }
        }
        let moved = new.len() - first;
        let (filled, emptied) = (moved > 0 && first == 0, moved > 0 && old.is_empty());
        // A container that both sets name is not left, and need not be entered, if one takes over from the other.
        let kept = |container: &&Arc<Container>, other: &ContainerSet| {
            let number = container.hierarchy().number();
            filled && emptied && other.place(number).is_some_and(|place| Arc::ptr_eq(place, container))
        };
        // Entered before left: a container that both sets name stays busy in between.
        if filled {
            to.places().filter(|container| !kept(container, from)).for_each(|container| container.enter());
        }
        drop((old, new));
        if emptied {
            from.places().filter(|container| !kept(container, to)).for_each(|container| self.left(container));
        }
        moved
    }
}
