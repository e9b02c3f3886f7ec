//! The file system type `mqueue`: the POSIX message queues as files of one directory (`mq_overview(7)`).
//!
//! A file is a queue: reading it says how many bytes are in it and who is told of the next message, making one makes a queue
//! with the usual attributes, removing one takes its name away. All mounts show the same directory, which is sticky and
//! root's.

use alloc::sync::Arc;
use base::{Errno, Gid, Uid};
use process::{POPULATION, posix_queues::PosixQueues};
use vfs::{
    DeviceNumber, DirectoryEntry, FileKind, FileSystem, FileSystemType, Inode, Metadata, MountRequest, NewNode,
    NodeKind, Permissions, StatFs,
};

/// `MQUEUE_MAGIC`.
const MAGIC: u64 = 0x1980_0202;
/// The number of the directory; queues have larger ones.
const DIRECTORY: u64 = 1;
/// What `stat` shows for an entry of the directory in bytes.
const ENTRY_SIZE: u64 = 20;

/// The file system type.
pub struct MqueueType;

impl FileSystemType for MqueueType {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        Ok(Arc::new(Mqueue(queues()?)))
    }
}

/// The queues of the system; `ENOENT` before there are any tasks.
fn queues() -> Result<&'static PosixQueues, Errno> {
    Ok(&POPULATION.get().ok_or(Errno::ENOENT)?.posix_queues)
}

struct Mqueue(&'static PosixQueues);

impl FileSystem for Mqueue {
    fn kind(&self) -> &str {
        "mqueue"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(QueueDirectory(self.0))
    }

    fn device(&self) -> DeviceNumber {
        self.0.device()
    }

    fn statistics(&self) -> StatFs {
        StatFs { magic: MAGIC, block_size: 4096, ..StatFs::default() }
    }
}

/// The directory. Any number of these values stand for the same one.
struct QueueDirectory(&'static PosixQueues);

impl Inode for QueueDirectory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn number(&self) -> u64 {
        DIRECTORY
    }

    fn metadata(&self) -> Metadata {
        let changed = self.0.changed();
        let (device, permissions) = (self.0.device(), Permissions::new(0o1777));
        let size = (2 + self.0.list().len() as u64) * ENTRY_SIZE;
        Metadata {
            size,
            ..Metadata::empty(device, DIRECTORY, self.kind(), permissions, (Uid::ROOT, Gid::ROOT), changed)
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.0.find(name)?)
    }

    fn create(&self, name: &[u8], node: &NewNode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        if node.kind != NodeKind::Regular {
            return Err(Errno::EPERM);
        }
        let task = process::current().ok_or(Errno::EPERM)?;
        Ok(self.0.create(name, node.permissions, &task.credentials(), task.message_queue_limit())?)
    }

    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.0.remove(name, victim.number())
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let own = |name, next| DirectoryEntry { name, inode: DIRECTORY, kind: FileKind::Directory, next };
        if from == 0 && !each(&own(b".", 1)) || from <= 1 && !each(&own(b"..", 2)) {
            return Ok(());
        }
        // A queue's place is behind its number, which is 2 at least.
        for (name, queue) in self.0.list().iter().filter(|(_, queue)| queue.number() >= from) {
            let inode = queue.number();
            if !each(&DirectoryEntry { name, inode, kind: FileKind::Regular, next: inode + 1 }) {
                break;
            }
        }
        Ok(())
    }
}
