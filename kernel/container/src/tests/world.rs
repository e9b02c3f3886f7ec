//! Tasks and subsystems for the tests.

use crate::{
    AnySubsystem, Attributes, Callbacks, ControlFile, Framework, Gate, Lineage, Member, Membership, Move,
    ReleaseWorker, Subsystem, TaskTable, subsystem,
};
use alloc::{boxed::Box, vec, vec::Vec};
use base::{Credentials, Errno, Gid, Pid, Uid};
use core::any::Any;
use machine::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A task: one thread of a process of its own.
pub(super) struct Task {
    membership: Membership,
    gate: Gate,
    tid: Pid,
    kernel: bool,
    threads: Mutex<Vec<std::sync::Weak<Task>>>,
    kills: std::sync::atomic::AtomicU64,
}

impl Task {
    pub(super) fn new(tid: i32, kernel: bool) -> Arc<Self> {
        let task = Arc::new(Self {
            membership: Membership::new(),
            gate: Gate::new(),
            tid: Pid::new(tid),
            kernel,
            threads: Mutex::default(),
            kills: Default::default(),
        });
        task.threads.lock().unwrap().push(Arc::downgrade(&task));
        task
    }

    /// Its process has one more thread.
    #[cfg(not(loom))]
    pub(super) fn add_thread(&self, thread: &Arc<Task>) {
        self.threads.lock().unwrap().push(Arc::downgrade(thread));
    }

    /// How often it was killed.
    #[cfg(not(loom))]
    pub(super) fn kills(&self) -> u64 {
        self.kills.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Member for Task {
    fn membership(&self) -> &Membership {
        &self.membership
    }
    fn tid(&self) -> Pid {
        self.tid
    }
    fn process_id(&self) -> Pid {
        self.tid
    }
    fn is_kernel_thread(&self) -> bool {
        self.kernel
    }
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(Credentials::root())
    }
    fn threads(&self) -> Vec<Arc<dyn Member>> {
        let threads = self.threads.lock().unwrap();
        threads.iter().filter_map(|thread| thread.upgrade()).map(|thread| thread as Arc<dyn Member>).collect()
    }
    fn kill(&self) {
        self.kills.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    fn gate(&self) -> &Gate {
        &self.gate
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The tasks by number.
#[derive(Clone, Default)]
pub(super) struct Tasks(std::sync::Arc<Mutex<BTreeMap<i32, Arc<Task>>>>);

impl Tasks {
    pub(super) fn add(&self, task: &Arc<Task>) {
        self.0.lock().unwrap().insert(task.tid.raw(), task.clone());
    }

    #[cfg(not(loom))]
    pub(super) fn remove(&self, tid: i32) {
        let task = self.0.lock().unwrap().remove(&tid);
        drop(task);
    }
}

impl TaskTable for Tasks {
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>> {
        Some(self.0.lock().unwrap().get(&tid.raw())?.clone())
    }
}

/// Notices that were asked for.
#[derive(Clone, Default)]
pub(super) struct Notices(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl ReleaseWorker for Notices {
    fn wake(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Counts the tasks of a container, without those below; refuses when it is told to.
pub(super) struct Count<const INDEX: usize> {
    tasks: AtomicU64,
    refuses: AtomicU64,
}

impl<const INDEX: usize> Count<INDEX> {
    pub(super) fn new() -> Self {
        Self { tasks: AtomicU64::new(0), refuses: AtomicU64::new(0) }
    }

    /// The tasks that were counted.
    pub(super) fn tasks(&self) -> u64 {
        self.tasks.load(SeqCst)
    }

    fn admits(&self) -> Result<(), Errno> {
        if self.refuses.load(SeqCst) == 0 { Ok(()) } else { Err(Errno::EDOM) }
    }
}

impl<const INDEX: usize> Subsystem for Count<INDEX> {
    const NAME: &'static str = ["apples", "pears"][INDEX];
    const INDEX: usize = INDEX;
    const CALLBACKS: Callbacks =
        Callbacks::CAN_ATTACH.union(Callbacks::ATTACH).union(Callbacks::CAN_FORK).union(Callbacks::EXIT);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read("count", |state, out| writeln!(out, "{}", state.tasks())),
        ControlFile::read_write(
            "refuse",
            |state, out| writeln!(out, "{}", state.refuses.load(SeqCst)),
            |state, text| {
                state.refuses.store(base::number::parse_unsigned(text)?, SeqCst);
                Ok(())
            },
        ),
    ];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self::new())
    }

    fn can_attach(change: &Move<'_, Self>) -> Result<(), Errno> {
        change.target().own().admits()
    }

    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        from.own().tasks.fetch_sub(1, SeqCst);
        to.own().tasks.fetch_add(1, SeqCst);
    }

    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        parent.own().admits()?;
        parent.own().tasks.fetch_add(1, SeqCst);
        Ok(())
    }

    fn cancel_fork(parent: Lineage<'_, Self>) {
        parent.own().tasks.fetch_sub(1, SeqCst);
    }

    fn exit(_task: &dyn Member, place: Lineage<'_, Self>) {
        place.own().tasks.fetch_sub(1, SeqCst);
    }
}

/// A framework with both subsystems, and its table of tasks.
pub(super) fn framework() -> (Arc<Framework>, Tasks, Notices) {
    let (tasks, notices) = (Tasks::default(), Notices::default());
    let all: Vec<AnySubsystem> = vec![subsystem(Count::<0>::new()), subsystem(Count::<1>::new())];
    (Framework::new(all, "", Box::new(tasks.clone()), Box::new(notices.clone())), tasks, notices)
}

/// Attributes for a new directory.
pub(super) fn attributes() -> Attributes {
    Attributes { mode: 0o755, uid: Uid::ROOT, gid: Gid::ROOT, times: [0; 3] }
}

/// Reads a control file.
#[cfg(not(loom))]
pub(super) fn read(
    framework: &Framework,
    container: &Arc<crate::Container>,
    file: &str,
) -> Result<alloc::string::String, Errno> {
    let file = container.file(file.as_bytes()).ok_or(Errno::ENOENT)?;
    let mut text = alloc::string::String::new();
    framework.read_file(container, file, &mut text).map(|()| text)
}

/// Writes a control file as `task`, with every right.
#[cfg(not(loom))]
pub(super) fn write(
    framework: &Framework,
    container: &Arc<crate::Container>,
    file: &str,
    text: &str,
    task: &Arc<Task>,
) -> Result<(), Errno> {
    let file = container.file(file.as_bytes()).ok_or(Errno::ENOENT)?;
    let task = || Some(task.clone() as Arc<dyn Member>);
    framework.write_file(container, file, text.as_bytes(), &crate::Writer::new(&task, &Credentials::root()))
}
