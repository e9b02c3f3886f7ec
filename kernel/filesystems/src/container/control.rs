//! A control file.

use super::{
    ContainerFs,
    directory::{changed, metadata},
    inode_number,
    watch::{self, FileWatcher},
};
use alloc::{boxed::Box, string::String, sync::Arc};
use base::{Credentials, Errno, extended::ExtendedAttributes};
use container::{Container, File, Member, Writer};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use vfs::{
    FileKind, FileOps, Inode, Metadata, MetadataChange, OpenRequest, PollEvents, PollTable, TextFile, TextSource,
};

/// A control file's inode. Any number of these values stand for the same file.
pub(super) struct Control {
    fs: Arc<ContainerFs>,
    container: Arc<Container>,
    file: File,
}

impl Control {
    pub(super) fn new(fs: Arc<ContainerFs>, container: Arc<Container>, file: File) -> Self {
        Self { fs, container, file }
    }

    #[cfg(test)]
    pub(super) fn container(&self) -> &Arc<Container> {
        &self.container
    }
}

impl Inode for Control {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        inode_number(self.container.serial(), Some(self.file))
    }

    fn metadata(&self) -> Metadata {
        let attributes = self.container.file_attributes(self.file);
        metadata(self.fs.device, self.number(), FileKind::Regular, 1, &attributes)
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        self.container.change_file_attributes(self.file, |before| changed(before, change));
        Ok(())
    }

    fn with_extended(&self, action: &mut dyn FnMut(&mut ExtendedAttributes) -> Result<(), Errno>) -> Result<(), Errno> {
        self.container.with_extended(Some(self.file), action)
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        let opener = request.credentials.clone();
        let watcher = watch::watcher(&self.fs.framework, self.fs.device, &self.container, self.file);
        let longest_write = self.container.longest_write(self.file);
        let open = Open { control: self, opener, longest_write, watcher, seen: AtomicU64::new(0) };
        Ok(Arc::new(TextFile::new(Box::new(open))))
    }

    fn watched(&self) {
        // All of the container's: the watcher of `events` is how its removal is told.
        watch::watch_all(&self.fs.framework, self.fs.device, &self.container);
    }

    fn truncate(&self, _size: u64) -> Result<bool, Errno> {
        // Shells open with O_TRUNC what they write to.
        Ok(false)
    }
}

/// An open control file.
struct Open {
    control: Arc<Control>,
    /// With whose rights it was opened: these count, not those of whoever writes through it later.
    opener: Credentials,
    longest_write: usize,
    /// Tells of changes, where the file does.
    watcher: Option<Arc<FileWatcher>>,
    /// Which notice the last read came after; 0 is none.
    seen: AtomicU64,
}

impl Open {
    /// The last notice.
    fn told(&self) -> u64 {
        self.watcher.as_ref().map_or(1, |watcher| watcher.told())
    }
}

impl TextSource for Open {
    fn show(&self, out: &mut String) -> Result<(), Errno> {
        let Control { fs, container, file } = &*self.control;
        // Before the text is made: a change meanwhile is told again rather than lost.
        self.seen.store(self.told(), SeqCst);
        fs.framework.read_file(container, *file, out)
    }

    fn goes_on(&self) -> Result<(), Errno> {
        if self.control.container.is_removed() { Err(Errno::ENODEV) } else { Ok(()) }
    }

    fn store(&self, text: &[u8]) -> Result<(), Errno> {
        let Control { fs, container, file } = &*self.control;
        let task = || process::current().map(|task| task as Arc<dyn Member>);
        fs.framework.write_file(container, *file, text, &Writer::new(&task, &self.opener))
    }

    fn admit(&self, length: usize) -> Result<(), Errno> {
        if length > self.longest_write { Err(Errno::E2BIG) } else { Ok(()) }
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        if let Some(watcher) = &self.watcher {
            table.watch(watcher.queue());
        }
        // As on Linux, what nobody has read is news, also of a file that tells of nothing; and so is the end.
        let news = self.told() != self.seen.load(SeqCst) || self.control.container.is_removed();
        let events = if news { PollEvents::PRIORITY | PollEvents::ERROR } else { PollEvents::empty() };
        events | PollEvents::ALWAYS
    }

    fn can_poll(&self) -> bool {
        true
    }
}
