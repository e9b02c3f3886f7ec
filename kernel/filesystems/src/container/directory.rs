//! A container as a directory: its control files in order of creation, then its children in order of mkdir.

use super::{ContainerFs, control::Control, inode_number, watch};
use alloc::{sync::Arc, vec::Vec};
use base::{Errno, extended::ExtendedAttributes};
use container::{Attributes, Container, File};
use core::any::Any;
use vfs::{
    DeviceNumber, DirectoryEntry, FileKind, Inode, Metadata, MetadataChange, NewNode, NodeKind, Permissions,
    RenameFlags, Timestamp,
};

/// Positions in the directory: `.` and `..`, then the files by their place, then the children by serial number.
const FILES: u64 = 2;
const CHILDREN: u64 = 1 << 32;

/// A container's directory. Any number of these values stand for the same one.
pub(super) struct Directory {
    fs: Arc<ContainerFs>,
    container: Arc<Container>,
}

impl Directory {
    pub(super) fn new(fs: Arc<ContainerFs>, container: Arc<Container>) -> Self {
        Self { fs, container }
    }

    fn of(&self, container: Arc<Container>) -> Arc<dyn Inode> {
        Arc::new(Self::new(self.fs.clone(), container))
    }
}

impl Inode for Directory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn number(&self) -> u64 {
        inode_number(self.container.serial(), None)
    }

    fn metadata(&self) -> Metadata {
        let links = 2 + self.container.child_count() as u32;
        metadata(self.fs.device, self.number(), FileKind::Directory, links, &self.container.attributes())
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        self.container.change_attributes(|before| changed(before, change));
        Ok(())
    }

    fn with_extended(&self, action: &mut dyn FnMut(&mut ExtendedAttributes) -> Result<(), Errno>) -> Result<(), Errno> {
        self.container.with_extended(None, action)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if self.container.is_removed() {
            return Err(Errno::ENOENT);
        }
        // A child first: no file has the name of one.
        if let Some(child) = self.container.child(name) {
            return Ok(self.of(child));
        }
        let file = self.container.file(name).ok_or(Errno::ENOENT)?;
        Ok(Arc::new(Control::new(self.fs.clone(), self.container.clone(), file)))
    }

    fn parent(&self) -> Option<Arc<dyn Inode>> {
        let parent = self.container.parent().filter(|_| !self.container.is_removed())?;
        Some(self.of(parent.clone()))
    }

    fn name_of(&self, child: &dyn Inode) -> Result<Vec<u8>, Errno> {
        let child = (child as &dyn Any).downcast_ref::<Self>().ok_or(Errno::ENOENT)?;
        let here = child.container.parent().is_some_and(|parent| Arc::ptr_eq(parent, &self.container));
        if here && !child.container.is_removed() { Ok(child.container.name()) } else { Err(Errno::ENOENT) }
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        if self.container.is_removed() {
            return Err(Errno::ENOENT);
        }
        match node.kind {
            NodeKind::Directory => {}
            // open(2) with O_CREAT
            NodeKind::Regular => return Err(Errno::EACCES),
            _ => return Err(Errno::EPERM),
        }
        let times = [machine::time::realtime(); 3];
        let attributes = Attributes { mode: node.permissions.bits(), uid: node.uid, gid: node.gid, times };
        Ok(self.of(self.fs.framework.mkdir(&self.container, name, attributes)?))
    }

    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(if self.container.is_removed() { Errno::ENOENT } else { Errno::EPERM })
    }

    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.container.clone())
    }

    fn watched(&self) {
        watch::watch_all(&self.fs.framework, self.fs.device, &self.container);
    }

    fn remove_directory(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.fs.framework.rmdir(&self.container, name)?;
        if let Some(victim) = (&**victim as &dyn Any).downcast_ref::<Self>() {
            watch::files_are_gone(&victim.container);
        }
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        _source: &Arc<dyn Inode>,
        new_directory: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        if !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        let target = (&**new_directory as &dyn Any).downcast_ref::<Self>().ok_or(Errno::EXDEV)?;
        self.fs.framework.rename(&self.container, name, &target.container, new_name)
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let above = self.container.parent().unwrap_or(&self.container);
        let mut directory = |name: &[u8], container: &Container, next: u64| {
            let inode = inode_number(container.serial(), None);
            each(&DirectoryEntry { name, inode, kind: FileKind::Directory, next })
        };
        if self.container.is_removed() {
            return Err(Errno::ENOENT);
        }
        if from == 0 && !directory(b".", &self.container, 1) || from <= 1 && !directory(b"..", above, FILES) {
            return Ok(());
        }
        if from < CHILDREN {
            let start = File::from_index(from.saturating_sub(FILES) as usize);
            for (file, name) in self.container.files(Some(start)) {
                let inode = inode_number(self.container.serial(), Some(file));
                let next = FILES + file.index() as u64 + 1;
                if !each(&DirectoryEntry { name: name.as_bytes(), inode, kind: FileKind::Regular, next }) {
                    return Ok(());
                }
            }
        }
        let mut after = from.saturating_sub(CHILDREN);
        while let Some(child) = self.container.child_after(after) {
            after = child.serial();
            let inode = inode_number(after, None);
            let entry =
                DirectoryEntry { name: &child.name(), inode, kind: FileKind::Directory, next: CHILDREN + after };
            if !each(&entry) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What `stat` shows, from what the container remembers.
pub(super) fn metadata(
    device: DeviceNumber,
    inode: u64,
    kind: FileKind,
    links: u32,
    attributes: &Attributes,
) -> Metadata {
    let [accessed, modified, changed] = attributes.times.map(Timestamp::from_nanoseconds);
    let (permissions, owner) = (Permissions::new(attributes.mode.into()), (attributes.uid, attributes.gid));
    Metadata { links, accessed, modified, ..Metadata::empty(device, inode, kind, permissions, owner, changed) }
}

/// What the container shall remember from now on.
pub(super) fn changed(before: Attributes, change: &MetadataChange) -> Attributes {
    let nanoseconds = |time: Timestamp| {
        let seconds = u64::try_from(time.seconds).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
    };
    let [accessed, modified, _] = before.times;
    Attributes {
        mode: change.permissions.map_or(before.mode, Permissions::bits),
        uid: change.uid.unwrap_or(before.uid),
        gid: change.gid.unwrap_or(before.gid),
        times: [
            change.accessed.map_or(accessed, nanoseconds),
            change.modified.map_or(modified, nanoseconds),
            machine::time::realtime(),
        ],
    }
}
