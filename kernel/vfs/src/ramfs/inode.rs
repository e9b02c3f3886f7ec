//! The inodes of a file system in memory.

use super::{
    Shared,
    attributes::{Attributes, Renamed},
    content::Content,
    listing::{Directory, Listing},
};
use crate::{
    Allocation, BoundSocket, DeviceNumber, DirectoryEntry, FileKind, FileOps, Inode, Metadata, MetadataChange, Mount,
    NewNode, NodeKind, OpenRequest, Ownership, RenameFlags, Sealing, Seals,
    lock::FileLocks,
    pipe::{self, Pipe},
};
use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Errno, Names, extended::ExtendedAttributes};
use core::{
    any::Any,
    ops::Range,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};
use machine::{
    frame::{FRAME_SIZE, Frame},
    sync::{RwLock, SpinLock, rank},
};
use memory::PageUse;

/// An inode of a [`RamFs`](super::RamFs).
pub struct RamInode {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) this: Weak<RamInode>,
    pub(super) attributes: SpinLock<Attributes>,
    /// Until when, in nanoseconds since the epoch, a read through a `relatime` mount need not be noted. It changes with the
    /// times, under their lock.
    pub(super) noted_until: AtomicU64,
    body: Body,
    locks: FileLocks,
    write_hint: AtomicU8,
    /// How many mounts lie on it.
    covers: AtomicU32,
}

enum Body {
    File(Content),
    Directory(Directory),
    Symlink(Box<[u8]>),
    Device(FileKind, DeviceNumber),
    Fifo(Arc<Pipe>),
    Socket(BoundSocket),
}

/// The most names of one inode.
const MOST_LINKS: u32 = 65_000;
/// The places of `.` and `..` come before those of names.
const FIRST_PLACE: u64 = 2;
impl RamInode {
    pub(super) fn new(shared: &Arc<Shared>, node: &NewNode<'_>, parent: Option<&RamInode>) -> Result<Arc<Self>, Errno> {
        Self::with_content(shared, node, parent, &[])
    }

    fn with_content(
        shared: &Arc<Shared>,
        node: &NewNode<'_>,
        parent: Option<&RamInode>,
        content: &'static [u8],
    ) -> Result<Arc<Self>, Errno> {
        let body = match node.kind {
            NodeKind::Regular => Body::File(Content::new(shared.clone(), content, Seals::SEAL)),
            NodeKind::Directory => Body::Directory(Directory {
                listing: RwLock::new(rank::DIRECTORY, Listing { names: Names::new(shared.seed), removed: false }),
                parent: SpinLock::new(rank::FILE_STATE, parent.map_or(Weak::new(), |parent| parent.this.clone())),
            }),
            NodeKind::Symlink(text) => Body::Symlink(text.into()),
            NodeKind::CharDevice(number) => Body::Device(FileKind::CharDevice, number),
            NodeKind::BlockDevice(number) => Body::Device(FileKind::BlockDevice, number),
            NodeKind::Fifo => Body::Fifo(Pipe::new()),
            NodeKind::Socket => Body::Socket(BoundSocket::default()),
        };
        let links = if node.kind == NodeKind::Directory { 2 } else { 1 };
        Self::with_body(shared, node, body, links)
    }

    /// A regular file without a name, of which `seals` are set.
    pub(super) fn unnamed(
        shared: &Arc<Shared>,
        node: &NewNode<'_>,
        seals: Seals,
        linkable: bool,
    ) -> Result<Arc<Self>, Errno> {
        let inode = Self::with_body(shared, node, Body::File(Content::new(shared.clone(), &[], seals)), 0)?;
        inode.attributes.lock().linkable = linkable;
        Ok(inode)
    }

    fn with_body(shared: &Arc<Shared>, node: &NewNode<'_>, body: Body, links: u32) -> Result<Arc<Self>, Errno> {
        let number = shared.take_inode()?;
        if links == 0 {
            shared.nameless.fetch_add(1, Relaxed);
        }
        Ok(Arc::new_cyclic(|this| Self {
            shared: shared.clone(),
            number,
            this: this.clone(),
            attributes: SpinLock::new(rank::FILE_STATE, Attributes::new(node, links)),
            noted_until: AtomicU64::new(0),
            body,
            locks: FileLocks::new(),
            write_hint: AtomicU8::new(0),
            covers: AtomicU32::new(0),
        }))
    }

    /// Makes a regular file whose bytes are `content`, borrowed until they are written. Errors: see [`Inode::create`].
    pub(crate) fn create_file(
        &self,
        name: &[u8],
        node: &NewNode<'_>,
        content: &'static [u8],
    ) -> Result<Arc<Self>, Errno> {
        let directory = self.directory()?;
        let inode = Self::with_content(&self.shared, node, Some(self), content)?;
        let mut listing = directory.listing.write();
        listing.check_free(name)?;
        listing.names.insert(name, inode.clone());
        drop(listing);
        self.touch_names(if inode.kind() == FileKind::Directory { 1 } else { 0 });
        Ok(inode)
    }

    /// Gives an empty regular file its bytes, borrowed until they are written. `EINVAL` for anything else.
    pub(crate) fn fill(&self, content: &'static [u8]) -> Result<(), Errno> {
        self.content()?.fill(content)
    }

    pub(super) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn content(&self) -> Result<&Content, Errno> {
        match &self.body {
            Body::File(content) => Ok(content),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Takes all names out of a directory, for good.
    pub(super) fn dismantle(&self) -> Vec<Arc<RamInode>> {
        let Ok(directory) = self.directory() else { return Vec::new() };
        let mut listing = directory.listing.write();
        listing.removed = true;
        listing.names.clear()
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    /// An inode as one of a file system in memory, if it is.
    pub(crate) fn of(inode: &Arc<dyn Inode>) -> Option<Arc<RamInode>> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        any.downcast().ok()
    }

    /// An inode as one of the same file system; `EXDEV` otherwise.
    fn own(&self, other: &Arc<dyn Inode>) -> Result<Arc<RamInode>, Errno> {
        let inode = Self::of(other).ok_or(Errno::EXDEV)?;
        if Arc::ptr_eq(&inode.shared, &self.shared) { Ok(inode) } else { Err(Errno::EXDEV) }
    }

    /// Closes an empty directory, so that nothing can be made in it. `ENOTEMPTY`. Its parent's listing is locked.
    pub(super) fn close_directory(&self) -> Result<(), Errno> {
        let mut listing = self.directory()?.listing.write_nested();
        if !listing.names.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        listing.removed = true;
        Ok(())
    }

    /// `EBUSY` something is mounted on it. The listing that has its name is locked.
    pub(super) fn check_bare(&self) -> Result<(), Errno> {
        if self.covers.load(Relaxed) == 0 { Ok(()) } else { Err(Errno::EBUSY) }
    }

    /// After `victim` has lost its last name here.
    pub(super) fn gone(victim: &RamInode) {
        victim.change_links(if victim.is_directory() { -2 } else { -1 });
    }
}

impl Inode for RamInode {
    fn kind(&self) -> FileKind {
        match &self.body {
            Body::File(_) => FileKind::Regular,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Device(kind, _) => *kind,
            Body::Fifo(_) => FileKind::Fifo,
            Body::Socket(_) => FileKind::Socket,
        }
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn metadata(&self) -> Metadata {
        let (size, pages) = match &self.body {
            Body::File(content) => (content.size(), content.page_count()),
            Body::Directory(directory) => (20 * (directory.listing.read().names.len() as u64 + FIRST_PLACE), 0),
            Body::Symlink(text) => (text.len() as u64, 0),
            _ => (0, 0),
        };
        let represents = match &self.body {
            Body::Device(_, number) => *number,
            _ => DeviceNumber::default(),
        };
        let attributes = self.attributes.lock();
        Metadata {
            device: self.shared.device,
            inode: self.number,
            kind: self.kind(),
            permissions: attributes.permissions,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            represents,
            size,
            blocks: pages * (FRAME_SIZE as u64 / 512),
            block_size: FRAME_SIZE as u32,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            created: attributes.created,
        }
    }

    fn ownership(&self) -> Ownership {
        let attributes = self.attributes.lock();
        Ownership { permissions: attributes.permissions, uid: attributes.uid, gid: attributes.gid }
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        self.change_attributes(change);
        Ok(())
    }

    fn note_access(&self, mount: &Mount) {
        self.note_access_through(mount);
    }

    fn with_extended(&self, action: &mut dyn FnMut(&mut ExtendedAttributes) -> Result<(), Errno>) -> Result<(), Errno> {
        action(&mut self.attributes.lock().extended)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let listing = self.directory()?.listing.read();
        Ok(listing.names.get(name).ok_or(Errno::ENOENT)?.clone())
    }

    fn parent(&self) -> Option<Arc<dyn Inode>> {
        let parent = self.directory().ok()?.parent.lock().upgrade()?;
        Some(parent)
    }

    fn name_of(&self, child: &dyn Inode) -> Result<Vec<u8>, Errno> {
        let listing = self.directory()?.listing.read();
        let found = listing.names.since(0).find(|(_, _, inode)| inode.number == child.number());
        found.map(|(_, name, _)| name.to_vec()).ok_or(Errno::ENOENT)
    }

    fn new_name(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        let attributes = self.attributes.lock();
        let Renamed { directory, name } = &**attributes.renamed.as_ref().filter(|_| attributes.links == 1)?;
        Some((directory.upgrade()?, name.to_vec()))
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.create_file(name, node, &[])?)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), Errno> {
        let target = self.own(target)?;
        Shared::check_memory()?;
        let mut listing = self.directory()?.listing.write();
        listing.check_free(name)?;
        {
            let mut attributes = target.attributes.lock();
            match attributes.links {
                // Its last name went away.
                0 if !attributes.linkable => return Err(Errno::ENOENT),
                0 => {
                    self.shared.nameless.fetch_sub(1, Relaxed);
                }
                MOST_LINKS.. => return Err(Errno::EMLINK),
                _ => {}
            }
            attributes.links += 1;
            attributes.renamed = None;
            attributes.linkable = false;
            target.touch_change(&mut attributes);
        }
        listing.names.insert(name, target);
        drop(listing);
        self.touch_names(0);
        Ok(())
    }

    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        let victim = self.own(victim)?;
        let mut listing = self.directory()?.listing.write();
        listing.check_is(name, &victim)?;
        let removed = listing.names.remove(name);
        drop(listing);
        Self::gone(&victim);
        self.touch_names(0);
        drop(removed);
        Ok(())
    }

    fn remove_directory(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        let victim = self.own(victim)?;
        let mut listing = self.directory()?.listing.write();
        listing.check_is(name, &victim)?;
        victim.close_directory()?;
        listing.names.remove(name);
        drop(listing);
        Self::gone(&victim);
        self.touch_names(-1);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        source: &Arc<dyn Inode>,
        new_directory: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let source = self.own(source)?;
        let target_directory = self.own(new_directory)?;
        if target_directory.number == self.number {
            return self.rename_here(name, &source, new_name, flags);
        }
        self.rename_across(name, &source, &target_directory, new_name, flags)
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        match &self.body {
            Body::Symlink(text) => Ok(text.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let directory = self.directory()?;
        let listing = directory.listing.read();
        if listing.removed {
            return Err(Errno::ENOENT);
        }
        let above = directory.parent.lock().upgrade().map_or(self.number, |parent| parent.number);
        for (place, name, inode) in [(0, &b"."[..], self.number), (1, &b".."[..], above)] {
            if from <= place && !each(&DirectoryEntry { name, inode, kind: FileKind::Directory, next: place + 1 }) {
                return Ok(());
            }
        }
        let first = usize::try_from(from.saturating_sub(FIRST_PLACE)).unwrap_or(usize::MAX);
        for (place, name, inode) in listing.names.since(first) {
            let next = place as u64 + FIRST_PLACE + 1;
            if !each(&DirectoryEntry { name, inode: inode.number, kind: inode.kind(), next }) {
                break;
            }
        }
        Ok(())
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match &self.body {
            Body::File(_) => Ok(self),
            Body::Fifo(fifo) => pipe::open_fifo(fifo, request),
            _ => Err(Errno::ENXIO),
        }
    }

    fn create_unnamed(&self, node: &NewNode<'_>, linkable: bool) -> Result<Arc<dyn Inode>, Errno> {
        if self.directory()?.listing.read().removed {
            return Err(Errno::ENOENT);
        }
        Ok(Self::unnamed(&self.shared, node, Seals::SEAL, linkable)?)
    }

    fn covers(&self) -> Option<&AtomicU32> {
        Some(&self.covers)
    }

    fn sealing(&self) -> Option<&Sealing> {
        self.content().ok().map(|content| &content.sealing)
    }

    fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        self.content()?.add_seals(seals)
    }

    fn truncate(&self, size: u64) -> Result<bool, Errno> {
        let cut = self.content()?.truncate(size)?;
        self.touch_content();
        Ok(cut)
    }

    fn allocate(&self, range: Range<u64>, how: Allocation) -> Result<(), Errno> {
        match how {
            Allocation::Reserve { grow } => self.content()?.reserve(range, grow)?,
            Allocation::Punch => self.content()?.punch(range)?,
        }
        self.touch_content();
        Ok(())
    }

    fn mappings(&self) -> Option<&AtomicUsize> {
        Some(&self.content().ok()?.mappings)
    }

    fn policies(&self) -> Option<&memory::SharedPolicies> {
        Some(&self.content().ok()?.policies)
    }

    fn pages_there(&self, first: u64, usage: PageUse, frames: &mut [Option<Frame>]) {
        self.content().into_iter().for_each(|content| content.pages_there(first, usage, frames));
    }

    fn exchange_page(&self, index: u64, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> bool {
        self.content().is_ok_and(|content| content.exchange_page(index, make))
    }

    fn has_page(&self, index: u64) -> bool {
        self.content().is_ok_and(|content| content.has_page(index))
    }

    fn page(&self, index: u64, usage: PageUse) -> Result<Frame, Errno> {
        let frame = self.content().map_err(|_| Errno::EFAULT)?.page(index, usage)?;
        if usage == PageUse::SharedWrite {
            self.touch_content();
        }
        Ok(frame)
    }

    fn locks(&self) -> Option<&FileLocks> {
        Some(&self.locks)
    }

    fn write_hint(&self) -> Option<&AtomicU8> {
        Some(&self.write_hint)
    }

    fn bound_socket(&self) -> Option<&BoundSocket> {
        match &self.body {
            Body::Socket(socket) => Some(socket),
            _ => None,
        }
    }
}

impl Drop for RamInode {
    fn drop(&mut self) {
        if self.attributes.get_mut().links == 0 {
            self.shared.nameless.fetch_sub(1, Relaxed);
        }
        self.shared.give_inode();
    }
}
