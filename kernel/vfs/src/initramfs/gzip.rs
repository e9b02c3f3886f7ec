//! Unpacks gzip (RFC 1952): the header, the deflated bytes, their checksum and length.

use alloc::{boxed::Box, vec::Vec};
use base::Errno;
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
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

/// Unpacks the first gzip member; gives its bytes and what is behind it. `EINVAL` broken, `ENOMEM`.
pub fn unpack(bytes: &'static [u8]) -> Result<(Vec<u8>, &'static [u8]), Errno> {
    let mut input = skip_header(bytes).ok_or(Errno::EINVAL)?;
    let mut state = Box::<DecompressorOxide>::default();
    // The last four bytes tell the length, if nothing is behind this member; if not, the output grows.
    let told = bytes.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    // Deflate packs no more than about a thousandfold.
    let mut out = grown(Vec::new(), told.min(input.len().saturating_mul(1032)).max(4096))?;
    let mut filled = 0;
    loop {
        let (status, read, written) =
            decompress(&mut state, input, &mut out, filled, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        input = input.get(read..).ok_or(Errno::EINVAL)?;
        filled += written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {
                let size = out.len().checked_mul(2).ok_or(Errno::ENOMEM)?;
                out = grown(out, size)?;
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    out.truncate(filled);
    let (trailer, behind) = input.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let intact =
        u32::from_le_bytes([c0, c1, c2, c3]) == checksum(&out) && u32::from_le_bytes([l0, l1, l2, l3]) == filled as u32;
    if intact { Ok((out, behind)) } else { Err(Errno::EINVAL) }
}

fn grown(mut out: Vec<u8>, size: usize) -> Result<Vec<u8>, Errno> {
    out.try_reserve_exact(size - out.len()).map_err(|_| Errno::ENOMEM)?;
    out.resize(size, 0);
    Ok(out)
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

/// CRC-32 as gzip uses it.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
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
        out.extend(checksum(bytes).to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out
    }

    #[test]
    fn what_was_packed_comes_out_whole() {
        let bytes: Vec<u8> = (0..150_000u32).map(|n| (n * 7) as u8).collect();
        let mut packed = pack(&bytes);
        packed.extend(b"behind");
        let (plain, behind) = unpack(packed.leak()).unwrap();
        assert_eq!(plain, bytes);
        assert_eq!(behind, b"behind");
    }

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }
}
