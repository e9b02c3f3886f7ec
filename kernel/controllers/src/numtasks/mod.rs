//! numtasks: how many tasks may be in a container and everything below it, by limits and by shares.
//!
//! `numtasks.limit` (not on the root): `max`, or a number up to 4194304. `numtasks.current`: live tasks here and below.
//! `numtasks.peak`: the highest that `current` ever was. `numtasks.shares`: a guarantee and a cap in parts of what the
//! parent has (see [`resgroups`]). `numtasks.stats`: forks that were allowed and refused.
//!
//! Settings for all: `total_numtasks`, what the root has; `forkrate` and `forkrate_interval`, how many forks a container
//! may make in how many seconds.
//!
//! A fork over the limit or the cap of any level fails with `EAGAIN`. Nothing else is refused: moving a task in may take
//! `current` over the limit, and lowering the limit below `current` ends nobody; further forks fail until tasks have
//! left. Rule: interfaces.md, section 12.

mod level;
mod rate;
#[cfg(test)]
mod tests;

use crate::{
    resgroups::{self, Amounts, Client, Shares},
    task_count::{NONE, TaskLimit},
};
use base::Errno;
use container::{Callbacks, ControlFile, Lineage, Member, Node, Parameter, Subsystem};
use core::fmt::{self, Write};
use level::{Count, Level, Refusal};
use machine::sync::{
    Arc, SpinLock,
    atomic::{AtomicBool, Ordering::Relaxed},
    rank,
};
use rate::{Period, Rate};

/// The state of one container.
pub struct Numtasks {
    tree: Arc<Tree>,
    limit: TaskLimit,
    shares: Shares,
    level: Level,
    period: Period,
    /// Forks that were allowed, and whose walk of the shares ended here.
    successes: Count,
    /// Forks of tasks in this container that were refused.
    failures: Count,
    /// Forks of tasks in this container that were refused for the rate.
    rate_failures: Count,
    /// Whether a refused fork in this container was logged: only the first is.
    logged: AtomicBool,
}

/// What all containers share. Its lock guards all their counts.
struct Tree(SpinLock<Settings>);

struct Settings {
    /// How many tasks the root has to give.
    total: u64,
    /// The root's live tasks and its cap once more: where nobody below has bounds these decide, and no walk leads there.
    current: u64,
    max: u64,
    /// Whether a container other than the root has, or had, a limit, a guarantee or a cap.
    is_divided: bool,
    rate: Rate,
}

impl Subsystem for Numtasks {
    const NAME: &'static str = "numtasks";
    const INDEX: usize = 7;
    const CALLBACKS: Callbacks = Callbacks::CAN_FORK.union(Callbacks::ATTACH).union(Callbacks::EXIT);
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read_write_node("shares", resgroups::show, resgroups::store).managed_alone(),
        ControlFile::read_write("stats", Self::show_stats, |_, text| resgroups::check_reset(text)),
        ControlFile::read_write("limit", |tasks: &Self, out| tasks.limit.show(out), store_limit).not_on_root(),
        ControlFile::read("current", |tasks, out| writeln!(out, "{}", tasks.level.current.get())),
        ControlFile::read("peak", |tasks, out| writeln!(out, "{}", tasks.level.peak())),
    ];
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::new("total_numtasks", |root, out| writeln!(out, "{}", root.tree.0.lock().total), store_total),
        Parameter::new(
            "forkrate",
            |root, out| writeln!(out, "{}", root.tree.0.lock().rate.forks),
            |root, text| store_rate(root, text, Rate::set_forks),
        ),
        Parameter::new(
            "forkrate_interval",
            |root, out| writeln!(out, "{}", root.tree.0.lock().rate.interval),
            |root, text| store_rate(root, text, Rate::set_interval),
        ),
    ];

    fn create(parent: &Self) -> Result<Self, Errno> {
        Ok(Self::new(parent.tree.clone(), NONE))
    }

    fn offline(node: &Node<'_, Self>) {
        let _tree = node.state().tree.0.lock();
        level::set_amounts(node.lineage(), 0, NONE);
    }

    fn can_fork(parent: Lineage<'_, Self>) -> Result<(), Errno> {
        let own = parent.own();
        let refusal = {
            let mut tree = own.tree.0.lock();
            if !own.period.allows(&tree.rate) {
                own.rate_failures.up();
                None
            } else if let Err(refusal) = tree.check(parent) {
                own.failures.up();
                Some(refusal)
            } else {
                own.period.count();
                tree.current += 1;
                level::enter(parent).successes.up();
                return Ok(());
            }
        };
        if !own.logged.swap(true, Relaxed) {
            log(parent, refusal);
        }
        Err(Errno::EAGAIN)
    }

    fn cancel_fork(parent: Lineage<'_, Self>) {
        let mut tree = parent.own().tree.0.lock();
        tree.current = tree.current.saturating_sub(1);
        level::undo(parent).successes.down();
        parent.own().period.give_back();
    }

    fn attach(_task: &dyn Member, from: Lineage<'_, Self>, to: Lineage<'_, Self>) {
        let _tree = to.own().tree.0.lock();
        level::change_place(from, to);
    }

    fn exit(_task: &dyn Member, place: Lineage<'_, Self>) {
        let mut tree = place.own().tree.0.lock();
        tree.current = tree.current.saturating_sub(1);
        level::leave(place);
    }
}

impl Client for Numtasks {
    fn shares(&self) -> &Shares {
        &self.shares
    }

    fn total(root: &Self) -> u64 {
        root.tree.0.lock().total
    }

    fn apply(node: &Node<'_, Self>, amounts: Amounts) {
        // The root needs no guarantee: there is nobody above who could take it.
        let min = if node.is_root() { None } else { amounts.min };
        let mut tree = node.state().tree.0.lock();
        tree.is_divided |= !node.is_root() && (amounts.min.is_some() || amounts.max.is_some());
        let max = amounts.max.unwrap_or(NONE);
        if node.is_root() {
            tree.max = max;
        }
        level::set_amounts(node.lineage(), min.unwrap_or(0), max);
    }
}

impl Settings {
    /// Whether there may be one more task in `place`.
    fn check<'a>(&self, place: Lineage<'a, Numtasks>) -> Result<(), Refusal<'a>> {
        match self.is_divided {
            true => level::check(place),
            false if self.current < self.max => Ok(()),
            false => place.upwards().last().map_or(Ok(()), |root| Err(Refusal::Shares(root))),
        }
    }
}

impl Numtasks {
    /// The root's, which has `total` tasks to give: as many as there can be.
    pub fn root(total: u64) -> Self {
        let settings = Settings { total, current: 0, max: total, is_divided: false, rate: Rate::unlimited() };
        Self::new(Arc::new(Tree(SpinLock::new(rank::CONTROLLER, settings))), total)
    }

    fn new(tree: Arc<Tree>, max: u64) -> Self {
        Self {
            tree,
            limit: TaskLimit::none(),
            shares: Shares::default(),
            level: Level::new(max),
            period: Period::new(),
            successes: Count::new(0),
            failures: Count::new(0),
            rate_failures: Count::new(0),
            logged: AtomicBool::new(false),
        }
    }

    fn show_stats(&self, out: &mut dyn Write) -> fmt::Result {
        let lines = {
            let _tree = self.tree.0.lock();
            [
                ("Current usage", self.level.current.get()),
                ("Number of successes", self.successes.get()),
                ("Number of failures", self.failures.get()),
                ("Number of forkrate failures", self.rate_failures.get()),
            ]
        };
        lines.iter().try_for_each(|(name, value)| writeln!(out, "numtasks: {name} {value}"))
    }
}

fn log(place: Lineage<'_, Numtasks>, refusal: Option<Refusal<'_>>) {
    let here = place.path();
    match refusal {
        None => machine::log!("numtasks: fork refused in {here}: it forks too often"),
        Some(Refusal::Limit(level)) => {
            let (there, limit) = (level.path(), level.own().limit.get());
            machine::log!("numtasks: fork refused in {here}: {there} is at its limit of {limit}");
        }
        Some(Refusal::Shares(level)) => {
            machine::log!("numtasks: fork refused in {here}: {} has given away all of its shares", level.path());
        }
    }
}

fn store_limit(tasks: &Numtasks, text: &str) -> Result<(), Errno> {
    tasks.tree.0.lock().is_divided = true;
    tasks.limit.store(text)
}

fn store_total(root: &Node<'_, Numtasks>, text: &str) -> Result<(), Errno> {
    let total = rate::parse(text)?;
    {
        let mut tree = root.state().tree.0.lock();
        if total <= root.state().level.current.get() {
            return Err(Errno::EINVAL);
        }
        tree.total = total;
    }
    resgroups::recompute(root);
    Ok(())
}

fn store_rate(root: &Node<'_, Numtasks>, text: &str, set: fn(&mut Rate, u64)) -> Result<(), Errno> {
    let number = rate::parse(text)?;
    set(&mut root.state().tree.0.lock().rate, number);
    Ok(())
}
