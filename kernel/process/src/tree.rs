//! Who is whose child, in which process group and session, and which numbers are in use.
//!
//! A plain data structure over handles, without a lock of its own: [`crate::Population`] keeps the one of the system
//! under its tree lock. A number is in use as long as a task, a process, a group or a session has it.

use crate::{numbered::Numbered, terminal::Terminal};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, Pid};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

/// The first number that is looked at after the largest one was given out, as on Linux.
const FIRST_AFTER_WRAP: i32 = 300;

/// The relations of a process that others ask for often. Written under the tree lock only; read without.
pub struct Kinship {
    pid: Pid,
    parent: AtomicI32,
    maker: Pid,
    group: AtomicI32,
    session: AtomicI32,
    /// Adopts the orphans among its descendants (`PR_SET_CHILD_SUBREAPER`).
    pub subreaper: AtomicBool,
    /// Has called exec since it was forked, so that its parent may no longer change its group.
    pub executed: AtomicBool,
    /// Gave up the controlling terminal of its session (`TIOCNOTTY`).
    pub detached: AtomicBool,
    /// Is on its way out, so that it adopts nobody.
    pub exiting: AtomicBool,
}

impl Kinship {
    /// The relations of a new process.
    pub const fn new(pid: Pid, parent: Pid, group: Pid, session: Pid) -> Self {
        Self {
            pid,
            maker: parent,
            parent: AtomicI32::new(parent.raw()),
            group: AtomicI32::new(group.raw()),
            session: AtomicI32::new(session.raw()),
            subreaper: AtomicBool::new(false),
            executed: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
        }
    }

    /// The process's own number.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The parent's number; 0 for pid 1 and kernel threads.
    pub fn parent(&self) -> Pid {
        Pid::new(self.parent.load(Relaxed))
    }

    /// The same, made by this thread.
    pub const fn made_by(mut self, maker: Pid) -> Self {
        self.maker = maker;
        self
    }

    /// The number that the thread had which made it.
    pub const fn maker(&self) -> Pid {
        self.maker
    }

    /// The process group.
    pub fn group(&self) -> Pid {
        Pid::new(self.group.load(Relaxed))
    }

    /// The session.
    pub fn session(&self) -> Pid {
        Pid::new(self.session.load(Relaxed))
    }
}

/// A handle of a process that the tree can hold.
pub trait Kin: Clone {
    /// Its relations.
    fn kinship(&self) -> &Kinship;
}

struct Slot<P, T> {
    reserved: bool,
    task: Option<T>,
    process: Option<Node<P, T>>,
    group: Option<Group<P>>,
    session: Option<Session>,
}

struct Node<P, T> {
    process: P,
    children: Vec<P>,
    /// Who is traced by one of its threads.
    tracees: Vec<T>,
}

struct Group<P> {
    session: Pid,
    members: Vec<P>,
}

#[derive(Default)]
struct Session {
    groups: usize,
    terminal: Option<Arc<dyn Terminal>>,
}

/// Takes a process out of a list in order of birth. Most of those that end were born late: the search begins there.
fn take_out<P: Kin>(list: &mut Vec<P>, pid: Pid) {
    if let Some(index) = list.iter().rposition(|process| process.kinship().pid == pid) {
        list.remove(index);
    }
}

/// Where a number has its slot. Only numbers that nobody has are below 0; the place of these is far beyond all others.
fn index_of(pid: Pid) -> usize {
    pid.raw() as u32 as usize
}

impl<P, T> Slot<P, T> {
    const fn empty() -> Self {
        Self { reserved: false, task: None, process: None, group: None, session: None }
    }

    fn is_unused(&self) -> bool {
        !self.reserved
            && self.task.is_none()
            && self.process.is_none()
            && self.group.is_none()
            && self.session.is_none()
    }
}

/// All numbers and relations of the system. `P` is a handle of a process, `T` one of a task.
pub struct Tree<P, T> {
    slots: Numbered<Slot<P, T>>,
    last: i32,
    largest: i32,
    tasks: usize,
}

impl<P: Kin, T: Clone> Tree<P, T> {
    /// An empty tree that gives out the numbers 1 to `largest`.
    pub fn new(largest: i32) -> Self {
        Self { slots: Numbered::new(), last: 0, largest, tasks: 0 }
    }

    /// Takes the next free number; it stays taken until [`Self::give_back`] or the last use of it ends.
    /// `EAGAIN` if all are in use.
    pub fn reserve(&mut self) -> Result<Pid, Errno> {
        let number = self.free_from(self.last + 1).or_else(|| {
            // After the wrap the small numbers, those of boot, are left alone as long as there are others.
            self.free_from(FIRST_AFTER_WRAP.min(self.largest)).or_else(|| self.free_from(1))
        });
        let number = number.ok_or(Errno::EAGAIN)?;
        self.last = number;
        let pid = Pid::new(number);
        self.slot(pid).reserved = true;
        Ok(pid)
    }

    /// Takes a number as [`Self::reserve`] does. `EEXIST` it is taken.
    pub fn reserve_this(&mut self, pid: Pid) -> Result<(), Errno> {
        if self.free_from(pid.raw()) != Some(pid.raw()) {
            return Err(Errno::EEXIST);
        }
        self.slot(pid).reserved = true;
        Ok(())
    }

    /// The largest number that is given out.
    pub fn largest(&self) -> i32 {
        self.largest
    }

    /// Sets the largest number that is given out from now on.
    pub fn set_largest(&mut self, largest: i32) {
        self.largest = largest;
    }

    fn free_from(&self, start: i32) -> Option<i32> {
        let free = i32::try_from(self.slots.first_free(index_of(Pid::new(start)))).ok()?;
        (free <= self.largest).then_some(free)
    }

    /// Frees a number that was reserved and never used.
    pub fn give_back(&mut self, pid: Pid) {
        if let Some(slot) = self.slots.get_mut(index_of(pid)) {
            slot.reserved = false;
        }
        self.drop_unused(pid);
    }

    fn drop_unused(&mut self, pid: Pid) {
        if self.slots.get(index_of(pid)).is_some_and(Slot::is_unused) {
            self.slots.remove(index_of(pid));
        }
    }

    fn slot(&mut self, pid: Pid) -> &mut Slot<P, T> {
        self.slots.get_or_insert_with(index_of(pid), Slot::empty)
    }

    /// Enters a task under a reserved number: from here on it can be found.
    pub fn add_task(&mut self, tid: Pid, task: T) {
        let slot = self.slot(tid);
        slot.reserved = false;
        let was = slot.task.replace(task);
        self.tasks += usize::from(was.is_none());
    }

    /// Takes a task out; its number is free once nothing else has it.
    pub fn remove_task(&mut self, tid: Pid) -> Option<T> {
        let task = self.slots.get_mut(index_of(tid))?.task.take();
        self.tasks -= usize::from(task.is_some());
        self.drop_unused(tid);
        task
    }

    /// Enters a process with the relations that its [`Kinship`] names; its group and session are made if need be.
    pub fn add_process(&mut self, process: P) {
        let kinship = process.kinship();
        let (pid, parent, group, session) = (kinship.pid, kinship.parent(), kinship.group(), kinship.session());
        self.slot(pid).process = Some(Node { process: process.clone(), children: Vec::new(), tracees: Vec::new() });
        if let Some(parent) = self.node_mut(parent) {
            parent.children.push(process.clone());
        }
        self.join_group(&process, group, session);
    }

    /// Enters a process that `maker` has made: as its child, or as its sibling. Group, session and parent are what those of
    /// the maker are now, whatever they were when the making began.
    pub fn add_relative(&mut self, process: P, maker: &P, is_sibling: bool) {
        let (own, makers) = (process.kinship(), maker.kinship());
        let parent = if is_sibling { makers.parent() } else { makers.pid() };
        own.parent.store(parent.raw(), Relaxed);
        own.group.store(makers.group().raw(), Relaxed);
        own.session.store(makers.session().raw(), Relaxed);
        own.detached.store(makers.detached.load(Relaxed), Relaxed);
        self.add_process(process);
    }

    /// Takes a process that was reaped out. Its children must have been given away before.
    pub fn remove_process(&mut self, pid: Pid) -> Option<P> {
        let node = self.slots.get_mut(index_of(pid))?.process.take()?;
        let parent = node.process.kinship().parent();
        if let Some(parent) = self.node_mut(parent) {
            take_out(&mut parent.children, pid);
        }
        self.leave_group(&node.process);
        self.drop_unused(pid);
        Some(node.process)
    }

    fn node(&self, pid: Pid) -> Option<&Node<P, T>> {
        self.slots.get(index_of(pid))?.process.as_ref()
    }

    fn node_mut(&mut self, pid: Pid) -> Option<&mut Node<P, T>> {
        self.slots.get_mut(index_of(pid))?.process.as_mut()
    }

    fn join_group(&mut self, process: &P, group: Pid, session: Pid) {
        let slot = self.slot(group);
        let is_new = slot.group.is_none();
        slot.group.get_or_insert(Group { session, members: Vec::new() }).members.push(process.clone());
        if is_new {
            self.slot(session).session.get_or_insert_with(Session::default).groups += 1;
        }
        process.kinship().group.store(group.raw(), Relaxed);
        process.kinship().session.store(session.raw(), Relaxed);
    }

    fn leave_group(&mut self, process: &P) {
        let (pid, number) = (process.kinship().pid, process.kinship().group());
        let Some(slot) = self.slots.get_mut(index_of(number)) else { return };
        let Some(group) = &mut slot.group else { return };
        take_out(&mut group.members, pid);
        if !group.members.is_empty() {
            return;
        }
        let session = group.session;
        slot.group = None;
        self.drop_unused(number);
        if let Some(slot) = self.slots.get_mut(index_of(session))
            && let Some(record) = &mut slot.session
        {
            record.groups -= 1;
            if record.groups == 0 {
                slot.session = None;
                self.drop_unused(session);
            }
        }
    }

    /// The task with this number.
    pub fn task(&self, tid: Pid) -> Option<&T> {
        self.slots.get(index_of(tid))?.task.as_ref()
    }

    /// The process with this number, zombies included.
    pub fn process(&self, pid: Pid) -> Option<&P> {
        self.node(pid).map(|node| &node.process)
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.tasks
    }

    /// The number that was given out last.
    pub fn last(&self) -> Pid {
        Pid::new(self.last)
    }

    /// The first process at or after a number, for a listing of /proc.
    pub fn next_process(&self, from: Pid) -> Option<&P> {
        self.slots.values_from(index_of(from)).find_map(|slot| slot.process.as_ref()).map(|node| &node.process)
    }

    /// All processes, by number.
    pub fn processes(&self) -> impl Iterator<Item = &P> {
        self.slots.values_from(0).filter_map(|slot| slot.process.as_ref()).map(|node| &node.process)
    }

    /// All tasks, by number.
    pub fn tasks(&self) -> impl Iterator<Item = &T> {
        self.slots.values_from(0).filter_map(|slot| slot.task.as_ref())
    }

    /// The children of a process, in the order of their birth or adoption.
    pub fn children(&self, pid: Pid) -> &[P] {
        self.node(pid).map_or(&[], |node| &node.children)
    }

    /// The tasks that threads of a process trace, in the order in which that began.
    pub fn tracees(&self, pid: Pid) -> &[T] {
        self.node(pid).map_or(&[], |node| &node.tracees)
    }

    /// Enters a task that a thread of process `pid` traces from now on.
    pub fn add_tracee(&mut self, pid: Pid, tracee: T) {
        if let Some(node) = self.node_mut(pid) {
            node.tracees.push(tracee);
        }
    }

    /// Takes a task out that a thread of process `pid` traces no longer; whoever calls has another handle of it.
    pub fn remove_tracee(&mut self, pid: Pid, is_it: impl Fn(&T) -> bool) {
        if let Some(node) = self.node_mut(pid) {
            node.tracees.retain(|tracee| !is_it(tracee));
        }
    }

    /// The members of a process group; empty if there is none.
    pub fn group(&self, group: Pid) -> &[P] {
        self.slots.get(index_of(group)).and_then(|slot| slot.group.as_ref()).map_or(&[], |group| &group.members)
    }

    /// The session that a group belongs to.
    pub fn session_of_group(&self, group: Pid) -> Option<Pid> {
        Some(self.slots.get(index_of(group))?.group.as_ref()?.session)
    }

    /// The controlling terminal of a session.
    pub fn terminal(&self, session: Pid) -> Option<&Arc<dyn Terminal>> {
        self.slots.get(index_of(session))?.session.as_ref()?.terminal.as_ref()
    }

    /// Gives a session a controlling terminal, or takes it away; returns the one before.
    pub fn set_terminal(&mut self, session: Pid, terminal: Option<Arc<dyn Terminal>>) -> Option<Arc<dyn Terminal>> {
        let record = self.slots.get_mut(index_of(session))?.session.as_mut()?;
        core::mem::replace(&mut record.terminal, terminal)
    }

    /// Gives all children of `pid`, which is ending, to the nearest ancestor that adopts or to pid 1, and returns them
    /// with their new parent. Nobody is left to adopt when pid 1 itself ends; then the list is empty.
    pub fn orphan(&mut self, pid: Pid) -> Vec<(P, P)> {
        let Some(node) = self.node_mut(pid) else { return Vec::new() };
        if node.children.is_empty() {
            return Vec::new();
        }
        let children = core::mem::take(&mut node.children);
        let Some(reaper) = self.reaper_for(pid) else {
            if let Some(node) = self.node_mut(pid) {
                node.children = children;
            }
            return Vec::new();
        };
        let number = reaper.kinship().pid;
        for child in &children {
            child.kinship().parent.store(number.raw(), Relaxed);
        }
        if let Some(node) = self.node_mut(number) {
            node.children.extend(children.iter().cloned());
        }
        children.into_iter().map(|child| (child, reaper.clone())).collect()
    }

    fn reaper_for(&self, pid: Pid) -> Option<P> {
        let mut at = self.process(pid)?.kinship().parent();
        while let Some(ancestor) = self.process(at) {
            let kinship = ancestor.kinship();
            if kinship.subreaper.load(Relaxed) && !kinship.exiting.load(Relaxed) {
                return Some(ancestor.clone());
            }
            at = kinship.parent();
        }
        let init = Pid::new(1);
        (pid != init).then(|| self.process(init).cloned()).flatten()
    }

    /// `setsid(2)`: `pid` becomes the leader of a new session and group. `EPERM` if a group has its number.
    pub fn new_session(&mut self, pid: Pid) -> Result<Pid, Errno> {
        let process = self.process(pid).cloned().ok_or(Errno::ESRCH)?;
        if self.slots.get(index_of(pid)).is_some_and(|slot| slot.group.is_some() || slot.session.is_some()) {
            return Err(Errno::EPERM);
        }
        self.leave_group(&process);
        self.join_group(&process, pid, pid);
        process.kinship().detached.store(false, Relaxed);
        Ok(pid)
    }

    /// `setpgid(2)` of `caller`: moves `target` (0 is the caller) to `group` (0 is the target's own number).
    ///
    /// `EINVAL` negative group; `ESRCH` the target is neither the caller nor its child; `EACCES` a child that has
    /// called exec; `EPERM` a session leader, another session, or a group that doesn't exist in this session.
    pub fn set_group(&mut self, caller: Pid, target: Pid, group: Pid) -> Result<(), Errno> {
        let target = if target.raw() == 0 { caller } else { target };
        let group = if group.raw() == 0 { target } else { group };
        if group.raw() < 0 {
            return Err(Errno::EINVAL);
        }
        let session = self.process(caller).ok_or(Errno::ESRCH)?.kinship().session();
        let process = self.process(target).cloned().ok_or(Errno::ESRCH)?;
        let kinship = process.kinship();
        if kinship.parent() == caller && target != caller {
            if kinship.session() != session {
                return Err(Errno::EPERM);
            }
            if kinship.executed.load(Relaxed) {
                return Err(Errno::EACCES);
            }
        } else if target != caller {
            return Err(Errno::ESRCH);
        }
        if kinship.session() == target {
            return Err(Errno::EPERM);
        }
        if group != target && self.session_of_group(group) != Some(session) {
            return Err(Errno::EPERM);
        }
        if kinship.group() != group {
            self.leave_group(&process);
            self.join_group(&process, group, session);
        }
        Ok(())
    }

    /// Whether no member of `group`, `except` aside, has a parent in the same session but another group: then a
    /// stopped group would never be started again by its shell.
    pub fn is_orphaned(&self, group: Pid, except: Option<Pid>) -> bool {
        !self.group(group).iter().any(|member| {
            let kinship = member.kinship();
            Some(kinship.pid) != except
                && !kinship.exiting.load(Relaxed)
                && self.process(kinship.parent()).is_some_and(|parent| {
                    let parent = parent.kinship();
                    parent.pid.raw() != 1 && parent.group() != group && parent.session() == kinship.session()
                })
        })
    }
}

#[cfg(test)]
mod tests;
