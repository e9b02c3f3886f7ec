//! freezer: containers are asked to freeze, tasks are frozen or on their way. Rules: section 17.

use super::{Model, Task};
use base::Errno;

impl Model {
    /// Asked itself, or one above.
    pub(super) fn is_freezing(&self, container: u32) -> bool {
        self.upwards(container).iter().any(|&level| self.state(level).freeze)
    }

    pub(super) fn is_frozen(&self, container: u32) -> bool {
        let inside = self.downwards(container).into_iter().flat_map(|below| self.inside(below));
        self.is_freezing(container) && inside.into_iter().all(|task| self.tasks[&task].frozen)
    }

    pub(super) fn freezer_state(&self, container: u32) -> &'static str {
        match (self.is_freezing(container), self.is_frozen(container)) {
            (false, _) => "THAWED\n",
            (_, true) => "FROZEN\n",
            _ => "FREEZING\n",
        }
    }

    pub(super) fn write_freezer(&mut self, container: u32, text: &str) -> Result<(), Errno> {
        self.state_mut(container).freeze = match text {
            "FROZEN" => true,
            "THAWED" => false,
            _ => return Err(Errno::EINVAL),
        };
        Ok(())
    }

    fn should_freeze(&self, task: &Task) -> bool {
        self.place_for(5, task).is_some_and(|place| self.is_freezing(place))
    }

    /// A task comes to a point where it can stand still.
    pub fn settle(&mut self, task: i32) {
        let wanted = self.should_freeze(&self.tasks[&task]);
        let task = self.tasks.get_mut(&task).expect("a task's number");
        task.frozen |= wanted && !task.zombie;
    }

    /// Nobody is frozen where nobody should be; sleepers are where they should.
    pub(super) fn follow_freezer(&mut self) {
        let wanted: Vec<(i32, bool)> =
            self.tasks.iter().map(|(&number, task)| (number, self.should_freeze(task))).collect();
        for (number, wanted) in wanted {
            let task = self.tasks.get_mut(&number).expect("it was found");
            task.frozen = wanted && (task.frozen || sleeps(number));
        }
    }

    /// Whether a task is frozen.
    pub fn frozen(&self, task: i32) -> bool {
        self.tasks[&task].frozen
    }
}

/// Whether the task is one of those that sleep for ever, and so are frozen at once.
pub fn sleeps(task: i32) -> bool {
    task % 3 == 0
}
