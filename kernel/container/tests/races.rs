//! What holds in every race (interfaces.md, section 21), in every order that loom can find: the races that need
//! several hierarchies, threads or notices. Those of one task and one move are in `src/tests/loom.rs`.
//!
//! Without `--cfg loom` there is nothing here.
#![cfg(loom)]

use base::{Credentials, Errno, Gid, Pid, Uid};
use container::{
    Attributes, Callbacks, Container, ControlFile, Dialect, Framework, Gate, Lineage, Member, Membership, Mounted,
    ReleaseWorker, Subsystem, TaskTable, Writer, subsystem,
};
use std::{
    any::Any,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

/// Counts the tasks of a container itself through the callbacks, as numtasks does.
#[derive(Default)]
struct Count(AtomicI64);

impl Subsystem for Count {
    const NAME: &'static str = "count";
    const INDEX: usize = 7;
    const CALLBACKS: Callbacks = Callbacks::CAN_FORK.union(Callbacks::ATTACH).union(Callbacks::EXIT);
    const FILES: &'static [ControlFile<Self>] = &[];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self::default())
    }
    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        parent.own().0.fetch_add(1, SeqCst);
        Ok(())
    }
    fn cancel_fork(parent: Lineage<'_, Self>) {
        parent.own().0.fetch_sub(1, SeqCst);
    }
    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        from.own().0.fetch_sub(1, SeqCst);
        to.own().0.fetch_add(1, SeqCst);
    }
    fn exit(_task: &dyn Member, place: Lineage<'_, Self>) {
        place.own().0.fetch_sub(1, SeqCst);
    }
}

/// A second subsystem, for a second hierarchy.
#[derive(Default)]
struct Nothing;

impl Subsystem for Nothing {
    const NAME: &'static str = "nothing";
    const INDEX: usize = 9;
    const FILES: &'static [ControlFile<Self>] = &[];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self)
    }
}

/// What the threads of a process share.
#[derive(Default)]
struct Process {
    gate: Gate,
    threads: Mutex<Vec<Weak<Task>>>,
}

struct Task {
    tid: i32,
    membership: Membership,
    process: Arc<Process>,
}

impl Member for Task {
    fn membership(&self) -> &Membership {
        &self.membership
    }
    fn tid(&self) -> Pid {
        Pid::new(self.tid)
    }
    fn process_id(&self) -> Pid {
        Pid::new(self.tid / 10 * 10)
    }
    fn is_kernel_thread(&self) -> bool {
        false
    }
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(Credentials::root())
    }
    fn threads(&self) -> Vec<Arc<dyn Member>> {
        let threads = self.process.threads.lock().unwrap();
        threads.iter().filter_map(|task| Some(task.upgrade()? as Arc<dyn Member>)).collect()
    }
    fn kill(&self) {}
    fn gate(&self) -> &Gate {
        &self.process.gate
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<Vec<Arc<Task>>>>);

impl TaskTable for Table {
    fn find(&self, tid: Pid) -> Option<Arc<dyn Member>> {
        let tasks = self.0.lock().unwrap();
        Some(tasks.iter().find(|task| task.tid == tid.raw())?.clone())
    }
}

struct NoWorker;

impl ReleaseWorker for NoWorker {
    fn wake(&self) {}
}

/// Hierarchy 1 has `count`; task 10 is in its root.
struct World {
    framework: Arc<Framework>,
    mounted: Mounted,
    table: Table,
    first: Arc<Task>,
}

impl World {
    fn new() -> Arc<Self> {
        let table = Table::default();
        let all = vec![subsystem(Count::default()), subsystem(Nothing)];
        let framework = Framework::new(all, "", Box::new(table.clone()), Box::new(NoWorker));
        let mounted = framework.mount(Dialect::Cgroup, b"count", &Credentials::root()).unwrap();
        let first = Arc::new(Task { tid: 10, membership: Membership::new(), process: Arc::default() });
        let world = Arc::new(Self { framework, mounted, table, first: first.clone() });
        world.know(&first);
        world.framework.can_start().unwrap().admit(&(first as Arc<dyn Member>));
        world
    }

    fn know(&self, task: &Arc<Task>) {
        task.process.threads.lock().unwrap().push(Arc::downgrade(task));
        self.table.0.lock().unwrap().push(task.clone());
    }

    fn mkdir(&self, mounted: &Mounted, name: &str) -> Arc<Container> {
        let attributes = Attributes { mode: 0o755, uid: Uid::ROOT, gid: Gid::ROOT, times: [0; 3] };
        self.framework.mkdir(mounted.root(), name.as_bytes(), attributes).unwrap()
    }

    fn fork(&self, parent: &Arc<Task>, tid: i32) -> Arc<Task> {
        let admission = self.framework.can_fork(&**parent).unwrap();
        let process = if tid / 10 == parent.tid / 10 { parent.process.clone() } else { Arc::default() };
        let child = Arc::new(Task { tid, membership: Membership::new(), process });
        self.know(&child);
        admission.admit(&(child.clone() as Arc<dyn Member>));
        child
    }

    fn write(&self, container: &Arc<Container>, file: &str, text: &str) -> Result<(), Errno> {
        let file = container.file(file.as_bytes()).unwrap();
        let task = || Some(self.first.clone() as Arc<dyn Member>);
        self.framework.write_file(container, file, text.as_bytes(), &Writer::new(&task, &Credentials::root()))
    }

    fn tasks(&self, container: &Arc<Container>) -> String {
        let file = container.file(b"tasks").unwrap();
        let mut text = String::new();
        self.framework.read_file(container, file, &mut text).unwrap();
        text.replace('\n', " ")
    }

    /// The place of a task in `count`'s hierarchy, and the state that it has there.
    fn place(&self, task: &Task) -> (String, usize) {
        let text = String::from_utf8(self.framework.task_container(task).unwrap()).unwrap();
        let path = text.lines().find_map(|line| line.strip_prefix("count:")).unwrap().into();
        (path, self.state(task))
    }

    fn state(&self, task: &Task) -> usize {
        let address = |states: Lineage<'_, Count>| std::ptr::from_ref(states.own()).addr();
        self.framework.with_states(task, address).unwrap()
    }

    /// What `count` counted where this task is.
    fn counted(&self, task: &Task) -> i64 {
        self.framework.with_states(task, |states: Lineage<'_, Count>| states.own().0.load(SeqCst)).unwrap()
    }
}

/// The harness runs what is in modules of this name under loom.
mod loom {
    use super::*;
    use ::loom::{model::Builder, thread};

    fn model(run: impl Fn() + Sync + Send + 'static) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(2);
        builder.max_branches = 20_000;
        builder.check(run);
    }

    /// Fails on a version in which `can_fork` does not hold the gate until the child is visible.
    #[test]
    fn a_move_of_the_process_takes_the_thread_that_is_being_born() {
        model(|| {
            let world = World::new();
            let a = world.mkdir(&world.mounted, "a");
            let mover = thread::spawn({
                let (world, a) = (world.clone(), a.clone());
                move || world.write(&a, "cgroup.procs", "10").unwrap()
            });
            let thread = world.fork(&world.first, 11);
            mover.join().unwrap();
            assert_eq!((world.place(&thread), world.counted(&thread)), (world.place(&world.first), 2));
            assert_eq!(world.tasks(&a), "10 11 ");
        });
    }

    #[test]
    fn no_container_keeps_the_count_of_a_task_that_is_gone() {
        model(|| {
            let world = World::new();
            let a = world.mkdir(&world.mounted, "a");
            let doomed = world.fork(&world.first, 20);
            let sets = world.framework.set_count();
            let mover = thread::spawn({
                let (world, a) = (world.clone(), a.clone());
                move || world.write(&a, "tasks", "20").unwrap()
            });
            world.framework.exit(&*doomed);
            mover.join().unwrap();
            // It died in `/a`, where nobody is left, or in the root, where the first one is.
            let in_root = world.state(&doomed) == world.state(&world.first);
            assert_eq!((world.counted(&doomed), world.tasks(&a)), (i64::from(in_root), String::new()));
            assert_eq!((world.counted(&world.first), world.tasks(world.mounted.root())), (1, "10 ".into()));
            world.framework.release(&*doomed);
            assert_eq!(world.framework.rmdir(world.mounted.root(), b"a"), Ok(()));
            assert_eq!(world.framework.set_count(), sets);
        });
    }

    #[test]
    fn a_reader_of_tasks_sees_a_task_that_moves_elsewhere_exactly_once() {
        model(|| {
            let world = World::new();
            let other = world.framework.mount(Dialect::Cgroup, b"nothing", &Credentials::root()).unwrap();
            let b = world.mkdir(&other, "b");
            // All the time in the root of `count`, while its place in the other hierarchy changes.
            let mover = thread::spawn({
                let (world, b) = (world.clone(), b.clone());
                move || world.write(&b, "tasks", "10").unwrap()
            });
            assert_eq!(world.tasks(world.mounted.root()), "10 ");
            mover.join().unwrap();
            assert_eq!((world.tasks(&b), world.tasks(other.root())), ("10 ".into(), String::new()));
        });
    }

    #[test]
    fn two_moves_of_one_task_in_two_hierarchies_both_happen() {
        model(|| {
            let world = World::new();
            let other = world.framework.mount(Dialect::Cgroup, b"nothing", &Credentials::root()).unwrap();
            let (a, b) = (world.mkdir(&world.mounted, "a"), world.mkdir(&other, "b"));
            let mover = thread::spawn({
                let (world, b) = (world.clone(), b.clone());
                move || world.write(&b, "tasks", "10").unwrap()
            });
            world.write(&a, "tasks", "10").unwrap();
            mover.join().unwrap();
            assert_eq!(world.framework.task_container(&*world.first).unwrap(), b"count:/a\nnothing:/b\n");
            assert_eq!(
                (world.framework.rmdir(world.mounted.root(), b"a"), world.counted(&world.first)),
                (Err(Errno::EBUSY), 1)
            );
            for root in [world.mounted.root(), other.root()] {
                world.write(root, "tasks", "10").unwrap();
            }
            assert_eq!(world.framework.rmdir(world.mounted.root(), b"a"), Ok(()));
            // That of the root and nothing else.
            assert_eq!(world.framework.set_count(), 1);
        });
    }

    #[test]
    fn a_mount_that_meets_the_umount_of_the_same_set_gets_the_old_tree_or_a_new_one() {
        model(|| {
            let world = World::new();
            let old = world.framework.mount(Dialect::Cgroup, b"nothing", &Credentials::root()).unwrap();
            let unmounter = thread::spawn(move || drop(old));
            let mounted = world.framework.mount(Dialect::Cgroup, b"nothing", &Credentials::root()).unwrap();
            unmounter.join().unwrap();
            assert_eq!((mounted.hierarchy().number(), world.tasks(mounted.root())), (2, "10 ".into()));
            assert!(!mounted.root().is_removed());
        });
    }

    #[test]
    fn the_last_two_tasks_that_leave_a_container_cause_one_notice() {
        model(|| {
            let world = World::new();
            world.write(world.mounted.root(), "release_agent", "/agent").unwrap();
            let a = world.mkdir(&world.mounted, "a");
            world.write(&a, "notify_on_release", "1").unwrap();
            let (one, other) = (world.fork(&world.first, 20), world.fork(&world.first, 30));
            world.write(&a, "tasks", "20").unwrap();
            world.write(&a, "tasks", "30").unwrap();
            let exit = thread::spawn({
                let world = world.clone();
                move || world.framework.exit(&*one)
            });
            world.framework.exit(&*other);
            exit.join().unwrap();
            let notice = world.framework.next_release().unwrap();
            assert_eq!(notice.arguments, [b"/agent".to_vec(), b"/a".to_vec()]);
            assert!(world.framework.next_release().is_none());
        });
    }
}
