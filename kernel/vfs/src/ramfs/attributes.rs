//! Permissions, owner, number of names and times of an inode in memory.

use super::inode::RamInode;
use crate::{Inode, MetadataChange, Mount, MountFlags, NewNode, Permissions, Timestamp, entry_name::EntryName};
use alloc::{boxed::Box, sync::Weak};
use base::{Gid, Uid, extended::ExtendedAttributes};
use core::sync::atomic::Ordering::Relaxed;

pub(super) struct Attributes {
    pub permissions: Permissions,
    pub uid: Uid,
    pub gid: Gid,
    pub links: u32,
    pub accessed: Timestamp,
    pub modified: Timestamp,
    pub changed: Timestamp,
    pub created: Timestamp,
    /// Has no name yet and may get one.
    pub linkable: bool,
    pub extended: ExtendedAttributes,
    /// The name that its only one was changed to, if it is no directory: who has it open knows it by an older one.
    pub renamed: Option<Box<Renamed>>,
}

/// A name that a rename gave.
pub(super) struct Renamed {
    pub directory: Weak<RamInode>,
    pub name: EntryName,
}

/// With `relatime` the access time is kept exact to a day at least, in seconds.
const DAY: i64 = 24 * 60 * 60;
const NANOSECONDS: u64 = 1_000_000_000;

impl Attributes {
    pub fn new(node: &NewNode<'_>, links: u32) -> Self {
        let now = Timestamp::now();
        Self {
            permissions: node.permissions,
            uid: node.uid,
            gid: node.gid,
            links,
            accessed: now,
            modified: now,
            changed: now,
            created: now,
            linkable: false,
            extended: ExtendedAttributes::new(),
            renamed: None,
        }
    }

    /// Until when a read need not be noted, in nanoseconds since the epoch, by the rule of `relatime`: no longer than the noted
    /// one is younger than every change, and than a day.
    fn noted_until(&self) -> u64 {
        if self.accessed <= self.modified || self.accessed <= self.changed {
            return 0;
        }
        u64::try_from(self.accessed.seconds.saturating_add(DAY)).unwrap_or(0).saturating_mul(NANOSECONDS)
    }
}

impl RamInode {
    /// A name of this directory came or went; so many subdirectories more.
    pub(super) fn touch_names(&self, subdirectories: i32) {
        let now = Timestamp::now();
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(subdirectories);
        (attributes.modified, attributes.changed) = (now, now);
        self.noted_until.store(0, Relaxed);
    }

    /// This inode got or lost names.
    pub(super) fn change_links(&self, change: i32) {
        let mut attributes = self.attributes.lock();
        let before = attributes.links;
        attributes.links = before.saturating_add_signed(change);
        if before != 0 && attributes.links == 0 {
            self.shared.nameless.fetch_add(1, Relaxed);
        }
        self.touch_change(&mut attributes);
    }

    /// This inode has got another name.
    pub(super) fn note_rename(&self, directory: &RamInode, name: &[u8]) {
        let renamed = (!self.is_directory())
            .then(|| Box::new(Renamed { directory: directory.this.clone(), name: EntryName::from(name) }));
        let mut attributes = self.attributes.lock();
        let renamed = renamed.filter(|_| attributes.links == 1);
        let old = core::mem::replace(&mut attributes.renamed, renamed);
        self.touch_change(&mut attributes);
        drop(attributes);
        drop(old);
    }

    /// The inode changed, but not its content.
    pub(super) fn touch_change(&self, attributes: &mut Attributes) {
        attributes.changed = Timestamp::now();
        self.noted_until.store(0, Relaxed);
    }

    pub(super) fn touch_content(&self) {
        let now = Timestamp::now();
        let mut attributes = self.attributes.lock();
        (attributes.modified, attributes.changed) = (now, now);
        self.noted_until.store(0, Relaxed);
    }

    pub(super) fn change_attributes(&self, change: &MetadataChange) {
        let mut attributes = self.attributes.lock();
        attributes.permissions = change.permissions.unwrap_or(attributes.permissions);
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.accessed = change.accessed.unwrap_or(attributes.accessed);
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        self.touch_change(&mut attributes);
    }

    /// Notes a read through a mount: always with `strictatime`, by its rule with `relatime`.
    pub(super) fn note_access_through(&self, mount: &Mount) {
        let now = machine::time::realtime();
        let is_relative = mount.flags().contains(MountFlags::RELATIVE_TIMES);
        if is_relative && now < self.noted_until.load(Relaxed) || !mount.notes_access_to(self.kind()) {
            return;
        }
        let mut attributes = self.attributes.lock();
        if !is_relative || now >= attributes.noted_until() {
            attributes.accessed = Timestamp::from_nanoseconds(now);
        }
        self.noted_until.store(attributes.noted_until(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKind;

    #[test]
    fn a_relative_time_lasts_a_day_at_most_and_no_longer_than_until_a_change() {
        let node =
            NewNode { kind: NodeKind::Regular, permissions: Permissions::new(0), uid: Uid::ROOT, gid: Gid::ROOT };
        let [early, late] = [100, 200].map(|seconds| Timestamp { seconds, nanoseconds: 5 });
        let noted = |accessed, modified, changed| {
            Attributes { accessed, modified, changed, ..Attributes::new(&node, 1) }.noted_until()
        };
        assert_eq!(noted(late, early, early), (200 + 86_400) * NANOSECONDS);
        assert_eq!([noted(late, late, early), noted(late, early, late), noted(early, late, late)], [0; 3]);
        let end = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
        assert_eq!(noted(end, early, early), u64::MAX);
    }
}
