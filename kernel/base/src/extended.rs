//! Extended attributes: named values that somebody attaches to a file or directory.
//!
//! Only what an inode keeps; who may read and change them is decided by the floor above.

use crate::Errno;
use alloc::{collections::BTreeMap, vec::Vec};

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 255;
/// The longest value, and the longest list of names.
pub const LONGEST_VALUE: usize = 65_536;
/// How many an inode can have.
const MOST: usize = 128;
/// How many bytes all values of an inode can have together.
const MOST_BYTES: usize = 2 * LONGEST_VALUE;

/// Whether an attribute may be there already when it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SetMode {
    /// It may or may not.
    #[default]
    Any,
    /// `XATTR_CREATE`: `EEXIST` if it is.
    Create,
    /// `XATTR_REPLACE`: `ENODATA` if it is not.
    Replace,
    /// Both flags, which nothing meets: `EEXIST` if it is, `ENODATA` if it is not.
    Both,
}

/// The extended attributes of one inode.
#[derive(Default, Debug)]
pub struct ExtendedAttributes {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ExtendedAttributes {
    /// None yet.
    pub const fn new() -> Self {
        Self { values: BTreeMap::new() }
    }

    /// The value of `name`. `ENODATA` if there is none.
    pub fn get(&self, name: &[u8]) -> Result<&[u8], Errno> {
        self.values.get(name).map(Vec::as_slice).ok_or(Errno::ENODATA)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.values.keys().map(Vec::as_slice)
    }

    /// Sets `name`. `EEXIST` and `ENODATA` as `mode` says; `ENOSPC` too many, or too many bytes.
    pub fn set(&mut self, name: Vec<u8>, value: Vec<u8>, mode: SetMode) -> Result<(), Errno> {
        let old = self.values.get(&name).map(Vec::len);
        match (old, mode) {
            (Some(_), SetMode::Create | SetMode::Both) => return Err(Errno::EEXIST),
            (None, SetMode::Replace | SetMode::Both) => return Err(Errno::ENODATA),
            _ => {}
        }
        let others: usize = self.values.values().map(Vec::len).sum::<usize>() - old.unwrap_or(0);
        if old.is_none() && self.values.len() == MOST || others + value.len() > MOST_BYTES {
            return Err(Errno::ENOSPC);
        }
        self.values.insert(name, value);
        Ok(())
    }

    /// Takes `name` away. `ENODATA` if there is none.
    pub fn remove(&mut self, name: &[u8]) -> Result<(), Errno> {
        self.values.remove(name).map(drop).ok_or(Errno::ENODATA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec};

    #[test]
    fn the_mode_says_whether_it_may_be_there() {
        let mut all = ExtendedAttributes::new();
        let mut set = |value: &[u8], mode| all.set(b"user.a".to_vec(), value.to_vec(), mode);
        assert_eq!(set(b"0", SetMode::Replace), Err(Errno::ENODATA));
        assert_eq!(set(b"0", SetMode::Both), Err(Errno::ENODATA));
        assert_eq!(set(b"1", SetMode::Create), Ok(()));
        assert_eq!(set(b"2", SetMode::Create), Err(Errno::EEXIST));
        assert_eq!(set(b"2", SetMode::Both), Err(Errno::EEXIST));
        assert_eq!(set(b"3", SetMode::Replace), Ok(()));
        assert_eq!(set(b"", SetMode::Any), Ok(()));
        assert_eq!(all.get(b"user.a"), Ok(&b""[..]));
        assert_eq!(all.remove(b"user.a"), Ok(()));
        assert_eq!(all.remove(b"user.a"), Err(Errno::ENODATA));
        assert_eq!(all.get(b"user.a"), Err(Errno::ENODATA));
    }

    #[test]
    fn an_inode_holds_so_many_and_no_more() {
        let mut all = ExtendedAttributes::new();
        for number in 0..MOST {
            all.set(format!("user.{number}").into_bytes(), vec![], SetMode::Any).unwrap();
        }
        assert_eq!(all.set(b"user.x".to_vec(), vec![], SetMode::Any), Err(Errno::ENOSPC));
        assert_eq!(all.set(b"user.0".to_vec(), vec![0; MOST_BYTES], SetMode::Any), Ok(()));
        assert_eq!(all.set(b"user.1".to_vec(), vec![0], SetMode::Any), Err(Errno::ENOSPC));
        // One that is replaced does not count beside what replaces it.
        assert_eq!(all.set(b"user.0".to_vec(), vec![1; MOST_BYTES], SetMode::Any), Ok(()));
    }
}
