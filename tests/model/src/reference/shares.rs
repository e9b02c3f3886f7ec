//! Shares, and numtasks by limits and by shares. Rules: sections 12 and 14.

use super::{MOST_TASKS, Model, State, Task};
use base::Errno;

/// Shares as a user sees them; −3 is don't care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    min: i32,
    max: i32,
    divisor: i32,
}

impl Default for Shares {
    fn default() -> Self {
        Self { min: -3, max: -3, divisor: 100 }
    }
}

impl Shares {
    pub(super) fn shown(self, resource: &str) -> String {
        let Self { min, max, divisor } = self;
        format!("res={resource},min_shares={min},max_shares={max},child_shares_divisor={divisor}\n")
    }

    /// What is there after a write, before it is compared with others.
    fn changed(self, text: &str) -> Result<Self, Errno> {
        let (mut shares, mut named) = (self, false);
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (key, value) = piece.split_once('=').ok_or(Errno::EINVAL)?;
            if key == "res" {
                if std::mem::replace(&mut named, true) {
                    return Err(Errno::EINVAL);
                }
                continue;
            }
            let field = match key {
                "min_shares" => &mut shares.min,
                "max_shares" => &mut shares.max,
                "child_shares_divisor" => &mut shares.divisor,
                _ => return Err(Errno::EINVAL),
            };
            if value.starts_with('+') {
                return Err(Errno::EINVAL);
            }
            *field = value.parse().map_err(|_| Errno::EINVAL)?;
        }
        // The last of a repeated key counts, and -1 leaves what was there.
        for (new, old) in
            [(&mut shares.min, self.min), (&mut shares.max, self.max), (&mut shares.divisor, self.divisor)]
        {
            if *new == -1 {
                *new = old;
            }
        }
        let good = |share: i32| share >= 0 || share == -3;
        if good(shares.min) && good(shares.max) && shares.divisor >= 0 { Ok(shares) } else { Err(Errno::EINVAL) }
    }
}

fn numeric(share: i32) -> i64 {
    i64::from(share).max(0)
}

/// What is written to a file of figures must name a resource, and any will do.
pub(super) fn check_reset(text: &str) -> Result<(), Errno> {
    let mut keys = text.split(',').filter_map(|piece| piece.split_once('='));
    if keys.any(|(key, _)| key == "res") { Ok(()) } else { Err(Errno::EINVAL) }
}

impl Model {
    /// A write to the shares that `of` finds in a state.
    pub(super) fn write_shares(
        &mut self,
        container: u32,
        text: &str,
        of: impl Fn(&mut State) -> &mut Shares,
    ) -> Result<(), Errno> {
        let shares_of = |container: u32| *of(&mut self.state(container).clone());
        let old = shares_of(container);
        let new = old.changed(text)?;
        let mut good = new.min < 0 || new.max < 0 || new.min <= new.max;
        let of_children =
            |of: u32| self.containers[&of].children.iter().map(|&child| shares_of(child)).collect::<Vec<_>>();
        let children = of_children(container);
        let divisor = i64::from(new.divisor);
        good &= divisor >= children.iter().map(|child| numeric(child.min)).sum();
        good &= children.iter().all(|child| numeric(child.max) <= divisor);
        if let Some(parent) = self.containers[&container].parent {
            let above = i64::from(shares_of(parent).divisor);
            let mins: i64 = of_children(parent).iter().map(|child| numeric(child.min)).sum();
            let rise = numeric(new.min) - numeric(old.min);
            good &= rise <= 0 || rise <= above - mins;
            good &= numeric(new.max) <= above;
        }
        if !good {
            return Err(Errno::EINVAL);
        }
        *of(self.state_mut(container)) = new;
        Ok(())
    }

    /// The absolute guarantee and cap; `None` is don't care.
    fn absolute(&self, container: u32) -> (Option<u64>, Option<u64>) {
        let Some(parent) = self.containers[&container].parent else { return (Some(MOST_TASKS), Some(MOST_TASKS)) };
        let (min, max) = self.absolute(parent);
        let divisor = numeric(self.state(parent).shares.divisor) as u64;
        let part = |of: Option<u64>, share: i32| {
            let share = u64::try_from(share).ok()?;
            Some((of? * share).checked_div(divisor).unwrap_or(0))
        };
        let own = self.state(container).shares;
        (part(min, own.min), part(max, own.max))
    }

    fn committed(&self, container: u32) -> u64 {
        let own = self.inside(container).len() as u64;
        let child = |&child: &u32| self.committed(child).max(self.absolute(child).0.unwrap_or(0));
        own + self.containers[&container].children.iter().map(child).sum::<u64>()
    }

    /// Whether numtasks lets a task have a child.
    pub(super) fn ask_numtasks(&mut self, parent: &Task) -> Result<(), Errno> {
        let (place, end) = self.walk(parent);
        match end {
            Some(_) => Ok(()),
            None => {
                match place {
                    Some(place) => self.state_mut(place).failures += 1,
                    None => self.root.failures += 1,
                }
                Err(Errno::EAGAIN)
            }
        }
    }

    /// The child is there: a success where the walk ended.
    pub(super) fn count_success(&mut self, parent: &Task) {
        match self.walk(parent).1 {
            Some(Some(end)) => self.state_mut(end).successes += 1,
            _ => self.root.successes += 1,
        }
    }

    /// The place of the parent, and where the walk over the levels ends; `None` there if a level refuses.
    fn walk(&self, parent: &Task) -> (Option<u32>, Option<Option<u32>>) {
        // There are never as many tasks as the root could give.
        let Some(number) = self.bound(7) else { return (None, Some(None)) };
        let place = self.place(parent, number);
        let levels = self.upwards(place);
        let full = |&level: &u32| {
            let limit = if self.is_root(level) { None } else { self.state(level).limit };
            limit.is_some_and(|limit| self.inside_or_below(level) as u64 >= limit)
        };
        if levels.iter().any(full) {
            return (Some(place), None);
        }
        let mut end = place;
        for level in levels {
            end = level;
            let committed = self.committed(level) + 1;
            let (min, max) = self.absolute(level);
            if max.is_some_and(|max| committed > max) {
                return (Some(place), None);
            }
            if committed <= min.unwrap_or(0) && !self.is_root(level) {
                break;
            }
        }
        (Some(place), Some(Some(end)))
    }
}
