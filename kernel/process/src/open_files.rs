//! All open files of all processes, for those of the file layer who must know that nobody has one.

use crate::population::POPULATION;
use vfs::{OpenFile, lock::lease::OpenFiles};

/// The files in the tables of all tasks. A file that is only mapped, or under way in a message, is not among them.
pub struct TaskFiles;

impl OpenFiles for TaskFiles {
    fn any(&self, of: &mut dyn FnMut(&OpenFile) -> bool) -> bool {
        let tasks = POPULATION.get().map(|population| population.tasks()).unwrap_or_default();
        tasks.iter().filter_map(|task| task.files().ok()).any(|files| files.any(of))
    }
}
