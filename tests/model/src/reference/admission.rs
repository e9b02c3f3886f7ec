//! Who may have a child, and how often the subsystems were called for it. Rules: sections 7, 13, 19 and 20.

use super::{Model, Task};
use base::Errno;
use std::collections::BTreeMap;

/// The subsystems that may refuse a fork, in their order.
const ASKED: [usize; 3] = [6, 7, 8];

/// What debug counts for a subsystem.
#[derive(Clone, Copy, Default, Debug)]
pub struct Calls {
    can_fork: u64,
    cancel_fork: u64,
    fork: u64,
    exit: u64,
    release: u64,
}

impl Model {
    /// Asks everybody. What was refused has left no trace but the refusal.
    pub(super) fn ask(&mut self, parent: &Task) -> Result<(), Errno> {
        for (agreed, &index) in ASKED.iter().enumerate() {
            self.calls[index].can_fork += 1;
            let answer = match index {
                6 => self.ask_pids(parent),
                7 => self.ask_numtasks(parent),
                _ => self.ask_bc(parent),
            };
            if let Err(errno) = answer {
                ASKED[..agreed].iter().for_each(|&index| self.calls[index].cancel_fork += 1);
                return Err(errno);
            }
        }
        self.count_success(parent);
        self.count_birth();
        Ok(())
    }

    fn ask_pids(&mut self, parent: &Task) -> Result<(), Errno> {
        let Some(place) = self.place_for(6, parent) else { return Ok(()) };
        let full = |&level: &u32| self.state(level).pids_max.is_some_and(|max| self.pids(level) >= max);
        if self.upwards(place).iter().any(full) {
            self.state_mut(place).pids_refused += 1;
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// The container in the hierarchy of a subsystem; `None` in the root, or if there is no hierarchy.
    pub(super) fn place_for(&self, subsystem: usize, task: &Task) -> Option<u32> {
        let place = self.place(task, self.bound(subsystem)?);
        (!self.is_root(place)).then_some(place)
    }

    /// Tasks that are not reaped, here and below, in containers that are gone as well.
    pub(super) fn pids(&self, container: u32) -> u64 {
        let counts =
            |task: &&Task| self.place_for(6, task).is_some_and(|place| self.upwards(place).contains(&container));
        self.tasks.values().filter(counts).count() as u64
    }

    pub(super) fn count_birth(&mut self) {
        self.births += 1;
        [0, 1, 5].into_iter().for_each(|index| self.calls[index].fork += 1);
    }

    pub(super) fn count_exit(&mut self) {
        self.exits += 1;
        [5, 7, 8].into_iter().for_each(|index| self.calls[index].exit += 1);
    }

    pub(super) fn count_release(&mut self) {
        self.calls[6].release += 1;
    }

    /// The file debug.callbacks.
    pub(super) fn callbacks(&self) -> String {
        let mut text = format!("tasks forks {} exits {}\n", self.births, self.exits);
        for &(index, name) in super::SUBSYSTEMS {
            let Calls { can_fork, cancel_fork, fork, exit, release } = self.calls[index];
            text += &format!(
                "{name} can_fork {can_fork} cancel_fork {cancel_fork} fork {fork} exit {exit} release {release}\n"
            );
        }
        text
    }

    /// For the two first tasks, which nobody refuses.
    pub(super) fn start_calls(&mut self) {
        ASKED.iter().for_each(|&index| self.calls[index].can_fork += 1);
        self.count_birth();
    }

    /// How many sets of places name the container. Zombies keep theirs.
    pub(super) fn sets_with(&self, container: u32) -> usize {
        let places = |task: &Task| {
            let here = self.hierarchies.keys().map(|&number| (number, self.place(task, number)));
            here.chain(task.remnants.clone()).collect::<BTreeMap<usize, u32>>()
        };
        let mut sets: Vec<_> = self.tasks.values().map(places).collect();
        // That of those who are in the root everywhere is always there.
        sets.push(self.hierarchies.iter().map(|(&number, hierarchy)| (number, hierarchy.root)).collect());
        sets.sort();
        sets.dedup();
        sets.iter().filter(|set| set.values().any(|&place| place == container)).count()
    }
}
