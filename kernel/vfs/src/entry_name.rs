//! The name of an entry of a directory, kept for long: a short one, as most are, needs no memory of the heap.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Deref;

/// The most bytes that need none.
const SHORT: usize = 22;

/// A name.
#[derive(Clone)]
pub(crate) struct EntryName(Form);

#[derive(Clone)]
enum Form {
    Short { bytes: [u8; SHORT], length: u8 },
    Long(Box<[u8]>),
}

impl From<&[u8]> for EntryName {
    fn from(name: &[u8]) -> Self {
        if name.len() > SHORT {
            return Self(Form::Long(name.into()));
        }
        let mut bytes = [0; SHORT];
        bytes[..name.len()].copy_from_slice(name);
        Self(Form::Short { bytes, length: name.len() as u8 })
    }
}

impl From<Vec<u8>> for EntryName {
    fn from(name: Vec<u8>) -> Self {
        Self::from(&*name)
    }
}

impl Deref for EntryName {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short { bytes, length } => &bytes[..usize::from(*length)],
            Form::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_kept() {
        let longest = [b'n'; 255];
        for length in 0..=longest.len() {
            let name = EntryName::from(&longest[..length]);
            assert_eq!((&*name, &*name.clone()), (&longest[..length], &longest[..length]));
        }
    }
}
