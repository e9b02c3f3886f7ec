//! The memory devices, major 1: null, zero, full, random, urandom, and kmsg, which `log` has.

use super::log::LogFile;
use alloc::sync::Arc;
use base::Errno;
use vfs::{
    DeviceDriver, DeviceNumber, FileOps, Inode, MappedPages, OpenFlags, OpenRequest, PollEvents, PollTable, SeekFrom,
};

/// Major number of the memory devices.
pub const MEMORY_MAJOR: u32 = 1;

/// The driver of the memory devices. What it opens has no state, but for kmsg, so every opening shares it.
pub struct MemoryDevices {
    null: Arc<Null>,
    zero: Arc<Zero>,
    full: Arc<Full>,
    random: Arc<Random>,
}

impl MemoryDevices {
    /// The driver.
    pub fn new() -> Self {
        Self { null: Arc::new(Null), zero: Arc::new(Zero), full: Arc::new(Full), random: Arc::new(Random) }
    }
}

impl Default for MemoryDevices {
    fn default() -> Self {
        Self::new()
    }
}

impl DeviceDriver for MemoryDevices {
    fn names(&self) -> &'static [&'static str] {
        &["mem"]
    }

    fn open(
        &self,
        number: DeviceNumber,
        _inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(match number.minor {
            3 => self.null.clone(),
            5 => self.zero.clone(),
            7 => self.full.clone(),
            8 | 9 => self.random.clone(),
            11 => Arc::new(LogFile::open(request)?),
            _ => return Err(Errno::ENXIO),
        })
    }
}

/// The position of these devices is always 0.
fn seek_nowhere(position: &mut u64) -> Result<u64, Errno> {
    *position = 0;
    Ok(0)
}

/// `null`: always at the end, swallows everything.
struct Null;

impl FileOps for Null {
    fn keeps_place(&self) -> bool {
        true
    }

    fn read(&self, _buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Ok(0)
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Ok(buffer.len())
    }

    fn seek(&self, _target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        seek_nowhere(position)
    }
}

/// `zero`: zeros without end; a mapping of it is fresh memory.
struct Zero;

impl FileOps for Zero {
    fn keeps_place(&self) -> bool {
        true
    }

    fn read(&self, buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        buffer.fill(0);
        Ok(buffer.len())
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Ok(buffer.len())
    }

    fn seek(&self, _target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        seek_nowhere(position)
    }

    fn mapped(&self) -> Result<MappedPages, Errno> {
        Ok(MappedPages::Anonymous)
    }
}

/// `full`: like `zero`, but never has room.
struct Full;

impl FileOps for Full {
    fn keeps_place(&self) -> bool {
        true
    }

    fn read(&self, buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        buffer.fill(0);
        Ok(buffer.len())
    }

    fn write(&self, _buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Err(Errno::ENOSPC)
    }

    fn seek(&self, _target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        seek_nowhere(position)
    }
}

/// `random` and `urandom`: random bytes; what is written adds nothing.
struct Random;

impl FileOps for Random {
    fn keeps_place(&self) -> bool {
        true
    }

    fn read(&self, buffer: &mut [u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        machine::random::fill(buffer);
        Ok(buffer.len())
    }

    fn write(&self, buffer: &[u8], _position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        Ok(buffer.len())
    }

    fn seek(&self, _target: SeekFrom, position: &mut u64) -> Result<u64, Errno> {
        seek_nowhere(position)
    }

    fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::ALWAYS
    }

    fn can_poll(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_gives_zeros_and_takes_nothing() {
        let mut buffer = [1; 5];
        assert_eq!(Full.read(&mut buffer, &mut 0, OpenFlags::empty()), Ok(5));
        assert_eq!(buffer, [0; 5]);
        assert_eq!(Full.write(b"x", &mut 0, OpenFlags::empty()), Err(Errno::ENOSPC));
    }

    #[test]
    fn null_is_empty_and_takes_everything() {
        assert_eq!(Null.read(&mut [0; 5], &mut 0, OpenFlags::empty()), Ok(0));
        assert_eq!(Null.write(b"hello", &mut 0, OpenFlags::empty()), Ok(5));
    }
}
