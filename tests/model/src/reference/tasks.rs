//! Fork, exit, moves, and the time that a task runs. Rules: sections 6, 7, 11 and 12.

use super::{Model, Task, Writer};
use crate::reference::Rights;
use base::Errno;

impl Model {
    /// The new task: a thread of the parent's process, or a process.
    pub fn fork(&mut self, parent: i32, thread: bool, rights: Rights) -> Result<i32, Errno> {
        let from = self.tasks[&parent].clone();
        self.ask(&from)?;
        self.next_task += 1;
        let number = self.next_task;
        let (process, rights) = if thread { (from.process, from.rights) } else { (number, rights) };
        self.tasks.insert(number, Task { process, rights, frozen: false, ..from });
        self.no_error().map(|()| number)
    }

    /// The task becomes a zombie.
    pub fn exit(&mut self, task: i32) {
        self.tasks.get_mut(&task).expect("a task's number").zombie = true;
        let places: Vec<u32> = self.tasks[&task].places.values().copied().collect();
        places.into_iter().for_each(|place| self.may_be_empty(place));
        self.count_exit();
        self.remember();
    }

    /// The zombie is gone.
    pub fn reap(&mut self, task: i32) {
        self.tasks.remove(&task);
        self.count_release();
    }

    /// The task ran.
    pub fn charge(&mut self, task: i32, cpu: usize, user: u64, system: u64) {
        let place = self.bound(2).map(|number| self.place(&self.tasks[&task], number));
        let state = match place {
            Some(place) => self.state_mut(place),
            None => &mut self.root,
        };
        state.time[cpu][0] += user;
        state.time[cpu][1] += system;
    }

    pub(super) fn move_by_text(&mut self, to: u32, text: &str, writer: Writer, whole: bool) -> Result<(), Errno> {
        let number = super::numbers::unsigned(text).map_err(|_| Errno::EINVAL)?;
        let number = match i32::try_from(number).map_err(|_| Errno::EINVAL)? {
            0 => writer.task,
            number => number,
        };
        let task = self.tasks.get(&number).ok_or(Errno::ESRCH)?;
        if task.kernel {
            return Err(Errno::EINVAL);
        }
        let process = task.process;
        let owner = if whole { self.tasks.get(&process).unwrap_or(task) } else { task };
        if writer.opener.uid() != 0 && writer.opener.uid() != owner.rights.uid() {
            return Err(Errno::EACCES);
        }
        let hierarchy = self.containers[&to].hierarchy;
        let concerned = |(&other, task): (&i32, &Task)| {
            let chosen = if whole { task.process == process } else { other == number };
            chosen && !task.zombie && self.place(task, hierarchy) != to
        };
        let moving: Vec<i32> = self.tasks.iter().filter(|task| concerned(*task)).map(|(&other, _)| other).collect();
        if moving.is_empty() {
            return Ok(());
        }
        let has_cpuset = self.hierarchies[&hierarchy].subsystems.contains(&0);
        if has_cpuset {
            self.check_cpuset(to, &moving, writer)?;
        }
        let left: Vec<u32> = moving.iter().map(|task| self.place(&self.tasks[task], hierarchy)).collect();
        let (cpus, mems) = (self.state(to).cpus, self.state(to).mems);
        for task in &moving {
            let task = self.tasks.get_mut(task).expect("it was found");
            task.places.insert(hierarchy, to);
            if has_cpuset {
                (task.cpus, task.mems) = (cpus, mems);
            }
            // At once to all who look, but the lowest that bc ever held is that of the first one.
            self.remember_beans();
        }
        left.into_iter().for_each(|place| self.may_be_empty(place));
        self.no_error()
    }

    fn check_cpuset(&self, to: u32, moving: &[i32], writer: Writer) -> Result<(), Errno> {
        let state = self.state(to);
        if state.cpus == 0 || state.mems == 0 {
            return Err(Errno::ENOSPC);
        }
        let stronger = |task: &i32| self.tasks[task].rights.capable();
        let weak = !self.tasks[&writer.task].rights.capable();
        if weak && moving.iter().any(stronger) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Kills every process that has a live task in the container or below.
    pub(super) fn kill(&mut self, container: u32) {
        let tasks: Vec<i32> = self.downwards(container).into_iter().flat_map(|below| self.inside(below)).collect();
        self.killed.extend(tasks.iter().map(|task| self.tasks[task].process));
    }
}
