//! The records that are kept: one after the other in a ring of bytes, the oldest overwritten by the newest.

/// Bytes of the ring (`SYSLOG_ACTION_SIZE_BUFFER`).
pub const CAPACITY: usize = 1 << 17;
/// The longest text of a record, in bytes.
pub const LONGEST: usize = 992;
/// What stands in front of each text: time, priority, length.
const HEADER: usize = 8 + 2 + 2;

/// The kept records.
pub struct Ring {
    bytes: [u8; CAPACITY],
    oldest: Cursor,
    end: Cursor,
}

/// A place between records. Both parts count from boot and never go back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The number of the record that begins here.
    sequence: u64,
    /// Its first byte.
    byte: u64,
}

impl Cursor {
    /// The first record of all, whether or not it is still kept.
    pub const START: Self = Self { sequence: 0, byte: 0 };

    /// The number of the record that begins here.
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

/// A copy of a record.
pub struct Record {
    at: Cursor,
    microseconds: u64,
    priority: u16,
    text: [u8; LONGEST],
    length: usize,
}

impl Record {
    /// An empty one, to read into.
    pub const fn new() -> Self {
        Self { at: Cursor::START, microseconds: 0, priority: 0, text: [0; LONGEST], length: 0 }
    }

    /// Where it stands.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Its time in microseconds since boot.
    pub const fn microseconds(&self) -> u64 {
        self.microseconds
    }

    /// Its level and facility, see [`Priority::number`](super::Priority::number).
    pub const fn priority(&self) -> u16 {
        self.priority
    }

    /// Its text: any bytes, without a newline at the end.
    pub fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// A ring without records, all zeros.
    pub const fn new() -> Self {
        Self { bytes: [0; CAPACITY], oldest: Cursor::START, end: Cursor::START }
    }

    /// Appends a record, whose text is cut at [`LONGEST`]; the oldest go as far as it needs their room.
    pub fn push(&mut self, microseconds: u64, priority: u16, text: &[u8]) {
        let text = &text[..text.len().min(LONGEST)];
        let end = self.end.byte + (HEADER + text.len()) as u64;
        while end - self.oldest.byte > CAPACITY as u64 {
            self.oldest = self.behind(self.oldest);
        }
        let start = self.end.byte;
        self.put(start, &microseconds.to_le_bytes());
        self.put(start + 8, &priority.to_le_bytes());
        self.put(start + 10, &(text.len() as u16).to_le_bytes());
        self.put(start + HEADER as u64, text);
        self.end = Cursor { sequence: self.end.sequence + 1, byte: end };
    }

    /// See [`read`](super::read).
    pub fn read(&self, cursor: Cursor, record: &mut Record) -> Option<Cursor> {
        let at = if cursor.byte < self.oldest.byte { self.oldest } else { cursor };
        if at.byte >= self.end.byte {
            return None;
        }
        let mut header = [0; HEADER];
        self.get(at.byte, &mut header);
        let [time @ .., _, _, _, _] = header;
        record.at = at;
        record.microseconds = u64::from_le_bytes(time);
        record.priority = u16::from_le_bytes([header[8], header[9]]);
        let next = self.behind(at);
        record.length = (next.byte - at.byte) as usize - HEADER;
        self.get(at.byte + HEADER as u64, &mut record.text[..record.length]);
        Some(next)
    }

    /// The oldest record.
    pub const fn oldest(&self) -> Cursor {
        self.oldest
    }

    /// The place behind the newest.
    pub const fn end(&self) -> Cursor {
        self.end
    }

    /// The place behind the record at `at`, which is kept.
    fn behind(&self, at: Cursor) -> Cursor {
        let mut length = [0; 2];
        self.get(at.byte + 10, &mut length);
        Cursor { sequence: at.sequence + 1, byte: at.byte + HEADER as u64 + u64::from(u16::from_le_bytes(length)) }
    }

    fn put(&mut self, byte: u64, bytes: &[u8]) {
        let start = byte as usize % CAPACITY;
        let first = bytes.len().min(CAPACITY - start);
        self.bytes[start..start + first].copy_from_slice(&bytes[..first]);
        self.bytes[..bytes.len() - first].copy_from_slice(&bytes[first..]);
    }

    fn get(&self, byte: u64, out: &mut [u8]) {
        let start = byte as usize % CAPACITY;
        let first = out.len().min(CAPACITY - start);
        let rest = out.len() - first;
        out[..first].copy_from_slice(&self.bytes[start..start + first]);
        out[first..].copy_from_slice(&self.bytes[..rest]);
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{boxed::Box, collections::VecDeque, vec::Vec};

    fn all(ring: &Ring, from: Cursor) -> Vec<(u64, u64, u16, Vec<u8>)> {
        let (mut found, mut cursor, mut record) = (Vec::new(), from, Record::new());
        while let Some(next) = ring.read(cursor, &mut record) {
            found.push((record.at().sequence(), record.microseconds(), record.priority(), record.text().to_vec()));
            cursor = next;
        }
        found
    }

    proptest! {
        #[test]
        fn the_newest_that_fit_are_kept_whole_and_in_order(lengths in prop::collection::vec(0usize..1200, 1..600)) {
            let mut ring = Box::new(Ring::new());
            let mut model = VecDeque::new();
            for (number, length) in lengths.iter().enumerate() {
                let text: Vec<u8> = (0..*length).map(|at| (at + number) as u8).collect();
                ring.push(number as u64 * 3, number as u16, &text);
                model.push_back((number as u64, number as u64 * 3, number as u16, text[..text.len().min(LONGEST)].to_vec()));
                while model.iter().map(|(.., text)| HEADER + text.len()).sum::<usize>() > CAPACITY {
                    model.pop_front();
                }
            }
            prop_assert_eq!(all(&ring, Cursor::START), Vec::from(model));
            prop_assert_eq!(all(&ring, ring.end()), []);
        }
    }

    #[test]
    fn a_reader_that_was_overtaken_finds_the_oldest() {
        let mut ring = Box::new(Ring::new());
        ring.push(1, 6, b"first");
        let cursor = ring.oldest();
        let mut record = Record::new();
        assert_eq!(ring.read(cursor, &mut record), Some(ring.end()));
        assert_eq!((record.at(), record.text()), (cursor, &b"first"[..]));
        (0..200).for_each(|_| ring.push(2, 6, &[b'x'; LONGEST]));
        assert!(ring.read(cursor, &mut record).is_some());
        assert_eq!(record.at(), ring.oldest());
        assert!(record.at().sequence() > 50);
    }
}
