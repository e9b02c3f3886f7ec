//! memory: pages are a list, with whose they are. Rules: section 16. Nothing can be reclaimed here.

use super::{Model, numbers};
use base::Errno;

const PAGE: u64 = 4096;
const UNLIMITED: u64 = i64::MAX as u64 / PAGE;

/// What a page is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A program's own.
    Anonymous,
    /// A copy of a file's.
    Cache,
    /// tmpfs and shared memory.
    Shared,
}

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// `None` is the root.
    pub(super) owner: Option<u32>,
    kind: Kind,
    node: usize,
}

/// What is kept for a container.
#[derive(Clone, Debug)]
pub struct Settings {
    limit: u64,
    soft: u64,
    peak: u64,
    failures: u64,
    swappiness: u64,
    moves: u64,
    kill_disabled: bool,
    /// Pages that were charged and freed here, and in what was removed below.
    came: u64,
    went: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limit: UNLIMITED,
            soft: UNLIMITED,
            peak: 0,
            failures: 0,
            swappiness: 60,
            moves: 0,
            kill_disabled: false,
            came: 0,
            went: 0,
        }
    }
}

impl Settings {
    /// A child begins with these.
    pub(super) fn of_child(&self) -> Self {
        Self { swappiness: self.swappiness, kill_disabled: self.kill_disabled, ..Self::default() }
    }
}

/// `-1` is unlimited; over what can be is, too.
fn bytes(text: &str) -> Result<u64, Errno> {
    if text == "-1" {
        return Ok(UNLIMITED);
    }
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[at..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return Err(Errno::EINVAL),
    };
    if at == 0 {
        return Err(Errno::EINVAL);
    }
    let number: u128 = text[..at].parse().unwrap_or(u128::from(u64::MAX));
    let pages = (number.min(u128::from(u64::MAX)) << unit) / u128::from(PAGE);
    Ok(u64::try_from(pages).unwrap_or(UNLIMITED).min(UNLIMITED))
}

fn at_most(text: &str, most: u64) -> Result<u64, Errno> {
    Some(numbers::unsigned(text)?).filter(|&number| number <= most).ok_or(Errno::EINVAL)
}

impl Model {
    fn settings(&mut self, level: Option<u32>) -> &mut Settings {
        match level {
            None => &mut self.root.memory,
            Some(level) => &mut self.state_mut(level).memory,
        }
    }

    fn usage(&self, level: Option<u32>) -> u64 {
        let inside = |page: &&Page| match (level, page.owner) {
            (None, _) => true,
            (Some(level), owner) => owner.is_some_and(|owner| self.upwards(owner).contains(&level)),
        };
        self.pages.iter().filter(inside).count() as u64
    }

    /// A task touches a page first. Whether it gets it.
    pub fn touch(&mut self, task: i32, kind: Kind, node: usize) -> bool {
        let owner = self.place_for(3, &self.tasks[&task]);
        let below = owner.into_iter().flat_map(|owner| self.upwards(owner));
        let levels: Vec<Option<u32>> = below.filter(|&level| !self.is_root(level)).map(Some).chain([None]).collect();
        for &level in &levels {
            let usage = self.usage(level);
            let settings = self.settings(level);
            if usage >= settings.limit {
                settings.failures += 1;
                return false;
            }
        }
        self.pages.push(Page { owner, kind, node });
        self.settings(owner).came += 1;
        for level in levels {
            let usage = self.usage(level);
            let settings = self.settings(level);
            settings.peak = settings.peak.max(usage);
        }
        true
    }

    /// How many pages there are.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// A page is freed.
    pub fn free(&mut self, which: usize) {
        let page = self.pages.remove(which);
        self.settings(page.owner).went += 1;
    }

    /// A removed container's pages are its parent's.
    pub(super) fn hand_over(&mut self, from: u32, to: u32) {
        let to = (!self.is_root(to)).then_some(to);
        let Settings { came, went, .. } = *self.settings(Some(from));
        let above = self.settings(to);
        (above.came, above.went) = (above.came + came, above.went + went);
        self.pages.iter_mut().filter(|page| page.owner == Some(from)).for_each(|page| page.owner = to);
    }

    /// Pages of these kinds that the containers themselves have; on one node, or on all.
    fn count(&self, of: &[u32], node: Option<usize>, kinds: &[Kind]) -> u64 {
        let owners: Vec<Option<u32>> = of.iter().map(|&at| (!self.is_root(at)).then_some(at)).collect();
        let counts = |page: &&Page| {
            owners.contains(&page.owner) && node.is_none_or(|node| page.node == node) && kinds.contains(&page.kind)
        };
        self.pages.iter().filter(counts).count() as u64
    }

    fn stat(&self, of: &[u32], prefix: &str) -> String {
        let bytes = |kinds: &[Kind]| self.count(of, None, kinds) * PAGE;
        let cache = bytes(&[Kind::Cache, Kind::Shared]);
        let active = bytes(&[Kind::Anonymous, Kind::Shared]);
        let events = |which: fn(&Settings) -> u64| of.iter().map(|&at| which(&self.state(at).memory)).sum();
        let lines = [
            ("cache", cache),
            ("rss", bytes(&[Kind::Anonymous])),
            ("rss_huge", 0),
            ("shmem", bytes(&[Kind::Shared])),
            ("mapped_file", 0),
            ("dirty", 0),
            ("writeback", 0),
            ("workingset_refault_anon", 0),
            ("workingset_refault_file", 0),
            ("pgpgin", events(|settings| settings.came)),
            ("pgpgout", events(|settings| settings.went)),
            ("pgfault", 0),
            ("pgmajfault", 0),
            ("inactive_anon", 0),
            ("active_anon", active),
            ("inactive_file", bytes(&[Kind::Cache])),
            ("active_file", 0),
            ("unevictable", 0),
        ];
        lines.iter().map(|(name, value)| format!("{prefix}{name} {value}\n")).collect()
    }

    fn numa_stat(&self, of: &[u32], prefix: &str) -> String {
        let all = [Kind::Anonymous, Kind::Cache, Kind::Shared];
        let lines = [("total", &all[..]), ("file", &all[1..2]), ("anon", &[all[0], all[2]]), ("unevictable", &[])];
        let line = |(name, kinds): (&str, &[Kind])| {
            let [total, zero, one] = [None, Some(0), Some(1)].map(|node| self.count(of, node, kinds));
            format!("{prefix}{name}={total} N0={zero} N1={one}\n")
        };
        lines.into_iter().map(line).collect()
    }

    pub(super) fn read_memory(&self, container: u32, file: &str) -> Result<String, Errno> {
        let settings = &self.state(container).memory;
        let level = (!self.is_root(container)).then_some(container);
        let below = self.downwards(container);
        let number = match file {
            "usage_in_bytes" => self.usage(level) * PAGE,
            "max_usage_in_bytes" => settings.peak * PAGE,
            "limit_in_bytes" => settings.limit * PAGE,
            "soft_limit_in_bytes" => settings.soft * PAGE,
            "failcnt" => settings.failures,
            "use_hierarchy" => 1,
            "swappiness" => settings.swappiness,
            "move_charge_at_immigrate" => settings.moves,
            "force_empty" => return Err(Errno::EINVAL),
            "oom_control" => {
                let disabled = u8::from(settings.kill_disabled);
                return Ok(format!("oom_kill_disable {disabled}\nunder_oom 0\noom_kill 0\n"));
            }
            "numa_stat" => {
                return Ok(self.numa_stat(&[container], "") + &self.numa_stat(&below, "hierarchical_"));
            }
            _ => {
                let limits = self.upwards(container).into_iter().map(|level| self.state(level).memory.limit);
                let limit = limits.min().unwrap_or(UNLIMITED) * PAGE;
                let limit = format!("hierarchical_memory_limit {limit}\n");
                return Ok(self.stat(&[container], "") + &limit + &self.stat(&below, "total_"));
            }
        };
        Ok(format!("{number}\n"))
    }

    pub(super) fn write_memory(&mut self, container: u32, file: &str, text: &str) -> Result<(), Errno> {
        let level = (!self.is_root(container)).then_some(container);
        let usage = self.usage(level);
        let root = level.is_none();
        let settings = &mut self.state_mut(container).memory;
        match file {
            "max_usage_in_bytes" => settings.peak = usage,
            "failcnt" => settings.failures = 0,
            "limit_in_bytes" => {
                let limit = bytes(text)?;
                if root {
                    return Err(Errno::EINVAL);
                }
                if usage > limit {
                    return Err(Errno::EBUSY);
                }
                settings.limit = limit;
            }
            "soft_limit_in_bytes" => settings.soft = bytes(text)?,
            "use_hierarchy" if numbers::unsigned(text)? == 1 => {}
            "swappiness" => settings.swappiness = at_most(text, 200)?,
            "move_charge_at_immigrate" => settings.moves = at_most(text, 3)?,
            "force_empty" if !root => {}
            "oom_control" => {
                let disabled = at_most(text, 1)? == 1;
                if root {
                    return Err(Errno::EINVAL);
                }
                settings.kill_disabled = disabled;
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}
