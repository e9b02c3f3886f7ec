//! The end of all tasks of a container. Rule: interfaces.md, section 8.4.

use crate::{container::Container, framework::Framework, member::Member};
use alloc::{collections::BTreeSet, vec, vec::Vec};
use machine::sync::Arc;

impl Framework {
    /// Sends SIGKILL to every live task in the container and below. On return each has the signal, also those that a
    /// fork was just making.
    ///
    /// Locks: *manage*, exclusively, so that nobody moves past the search; the gates, one after another.
    pub(crate) fn kill(&self, container: &Arc<Container>) {
        let _nobody_moves = self.manage.write();
        let mut killed = BTreeSet::new();
        loop {
            let tasks = self.tasks_below(container);
            let processes: Vec<_> = tasks.iter().filter(|task| killed.insert(task.process_id())).collect();
            if processes.is_empty() {
                return;
            }
            processes.iter().for_each(|task| task.kill());
            // A fork that began before the signal is over now and its child is found by the next search. One that
            // begins later is refused, because its process ends.
            processes.iter().for_each(|task| drop(task.gate().close()));
        }
    }

    fn tasks_below(&self, container: &Arc<Container>) -> Vec<Arc<dyn Member>> {
        let mut tasks = Vec::new();
        let mut waiting = vec![container.clone()];
        while let Some(container) = waiting.pop() {
            tasks.extend(self.walk_tasks(&container));
            waiting.extend(container.children());
        }
        tasks
    }
}
