//! Calls that are not in the table: `ENOSYS`, and a word in the kernel log, once for each number and program.

use alloc::{collections::BTreeSet, string::String};
use base::Errno;
use machine::sync::{SpinLock, rank};
use process::Task;
use vfs::DeviceNumber;

/// The most that is remembered and so the most that is ever told: a program can think of any number.
const MOST: usize = 1000;

/// A program's file, by device and inode, and the number of a call.
type Pair = (DeviceNumber, u64, u64);

static TOLD: Told = Told::new();

/// What was told already.
struct Told(SpinLock<BTreeSet<Pair>>);

impl Told {
    const fn new() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, BTreeSet::new()))
    }

    /// Whether this is to be told: it was not, and there is room to remember it.
    fn is_news(&self, pair: Pair) -> bool {
        let mut told = self.0.lock();
        told.len() < MOST && told.insert(pair)
    }
}

/// The answer to a call that there is not. Always `ENOSYS`.
#[cold]
pub fn answer(task: &Task, number: u64) -> Errno {
    if let Some(program) = task.process().program() {
        let inode = program.file.inode();
        if TOLD.is_news((inode.metadata().device, inode.number(), number)) {
            let name = task.name();
            let name = String::from_utf8_lossy(name.as_bytes());
            machine::log!("syscall: {name} ({}) makes call {number}, which there is not", task.pid());
        }
    }
    Errno::ENOSYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_each_program_is_told_once_and_not_for_ever() {
        let told = Told::new();
        let device = DeviceNumber::new(0, 5);
        assert!(told.is_news((device, 1, 500)));
        assert!(!told.is_news((device, 1, 500)));
        assert!(told.is_news((device, 1, 501)) && told.is_news((device, 2, 500)));
        let more = (0..5000).filter(|&number| told.is_news((device, 3, number))).count();
        assert_eq!(more, MOST - 3);
    }
}
