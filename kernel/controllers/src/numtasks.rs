//! numtasks: how many tasks may be in a container and everything below it.
//!
//! `numtasks.limit` (not on the root): `max`, or a number up to 4194304. `numtasks.current`: live tasks here and below.
//! `numtasks.peak`: the highest that `current` ever was.
//!
//! A fork over the limit of any level fails with `EAGAIN`. Nothing else is refused: moving a task in may take `current`
//! over the limit, and lowering the limit below `current` ends nobody; further forks fail until tasks have left.
//! Rule: interfaces.md, section 12.

use base::{Errno, number::Limit};
use container::{Callbacks, ControlFile, Lineage, Member, Subsystem};
use core::fmt::{self, Write};
use machine::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The highest number that a limit can be.
const HIGHEST_LIMIT: u64 = 4_194_304;
/// What stands for "no limit".
const NO_LIMIT: u64 = u64::MAX;

/// The count of one container.
pub struct Numtasks {
    current: AtomicU64,
    peak: AtomicU64,
    /// A number, or [`NO_LIMIT`].
    limit: AtomicU64,
    /// Whether a refused fork in this container was logged: only the first is.
    logged: AtomicBool,
}

impl Subsystem for Numtasks {
    const NAME: &'static str = "numtasks";
    const INDEX: usize = 7;
    const CALLBACKS: Callbacks = Callbacks::CAN_FORK.union(Callbacks::ATTACH).union(Callbacks::EXIT);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write("limit", Self::show_limit, Self::store_limit).not_on_root(),
        ControlFile::read("current", |tasks, out| writeln!(out, "{}", tasks.current.load(Relaxed))),
        ControlFile::read("peak", |tasks, out| writeln!(out, "{}", tasks.peak.load(Relaxed))),
    ];

    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self::root())
    }

    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        parent.charge(Self::take, Self::give_back).map_err(|full| {
            if !parent.own().logged.swap(true, Relaxed) {
                let (here, there, limit) = (parent.path(), full.path(), full.own().limit.load(Relaxed));
                machine::log!("numtasks: fork refused in {here}: {there} is at its limit of {limit}");
            }
            Errno::EAGAIN
        })
    }

    fn cancel_fork(parent: Lineage<'_, Self>) {
        parent.upwards().for_each(|level| level.own().give_back());
    }

    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        // What both are below keeps its count.
        let common = from.common_with(to);
        to.below(common).for_each(Self::add);
        from.below(common).for_each(Self::give_back);
    }

    fn exit(_task: &dyn Member, place: Lineage<'_, Self>) {
        place.upwards().for_each(|level| level.own().give_back());
    }
}

impl Numtasks {
    /// No tasks and no limit: what every container starts with.
    pub fn root() -> Self {
        Self {
            current: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            limit: AtomicU64::new(NO_LIMIT),
            logged: AtomicBool::new(false),
        }
    }

    /// One more, if the limit allows it. Check and count are one step: counting first and undoing after lets two forks
    /// refuse each other.
    fn take(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        let taken = self.current.fetch_update(Relaxed, Relaxed, |current| (current < limit).then_some(current + 1));
        taken.map(|before| self.peak.fetch_max(before + 1, Relaxed)).is_ok()
    }

    /// One more, whatever the limit.
    fn add(&self) {
        let before = self.current.fetch_add(1, Relaxed);
        self.peak.fetch_max(before + 1, Relaxed);
    }

    fn give_back(&self) {
        self.current.fetch_sub(1, Relaxed);
    }

    fn show_limit(&self, out: &mut dyn Write) -> fmt::Result {
        let limit = match self.limit.load(Relaxed) {
            NO_LIMIT => Limit::Max,
            limit => Limit::At(limit),
        };
        writeln!(out, "{limit}")
    }

    fn store_limit(&self, text: &str) -> Result<(), Errno> {
        let limit = match text.parse()? {
            Limit::Max => NO_LIMIT,
            Limit::At(limit) if limit <= HIGHEST_LIMIT => limit,
            Limit::At(_) => return Err(Errno::EINVAL),
        };
        self.limit.store(limit, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::world::World;
    use base::Errno;
    use proptest::prelude::*;
    use std::{string::ToString, vec::Vec};

    #[test]
    fn a_fork_at_the_limit_fails_and_counts_nothing() {
        let world = World::with("numtasks").mkdir("/a").mkdir("/a/b");
        world.write("/a", "numtasks.limit", "2").unwrap();
        let first = world.spawn_in("/a/b");
        let second = world.fork(&first).unwrap();
        assert_eq!(world.fork(&second).err(), Some(Errno::EAGAIN));
        assert_eq!(world.read("/a/b", "numtasks.current"), "2\n");
        assert_eq!(world.read("/a", "numtasks.current"), "2\n");
        world.exit(&second);
        assert!(world.fork(&first).is_ok());
        assert_eq!(world.read("/a", "numtasks.peak"), "2\n");
    }

    #[test]
    fn a_move_goes_over_the_limit_and_then_forks_fail() {
        let world = World::with("numtasks").mkdir("/a");
        world.write("/a", "numtasks.limit", "1").unwrap();
        let (one, two) = (world.spawn_in("/"), world.spawn_in("/"));
        world.attach("/a", &one).unwrap();
        world.attach("/a", &two).unwrap();
        assert_eq!(world.read("/a", "numtasks.current"), "2\n");
        assert_eq!(world.fork(&one).err(), Some(Errno::EAGAIN));
        world.exit(&one);
        assert_eq!(world.fork(&two).err(), Some(Errno::EAGAIN));
        world.exit(&two);
        assert_eq!(world.read("/a", "numtasks.current"), "0\n");
    }

    #[test]
    fn the_root_counts_all_tasks_and_has_no_limit() {
        let world = World::with("numtasks").mkdir("/a");
        let before: u64 = world.read("/", "numtasks.current").trim().parse().unwrap();
        world.spawn_in("/a");
        assert_eq!(world.read("/", "numtasks.current"), (before + 1).to_string() + "\n");
        assert!(!world.has_file("/", "numtasks.limit"));
    }

    #[test]
    fn a_limit_is_max_or_a_number_that_is_not_too_large() {
        let world = World::with("numtasks").mkdir("/a");
        assert_eq!(world.read("/a", "numtasks.limit"), "max\n");
        for (text, result) in [
            ("0", Ok(())),
            ("4194304", Ok(())),
            ("max", Ok(())),
            ("4194305", Err(Errno::EINVAL)),
            ("-1", Err(Errno::EINVAL)),
            ("none", Err(Errno::EINVAL)),
            ("99999999999999999999", Err(Errno::ERANGE)),
        ] {
            assert_eq!(world.write("/a", "numtasks.limit", text), result, "{text}");
        }
        assert_eq!(world.write("/a", "numtasks.current", "0"), Err(Errno::EINVAL));
    }

    proptest! {
        /// Random forks, exits and moves over a small tree, against counting the tasks that are listed.
        #[test]
        fn current_is_the_number_of_tasks_here_and_below(
            steps in proptest::collection::vec((0u8..3, 0usize..8, 0usize..4), 1..60),
        ) {
            const PLACES: [&str; 4] = ["/", "/a", "/a/b", "/c"];
            let world = World::with("numtasks").mkdir("/a").mkdir("/a/b").mkdir("/c");
            world.write("/a", "numtasks.limit", "5").unwrap();
            let mut tasks = std::vec![world.spawn_in("/"), world.spawn_in("/a/b")];
            for (step, who, place) in steps {
                let who = who % tasks.len();
                match step {
                    0 => tasks.extend(world.fork(&tasks[who])),
                    1 if tasks.len() > 1 => world.exit(&tasks.swap_remove(who)),
                    _ => world.attach(PLACES[place], &tasks[who]).unwrap(),
                }
                for above in PLACES {
                    let inside = above.trim_end_matches('/').to_string() + "/";
                    let below = |path: &&&str| **path == above || path.starts_with(&inside);
                    let inside: usize = PLACES.iter().filter(below).map(|path| world.tasks_in(path)).sum();
                    prop_assert_eq!(world.read(above, "numtasks.current"), inside.to_string() + "\n", "{}", above);
                }
            }
            let _: Vec<()> = tasks.iter().map(|task| world.exit(task)).collect();
            prop_assert_eq!(world.read("/c", "numtasks.current"), "0\n");
        }
    }
}
