//! Reads members of a cpio archive of the "newc" form: a header of hexadecimal numbers, the name, the bytes.
//!
//! A reader of our own, because the unpacker must tell a broken archive from one that ends, names need not be UTF-8,
//! and bytes must be borrowed where they lie.

use base::Errno;

/// Length of a header.
const HEADER: usize = 110;
/// Name of the last member.
const TRAILER: &[u8] = b"TRAILER!!!";

/// A member of an archive.
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
    pub name: &'static [u8],
    /// The bytes, or the text of a symbolic link.
    pub data: &'static [u8],
}

impl Entry {
    /// Whether it is the end of the archive.
    pub fn is_trailer(&self) -> bool {
        self.name == TRAILER
    }
}

/// Takes `count` bytes off the front.
fn take(rest: &mut &'static [u8], count: usize) -> Result<&'static [u8], Errno> {
    let (taken, behind) = rest.split_at_checked(count).ok_or(Errno::EINVAL)?;
    *rest = behind;
    Ok(taken)
}

/// Eight hexadecimal digits.
fn number(digits: &[u8]) -> Result<u32, Errno> {
    digits.iter().try_fold(0, |value: u32, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(Errno::EINVAL)?;
        Ok(value << 4 | digit)
    })
}

/// Reads the member at the front of `rest`, which lies `offset` bytes into the archive; gives what is behind it.
/// `EINVAL` if it is no whole member.
pub fn read(mut rest: &'static [u8], offset: usize) -> Result<(Entry, &'static [u8]), Errno> {
    let whole = rest.len();
    let header = take(&mut rest, HEADER)?;
    if !matches!(&header[..6], b"070701" | b"070702") {
        return Err(Errno::EINVAL);
    }
    let field = |index: usize| number(&header[6 + 8 * index..14 + 8 * index]);
    let (size, name_size) = (field(6)? as usize, field(11)? as usize);
    let name = take(&mut rest, name_size)?;
    let end = name.iter().position(|&byte| byte == 0).ok_or(Errno::EINVAL)?;
    let name = &name[..end];
    // Padding up to a multiple of four, counted from the start of the archive.
    let padding = |rest: &[u8]| (offset + whole - rest.len()).wrapping_neg() % 4;
    let before_data = padding(rest);
    take(&mut rest, before_data)?;
    let data = take(&mut rest, size)?;
    let behind_data = padding(rest).min(rest.len());
    take(&mut rest, behind_data)?;
    let entry = Entry {
        identity: (field(7)?, field(8)?, field(0)?),
        mode: field(1)?,
        uid: field(2)?,
        gid: field(3)?,
        links: field(4)?,
        modified_seconds: field(5)?,
        device: (field(9)?, field(10)?),
        name,
        data,
    };
    Ok((entry, rest))
}
