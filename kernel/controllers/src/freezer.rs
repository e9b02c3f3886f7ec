//! freezer: stops all tasks of a container and everything below it, and lets them go on.
//!
//! Not on the root. `freezer.state`: write `FROZEN` or `THAWED`; it shows `FREEZING` while a task still runs.
//! `freezer.self_freezing`: whether this container was asked to. `freezer.parent_freezing`: whether one above was.
//!
//! A frozen task runs no user instruction and takes no signal but SIGKILL, which ends it; its sleeps and waits are not
//! disturbed. Who comes in is frozen too, and who is moved out goes on. Rule: interfaces.md, section 17.
//!
//! A container that is freezing counts the live tasks, here and below, that are not frozen yet. Counts and flags of the
//! tree are guarded by one lock. The flags change only with *manage* held exclusively, so a move, which holds it shared,
//! may look at them without the lock.

use base::Errno;
use container::{Callbacks, ControlFile, Lineage, Member, Node, Subsystem};
use core::fmt::{self, Write};
use machine::sync::{
    Arc, Hook, SpinLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    rank,
};

/// What has come of the wish to freeze a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freezing {
    /// It had been wished before.
    Before,
    /// The task will be frozen soon, unless it ends.
    Soon,
    /// It is frozen.
    Done,
}

/// What freezer asks of the floors that own tasks. Called with spinning locks up to rank `CONTROLLER` held.
pub trait TaskFreezer: Sync {
    /// Wishes the task frozen.
    fn freeze(&self, task: &dyn Member) -> Freezing;
    /// Withdraws the wish; a frozen task goes on. `None`: it was not wished; else whether the task was frozen.
    fn thaw(&self, task: &dyn Member) -> Option<bool>;
    /// Whether the task is wanted frozen, and whether it is. `None`: not wanted.
    fn progress(&self, task: &dyn Member) -> Option<bool>;
    /// Makes the running task frozen, if it still should be. Whether it is.
    fn mark_frozen(&self, task: &dyn Member) -> bool;
    /// Has a task that is to end go on. Whether it was frozen.
    fn let_end(&self, task: &dyn Member) -> bool;
}

/// Filled once at boot.
pub static TASKS: Hook<dyn TaskFreezer> = Hook::new();

/// The state of one container. See the head of this file for the lock.
pub struct Freezer {
    tree: Arc<SpinLock<()>>,
    /// Asked by its own file.
    own: AtomicBool,
    /// This container or one above was asked.
    freezing: AtomicBool,
    /// While `freezing`: tasks here and below that are not frozen yet, and one for each container whose tasks have not
    /// been told yet.
    busy: AtomicU64,
    /// `freezing` has just changed, and the tasks here have not been told yet.
    changed: AtomicBool,
}

type Place<'a> = Lineage<'a, Freezer>;

impl Subsystem for Freezer {
    const NAME: &'static str = "freezer";
    const INDEX: usize = 5;
    const CALLBACKS: Callbacks = Callbacks::ATTACH.union(Callbacks::FORK).union(Callbacks::EXIT);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write_node("state", |node: &Node<'_, Self>, out| node.state().show(out), store)
            .not_on_root()
            .managed_alone(),
        ControlFile::read("self_freezing", |own: &Self, out| writeln!(out, "{}", u8::from(own.own.load(Relaxed))))
            .not_on_root(),
        ControlFile::read_node("parent_freezing", |node: &Node<'_, Self>, out| {
            let above = node.parent().is_some_and(|parent| parent.state().is_freezing());
            writeln!(out, "{}", u8::from(above))
        })
        .not_on_root(),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        Ok(Self::new(parent.tree.clone(), parent.is_freezing()))
    }

    fn online(node: &Node<'_, Self>) -> Result<(), Errno> {
        // Born freezing and without tasks, so frozen.
        node.lineage().set_frozen(node.state().is_freezing());
        Ok(())
    }

    fn attach(task: &dyn Member, from: Place<'_>, to: Place<'_>) {
        let (from_freezing, to_freezing) = (from.own().is_freezing(), to.own().is_freezing());
        if !from_freezing && !to_freezing {
            return;
        }
        let Some(tasks) = TASKS.get() else { return };
        let _tree = to.own().tree.lock();
        if from_freezing && to_freezing {
            if tasks.progress(task) == Some(false) {
                count(to, 1);
                count(from, -1);
            }
        } else if to_freezing {
            take_in(to, task, tasks);
        } else if tasks.thaw(task) == Some(false) {
            count(from, -1);
        }
    }

    fn fork(child: &dyn Member, place: Place<'_>) {
        // The child is listed by now: a wish to freeze that this look misses finds it there.
        if !place.own().is_freezing() {
            return;
        }
        let Some(tasks) = TASKS.get() else { return };
        let _tree = place.own().tree.lock();
        if place.own().is_freezing() {
            take_in(place, child, tasks);
        }
    }

    fn exit(task: &dyn Member, place: Place<'_>) {
        // No move takes the task any more: a wish to freeze that this look misses finds that it is not live.
        if !place.own().is_freezing() {
            return;
        }
        let Some(tasks) = TASKS.get() else { return };
        let _tree = place.own().tree.lock();
        if place.own().is_freezing() && tasks.thaw(task) == Some(false) {
            count(place, -1);
        }
    }
}

impl Freezer {
    /// The root's, which is never frozen.
    pub fn root() -> Self {
        Self::new(Arc::new(SpinLock::new(rank::CONTROLLER, ())), false)
    }

    fn new(tree: Arc<SpinLock<()>>, freezing: bool) -> Self {
        Self {
            tree,
            own: AtomicBool::new(false),
            freezing: AtomicBool::new(freezing),
            busy: AtomicU64::new(0),
            changed: AtomicBool::new(false),
        }
    }

    fn is_freezing(&self) -> bool {
        self.freezing.load(SeqCst)
    }

    fn show(&self, out: &mut dyn Write) -> fmt::Result {
        let (freezing, busy) = {
            let _tree = self.tree.lock();
            (self.is_freezing(), self.busy.load(Relaxed))
        };
        out.write_str(match (freezing, busy) {
            (false, _) => "THAWED\n",
            (true, 0) => "FROZEN\n",
            (true, _) => "FREEZING\n",
        })
    }

    /// The running task, which is wanted frozen, has come where it can stay. To be called with the task's states settled.
    pub fn settle(place: Place<'_>, task: &dyn Member) {
        let Some(tasks) = TASKS.get() else { return };
        let _tree = place.own().tree.lock();
        if !place.own().is_freezing() {
            // Thawed meanwhile, and the task just has not been told.
            tasks.thaw(task);
        } else if tasks.mark_frozen(task) {
            count(place, -1);
        }
    }

    /// A task that is wanted frozen is to end. To be called with the task's states settled.
    pub fn release(place: Place<'_>, task: &dyn Member) {
        let Some(tasks) = TASKS.get() else { return };
        let _tree = place.own().tree.lock();
        if tasks.let_end(task) && place.own().is_freezing() {
            count(place, 1);
        }
    }
}

/// A live task has come to a container that is freezing, or that has begun to.
fn take_in(place: Place<'_>, task: &dyn Member, tasks: &dyn TaskFreezer) {
    // One that exits has been, or will be, taken out by `exit`.
    if task.membership().is_live() && tasks.freeze(task) == Freezing::Soon {
        count(place, 1);
    }
}

/// Changes the number of tasks that are not frozen, at every level that is freezing.
fn count(place: Place<'_>, change: i64) {
    for level in place.upwards().take_while(|level| level.own().is_freezing()) {
        let own = level.own();
        let busy = own.busy.load(Relaxed).saturating_add_signed(change);
        own.busy.store(busy, Relaxed);
        level.set_frozen(busy == 0);
    }
}

/// All containers below, parents before children.
fn all_below<'a>(node: &Node<'a, Freezer>) -> alloc::vec::Vec<Node<'a, Freezer>> {
    let mut all: alloc::vec::Vec<_> = node.children().collect();
    let mut next = 0;
    while next < all.len() {
        let children: alloc::vec::Vec<_> = all[next].children().collect();
        all.extend(children);
        next += 1;
    }
    all
}

fn store(node: &Node<'_, Freezer>, text: &str) -> Result<(), Errno> {
    let wish = match text {
        "FROZEN" => true,
        "THAWED" => false,
        _ => return Err(Errno::EINVAL),
    };
    let Some(tasks) = TASKS.get() else { return Err(Errno::ENODEV) };
    // Before the lock: looking for children takes others.
    let below = all_below(node);
    {
        let _tree = node.state().tree.lock();
        node.state().own.store(wish, Relaxed);
        let above = node.parent().is_some_and(|parent| parent.state().is_freezing());
        if above {
            return Ok(());
        }
        core::iter::once(node).chain(&below).for_each(|node| if wish { begin(node) } else { end(node) });
    }
    for node in core::iter::once(node).chain(&below).filter(|node| node.state().changed.swap(false, Relaxed)) {
        for task in node.tasks() {
            let _tree = node.state().tree.lock();
            if wish {
                take_in(node.lineage(), &*task, tasks);
            } else {
                tasks.thaw(&*task);
            }
        }
        if wish {
            let _tree = node.state().tree.lock();
            count(node.lineage(), -1);
        }
    }
    Ok(())
}

/// The container begins to freeze with one above it, or by its own file. With the lock of the tree.
fn begin(node: &Node<'_, Freezer>) {
    let own = node.state();
    let lineage = node.lineage();
    if own.is_freezing() {
        // What it has counted so far counts for those above that have begun just now.
        let busy = own.busy.load(Relaxed) as i64;
        if let Some(parent) = lineage.upwards().nth(1).filter(|parent| parent.own().changed.load(Relaxed)) {
            count(parent, busy);
        }
    } else {
        own.freezing.store(true, SeqCst);
        own.busy.store(0, Relaxed);
        own.changed.store(true, Relaxed);
        // Until its tasks are told.
        count(lineage, 1);
    }
}

/// The container is thawed with one above it, or by its own file, unless it has reason to stay frozen.
fn end(node: &Node<'_, Freezer>) {
    let own = node.state();
    let above = node.parent().is_some_and(|parent| parent.state().is_freezing());
    if own.is_freezing() && !above && !own.own.load(Relaxed) {
        own.freezing.store(false, SeqCst);
        own.changed.store(true, Relaxed);
        node.lineage().set_frozen(false);
    }
}

#[cfg(test)]
mod tests {
    use crate::world::{Task, World};
    use base::Errno;
    use proptest::prelude::*;
    use std::{string::String, sync::Arc, vec, vec::Vec};

    fn state(world: &World, path: &str) -> String {
        world.read(path, "freezer.state").trim().into()
    }

    fn set(world: &World, path: &str, state: &str) {
        world.write(path, "freezer.state", state).unwrap();
    }

    #[test]
    fn a_container_is_frozen_when_its_last_task_is() {
        let world = World::with("freezer").mkdir("/a").mkdir("/a/b");
        let (runs, sleeps) = (world.spawn_in("/a/b"), world.spawn_in("/a"));
        sleeps.fall_asleep();
        let told = world.watch("/a", "cgroup.events");
        assert_eq!(state(&world, "/a"), "THAWED");
        set(&world, "/a", "FROZEN");
        assert!(sleeps.is_frozen() && !runs.is_frozen());
        assert_eq!((state(&world, "/a"), state(&world, "/a/b")), ("FREEZING".into(), "FREEZING".into()));
        assert_eq!(told.count(), 0);
        world.settle(&runs);
        assert!(runs.is_frozen());
        assert_eq!((told.count(), world.read("/a", "cgroup.events")), (1, "populated 1\nfrozen 1\n".into()));
        assert_eq!((state(&world, "/a"), state(&world, "/a/b")), ("FROZEN".into(), "FROZEN".into()));
        set(&world, "/a", "THAWED");
        assert!(!runs.is_frozen() && !sleeps.is_frozen());
        assert_eq!((state(&world, "/a"), state(&world, "/a/b")), ("THAWED".into(), "THAWED".into()));
    }

    #[test]
    fn only_two_words_are_taken_and_the_root_has_no_files() {
        let world = World::with("freezer").mkdir("/a");
        for text in ["FREEZING", "frozen", "", "1", "FROZEN THAWED"] {
            let result = world.write("/a", "freezer.state", &(String::from(text) + "\n"));
            assert_eq!(result, Err(Errno::EINVAL), "{text}");
        }
        for file in ["freezer.state", "freezer.self_freezing", "freezer.parent_freezing"] {
            assert!(!world.has_file("/", file) && world.has_file("/a", file));
        }
        assert_eq!(world.write("/a", "freezer.self_freezing", "1"), Err(Errno::EINVAL));
    }

    #[test]
    fn a_child_of_a_freezing_parent_is_born_freezing_and_cannot_thaw_itself() {
        let world = World::with("freezer").mkdir("/a");
        set(&world, "/a", "FROZEN");
        let world = world.mkdir("/a/b");
        assert_eq!(state(&world, "/a/b"), "FROZEN");
        set(&world, "/a/b", "THAWED");
        assert_eq!(state(&world, "/a/b"), "FROZEN");
        let both =
            |path: &str| (world.read(path, "freezer.self_freezing"), world.read(path, "freezer.parent_freezing"));
        assert_eq!((both("/a"), both("/a/b")), (("1\n".into(), "0\n".into()), ("0\n".into(), "1\n".into())));
        set(&world, "/a/b", "FROZEN");
        set(&world, "/a", "THAWED");
        assert_eq!((state(&world, "/a"), state(&world, "/a/b")), ("THAWED".into(), "FROZEN".into()));
    }

    #[test]
    fn who_comes_in_is_frozen_and_who_is_moved_out_goes_on() {
        let world = World::with("freezer").mkdir("/a");
        set(&world, "/a", "FROZEN");
        let task = world.spawn_in("/a");
        assert_eq!(state(&world, "/a"), "FREEZING");
        world.settle(&task);
        assert_eq!((state(&world, "/a"), task.is_frozen()), ("FROZEN".into(), true));
        world.attach("/", &task).unwrap();
        assert_eq!((state(&world, "/a"), task.is_frozen()), ("FROZEN".into(), false));
        task.fall_asleep();
        world.attach("/a", &task).unwrap();
        assert_eq!((state(&world, "/a"), task.is_frozen()), ("FROZEN".into(), true));
    }

    #[test]
    fn a_killed_task_is_let_go_and_counts_until_it_has_ended() {
        let world = World::with("freezer").mkdir("/a");
        let task = world.spawn_in("/a");
        task.fall_asleep();
        set(&world, "/a", "FROZEN");
        world.kill(&task);
        assert_eq!((state(&world, "/a"), task.is_frozen()), ("FREEZING".into(), false));
        world.exit(&task);
        assert_eq!(state(&world, "/a"), "FROZEN");
    }

    /// Freezing and thawing while tasks are born, end, settle, move and are killed, then a count of what is left.
    #[test]
    fn no_storm_leaves_a_wrong_count() {
        let world = World::with("freezer").mkdir("/a").mkdir("/a/b");
        let parents: Vec<_> = (0..4).map(|index| world.spawn_in(["/a", "/a/b"][index % 2])).collect();
        std::thread::scope(|scope| {
            for parent in &parents {
                scope.spawn(|| {
                    for round in 0..400 {
                        let child = world.fork(parent).unwrap();
                        match round % 5 {
                            0 => child.fall_asleep(),
                            1 => world.settle(&child),
                            2 => world.kill(&child),
                            3 => world.attach("/", &child).unwrap(),
                            _ => world.attach("/a/b", &child).unwrap(),
                        }
                        world.exit(&child);
                        world.reap(&child);
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..400 {
                    set(&world, ["/a", "/a/b"][round / 2 % 2], ["FROZEN", "THAWED"][round % 2]);
                }
            });
        });
        set(&world, "/a", "FROZEN");
        set(&world, "/a/b", "THAWED");
        assert_eq!(state(&world, "/a"), "FREEZING");
        parents.iter().for_each(|parent| world.settle(parent));
        assert_eq!((state(&world, "/a"), state(&world, "/a/b")), ("FROZEN".into(), "FROZEN".into()));
        set(&world, "/a", "THAWED");
        assert!(parents.iter().all(|parent| !parent.is_frozen()));
    }

    const PLACES: [&str; 4] = ["/", "/a", "/a/b", "/a/c"];

    proptest! {
        /// Whatever happens in whatever order: a container is freezing if it or one above was asked to, and frozen if then
        /// each live task inside is.
        #[test]
        fn the_state_is_that_of_the_tasks(
            steps in proptest::collection::vec((0u8..8, 0usize..16, 0usize..4), 1..80),
        ) {
            let world = PLACES[1..].iter().fold(World::with("freezer"), |world, path| world.mkdir(path));
            let mut asked = [false; 4];
            let mut tasks: Vec<(Arc<Task>, usize)> = vec![(world.spawn_in("/"), 0)];
            for (step, who, place) in steps {
                let who = who % tasks.len();
                let (task, at) = tasks[who].clone();
                match step {
                    0 if !task.is_frozen() => tasks.extend(world.fork(&task).map(|child| (child, at))),
                    1 if tasks.len() > 1 => {
                        world.exit(&task);
                        tasks.swap_remove(who);
                    }
                    2 => world.settle(&task),
                    3 => task.fall_asleep(),
                    4 => world.kill(&task),
                    5 | 6 if place > 0 => {
                        asked[place] = step == 5;
                        set(&world, PLACES[place], if step == 5 { "FROZEN" } else { "THAWED" });
                    }
                    _ => {
                        world.attach(PLACES[place], &task).unwrap();
                        tasks[who].1 = place;
                    }
                }
                for (place, path) in PLACES.iter().enumerate().skip(1) {
                    let freezing = asked[place] || place > 1 && asked[1];
                    let inside = |at: usize| at == place || place == 1 && at > 1;
                    let frozen = tasks.iter().filter(|(_, at)| inside(*at)).all(|(task, _)| task.is_frozen());
                    let expected = match (freezing, frozen) {
                        (false, _) => "THAWED",
                        (true, true) => "FROZEN",
                        (true, false) => "FREEZING",
                    };
                    prop_assert_eq!(state(&world, path), expected, "{}", path);
                    prop_assert!(freezing || tasks.iter().all(|(task, at)| *at != place || !task.is_frozen()));
                }
            }
        }
    }
}
