//! Open files whose content is a text made when it is read: for `/proc`, `/sys` and control files.

use crate::{FileOps, OpenFlags, PollEvents, PollTable};
use alloc::{boxed::Box, string::String};
use base::Errno;
use machine::sync::{Mutex, rank};

/// Makes the text of a file, and takes what is written.
pub trait TextSource: Send + Sync {
    /// The whole text, appended to `out`. Called with the text's own lock held (rank `FILE_TEXT`).
    fn show(&self, out: &mut String) -> Result<(), Errno>;

    /// Whether who has read a part of the text may have more of it.
    fn goes_on(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Takes one whole write. White space is not stripped. `EINVAL` (the default) where nothing can be written.
    fn store(&self, _text: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether a write of `length` bytes may be tried: `E2BIG` over 4096.
    fn admit(&self, length: usize) -> Result<(), Errno> {
        if length > 4096 { Err(Errno::E2BIG) } else { Ok(()) }
    }

    /// What an open file of this source answers to `poll`: a source that tells of its changes says so here.
    fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::ALWAYS
    }

    /// Whether epoll takes such files (`EPERM` otherwise).
    fn can_poll(&self) -> bool {
        false
    }
}

/// An open text file: the text is made by the first read at offset 0, later reads go on in it, and another read at
/// offset 0 makes it anew. A write goes to the source whole, whatever the offset.
pub struct TextFile {
    source: Box<dyn TextSource>,
    text: Mutex<Option<String>>,
}

impl TextFile {
    /// An open file of this source.
    pub fn new(source: Box<dyn TextSource>) -> Self {
        Self { source, text: Mutex::new(rank::FILE_TEXT, None) }
    }
}

impl FileOps for TextFile {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let mut text = self.text.lock();
        if *position == 0 || text.is_none() {
            // The next text is probably as long: it takes the memory of the last.
            let mut fresh = text.take().unwrap_or_default();
            fresh.clear();
            self.source.show(&mut fresh)?;
            *text = Some(fresh);
        } else {
            self.source.goes_on()?;
        }
        let start = usize::try_from(*position).unwrap_or(usize::MAX);
        let rest = text.as_ref().and_then(|text| text.as_bytes().get(start..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        *position += count as u64;
        Ok(count)
    }

    fn write(&self, buffer: &[u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        self.source.admit(buffer.len())?;
        self.source.store(buffer)?;
        *position += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn screens_writes(&self) -> bool {
        true
    }

    fn admit_write(&self, length: usize) -> Result<(), Errno> {
        self.source.admit(length)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.source.poll(table)
    }

    fn can_poll(&self) -> bool {
        self.source.can_poll()
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl TextSource for Counter {
        fn show(&self, out: &mut String) -> Result<(), Errno> {
            out.push_str(&std::format!("shown {}\n", self.0.fetch_add(1, Relaxed)));
            Ok(())
        }
    }

    #[test]
    fn a_text_is_made_at_offset_zero_and_stays_for_the_rest() {
        let file = TextFile::new(Box::new(Counter::default()));
        let mut position = 0;
        let mut buffer = [0; 4];
        assert_eq!(file.read(&mut buffer, &mut position, OpenFlags::empty()), Ok(4));
        assert_eq!(file.read(&mut buffer, &mut position, OpenFlags::empty()), Ok(4));
        assert_eq!(&buffer, b"n 0\n");
        assert_eq!(file.read(&mut buffer, &mut position, OpenFlags::empty()), Ok(0));
        position = 0;
        let mut whole = [0; 20];
        assert_eq!(file.read(&mut whole, &mut position, OpenFlags::empty()), Ok(8));
        assert_eq!(&whole[..8], b"shown 1\n");
    }

    #[test]
    fn a_text_that_can_not_be_made_is_made_anew_by_the_next_read() {
        struct EverySecond(AtomicU32);
        impl TextSource for EverySecond {
            fn show(&self, out: &mut String) -> Result<(), Errno> {
                out.push_str("half a te");
                let fails = self.0.fetch_add(1, Relaxed) % 2 == 1;
                out.push_str("xt\n");
                if fails { Err(Errno::ENODEV) } else { Ok(()) }
            }
        }
        let file = TextFile::new(Box::new(EverySecond(AtomicU32::new(0))));
        let read = |position| {
            let (mut buffer, mut position) = ([0; 20], position);
            file.read(&mut buffer, &mut position, OpenFlags::empty())
        };
        assert_eq!(read(0), Ok(12));
        assert_eq!(read(0), Err(Errno::ENODEV));
        assert_eq!(read(5), Ok(7), "made once, and not behind what was left");
    }

    #[test]
    fn a_write_too_long_is_refused_before_it_is_looked_at() {
        let file = TextFile::new(Box::new(Counter::default()));
        assert_eq!(file.admit_write(4097), Err(Errno::E2BIG));
        assert_eq!(file.write(b"x", &mut 0, OpenFlags::empty()), Err(Errno::EINVAL));
    }
}
