//! Reads members of a cpio archive of the "newc" form: a header of hexadecimal numbers, the name, the bytes.
//!
//! A reader of our own, because the unpacker must tell a broken archive from one that ends, names need not be UTF-8,
//! and bytes must be borrowed where they lie.

use super::input::Input;
use alloc::{vec, vec::Vec};
use base::Errno;

/// Length of a header.
const HEADER: usize = 110;
/// Name of the last member.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The longest name, with its NUL: that of a path.
const LONGEST_NAME: usize = 4096;

/// A member of an archive, without its bytes.
pub struct Entry {
    /// Device (major, minor) and inode number: the same for names of one file.
    pub identity: (u32, u32, u32),
    /// `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u32,
    /// Time of the last change, seconds since the epoch.
    pub modified_seconds: u32,
    /// Major and minor number of a device file.
    pub device: (u32, u32),
    /// The name, up to its first NUL.
    pub name: Vec<u8>,
    /// How many bytes follow: the content, or the text of a symbolic link.
    pub size: usize,
}

impl Entry {
    /// Whether it is the end of the archive.
    pub fn is_trailer(&self) -> bool {
        self.name == TRAILER
    }
}

/// Eight hexadecimal digits.
fn number(digits: &[u8]) -> Result<u32, Errno> {
    digits.iter().try_fold(0, |value: u32, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(Errno::EINVAL)?;
        Ok(value << 4 | digit)
    })
}

/// Reads a member up to its bytes, from an archive that began at the position `start`. `EINVAL` if it is no member.
pub fn read(input: &mut dyn Input, start: usize) -> Result<Entry, Errno> {
    let mut header = [0; HEADER];
    input.fill(&mut header)?;
    if !matches!(&header[..6], b"070701" | b"070702") {
        return Err(Errno::EINVAL);
    }
    let field = |index: usize| number(&header[6 + 8 * index..14 + 8 * index]);
    let name_size = field(11)? as usize;
    if name_size > LONGEST_NAME {
        return Err(Errno::EINVAL);
    }
    let mut name = vec![0; name_size];
    input.fill(&mut name)?;
    let end = name.iter().position(|&byte| byte == 0).ok_or(Errno::EINVAL)?;
    name.truncate(end);
    skip_padding(input, start)?;
    Ok(Entry {
        identity: (field(7)?, field(8)?, field(0)?),
        mode: field(1)?,
        uid: field(2)?,
        gid: field(3)?,
        links: field(4)?,
        modified_seconds: field(5)?,
        device: (field(9)?, field(10)?),
        name,
        size: field(6)? as usize,
    })
}

/// Takes what fills up a name or the bytes of a member to a multiple of four, counted from the archive's beginning.
/// The end of the input may come before.
pub fn skip_padding(input: &mut dyn Input, start: usize) -> Result<(), Errno> {
    let mut padding = (input.position() - start).wrapping_neg() % 4;
    while padding > 0 {
        match input.piece(padding, &mut |_| Ok(()))? {
            0 => break,
            taken => padding -= taken,
        }
    }
    Ok(())
}
