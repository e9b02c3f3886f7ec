//! pids: how many tasks may be in a container and everything below it, counting a task until it is reaped.
//!
//! Not on the root, which counts nothing. `pids.max`: `max`, or a number up to 4194304. `pids.current`: tasks not yet
//! reaped, here and below. `pids.peak`: the highest that `current` ever was. `pids.events`: how many forks of tasks in
//! this container were refused; each is told to those who watch the file.
//!
//! A fork over the maximum of any level fails with `EAGAIN`; a move is never refused. Rule: interfaces.md, section 13.

use crate::task_count::TaskLimit;
use base::Errno;
use container::{Callbacks, ControlFile, Lineage, Member, Notice, Subsystem};
use machine::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The count of one container.
pub struct Pids {
    max: TaskLimit,
    current: AtomicU64,
    peak: AtomicU64,
    refused: AtomicU64,
    events: Notice,
    /// Whether a refused fork in this container was logged: only the first is.
    logged: AtomicBool,
}

impl Subsystem for Pids {
    const NAME: &'static str = "pids";
    const INDEX: usize = 6;
    const CALLBACKS: Callbacks = Callbacks::CAN_FORK.union(Callbacks::ATTACH).union(Callbacks::RELEASE);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write("max", |pids: &Self, out| pids.max.show(out), |pids, text| pids.max.store(text))
            .not_on_root(),
        ControlFile::read("current", |pids: &Self, out| writeln!(out, "{}", pids.current.load(Relaxed))).not_on_root(),
        ControlFile::read("peak", |pids: &Self, out| {
            pids.note_peak();
            writeln!(out, "{}", pids.peak.load(Relaxed))
        })
        .not_on_root(),
        ControlFile::read("events", |pids: &Self, out| writeln!(out, "max {}", pids.refused.load(Relaxed)))
            .notifies(|pids| &pids.events)
            .not_on_root(),
    ];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self::root())
    }

    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        for place in counted(parent) {
            if !place.own().take() {
                counted(parent)
                    .map(Lineage::own)
                    .take_while(|own| !core::ptr::eq(*own, place.own()))
                    .for_each(Self::undo);
                parent.own().refuse(parent, place);
                return Err(Errno::EAGAIN);
            }
        }
        Ok(())
    }

    fn cancel_fork(parent: Lineage<'_, Self>) {
        counted(parent).for_each(|place| place.own().undo());
    }

    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        // What both are below keeps its count. That is the root at least, which has none.
        let common = from.common_with(to);
        to.below(common).for_each(|own| {
            own.current.fetch_add(1, Relaxed);
        });
        from.below(common).for_each(Self::leave);
    }

    fn release(place: Lineage<'_, Self>) {
        counted(place).for_each(|place| place.own().leave());
    }
}

/// The levels that count.
fn counted<'a>(place: Lineage<'a, Pids>) -> impl Iterator<Item = Lineage<'a, Pids>> {
    place.upwards().take_while(|level| !level.is_root())
}

impl Pids {
    /// No tasks and no maximum: what every container starts with.
    pub fn root() -> Self {
        Self {
            max: TaskLimit::none(),
            current: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            events: Notice::new(),
            logged: AtomicBool::new(false),
        }
    }

    /// One more, if the maximum allows it. Check and count are one step: counting first and undoing after lets two forks
    /// refuse each other.
    fn take(&self) -> bool {
        let max = self.max.get();
        self.current.fetch_update(Relaxed, Relaxed, |current| (current < max).then_some(current + 1)).is_ok()
    }

    /// Done before `current` falls, and before somebody looks: so a fork that was refused elsewhere, by a level further
    /// up or by another subsystem, was never there.
    fn note_peak(&self) {
        let current = self.current.load(Relaxed);
        if current > self.peak.load(Relaxed) {
            self.peak.fetch_max(current, Relaxed);
        }
    }

    /// One that was counted leaves.
    fn leave(&self) {
        self.note_peak();
        self.undo();
    }

    /// Takes back the count of a task that never came to be.
    fn undo(&self) {
        self.current.fetch_sub(1, Relaxed);
    }

    fn refuse(&self, here: Lineage<'_, Self>, full: Lineage<'_, Self>) {
        self.refused.fetch_add(1, Relaxed);
        self.events.changed();
        if !self.logged.swap(true, Relaxed) {
            let (here, there, max) = (here.path(), full.path(), full.own().max.get());
            machine::log!("pids: fork refused in {here}: {there} is at its maximum of {max}");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::world::{Task, World};
    use base::Errno;
    use proptest::prelude::*;
    use std::{
        string::ToString,
        sync::{Arc, Barrier},
        vec,
        vec::Vec,
    };

    #[test]
    fn a_zombie_counts_until_it_is_reaped() {
        let world = World::with("pids").mkdir("/a");
        world.write("/a", "pids.max", "2").unwrap();
        let first = world.spawn_in("/a");
        let second = world.fork(&first).unwrap();
        world.exit(&second);
        assert_eq!(world.read("/a", "pids.current"), "2\n");
        assert_eq!(world.fork(&first).err(), Some(Errno::EAGAIN));
        world.reap(&second);
        assert_eq!(world.read("/a", "pids.current"), "1\n");
        assert!(world.fork(&first).is_ok());
    }

    #[test]
    fn a_zombie_holds_up_no_rmdir() {
        let world = World::with("pids").mkdir("/a").mkdir("/a/b");
        let task = world.spawn_in("/a/b");
        world.exit(&task);
        world.rmdir("/a/b").unwrap();
        assert_eq!(world.read("/a", "pids.current"), "1\n");
        world.reap(&task);
        assert_eq!(world.read("/a", "pids.current"), "0\n");
    }

    #[test]
    fn a_refusal_is_an_event_of_the_forkers_own_container() {
        let world = World::with("pids").mkdir("/a").mkdir("/a/b");
        world.write("/a", "pids.max", "1").unwrap();
        let task = world.spawn_in("/a/b");
        let told = [world.watch("/a", "pids.events"), world.watch("/a/b", "pids.events")];
        assert_eq!(world.fork(&task).err(), Some(Errno::EAGAIN));
        assert_eq!(told.map(|changes| changes.count()), [0, 1]);
        assert_eq!(
            (world.read("/a", "pids.events"), world.read("/a/b", "pids.events")),
            ("max 0\n".into(), "max 1\n".into())
        );
        // Not even for the moment until the parent refused.
        assert_eq!(world.read("/a/b", "pids.peak"), "1\n");
    }

    #[test]
    fn a_move_goes_over_the_maximum_and_then_forks_fail() {
        let world = World::with("pids").mkdir("/a");
        world.write("/a", "pids.max", "0").unwrap();
        let task = world.spawn_in("/a");
        assert_eq!(world.read("/a", "pids.current"), "1\n");
        assert_eq!(world.fork(&task).err(), Some(Errno::EAGAIN));
    }

    #[test]
    fn the_root_has_none_of_the_files() {
        let world = World::with("pids").mkdir("/a");
        for file in ["pids.max", "pids.current", "pids.peak", "pids.events"] {
            assert!(!world.has_file("/", file) && world.has_file("/a", file), "{file}");
        }
        for file in ["pids.current", "pids.peak", "pids.events"] {
            assert_eq!(world.write("/a", file, "0"), Err(Errno::EINVAL), "{file}");
        }
    }

    #[test]
    fn a_fork_that_fails_later_leaves_no_trace() {
        let world = World::with("pids").mkdir("/a");
        let task = world.spawn_in("/a");
        world.fail_to_fork(&task);
        assert_eq!(world.read("/a", "pids.current"), "1\n");
    }

    /// Overshoot by parallel forks. Fails on a version in which `take` checks and counts in two steps.
    #[test]
    fn no_storm_of_forks_passes_a_maximum() {
        const THREADS: usize = 8;
        let world = World::with("pids").mkdir("/a").mkdir("/a/b").mkdir("/a/c");
        world.write("/a", "pids.max", "20").unwrap();
        world.write("/a/b", "pids.max", "12").unwrap();
        let parents: Vec<_> = (0..THREADS).map(|index| world.spawn_in(["/a/b", "/a/c"][index % 2])).collect();
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for parent in &parents {
                scope.spawn(|| {
                    start.wait();
                    let mut children: Vec<Arc<Task>> = Vec::new();
                    for round in 0..2000 {
                        children.extend(world.fork(parent));
                        let gone = if round % 3 == 0 { children.pop() } else { None };
                        gone.iter().for_each(|child| {
                            world.exit(child);
                            world.reap(child);
                        });
                    }
                });
            }
        });
        let peaks = ["/a", "/a/b"].map(|path| world.read(path, "pids.peak").trim().parse::<u64>().unwrap());
        assert!(peaks[0] <= 20 && peaks[1] <= 12, "{peaks:?}");
        while world.fork(&parents[1]).is_ok() {}
        assert_eq!(world.read("/a", "pids.current"), "20\n");
    }

    proptest! {
        /// Random forks, exits, reaps and moves over a small tree, against counting by hand.
        #[test]
        fn current_is_what_was_not_reaped(
            steps in proptest::collection::vec((0u8..4, 0usize..8, 0usize..4), 1..60),
        ) {
            const PLACES: [&str; 4] = ["/", "/a", "/a/b", "/c"];
            let world = World::with("pids").mkdir("/a").mkdir("/a/b").mkdir("/c");
            world.write("/a", "pids.max", "5").unwrap();
            let mut live = vec![(world.spawn_in("/"), 0)];
            let mut zombies: Vec<(Arc<Task>, usize)> = Vec::new();
            let inside = |lists: [&Vec<(Arc<Task>, usize)>; 2], place: usize| {
                let below = |at: usize| at == place || place == 1 && at == 2;
                lists.iter().flat_map(|list| list.iter()).filter(|(_, at)| below(*at)).count()
            };
            for (step, who, place) in steps {
                let who = who % live.len();
                match step {
                    0 => {
                        let (parent, at) = live[who].clone();
                        let full = (1..3).contains(&at) && inside([&live, &zombies], 1) >= 5;
                        let child = world.fork(&parent);
                        prop_assert_eq!(child.is_err(), full);
                        live.extend(child.map(|child| (child, at)));
                    }
                    1 if live.len() > 1 => {
                        let task = live.swap_remove(who);
                        world.exit(&task.0);
                        zombies.push(task);
                    }
                    2 => zombies.pop().iter().for_each(|(task, _)| world.reap(task)),
                    _ => {
                        world.attach(PLACES[place], &live[who].0).unwrap();
                        live[who].1 = place;
                    }
                }
                for (place, path) in PLACES.iter().enumerate().skip(1) {
                    let shown = world.read(path, "pids.current");
                    prop_assert_eq!(shown, inside([&live, &zombies], place).to_string() + "\n", "{}", path);
                }
            }
        }
    }
}
