//! bc: what is spent is a list, with who paid; a container holds what it and those below paid. Rules: section 19.

use super::{Model, Task, numbers};
use base::{
    Errno,
    charge::{Resource, Severity},
};
use controllers::bc::TASK_BYTES;

/// The resources in their order.
pub const RESOURCES: [(Resource, &str); Resource::COUNT] = [
    (Resource::KernelMemory, "kmemsize"),
    (Resource::PrivatePages, "privvmpages"),
    (Resource::PhysicalPages, "physpages"),
    (Resource::Tasks, "numtasks"),
    (Resource::Files, "numfiles"),
    (Resource::LockedPages, "lockedpages"),
    (Resource::SharedPages, "shmpages"),
    (Resource::Terminals, "numpty"),
    (Resource::Signals, "numsiginfo"),
];

const ITEMS: [&str; 6] = ["held", "maxheld", "minheld", "barrier", "limit", "failcnt"];

const UNLIMITED: u64 = i64::MAX as u64;

/// One resource of one container.
#[derive(Clone, Copy, Debug)]
pub struct Bean {
    most: u64,
    least: Option<u64>,
    barrier: u64,
    limit: u64,
    failures: u64,
}

impl Default for Bean {
    fn default() -> Self {
        Self { most: 0, least: None, barrier: UNLIMITED, limit: UNLIMITED, failures: 0 }
    }
}

impl Bean {
    /// What numfiles of a new container begins with.
    pub(super) fn files() -> Self {
        Self { barrier: 256, limit: 512, ..Self::default() }
    }
}

/// What was spent and is not given back.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// `None` is the root.
    payer: Option<u32>,
    resource: Resource,
    amount: u64,
}

/// The names of the files.
pub(super) fn files() -> Vec<String> {
    let items = |(_, name)| ITEMS.map(|item| format!("{name}.{item}"));
    RESOURCES.into_iter().flat_map(items).chain(["id".to_owned()]).collect()
}

fn named(file: &str) -> Option<(Resource, &str)> {
    let (name, item) = file.split_once('.')?;
    Some((RESOURCES.iter().find(|(_, known)| *known == name)?.0, item))
}

impl Model {
    fn bc_root(&self) -> Option<u32> {
        self.bound(8).map(|number| self.hierarchies[&number].root)
    }

    /// `None`: the root, wherever that is.
    fn held(&self, level: Option<u32>, resource: Resource) -> u64 {
        let inside = |payer: Option<u32>| match (level, payer) {
            (None, _) => true,
            (Some(level), payer) => payer.is_some_and(|payer| self.upwards(payer).contains(&level)),
        };
        let spent = self.spent.iter().filter(|spent| spent.resource == resource && inside(spent.payer));
        let each = match resource {
            Resource::Tasks => 1,
            Resource::KernelMemory => TASK_BYTES,
            _ => 0,
        };
        let living = self.tasks.values().filter(|task| !task.zombie && each > 0 && inside(self.place_for(8, task)));
        spent.map(|spent| spent.amount).sum::<u64>() + living.count() as u64 * each
    }

    fn bean(&mut self, level: Option<u32>, resource: Resource) -> &mut Bean {
        match level {
            None => &mut self.root.beans[resource as usize],
            Some(level) => &mut self.state_mut(level).beans[resource as usize],
        }
    }

    /// The levels that a charge of this payer is for, from below.
    fn levels(&self, payer: Option<u32>) -> Vec<Option<u32>> {
        let below = payer.into_iter().flat_map(|payer| self.upwards(payer));
        below.filter(|&level| !self.is_root(level)).map(Some).chain([None]).collect()
    }

    fn agrees(&mut self, payer: Option<u32>, resource: Resource, amount: u64, severity: Severity) -> bool {
        for level in self.levels(payer) {
            let held = self.held(level, resource);
            let bean = self.bean(level, resource);
            let bound = match severity {
                Severity::Barrier => bean.barrier,
                Severity::Limit => bean.limit,
                Severity::Force => u64::MAX,
            };
            if held + amount > bound {
                bean.failures += 1;
                return false;
            }
        }
        true
    }

    pub(super) fn ask_bc(&mut self, parent: &Task) -> Result<(), Errno> {
        let payer = self.place_for(8, parent);
        if !self.agrees(payer, Resource::Tasks, 1, Severity::Barrier) {
            return Err(Errno::EAGAIN);
        }
        let memory = self.agrees(payer, Resource::KernelMemory, TASK_BYTES, Severity::Barrier);
        if memory { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// The kernel spends something for a task. Whether it may.
    pub fn spend(&mut self, task: i32, resource: Resource, amount: u64, severity: Severity) -> bool {
        let payer = self.place_for(8, &self.tasks[&task]);
        let may = self.agrees(payer, resource, amount, severity);
        if may {
            self.spent.push(Spent { payer, resource, amount });
            self.remember();
        }
        may
    }

    /// How much was spent and is not given back.
    pub fn spent_count(&self) -> usize {
        self.spent.len()
    }

    /// Something is given back.
    pub fn give_back(&mut self, which: usize) {
        self.spent.remove(which);
        self.remember();
    }

    /// Makes highest and lowest values true.
    pub(super) fn remember_beans(&mut self) {
        let below = self.bc_root().map_or(Vec::new(), |root| self.downwards(root));
        let inner: Vec<Option<u32>> = below.into_iter().filter(|&at| !self.is_root(at)).map(Some).collect();
        for level in inner.into_iter().chain([None]) {
            for (resource, _) in RESOURCES {
                let held = self.held(level, resource);
                let bean = self.bean(level, resource);
                bean.most = bean.most.max(held);
                bean.least = match bean.least {
                    None => (held > 0).then_some(held),
                    Some(least) => Some(least.min(held)),
                };
            }
        }
    }

    pub(super) fn read_bean(&self, container: u32, file: &str) -> String {
        let Some((resource, item)) = named(file) else { return format!("{}\n", self.state(container).bean_id) };
        let bean = self.state(container).beans[resource as usize];
        let level = (!self.is_root(container)).then_some(container);
        let value = match item {
            "held" => self.held(level, resource),
            "maxheld" => bean.most,
            "minheld" => bean.least.unwrap_or(0),
            "barrier" => bean.barrier,
            "limit" => bean.limit,
            _ => bean.failures,
        };
        format!("{value}\n")
    }

    pub(super) fn write_bean(&mut self, container: u32, file: &str, text: &str) -> Result<(), Errno> {
        let (resource, item) = named(file).ok_or(Errno::EINVAL)?;
        if item != "barrier" && item != "limit" {
            return Err(Errno::EINVAL);
        }
        let value = numbers::unsigned(text)?;
        let bean = &mut self.state_mut(container).beans[resource as usize];
        let (barrier, limit) = if item == "barrier" { (value, bean.limit) } else { (bean.barrier, value) };
        if value > UNLIMITED || barrier > limit {
            return Err(Errno::EINVAL);
        }
        (bean.barrier, bean.limit) = (barrier, limit);
        Ok(())
    }
}
