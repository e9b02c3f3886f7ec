//! bc, User BeanCounters: what the kernel spends for the tasks of a container and everything below it.
//!
//! For each resource six files, `bc.<resource>.` followed by
//!
//! | item | read | write |
//! |---|---|---|
//! | `held` | what is charged now | – |
//! | `maxheld`, `minheld` | the highest and, since the first charge, the lowest value of `held` | – |
//! | `barrier` | where most charges are refused | a number, at most `limit` |
//! | `limit` | where also those are refused that can hardly fail | a number, at least `barrier` |
//! | `failcnt` | how often this container refused | – |
//!
//! and `bc.id`, the number of the container. A charge goes to the container and every one above it, each with its own
//! bounds, and is given back to the same ones, wherever the task is by then. Only a task itself ([`Resource::Tasks`],
//! and its part of [`Resource::KernelMemory`]) follows its moves, which are never refused.
//!
//! What charges is in the lower floors, which see a container only as a [`base::charge::Payer`]. The file
//! `/proc/user_beancounters` is in `table`. Rule: interfaces.md, section 19.

mod counter;
mod table;
#[cfg(test)]
mod tests;

use base::{
    Errno,
    charge::{Refused, Resource, Severity},
};
use container::{Callbacks, ControlFile, Hierarchy, Lineage, Member, Report, Subsystem};
use counter::{Counter, UNLIMITED};
use machine::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
};

/// What a task costs, bytes: its kernel stack, and what else is kept of it and its process.
pub const TASK_BYTES: u64 = machine::context::STACK_SIZE + 8192;

/// The bounds of `numfiles` in a new container.
const FILES: (u64, u64) = (256, 512);

/// The counters of one container.
pub struct Bc {
    id: u64,
    tree: Arc<Tree>,
    counters: [Counter; Resource::COUNT],
}

/// What all containers share.
struct Tree {
    /// The number that the next container of the hierarchy gets.
    next_id: AtomicU64,
    /// A bit for each resource that any container has, or had, a bound for. Set before the bound is: while it is not, no
    /// charge can be refused, and all levels are charged in one walk.
    bounded: AtomicU32,
}

impl Tree {
    const fn bit(resource: Resource) -> u32 {
        1 << resource as u32
    }

    fn may_refuse(&self, resources: u32, severity: Severity) -> bool {
        severity != Severity::Force && self.bounded.load(SeqCst) & resources != 0
    }
}

/// What is charged for a task.
const OF_TASK: u32 = Tree::bit(Resource::Tasks) | Tree::bit(Resource::KernelMemory);

/// The table of files: six for each resource.
macro_rules! files {
    ($($name:literal = $resource:ident,)*) => {
        &[
            $(
                ControlFile::read(concat!($name, ".held"), |bc, out| {
                    bc.counter(Resource::$resource).show(out, |now| now.held)
                }),
                ControlFile::read(concat!($name, ".maxheld"), |bc, out| {
                    bc.counter(Resource::$resource).show(out, |now| now.maxheld)
                }),
                ControlFile::read(concat!($name, ".minheld"), |bc, out| {
                    bc.counter(Resource::$resource).show(out, |now| now.minheld)
                }),
                ControlFile::read_write(
                    concat!($name, ".barrier"),
                    |bc, out| bc.counter(Resource::$resource).show(out, |now| now.barrier),
                    |bc, text| bc.to_be_bounded(Resource::$resource).store_barrier(text),
                ),
                ControlFile::read_write(
                    concat!($name, ".limit"),
                    |bc, out| bc.counter(Resource::$resource).show(out, |now| now.limit),
                    |bc, text| bc.to_be_bounded(Resource::$resource).store_limit(text),
                ),
                ControlFile::read(concat!($name, ".failcnt"), |bc, out| {
                    bc.counter(Resource::$resource).show(out, |now| now.failcnt)
                }),
            )*
            ControlFile::read("id", |bc, out| writeln!(out, "{}", bc.id)),
        ]
    };
}

impl Subsystem for Bc {
    const NAME: &'static str = "bc";
    const INDEX: usize = 8;
    const CALLBACKS: Callbacks =
        Callbacks::CAN_FORK.union(Callbacks::ATTACH).union(Callbacks::EXIT).union(Callbacks::CHARGE);
    const FILES: &'static [ControlFile<Self>] = files! {
        "kmemsize" = KernelMemory,
        "privvmpages" = PrivatePages,
        "physpages" = PhysicalPages,
        "numtasks" = Tasks,
        "numfiles" = Files,
        "lockedpages" = LockedPages,
        "shmpages" = SharedPages,
        "numpty" = Terminals,
        "numsiginfo" = Signals,
    };
    const REPORT: Option<Report<Self>> = Some(table::USER_BEANCOUNTERS);

    fn create(parent: &Self) -> Result<Self, Errno> {
        parent.tree.bounded.fetch_or(Tree::bit(Resource::Files), SeqCst);
        Ok(Self::new(parent.tree.next_id.fetch_add(1, Relaxed), parent.tree.clone(), FILES))
    }

    fn bind(&self, _hierarchy: &Hierarchy) {
        // There is no container but the root now.
        self.tree.next_id.store(1, Relaxed);
    }

    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        // What both are below keeps its charge.
        let common = from.common_with(to);
        to.below(common).for_each(|bc| bc.each_of_task(Counter::add));
        from.below(common).for_each(|bc| bc.each_of_task(Counter::give_back));
    }

    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        if !parent.own().tree.may_refuse(OF_TASK, Severity::Barrier) {
            parent.upwards().for_each(|level| level.own().each_of_task(Counter::add));
            return Ok(());
        }
        // Nothing is kept before both have agreed: what one of them refuses leaves no trace in the other.
        let both = parent.charge(Self::take_task, |bc| bc.each_of_task(Counter::give_up));
        if both.is_err() {
            // One after the other, since it matters who refuses.
            Self::take_task_in_order(parent)?;
        }
        parent.upwards().for_each(|level| level.own().each_of_task(Counter::keep));
        Ok(())
    }

    fn cancel_fork(parent: Lineage<'_, Self>) {
        parent.upwards().for_each(|level| level.own().each_of_task(Counter::give_back));
    }

    fn exit(_task: &dyn Member, place: Lineage<'_, Self>) {
        place.upwards().for_each(|level| level.own().each_of_task(Counter::give_back));
    }

    #[inline]
    fn charge(payer: Lineage<'_, Self>, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        if !payer.own().tree.may_refuse(Tree::bit(resource), severity) {
            payer.upwards().for_each(|level| level.own().counter(resource).add(amount));
            return Ok(());
        }
        Self::charge_bounded(payer, resource, amount, severity)
    }

    #[inline]
    fn uncharge(payer: Lineage<'_, Self>, resource: Resource, amount: u64) {
        payer.upwards().for_each(|level| level.own().counter(resource).give_back(amount));
    }
}

impl Bc {
    /// The counters of the root: nothing held, and no bounds.
    pub fn root() -> Self {
        let tree = Tree { next_id: AtomicU64::new(1), bounded: AtomicU32::new(0) };
        Self::new(0, Arc::new(tree), (UNLIMITED, UNLIMITED))
    }

    fn new(id: u64, tree: Arc<Tree>, files: (u64, u64)) -> Self {
        let mut counters = core::array::from_fn(|_| Counter::new(UNLIMITED, UNLIMITED));
        counters[Resource::Files as usize] = Counter::new(files.0, files.1);
        Self { id, tree, counters }
    }

    /// The first step of a charge for a task, at one level.
    fn take_task(&self) -> bool {
        let tasks = self.counter(Resource::Tasks);
        if !tasks.take(1, Severity::Barrier) {
            return false;
        }
        let memory = self.counter(Resource::KernelMemory).take(TASK_BYTES, Severity::Barrier);
        if !memory {
            tasks.give_up(1);
        }
        memory
    }

    /// The first step of a charge for a task, at every level or none, for the number of tasks before the memory.
    fn take_task_in_order(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        Self::take(parent, Resource::Tasks, 1, Severity::Barrier).map_err(|Refused| Errno::EAGAIN)?;
        Self::take(parent, Resource::KernelMemory, TASK_BYTES, Severity::Barrier).map_err(|Refused| {
            parent.upwards().for_each(|level| level.own().counter(Resource::Tasks).give_up(1));
            Errno::ENOMEM
        })
    }

    /// A charge that may be refused.
    #[inline(never)]
    fn charge_bounded(
        payer: Lineage<'_, Self>,
        resource: Resource,
        amount: u64,
        severity: Severity,
    ) -> Result<(), Refused> {
        Self::take(payer, resource, amount, severity)?;
        Self::keep(payer, resource, amount);
        Ok(())
    }

    /// The first step of a charge, at every level or none.
    fn take(payer: Lineage<'_, Self>, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        let taken =
            payer.charge(|bc| bc.counter(resource).take(amount, severity), |bc| bc.counter(resource).give_up(amount));
        taken.map_err(|full| {
            full.own().counter(resource).fail();
            Refused
        })
    }

    /// The second step of a charge.
    fn keep(payer: Lineage<'_, Self>, resource: Resource, amount: u64) {
        payer.upwards().for_each(|level| level.own().counter(resource).keep(amount));
    }

    /// Does something to the counters of what follows a task through its moves.
    fn each_of_task(&self, each: impl Fn(&Counter, u64)) {
        each(self.counter(Resource::Tasks), 1);
        each(self.counter(Resource::KernelMemory), TASK_BYTES);
    }

    /// A counter that is about to get a bound.
    fn to_be_bounded(&self, resource: Resource) -> &Counter {
        self.tree.bounded.fetch_or(Tree::bit(resource), SeqCst);
        self.counter(resource)
    }

    fn counter(&self, resource: Resource) -> &Counter {
        &self.counters[resource as usize]
    }
}
