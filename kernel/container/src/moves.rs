//! Moving tasks. Rule: interfaces.md, section 6.

use crate::{
    container::Container,
    files::Writer,
    framework::Framework,
    member::{Member, Phase},
    set::{ContainerSet, SetReference},
    state::Lineage,
    subsystem::{MoveContext, Subsystem},
    task::take_out,
    tree::Node,
};
use alloc::{vec, vec::Vec};
use base::{Credentials, Errno, Pid, Uid, number};
use core::marker::PhantomData;
use machine::sync::{Arc, atomic::Ordering::SeqCst};

/// A move as a subsystem sees it: some tasks, from where they are, into one container.
pub struct Move<'a, S> {
    pub(crate) context: &'a MoveContext<'a>,
    pub(crate) subsystem: PhantomData<fn() -> S>,
}

impl<'a, S: Subsystem> Move<'a, S> {
    /// Who asked for the move.
    pub fn writer(&self) -> &'a Credentials {
        self.context.writer
    }

    /// The container that the tasks go to.
    pub fn target(&self) -> Node<'a, S> {
        Node::new(self.context.framework, self.context.target.clone())
    }

    /// The tasks, each with the states that it comes from.
    pub fn tasks(&self) -> impl Iterator<Item = (&'a dyn Member, Lineage<'a, S>)> + use<'a, S> {
        self.context.tasks.iter().map(|moving| (&*moving.task, Lineage::new(moving.from.state(S::INDEX))))
    }
}

/// One task of a move.
pub(crate) struct Moving {
    task: Arc<dyn Member>,
    from: SetReference,
    to: SetReference,
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
        text: &str,
        writer: &Writer<'_>,
        whole_process: bool,
    ) -> Result<(), Errno> {
        let number = number::parse_unsigned(text).ok().and_then(|number| i32::try_from(number).ok());
        let task = match number.ok_or(Errno::EINVAL)? {
            0 => writer.task.clone(),
            number => self.tasks.find(Pid::new(number)).ok_or(Errno::ESRCH)?,
        };
        if task.is_kernel_thread() {
            return Err(Errno::EINVAL);
        }
        let leader = if whole_process { self.tasks.find(task.process_id()) } else { None };
        let credentials = leader.as_ref().unwrap_or(&task).credentials();
        let opener = writer.opener.euid;
        if opener != Uid::ROOT && opener != credentials.uid && opener != credentials.suid {
            return Err(Errno::EACCES);
        }
        self.move_task(target, &task, &writer.task.credentials(), whole_process)
    }

    fn move_task(
        &self,
        target: &Arc<Container>,
        task: &Arc<dyn Member>,
        writer: &Credentials,
        whole_process: bool,
    ) -> Result<(), Errno> {
        let _manage = self.manage.read();
        let _target = target.lock.lock();
        if target.is_removed() {
            return Err(Errno::ENODEV);
        }
        let _gate = task.gate().close();
        let tasks = if whole_process { task.threads() } else { vec![task.clone()] };
        self.carry(target, tasks, writer)
    }

    /// Moves all live tasks of `source` to `target`, process by process. Held: *manage*, exclusively.
    pub(crate) fn transfer(&self, source: &Arc<Container>, target: &Arc<Container>) -> Result<(), Errno> {
        let _target = target.lock.lock();
        // A fork that is under way adds a child to the source until its parent has been moved.
        while let Some(task) = self.tasks_of(source).into_iter().find(|task| !task.is_kernel_thread()) {
            let _gate = task.gate().close();
            let here = self.tasks_of(source).into_iter();
            let tasks = here.filter(|other| other.process_id() == task.process_id()).collect();
            self.carry(target, tasks, &Credentials::root())?;
        }
        Ok(())
    }

    /// Moves tasks of one process. Held: *manage*, the target's lock, the gate.
    fn carry(&self, target: &Arc<Container>, tasks: Vec<Arc<dyn Member>>, writer: &Credentials) -> Result<(), Errno> {
        let moving: Vec<_> = tasks.into_iter().filter_map(|task| self.moving(task, target)).collect();
        if moving.is_empty() {
            return Ok(());
        }
        self.ask_all(target, &moving, writer)?;
        let (moved, skipped) = self.switch(target, moving);
        if !skipped.is_empty() {
            let context = MoveContext { framework: self, target, tasks: &skipped, writer };
            self.concerned(&self.callbacks.can_attach, target).rev().for_each(|index| {
                self.subsystem(index).cancel_attach(&context);
            });
        }
        if !moved.is_empty() {
            let context = MoveContext { framework: self, target, tasks: &moved, writer };
            self.concerned(&self.callbacks.post_attach, target)
                .for_each(|index| self.subsystem(index).post_attach(&context));
        }
        Ok(())
    }

    /// Where a task comes from and goes to; `None` if it is there, or past moving.
    fn moving(&self, task: Arc<dyn Member>, target: &Arc<Container>) -> Option<Moving> {
        if task.membership().phase() != Phase::Live {
            return None;
        }
        let hierarchy = target.hierarchy();
        let from = task.membership().set()?;
        let place = if target.is_root() { None } else { Some(target) };
        if from.place(hierarchy.number()).map(Arc::as_ptr) == place.map(Arc::as_ptr) {
            return None;
        }
        let subsystems = hierarchy.subsystems().iter();
        let to = self.sets.moved(&from, hierarchy.number(), place, &target.states, subsystems);
        Some(Moving { task, from, to })
    }

    /// The subsystems of a list that are bound to the hierarchy of `target`.
    fn concerned<'a>(&self, list: &'a [usize], target: &Container) -> impl DoubleEndedIterator<Item = usize> + use<'a> {
        let subsystems = target.hierarchy().subsystems();
        list.iter().copied().filter(move |&index| subsystems.contains(index))
    }

    fn ask_all(&self, target: &Arc<Container>, moving: &[Moving], writer: &Credentials) -> Result<(), Errno> {
        let context = MoveContext { framework: self, target, tasks: moving, writer };
        for index in self.concerned(&self.callbacks.can_attach, target) {
            if let Err(errno) = self.subsystem(index).can_attach(&context) {
                let agreed = self.concerned(&self.callbacks.can_attach, target).filter(|&other| other < index);
                agreed.rev().for_each(|other| self.subsystem(other).cancel_attach(&context));
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Switches the sets of all tasks but those that exit meanwhile, and gives both lots.
    fn switch(&self, target: &Arc<Container>, moving: Vec<Moving>) -> (Vec<Moving>, Vec<Moving>) {
        self.switches_begun.fetch_add(1, SeqCst);
        let attach: &[usize] = &self.callbacks.attach;
        let both = moving.into_iter().partition(|moving| self.switch_one(target, moving, attach));
        self.switches_ended.fetch_add(1, SeqCst);
        both
    }

    fn switch_one(&self, target: &Container, moving: &Moving, attach: &[usize]) -> bool {
        let membership = moving.task.membership();
        let (mut from, mut to) = ContainerSet::two(&moving.from, &moving.to);
        // The gate keeps other moves away, so only exit can have changed anything since `moving`.
        let Some(index) = membership.with_place(|place| (place.phase == Phase::Live).then_some(place.index)) else {
            return false;
        };
        let task = take_out(&mut from, index);
        let next = moving.to.clone();
        let previous = membership.with_place(|place| {
            place.index = to.len();
            place.set.replace(next)
        });
        to.push(task);
        for index in self.concerned(attach, target) {
            self.subsystem(index).attach(&*moving.task, moving.from.state(index), moving.to.state(index));
        }
        // Entered before left: a container that both sets name stays busy in between.
        if to.len() == 1 {
            moving.to.places().for_each(|container| container.enter());
        }
        let emptied = from.is_empty();
        drop((from, to));
        if emptied {
            self.set_emptied(&moving.from);
        }
        drop(previous);
        true
    }
}
