//! Unpacks gzip (RFC 1952): the header, the deflated bytes, their checksum and length.

use super::input::Input;
use alloc::{boxed::Box, vec::Vec};
use base::Errno;
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress},
};

/// Whether these bytes begin like gzip.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Bits of the header's flags.
const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// What is behind the header.
fn skip_header(bytes: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = bytes.split_at_checked(10)?;
    let flags = header[3];
    if !is_gzip(header) || header[2] != 8 || flags & 0xe0 != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// How far back deflated bytes may refer, and so how many of those that came out are kept.
const WINDOW: usize = 32 * 1024;

/// Unpacks a gzip member piece by piece, so that no more than the window of it is ever in memory.
pub struct Packed {
    input: &'static [u8],
    state: Box<DecompressorOxide>,
    window: Box<[u8]>,
    /// What came out and was not taken: from here
    from: usize,
    /// to here in the window.
    to: usize,
    taken: usize,
    /// What the trailer is compared with.
    checksum: u32,
    length: u32,
    /// Whether the trailer was read, and was right.
    ended: bool,
}

impl Packed {
    /// The gzip member at the front of `bytes`. `EINVAL` there is none; `ENOMEM`.
    pub fn new(bytes: &'static [u8]) -> Result<Self, Errno> {
        let input = skip_header(bytes).ok_or(Errno::EINVAL)?;
        let mut window = Vec::new();
        window.try_reserve_exact(WINDOW).map_err(|_| Errno::ENOMEM)?;
        window.resize(WINDOW, 0);
        Ok(Self {
            input,
            state: Box::default(),
            window: window.into_boxed_slice(),
            from: 0,
            to: 0,
            taken: 0,
            checksum: !0,
            length: 0,
            ended: false,
        })
    }

    /// What is behind the member, once all of it was taken; `EINVAL` if its end is not right.
    pub fn finish(mut self) -> Result<&'static [u8], Errno> {
        match self.peek()? {
            None => Ok(self.input),
            Some(_) => Err(Errno::EINVAL),
        }
    }

    /// Unpacks until there is something to take, or the member ends.
    fn advance(&mut self) -> Result<(), Errno> {
        while self.from == self.to && !self.ended {
            let at = self.to % WINDOW;
            let (status, read, written) = decompress(&mut self.state, self.input, &mut self.window, at, 0);
            self.input = self.input.get(read..).ok_or(Errno::EINVAL)?;
            (self.from, self.to) = (at, at + written);
            let new = self.window.get(at..at + written).ok_or(Errno::EINVAL)?;
            self.checksum = checksum(self.checksum, new);
            self.length = self.length.wrapping_add(written as u32);
            match status {
                TINFLStatus::Done => self.end()?,
                TINFLStatus::HasMoreOutput => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(())
    }

    /// Compares the trailer with what came out.
    fn end(&mut self) -> Result<(), Errno> {
        let (trailer, behind) = self.input.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        self.input = behind;
        self.ended = u32::from_le_bytes([c0, c1, c2, c3]) == !self.checksum
            && u32::from_le_bytes([l0, l1, l2, l3]) == self.length;
        if self.ended { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl Input for Packed {
    fn position(&self) -> usize {
        self.taken
    }

    fn peek(&mut self) -> Result<Option<u8>, Errno> {
        self.advance()?;
        Ok(self.window[self.from..self.to].first().copied())
    }

    fn piece(&mut self, most: usize, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<usize, Errno> {
        self.advance()?;
        let count = most.min(self.to - self.from);
        if count > 0 {
            each(&self.window[self.from..self.from + count])?;
        }
        self.from += count;
        self.taken += count;
        Ok(count)
    }

    fn borrow(&mut self, _count: usize) -> Option<Result<&'static [u8], Errno>> {
        None
    }
}

/// The CRC of each byte value.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 != 0 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// CRC-32 as gzip uses it, over more bytes: begins with all ones, and its complement is the checksum.
fn checksum(before: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(before, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Packs bytes in stored blocks, which need no compressor.
    pub fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut out = std::vec![0x1f, 0x8b, 8, NAME, 0, 0, 0, 0, 0, 3, b'n', 0];
        let blocks = bytes.chunks(60_000).count();
        for (index, block) in bytes.chunks(60_000).enumerate() {
            out.push(u8::from(index + 1 == blocks));
            let length = block.len() as u16;
            out.extend(length.to_le_bytes());
            out.extend((!length).to_le_bytes());
            out.extend(block);
        }
        out.extend((!checksum(!0, bytes)).to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out
    }

    #[test]
    fn what_was_packed_comes_out_whole() {
        let bytes: Vec<u8> = (0..150_000u32).map(|n| (n * 7) as u8).collect();
        let mut packed = pack(&bytes);
        packed.extend(b"behind");
        let mut packed = Packed::new(packed.leak()).unwrap();
        let mut plain = Vec::new();
        let mut take = |piece: &[u8]| {
            plain.extend_from_slice(piece);
            Ok(())
        };
        while packed.piece(7000, &mut take).unwrap() > 0 {}
        assert_eq!(plain, bytes);
        assert_eq!(packed.finish(), Ok(&b"behind"[..]));
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(!checksum(checksum(!0, b"1234"), b"56789"), 0xcbf4_3926);
    }
}
