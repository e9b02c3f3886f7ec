//! Operations that change owner, permissions, times and size.

use super::{Caller, Follow, Start};
use crate::{
    FileKind, MetadataChange, Named, OpenFlags, Permissions, Timestamp, execution::TextWriter, lock::lease, pages,
    permission, watches::FileEvents,
};
use base::{Capabilities, Errno, Gid, Uid};

/// What `utimensat` does to one of the two times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeChange {
    /// `UTIME_OMIT`.
    Leave,
    /// `UTIME_NOW`, or no times given at all.
    Now,
    /// This time.
    At(Timestamp),
}

impl TimeChange {
    fn value(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Leave => None,
            Self::Now => Some(now),
            Self::At(time) => Some(time),
        }
    }
}

impl Caller<'_> {
    /// `fchmodat(2)`. `EPERM` neither owner nor CAP_FOWNER; `EOPNOTSUPP` a symbolic link itself; `EROFS`.
    pub fn change_mode(&self, start: Start<'_>, path: &[u8], mode: Permissions, follow: Follow) -> Result<(), Errno> {
        self.change_mode_of(&self.resolve_named(start, path, follow)?, mode)
    }

    fn change_mode_of(&self, place: &Named, mode: Permissions) -> Result<(), Errno> {
        let location = &place.location;
        location.check_writable()?;
        if location.inode.kind() == FileKind::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        let ownership = location.inode.ownership();
        if !permission::is_owner(ownership, self.credentials) {
            return Err(Errno::EPERM);
        }
        // Only members may hand out the rights of a group.
        let member = self.credentials.in_group(ownership.gid) || self.credentials.has(Capabilities::FSETID);
        let permissions = if member { mode } else { mode.without(Permissions::SET_GID) };
        self.change_metadata_of(place, &MetadataChange { permissions: Some(permissions), ..MetadataChange::default() })
    }

    /// `fchownat(2)`; `None` leaves the id. Takes set-ID bits away as Linux does. `EPERM` without CAP_CHOWN, but that
    /// owners may give their files to a group that they are in; neither owner nor CAP_FOWNER of a file that would lose
    /// its set-ID bits, even if no id changes.
    pub fn change_owner(
        &self,
        start: Start<'_>,
        path: &[u8],
        uid: Option<Uid>,
        gid: Option<Gid>,
        follow: Follow,
    ) -> Result<(), Errno> {
        self.change_owner_of(&self.resolve_named(start, path, follow)?, uid, gid)
    }

    fn change_owner_of(&self, place: &Named, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        let location = &place.location;
        location.check_writable()?;
        let ownership = location.inode.ownership();
        let who = self.credentials;
        if !who.has(Capabilities::CHOWN) {
            let owner = who.fsuid == ownership.uid;
            let keeps_user = uid.is_none_or(|uid| owner && uid == ownership.uid);
            let own_group = gid.is_none_or(|gid| owner && (gid == ownership.gid || who.in_group(gid)));
            if !keeps_user || !own_group {
                return Err(Errno::EPERM);
            }
        }
        let kept = permission::without_set_id(ownership.permissions);
        let falls = location.inode.kind() != FileKind::Directory && kept != ownership.permissions;
        if falls && !permission::is_owner(ownership, who) {
            return Err(Errno::EPERM);
        }
        let permissions = falls.then_some(kept);
        self.change_metadata_of(place, &MetadataChange { permissions, uid, gid, ..MetadataChange::default() })
    }

    /// `utimensat(2)`: the times of the last read and the last write. `EPERM`; with both times now, write permission
    /// is enough (`EACCES`).
    pub fn change_times(
        &self,
        start: Start<'_>,
        path: &[u8],
        times: [TimeChange; 2],
        follow: Follow,
    ) -> Result<(), Errno> {
        self.change_times_of(&self.resolve_named(start, path, follow)?, times)
    }

    fn change_times_of(&self, place: &Named, times: [TimeChange; 2]) -> Result<(), Errno> {
        if times == [TimeChange::Leave; 2] {
            return Ok(());
        }
        let location = &place.location;
        location.check_writable()?;
        if !permission::is_owner(location.inode.ownership(), self.credentials) {
            if times != [TimeChange::Now; 2] {
                return Err(Errno::EPERM);
            }
            permission::check_inode(&*location.inode, self.credentials, permission::WRITE)?;
        }
        let now = Timestamp::now();
        let [accessed, modified] = times.map(|time| time.value(now));
        self.change_metadata_of(place, &MetadataChange { accessed, modified, ..MetadataChange::default() })
    }

    /// `truncate(2)`. `EISDIR`, `EINVAL` no regular file, `EROFS`, `EACCES`; `ETXTBSY` it is executed; `EINTR` a lease was in the way.
    pub fn truncate(&self, path: &[u8], size: u64) -> Result<(), Errno> {
        let place = self.resolve_named(Start::WorkingDirectory, path, Follow::Yes)?;
        let location = &place.location;
        match location.inode.kind() {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
        location.check_writable()?;
        permission::check_inode(&*location.inode, self.credentials, permission::WRITE)?;
        let _writer = TextWriter::enter(&location.inode)?;
        if lease::any() {
            lease::break_leases(&*location.inode, OpenFlags::WRITE_ONLY)?;
        }
        pages::set_size(&location.inode, size)?;
        place.tell(FileEvents::MODIFY);
        location.drop_set_id(self.credentials)
    }

    fn change_metadata_of(&self, place: &Named, change: &MetadataChange) -> Result<(), Errno> {
        place.location.inode.change_metadata(change)?;
        let others = change.permissions.is_some() || change.uid.is_some() || change.gid.is_some();
        // A time of its own is told as the access that would have set it.
        place.tell(match (others, change.accessed, change.modified) {
            (false, Some(_), None) => FileEvents::ACCESS,
            (false, None, Some(_)) => FileEvents::MODIFY,
            _ => FileEvents::ATTRIBUTES,
        });
        Ok(())
    }
}
