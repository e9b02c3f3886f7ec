//! Open files of many records, each made when a reader comes to it: for files of `/proc` that are as long as a program
//! likes, which no text in the kernel's memory could be.

use crate::{FileOps, OpenFlags};
use alloc::{boxed::Box, string::String};
use base::Errno;
use machine::sync::{Mutex, rank};

/// Makes the records of a file.
pub trait RecordSource: Send + Sync {
    /// Appends the first record whose key is at least `from` to `out`, and says from where the next one is looked for;
    /// none behind the last. Called with the file's own lock held (rank `FILE_TEXT`).
    fn next(&self, from: u64, out: &mut String) -> Result<Option<u64>, Errno>;
}

/// An open file of records. A read goes on where the last one ended; at any other offset the records are made from the
/// first one on. What changes meanwhile is seen or not, but each record is whole.
pub struct RecordFile {
    source: Box<dyn RecordSource>,
    reader: Mutex<Reader>,
}

/// How far a reader has come.
#[derive(Default)]
struct Reader {
    /// The offset of the next byte.
    position: u64,
    /// What was made and not read yet.
    rest: String,
    /// Bytes of it that were read.
    taken: usize,
    /// The key from which the next record is looked for; none behind the last.
    next: Option<u64>,
}

impl Reader {
    fn at_the_beginning() -> Self {
        Self { next: Some(0), ..Self::default() }
    }

    /// Bytes to read, of which there are none only at the end.
    fn fill(&mut self, source: &dyn RecordSource) -> Result<&[u8], Errno> {
        while self.taken == self.rest.len()
            && let Some(from) = self.next
        {
            self.rest.clear();
            self.taken = 0;
            self.next = source.next(from, &mut self.rest)?;
        }
        Ok(&self.rest.as_bytes()[self.taken..])
    }

    fn advance(&mut self, count: usize) {
        self.taken += count;
        self.position += count as u64;
    }

    /// Goes to an offset, or to the end if that comes first.
    fn seek(&mut self, position: u64, source: &dyn RecordSource) -> Result<(), Errno> {
        *self = Self::at_the_beginning();
        while self.position < position {
            let left = usize::try_from(position - self.position).unwrap_or(usize::MAX);
            let count = self.fill(source)?.len().min(left);
            if count == 0 {
                break;
            }
            self.advance(count);
        }
        Ok(())
    }
}

impl RecordFile {
    /// An open file of this source.
    pub fn new(source: Box<dyn RecordSource>) -> Self {
        Self { source, reader: Mutex::new(rank::FILE_TEXT, Reader::at_the_beginning()) }
    }
}

impl FileOps for RecordFile {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let mut reader = self.reader.lock();
        if *position == 0 || *position != reader.position {
            reader.seek(*position, &*self.source)?;
        }
        let mut done = 0;
        while done < buffer.len() {
            let rest = match reader.fill(&*self.source) {
                Ok(rest) => rest,
                // What was read is not lost.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            let count = rest.len().min(buffer.len() - done);
            if count == 0 {
                break;
            }
            buffer[done..done + count].copy_from_slice(&rest[..count]);
            reader.advance(count);
            done += count;
        }
        *position += done as u64;
        Ok(done)
    }

    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::{string::ToString, sync::Arc, vec};

    /// A record for every third number.
    struct Thirds {
        end: u64,
        made: Arc<AtomicU64>,
    }

    impl RecordSource for Thirds {
        fn next(&self, from: u64, out: &mut String) -> Result<Option<u64>, Errno> {
            let number = from.next_multiple_of(3);
            if number >= self.end {
                return Ok(None);
            }
            self.made.fetch_add(1, Relaxed);
            writeln!(out, "{number}").map_err(|_| Errno::ENOMEM)?;
            Ok(Some(number + 1))
        }
    }

    fn file(end: u64) -> (RecordFile, Arc<AtomicU64>) {
        let made = Arc::new(AtomicU64::new(0));
        (RecordFile::new(Box::new(Thirds { end, made: made.clone() })), made)
    }

    fn read(file: &RecordFile, position: &mut u64, length: usize) -> String {
        let mut buffer = vec![0; length];
        let count = file.read(&mut buffer, position, OpenFlags::empty()).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn whatever_the_pieces_the_whole_is_read_and_each_record_is_made_once() {
        let whole: String = (0..300).step_by(3).map(|number| number.to_string() + "\n").collect();
        for length in [1, 2, 5, 100, 10_000] {
            let (file, made) = file(300);
            let (mut position, mut all) = (0, String::new());
            loop {
                let piece = read(&file, &mut position, length);
                if piece.is_empty() {
                    break;
                }
                all.push_str(&piece);
            }
            assert_eq!((all.as_str(), made.load(Relaxed)), (whole.as_str(), 100), "in pieces of {length}");
        }
    }

    #[test]
    fn another_offset_is_read_from_the_first_record_on() {
        let (file, _) = file(30);
        assert_eq!(read(&file, &mut 6, 4), "9\n12");
        assert_eq!(read(&file, &mut 2, 3), "3\n6");
        assert_eq!(read(&file, &mut 0, 3), "0\n3");
        assert_eq!(read(&file, &mut 1000, 3), "");
        assert_eq!(read(&file, &mut 0, 2), "0\n", "and after the end again");
    }
}
