//! Pseudo-terminals, `pty(7)`: opening `/dev/ptmx` makes a pair, whose terminal appears as a number in `/dev/pts`.
//!
//! What the master writes is typed on the terminal; what is written to the terminal the master reads. When the master is
//! closed, the terminal's line is cut and its number is free again.

use super::{
    file::{TtyFile, common},
    tty::{Line, Tty},
};
use alloc::{collections::BTreeMap, format, sync::Arc, vec::Vec};
use base::{
    Credentials, Errno, Gid, Uid,
    charge::{Charge, Price, Refused, Resource, Severity},
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
};
use machine::{
    sync::{SpinLock, rank},
    user_memory,
};
use sched::WaitQueue;
use vfs::{
    DeviceDriver, DeviceNumber, DirectoryEntry, FileKind, FileOps, FileSystem, FileSystemType, Inode, Metadata,
    MetadataChange, MountRequest, OpenFlags, OpenRequest, Permissions, PollEvents, PollTable, Ring, StatFs, Timestamp,
};

/// Major number of the terminals in `/dev/pts`.
pub const PTS_MAJOR: u32 = 136;
/// The most pseudo-terminals at once.
const MOST: u32 = 4096;
/// What a terminal may have written and the master not read.
const CAPACITY: usize = 16 * 1024;

/// What a pair costs.
const PRICE: Price = &[(Resource::Terminals, 1)];

/// `TIOCGPTN`: the number of the terminal.
const TIOCGPTN: u32 = 0x8004_5430;
/// `TIOCSPTLCK`: locks or unlocks the terminal for opening.
const TIOCSPTLCK: u32 = 0x4004_5431;
/// `TIOCGPTLCK`: whether it is locked.
const TIOCGPTLCK: u32 = 0x8004_5439;
/// `FIONREAD`.
const FIONREAD: u32 = 0x541b;

/// The line between a terminal and its master.
struct Cable {
    bytes: SpinLock<Ring>,
    /// The master waits here for bytes.
    arrived: WaitQueue,
}

impl Line for Cable {
    fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.bytes.lock().len())
    }

    fn write(&self, bytes: &[u8]) {
        // Without memory the bytes are lost, as on a real line.
        let _full = self.bytes.lock().push(bytes);
        self.arrived.wake_all();
    }
}

/// A pair of terminal and master.
struct Pair {
    number: u32,
    tty: Arc<Tty>,
    cable: Arc<Cable>,
    locked: AtomicBool,
    /// How often the terminal is open, and whether it ever was.
    opens: AtomicUsize,
    was_open: AtomicBool,
    attributes: SpinLock<Attributes>,
}

struct Attributes {
    uid: Uid,
    gid: Gid,
    permissions: Permissions,
    created: Timestamp,
}

/// All pseudo-terminals.
pub struct PseudoTerminals {
    device: DeviceNumber,
    pairs: SpinLock<BTreeMap<u32, Arc<Pair>>>,
}

impl PseudoTerminals {
    /// None yet.
    pub fn new() -> Arc<Self> {
        let pairs = SpinLock::new(rank::FILE_STATE, BTreeMap::new());
        Arc::new(Self { device: vfs::next_device(), pairs })
    }

    /// A new pair; the open master. `ENOSPC` too many, or the running task's containers don't pay for one more.
    pub fn create(self: &Arc<Self>, owner: &Credentials) -> Result<Arc<dyn FileOps>, Errno> {
        let charge = memory::payer::take(PRICE, Severity::Barrier).map_err(|Refused| Errno::ENOSPC)?;
        let cable = Arc::new(Cable { bytes: SpinLock::new(rank::BUFFER, Ring::new()), arrived: WaitQueue::new() });
        let attributes = Attributes {
            uid: owner.fsuid,
            gid: owner.fsgid,
            permissions: Permissions::new(0o620),
            created: Timestamp::now(),
        };
        let mut pairs = self.pairs.lock();
        let number = (0..MOST).find(|number| !pairs.contains_key(number)).ok_or(Errno::ENOSPC)?;
        let pair = Arc::new(Pair {
            number,
            tty: Tty::new(DeviceNumber::new(PTS_MAJOR, number), cable.clone()),
            cable,
            locked: AtomicBool::new(true),
            opens: AtomicUsize::new(0),
            was_open: AtomicBool::new(false),
            attributes: SpinLock::new(rank::FILE_STATE, attributes),
        });
        pairs.insert(number, pair.clone());
        drop(pairs);
        Ok(Arc::new(Master { all: self.clone(), pair, _charge: charge }))
    }

    fn find(&self, number: u32) -> Result<Arc<Pair>, Errno> {
        self.pairs.lock().get(&number).cloned().ok_or(Errno::ENOENT)
    }
}

/// The open master of a pair.
struct Master {
    all: Arc<PseudoTerminals>,
    pair: Arc<Pair>,
    /// Given back when the master is closed, to who opened it.
    _charge: Option<Charge>,
}

impl Master {
    /// What the terminal has written: `None` if nothing is there but may come, `EIO` if it was closed.
    fn try_read(&self, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        let count = self.pair.cable.bytes.lock().pop(buffer);
        if count > 0 {
            return Some(Ok(count));
        }
        self.is_left().then_some(Err(Errno::EIO))
    }

    /// Whether the terminal was open and nobody has it open any more.
    fn is_left(&self) -> bool {
        self.pair.was_open.load(Acquire) && self.pair.opens.load(Acquire) == 0
    }
}

impl FileOps for Master {
    fn read(&self, buffer: &mut [u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let mut attempt = || self.try_read(buffer);
        let count = match attempt() {
            Some(result) => result?,
            None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => {
                let waited = self.pair.cable.arrived.wait_until_interruptible(attempt, None);
                waited.map_err(|_| Errno::EINTR)??
            }
        };
        self.pair.tty.writable.wake_all();
        Ok(count)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        let tty = &self.pair.tty;
        let mut done = 0;
        while done < buffer.len() {
            let room = tty.input_room();
            if room == 0 {
                if flags.contains(OpenFlags::NONBLOCK) {
                    return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
                }
                let waited = tty.writable.wait_until_interruptible(|| (tty.input_room() > 0).then_some(()), None);
                if waited.is_err() {
                    return if done > 0 { Ok(done) } else { Err(Errno::EINTR) };
                }
                continue;
            }
            let count = room.min(buffer.len() - done);
            tty.receive(&buffer[done..done + count]);
            done += count;
        }
        Ok(done)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.pair.cable.arrived);
        table.watch(&self.pair.tty.writable);
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, !self.pair.cable.bytes.lock().is_empty());
        events.set(PollEvents::WRITABLE, self.pair.tty.input_room() > 0);
        events.set(PollEvents::HANG_UP, self.is_left());
        events
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        match request {
            TIOCGPTN => user_memory::write(argument, &self.pair.number.to_ne_bytes())?,
            TIOCSPTLCK => {
                let mut lock = [0; 4];
                user_memory::read(argument, &mut lock)?;
                self.pair.locked.store(lock != [0; 4], Release);
            }
            TIOCGPTLCK => {
                let locked = i32::from(self.pair.locked.load(Acquire));
                user_memory::write(argument, &locked.to_ne_bytes())?;
            }
            FIONREAD => {
                let count = self.pair.cable.bytes.lock().len();
                user_memory::write(argument, &(count as i32).to_ne_bytes())?;
            }
            _ => return common(&self.pair.tty, request, argument),
        }
        Ok(0)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let removed = self.all.pairs.lock().remove(&self.pair.number);
        drop(removed);
        self.pair.tty.hang_up();
    }
}

/// An open terminal of a pair.
struct Slave {
    pair: Arc<Pair>,
    file: Arc<TtyFile>,
}

impl FileOps for Slave {
    fn read(&self, buffer: &mut [u8], position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        self.file.read(buffer, position, flags)
    }

    fn write(&self, buffer: &[u8], position: &mut u64, flags: OpenFlags) -> Result<usize, Errno> {
        self.file.write(buffer, position, flags)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.file.poll(table)
    }

    fn ioctl(&self, request: u32, argument: u64) -> Result<i64, Errno> {
        self.file.ioctl(request, argument)
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.pair.opens.fetch_sub(1, Release);
        self.pair.cable.arrived.wake_all();
    }
}

/// The driver of the terminals in `/dev/pts`.
pub struct PtsDriver(pub Arc<PseudoTerminals>);

impl DeviceDriver for PtsDriver {
    fn names(&self) -> &'static [&'static str] {
        &["pts"]
    }

    fn open(
        &self,
        number: DeviceNumber,
        _inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        let pair = self.0.find(number.minor).map_err(|_| Errno::EIO)?;
        if pair.locked.load(Acquire) || pair.tty.is_cut() {
            return Err(Errno::EIO);
        }
        pair.opens.fetch_add(1, Relaxed);
        pair.was_open.store(true, Release);
        let file = TtyFile::open(&pair.tty, request.flags);
        Ok(Arc::new(Slave { pair, file }))
    }
}

/// The file system type `devpts`: every mount shows the same terminals.
pub struct DevPtsType(pub Arc<PseudoTerminals>);

impl FileSystemType for DevPtsType {
    fn name(&self) -> &'static str {
        "devpts"
    }

    /// Mount options (`gid=`, `mode=`, `ptmxmode=`, `newinstance`) are accepted by name; all mounts are one instance.
    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let known = [&b"gid="[..], b"uid=", b"mode=", b"ptmxmode=", b"max=", b"newinstance"];
        let words = request.data.split(|&byte| byte == b',').filter(|word| !word.is_empty());
        for word in words {
            if !known.iter().any(|name| word.starts_with(name)) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Arc::new(DevPts(self.0.clone())))
    }
}

struct DevPts(Arc<PseudoTerminals>);

impl FileSystem for DevPts {
    fn kind(&self) -> &str {
        "devpts"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(PtsDirectory(self.0.clone()))
    }

    fn device(&self) -> DeviceNumber {
        self.0.device
    }

    fn statistics(&self) -> StatFs {
        StatFs { magic: 0x1cd1, block_size: 4096, ..StatFs::default() }
    }

    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(",mode=620,ptmxmode=666")
    }
}

/// The inode numbers: 1 is the directory, 2 is `ptmx`, a terminal is its number + 3, as on Linux.
const DIRECTORY: u64 = 1;
const PTMX: u64 = 2;
const FIRST: u64 = 3;

struct PtsDirectory(Arc<PseudoTerminals>);

impl PtsDirectory {
    fn metadata_of(&self, inode: u64, kind: FileKind, mode: u32, attributes: &Attributes) -> Metadata {
        Metadata {
            device: self.0.device,
            inode,
            kind,
            permissions: Permissions::new(mode),
            links: if kind == FileKind::Directory { 2 } else { 1 },
            uid: attributes.uid,
            gid: attributes.gid,
            represents: DeviceNumber::default(),
            size: 0,
            blocks: 0,
            block_size: 1024,
            accessed: attributes.created,
            modified: attributes.created,
            changed: attributes.created,
            created: attributes.created,
        }
    }

    fn root_metadata(&self, inode: u64, kind: FileKind, mode: u32) -> Metadata {
        let attributes = Attributes {
            uid: Uid::ROOT,
            gid: Gid::ROOT,
            permissions: Permissions::new(mode),
            created: Timestamp::default(),
        };
        self.metadata_of(inode, kind, mode, &attributes)
    }
}

impl Inode for PtsDirectory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn number(&self) -> u64 {
        DIRECTORY
    }

    fn metadata(&self) -> Metadata {
        self.root_metadata(DIRECTORY, FileKind::Directory, 0o755)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if name == b"ptmx" {
            return Ok(Arc::new(PtmxNode(self.0.clone())));
        }
        let number = core::str::from_utf8(name).ok().and_then(|text| text.parse::<u32>().ok()).ok_or(Errno::ENOENT)?;
        // "01" is not the name of terminal 1.
        if format!("{number}").as_bytes() != name {
            return Err(Errno::ENOENT);
        }
        Ok(Arc::new(PtsNode { all: self.0.clone(), pair: self.0.find(number)? }))
    }

    fn read_directory(&self, from: u64, each: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<(), Errno> {
        let fixed = [
            (&b"."[..], DIRECTORY, FileKind::Directory),
            (b"..", DIRECTORY, FileKind::Directory),
            (b"ptmx", PTMX, FileKind::CharDevice),
        ];
        for ((name, inode, kind), place) in fixed.into_iter().zip(0..) {
            if from <= place && !each(&DirectoryEntry { name, inode, kind, next: place + 1 }) {
                return Ok(());
            }
        }
        // The place of a terminal is its inode number.
        let numbers: Vec<u32> = self.0.pairs.lock().keys().copied().collect();
        for number in numbers {
            let inode = u64::from(number) + FIRST;
            let name = format!("{number}");
            let entry = DirectoryEntry { name: name.as_bytes(), inode, kind: FileKind::CharDevice, next: inode + 1 };
            if inode >= from && !each(&entry) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `ptmx` inside `/dev/pts`.
struct PtmxNode(Arc<PseudoTerminals>);

impl Inode for PtmxNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }

    fn number(&self) -> u64 {
        PTMX
    }

    fn metadata(&self) -> Metadata {
        let metadata = PtsDirectory(self.0.clone()).root_metadata(PTMX, FileKind::CharDevice, 0o666);
        Metadata { represents: DeviceNumber::new(5, 2), ..metadata }
    }
}

/// A terminal in `/dev/pts`.
struct PtsNode {
    all: Arc<PseudoTerminals>,
    pair: Arc<Pair>,
}

impl Inode for PtsNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }

    fn number(&self) -> u64 {
        u64::from(self.pair.number) + FIRST
    }

    fn metadata(&self) -> Metadata {
        let attributes = self.pair.attributes.lock();
        let mode = u32::from(attributes.permissions.bits());
        let directory = PtsDirectory(self.all.clone());
        let metadata = directory.metadata_of(self.number(), FileKind::CharDevice, mode, &attributes);
        Metadata { represents: DeviceNumber::new(PTS_MAJOR, self.pair.number), ..metadata }
    }

    fn change_metadata(&self, change: &MetadataChange) -> Result<(), Errno> {
        let mut attributes = self.pair.attributes.lock();
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.permissions = change.permissions.unwrap_or(attributes.permissions);
        Ok(())
    }
}
