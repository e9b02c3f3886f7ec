//! Those who watch a control file with poll or inotify. Rule: interfaces.md, section 8.2.

use super::inode_number;
use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
};
use container::{Container, File, Framework, Notice, Watcher};
use core::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};
use machine::sync::{IrqLock, rank};
use sched::{Timer, TimerCall, WaitQueue};
use vfs::{DeviceNumber, FileEvents};

/// Changes that come so soon (ns) after the last notice are told together at the end of that time.
const PACE: u64 = 10_000_000;

/// When notices were given and are to be given.
#[derive(Default)]
struct Pace {
    last: Option<u64>,
    due: bool,
}

/// What a change asks for.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    Tell,
    TellAt(u64),
    /// It will be told already.
    Nothing,
}

impl Pace {
    fn changed(&mut self, now: u64) -> Step {
        if self.due {
            return Step::Nothing;
        }
        match self.last.map(|last| last + PACE).filter(|&end| now < end) {
            Some(end) => {
                self.due = true;
                Step::TellAt(end)
            }
            None => {
                self.last = Some(now);
                Step::Tell
            }
        }
    }

    fn is_told(&mut self, now: u64) {
        *self = Self { last: Some(now), due: false };
    }
}

/// A watched control file.
pub(super) struct FileWatcher {
    device: DeviceNumber,
    /// The numbers of the container's directory and of the file in it.
    directory: u64,
    file: u64,
    name: Box<[u8]>,
    /// How often it was told that the file has changed, and one more: an open file that was not read yet is behind.
    told: AtomicU64,
    changed: WaitQueue,
    pace: IrqLock<Pace>,
    timer: Timer,
}

/// The watcher of this control file, which exists from now on; `None` where the file tells nobody of its changes.
pub(super) fn watcher(
    framework: &Framework,
    device: DeviceNumber,
    container: &Container,
    file: File,
) -> Option<Arc<FileWatcher>> {
    let new = || -> Arc<dyn Watcher> { FileWatcher::new(device, container, file) };
    typed(framework.notice(container, file)?.watch(new))
}

/// Has all control files of a container that change by themselves tell of it.
pub(super) fn watch_all(framework: &Framework, device: DeviceNumber, container: &Container) {
    container.files(None).for_each(|(file, _)| drop(watcher(framework, device, container, file)));
}

fn typed(watcher: Arc<dyn Watcher>) -> Option<Arc<FileWatcher>> {
    let watcher: Arc<dyn Any + Send + Sync> = watcher;
    watcher.downcast().ok()
}

fn watched(notice: &Notice) -> Option<Arc<FileWatcher>> {
    notice.watcher().and_then(typed)
}

/// Tells those who watch the control files of a removed container that these are gone.
pub(super) fn files_are_gone(container: &Container) {
    // Whoever watches any of them has made the watcher of `events`.
    let Some(watcher) = watched(container.events()) else { return };
    for (file, _) in container.files(None) {
        let number = inode_number(container.serial(), Some(file));
        vfs::tell(watcher.device, number, FileEvents::DELETE_SELF, &[]);
    }
}

/// Tells those who watch with inotify that the kernel itself has removed this container.
pub fn removed(container: &Container) {
    files_are_gone(container);
    if let Some(watcher) = watched(container.events()) {
        vfs::tell(watcher.device, watcher.directory, FileEvents::DELETE_SELF, &[]);
    }
    if let Some(parent) = container.parent().and_then(|parent| watched(parent.events())) {
        let what = FileEvents::DELETE | FileEvents::IS_DIRECTORY;
        vfs::tell(parent.device, parent.directory, what, &container.name());
    }
}

impl FileWatcher {
    fn new(device: DeviceNumber, container: &Container, file: File) -> Arc<Self> {
        let name = container.files(Some(file)).next().map_or(Box::default(), |(_, name)| name.as_bytes().into());
        Arc::new_cyclic(|own: &Weak<Self>| Self {
            device,
            directory: inode_number(container.serial(), None),
            file: inode_number(container.serial(), Some(file)),
            name,
            told: AtomicU64::new(1),
            changed: WaitQueue::new(),
            pace: IrqLock::new(rank::LEAF, Pace::default()),
            timer: Timer::new(own.clone()),
        })
    }

    /// A number that grows with every notice.
    pub(super) fn told(&self) -> u64 {
        self.told.load(SeqCst)
    }

    /// Woken by every notice.
    pub(super) fn queue(&self) -> &WaitQueue {
        &self.changed
    }

    fn tell(&self) {
        self.told.fetch_add(1, SeqCst);
        self.changed.wake_all();
        vfs::tell(self.device, self.directory, FileEvents::MODIFY, &self.name);
        vfs::tell(self.device, self.file, FileEvents::MODIFY, &[]);
    }
}

impl Watcher for FileWatcher {
    fn changed(&self) {
        let step = self.pace.lock().changed(machine::time::now());
        match step {
            Step::Tell => self.tell(),
            Step::TellAt(deadline) => self.timer.set(deadline),
            Step::Nothing => {}
        }
    }
}

impl TimerCall for FileWatcher {
    fn expired(&self) {
        self.pace.lock().is_told(machine::time::now());
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_soon_after_a_notice_come_as_one_and_the_last_is_told() {
        let mut pace = Pace::default();
        assert_eq!(pace.changed(5), Step::Tell);
        assert_eq!(pace.changed(6), Step::TellAt(5 + PACE));
        assert_eq!(pace.changed(5 + PACE - 1), Step::Nothing);
        pace.is_told(5 + PACE);
        assert_eq!(pace.changed(6 + PACE), Step::TellAt(5 + 2 * PACE));
        pace.is_told(5 + 2 * PACE);
        assert_eq!(pace.changed(5 + 3 * PACE), Step::Tell);
    }
}
