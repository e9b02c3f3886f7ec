//! The levels of a queue, and how to get past those where nobody competes.
//!
//! Most levels of a deep tree have a single member on a CPU, a group. Such a level is *closed* after a few picks:
//! choosing, charging and putting back go from the member above it (the *head*) straight to the next open level below
//! (the *tail*). It opens when a second member comes. While it is closed nothing is charged in it: its clock, the
//! virtual time of its only member, stands still.
//!
//! A group that has become empty stays where it is until it would be chosen; so a task that sleeps and wakes up finds
//! its way still there.

use super::{
    group::Group,
    level::{Entry, Level, Member, Origin, Standing},
    queue::{Queue, REST, WHOLE},
};
use alloc::{sync::Arc, vec::Vec};

/// How often in a row a level is chosen with a single member before it is closed.
const LONE_PICKS: u8 = 4;

impl<T> Queue<T> {
    pub(super) fn level(&self, place: usize) -> &Level<T> {
        match &self.levels[place] {
            Some(level) => level,
            None => panic!("sched: place {place} of a run queue is free"),
        }
    }

    pub(super) fn level_mut(&mut self, place: usize) -> &mut Level<T> {
        match &mut self.levels[place] {
            Some(level) => level,
            None => panic!("sched: place {place} of a run queue is free"),
        }
    }

    /// The place of a group's level, if it has one.
    pub(super) fn find(&self, group: &Group) -> Option<usize> {
        (*self.places.get(group.number())? as usize).checked_sub(1)
    }

    /// The place of a group's level, which is made if there is none.
    pub(super) fn place_of(&mut self, group: Option<&Arc<Group>>) -> usize {
        let Some(group) = group else { return REST };
        if let Some(place) = self.find(group) {
            return place;
        }
        let mut missing = Vec::new();
        let mut next = Some(group.clone());
        let mut place = WHOLE;
        while let Some(group) = next {
            if let Some(found) = self.find(&group) {
                place = found;
                break;
            }
            next = group.parent();
            missing.push(group);
        }
        while let Some(group) = missing.pop() {
            place = self.make_level(group, place);
        }
        place
    }

    pub(super) fn make_level(&mut self, group: Arc<Group>, parent: usize) -> usize {
        let number = group.number();
        let place = self.free.pop().unwrap_or_else(|| {
            self.levels.push(None);
            self.levels.len() - 1
        });
        let serial = self.next_sequence();
        let mut level = Level::new(group, serial, place, parent);
        if place != WHOLE {
            let above = self.level_mut(parent);
            above.children += 1;
            level.limited = above.limited;
        }
        if level.group.is_limited() {
            level.limited = Some(place);
        }
        self.levels[place] = Some(level);
        if self.places.len() <= number {
            self.places.resize(number + 1, 0);
        }
        self.places[number] = place as u32 + 1;
        place
    }

    /// The open level above an open one: that in which its head is a member.
    pub(super) fn above(&self, level: &Level<T>) -> Option<usize> {
        (level.head != WHOLE).then(|| self.level(level.head).parent)
    }

    /// The member of an open level from which a closed level, or a level below closed ones, is reached; or the group that
    /// would be it, but is in no level now.
    fn head_of(&self, mut place: usize) -> usize {
        while place != WHOLE && self.level(place).queued && self.level(self.level(place).parent).closed {
            place = self.level(place).parent;
        }
        place
    }

    /// Opens a level, if it is closed: a second member comes, or its only one goes.
    pub(super) fn open(&mut self, place: usize) {
        if !self.level(place).closed {
            return;
        }
        let head = self.head_of(place);
        let tail = self.level(head).tail;
        let Some(Member::Group(member)) = self.level(place).waiting.peek().map(|entry| &entry.member) else {
            panic!("sched: a closed level has no group as its member");
        };
        let member = *member;
        // What was run on the way through it is counted where it still is closed.
        self.share_between(tail, place);
        self.level_mut(head).tail = place;
        self.level_mut(member).tail = tail;
        self.level_mut(tail).head = member;
        let is_running = self.level(tail).current.is_some();
        let weight = self.level(member).weight;
        let level = self.level_mut(place);
        level.closed = false;
        level.lone = 0;
        level.head = head;
        if is_running {
            level.current = level.waiting.pop().map(|entry| Entry { load: weight, ..entry });
        }
    }

    /// Closes the level whose only member is the group at `member`.
    fn close(&mut self, place: usize, member: usize) {
        let head = self.level(place).head;
        let tail = self.level(member).tail;
        self.share_between(tail, place);
        self.level_mut(place).closed = true;
        self.level_mut(head).tail = tail;
        self.level_mut(tail).head = head;
    }

    /// Sees to it that a level with members, which is open, is a member of the one above it, and so on. Its newest member
    /// `is_moved` if it waited on another CPU.
    pub(super) fn link(&mut self, mut place: usize, is_moved: bool) {
        loop {
            let head = self.level(place).head;
            if head == WHOLE || self.level(head).queued {
                return;
            }
            // What this CPU has of the groups on the way was last known when they had something to run.
            let mut below = place;
            loop {
                self.share(below);
                if below == head {
                    break;
                }
                below = self.level(below).parent;
            }
            let Level { parent, weight, standing, .. } = *self.level(head);
            self.open(parent);
            let sequence = self.next_sequence();
            let number = self.number;
            // What it ran where it came from it does not leave behind for a place in front.
            let is_new = is_moved && standing.origin == Origin::New;
            let standing = if is_new { Standing::behind_a_turn(weight) } else { standing };
            let above = self.level_mut(parent);
            above.add(number, Member::Group(head), weight, standing, sequence);
            above.groups += 1;
            above.of_groups += weight;
            let level = self.level_mut(head);
            level.queued = true;
            level.weighed = weight;
            place = parent;
        }
    }

    /// Makes the next members current, from the top down to a task; the place of its level. Groups that have become
    /// empty lose their places.
    pub(super) fn descend(&mut self) -> Option<usize> {
        let mut place = self.level(WHOLE).tail;
        loop {
            let level = self.level_mut(place);
            let Some(entry) = level.waiting.pop() else {
                place = self.unlink_empty(place)?;
                continue;
            };
            let Member::Group(group) = entry.member else {
                level.floor = level.floor.max(entry.virtual_time);
                level.current = Some(entry);
                return Some(place);
            };
            level.lone = if level.waiting.is_empty() { level.lone + 1 } else { 0 };
            if level.lone >= LONE_PICKS {
                level.floor = level.floor.max(entry.virtual_time);
                level.waiting.push(entry);
                self.close(place, group);
            } else {
                let group = self.level_mut(group);
                group.weighed = group.weight;
                let (load, shift) = (group.weight, core::mem::take(&mut group.shift));
                let virtual_time = entry.virtual_time.saturating_add_signed(shift);
                let level = self.level_mut(place);
                level.floor = level.floor.max(entry.virtual_time);
                level.current = Some(Entry { load, virtual_time, ..entry });
            }
            place = self.level(group).tail;
        }
    }

    /// Takes the way to an empty level out of the open level above it, where it was just chosen; that level's place.
    fn unlink_empty(&mut self, place: usize) -> Option<usize> {
        let head = self.level(place).head;
        let above = self.above(self.level(place))?;
        if let Some(entry) = self.level_mut(above).current.take() {
            self.leave_level(above, head, &entry);
        }
        Some(above)
    }

    /// Notes that the group at `member` is no longer a member of the level at `place`.
    fn leave_level(&mut self, place: usize, member: usize, entry: &Entry<T>) {
        let (number, weight) = (self.number, self.level(member).weight);
        let level = self.level_mut(place);
        let standing = level.leave(number, &Entry { load: weight, member: Member::Group(member), ..*entry });
        level.groups -= 1;
        level.of_groups -= weight;
        let member = self.level_mut(member);
        member.standing = standing;
        member.queued = false;
    }

    /// Takes a group that is waiting, or empty, out of the level above it.
    fn unlink(&mut self, member: usize) {
        if member == WHOLE || !self.level(member).queued {
            return;
        }
        let parent = self.level(member).parent;
        self.open(parent);
        if let Some(entry) = self.level_mut(parent).take_waiting(|entry| entry.is_group(member)) {
            self.leave_level(parent, member, &entry);
        }
    }

    /// Takes the way to a level out of the levels above it if its last task has gone to another CPU: what it weighed here
    /// would count twice until it is chosen.
    pub(super) fn unlink_deserted(&mut self, mut place: usize) {
        while place != WHOLE && self.level(place).is_empty() {
            self.unlink(place);
            place = self.level(place).parent;
        }
    }

    /// Forgets a level if it is empty and was so the last time that it was looked at. Then it no longer keeps its
    /// group alive.
    pub(super) fn tidy(&mut self, place: usize) {
        let level = self.level_mut(place);
        let is_empty = level.is_empty();
        let was_stale = core::mem::replace(&mut level.stale, is_empty);
        let is_in_use = !level.stale || level.children > 0 || level.throttled.is_some();
        if place == WHOLE || place == REST || is_in_use || !was_stale {
            return;
        }
        self.unlink(place);
        let level = self.level(place);
        level.group.publish(level.published, 0);
        level.group.tell(level.claimed.wrapping_neg(), level.counted.wrapping_neg());
        let (group, parent, counted) = (level.group.number(), level.parent, level.counted);
        let above = self.level_mut(parent);
        above.children -= 1;
        above.below -= counted;
        self.places[group] = 0;
        self.levels[place] = None;
        self.free.push(place);
    }

    /// Whether levels are here only because nobody has looked at them.
    pub fn has_leftovers(&self) -> bool {
        self.is_empty() && self.throttled.is_empty() && self.levels.len() - self.free.len() > 2
    }

    /// Forgets what an idle CPU need not keep.
    pub fn clear_leftovers(&mut self) {
        // Children were made after their parents; but places are used again, so one pass may not do.
        while self.has_leftovers() {
            for place in (0..self.levels.len()).rev() {
                if let Some(level) = &mut self.levels[place] {
                    level.stale = true;
                    self.share(place);
                    self.tidy(place);
                }
            }
        }
        self.share(REST);
    }

    /// The group has another parent now; its members and what it weighs come along.
    pub fn reparent(&mut self, group: &Arc<Group>) {
        let Some(place) = self.find(group) else { return };
        let parent = group.parent();
        let parent = parent.map_or(WHOLE, |parent| self.place_of(Some(&parent)));
        let old = self.level(place).parent;
        if old == parent || place == WHOLE {
            return;
        }
        let running = self.suspend();
        let was_queued = self.level(place).queued;
        self.unlink(place);
        let counted = self.level(place).counted;
        let old = self.level_mut(old);
        old.children -= 1;
        old.below -= counted;
        let new = self.level_mut(parent);
        new.children += 1;
        new.below += counted;
        self.level_mut(place).parent = parent;
        self.find_limits();
        if was_queued {
            let tail = self.level(place).tail;
            self.link(tail, false);
        }
        self.resume_running(running);
    }

    /// Puts the current task back for a change of the tree; what [`resume_running`](Self::resume_running) needs.
    pub(super) fn suspend(&mut self) -> Option<(usize, u64)> {
        let leaf = self.leaf?;
        self.put_back();
        // The task was put back first, and everything above it after.
        let newest = self.level(leaf).waiting.iter().map(|entry| entry.sequence).max()?;
        Some((leaf, newest))
    }

    /// Makes the task current again that [`suspend`](Self::suspend) put back.
    pub(super) fn resume_running(&mut self, running: Option<(usize, u64)>) {
        let Some((leaf, sequence)) = running else { return };
        let entry = self.level_mut(leaf).take_waiting(|entry| entry.sequence == sequence);
        self.level_mut(leaf).current = entry;
        let mut place = leaf;
        while let Some(above) = self.above(self.level(place)) {
            let head = self.level(place).head;
            let weight = self.level(head).weight;
            let level = self.level_mut(above);
            let entry = level.take_waiting(|entry| entry.is_group(head));
            level.current = entry.map(|entry| Entry { load: weight, ..entry });
            place = above;
        }
        self.leaf = Some(leaf);
    }
}
