//! Sets of CPUs and nodes as text: lists such as `0-3,8` and masks such as `f` or `00000000,00000003`.
//!
//! Rules: interfaces.md, sections 10.2 (lists) and 9.2 (masks).

use crate::{CpuId, CpuSet, Errno, NodeId, NodeSet};
use core::fmt;

macro_rules! text_forms {
    ($set:ident, $id:ident) => {
        impl $set {
            /// Reads a list of which `last` is the last possible number.
            ///
            /// Regions are separated by commas or white space, and empty ones are skipped. A region is `n`, `a-b`,
            /// `all`, or one of these two with `:used/group` behind it: of each group of so many the first `used`.
            /// The number `N` is `last`.
            ///
            /// Errors: `EINVAL` no list, `ERANGE` a number over `last`, `EOVERFLOW` one over 32 bits.
            pub fn parse_list(text: &str, last: $id) -> Result<Self, Errno> {
                let mut set = Self::EMPTY;
                for region in regions(text) {
                    Region::parse(region, last.raw())?.numbers().for_each(|number| set.insert($id::new(number)));
                }
                Ok(set)
            }

            /// Shows the first `bits` numbers as a mask: groups of 32 bits in hexadecimal, most significant first.
            /// The first group has as many digits as its bits need, the others 8.
            pub fn mask(&self, bits: usize) -> Mask<'_> {
                Mask { words: self.words(), bits }
            }
        }

        impl fmt::Display for $set {
            /// Shows the list: ascending, in the shortest form; the empty set is the empty text.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_list(f, self.iter().map($id::raw))
            }
        }

        impl fmt::Debug for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($set), "({})"), self)
            }
        }
    };
}

text_forms!(CpuSet, CpuId);
text_forms!(NodeSet, NodeId);

/// A set shown as a mask; made by `CpuSet::mask` and `NodeSet::mask`.
pub struct Mask<'a> {
    words: &'a [u64],
    bits: usize,
}

impl fmt::Display for Mask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.bits.div_ceil(32).max(1);
        for group in (0..groups).rev() {
            let word = self.words.get(group / 2).copied().unwrap_or(0);
            let bits = (word >> (32 * (group % 2))) as u32;
            if group + 1 == groups {
                let width = (self.bits - 32 * group).div_ceil(4).max(1);
                write!(f, "{bits:0width$x}")?;
            } else {
                write!(f, ",{bits:08x}")?;
            }
        }
        Ok(())
    }
}

/// Writes ascending numbers as ranges joined by commas.
fn write_list(f: &mut fmt::Formatter<'_>, numbers: impl Iterator<Item = u32>) -> fmt::Result {
    let mut numbers = numbers.peekable();
    let mut separator = "";
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if_eq(&(last + 1)) {
            last = next;
        }
        write!(f, "{separator}{first}")?;
        if last > first {
            write!(f, "-{last}")?;
        }
        separator = ",";
    }
    Ok(())
}

/// The regions of a list that are not empty.
fn regions(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| character == ',' || character.is_ascii_whitespace())
        .filter(|region| !region.is_empty())
}

/// One region of a list: of each `group` numbers from `first` to `last` the first `used`.
struct Region {
    first: u32,
    last: u32,
    used: u32,
    group: u32,
}

impl Region {
    fn parse(text: &str, possible: u32) -> Result<Self, Errno> {
        let (range, pattern) = match text.split_once(':') {
            Some((range, pattern)) => (range, Some(pattern)),
            None => (text, None),
        };
        let (first, last) = if range.eq_ignore_ascii_case("all") {
            (0, possible)
        } else if let Some((first, last)) = range.split_once('-') {
            (number(first, possible)?, number(last, possible)?)
        } else if pattern.is_none() {
            let only = number(range, possible)?;
            (only, only)
        } else {
            return Err(Errno::EINVAL);
        };
        let (used, group) = match pattern {
            Some(pattern) => {
                let (used, group) = pattern.split_once('/').ok_or(Errno::EINVAL)?;
                (number(used, possible)?, number(group, possible)?)
            }
            None => (1, 1),
        };
        if first > last || group == 0 || used > group {
            return Err(Errno::EINVAL);
        }
        if last > possible {
            return Err(Errno::ERANGE);
        }
        Ok(Self { first, last, used, group })
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        let (first, used, group) = (self.first, self.used, self.group);
        (first..=self.last).filter(move |number| (number - first) % group < used)
    }
}

/// A decimal number of a region, or `N` for the last possible one.
fn number(text: &str, possible: u32) -> Result<u32, Errno> {
    if text == "N" {
        return Ok(possible);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::EINVAL);
    }
    text.parse().map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        collections::BTreeSet,
        format,
        string::{String, ToString},
    };

    fn cpus(text: &str) -> Result<String, Errno> {
        CpuSet::parse_list(text, CpuId::new(15)).map(|set| set.to_string())
    }

    #[test]
    fn lists_are_shown_ascending_and_shortest() {
        for (text, shown) in [
            ("", ""),
            (" , ,", ""),
            ("0,1", "0-1"),
            ("3 1\t2\n0", "0-3"),
            ("7,5,3-3", "3,5,7"),
            ("0-15:1/4", "0,4,8,12"),
            ("0-15:0/4", ""),
            ("2-9:2/3", "2-3,5-6,8-9"),
            ("all", "0-15"),
            ("ALL:1/8", "0,8"),
            ("N", "15"),
            ("14-N", "14-15"),
        ] {
            assert_eq!(cpus(text), Ok(shown.into()), "{text}");
        }
    }

    #[test]
    fn wrong_lists_say_how_they_are_wrong() {
        for text in
            ["x", "0-", "-1", "3-1", "0-3:1/0", "0-3:3/2", "0-3:1", "1:1/2", "0--3", "1;2", "0x1", "n", "+1", "1-2-3"]
        {
            assert_eq!(cpus(text), Err(Errno::EINVAL), "{text}");
        }
        for text in ["16", "0-16", "0,4294967295"] {
            assert_eq!(cpus(text), Err(Errno::ERANGE), "{text}");
        }
        assert_eq!(cpus("4294967296"), Err(Errno::EOVERFLOW));
        assert_eq!(cpus("99999999999999999999"), Err(Errno::EOVERFLOW));
        assert_eq!(cpus("17-16"), Err(Errno::EINVAL));
    }

    #[test]
    fn masks_have_as_many_digits_as_their_bits_need() {
        let set = |text| CpuSet::parse_list(text, CpuId::new(255)).unwrap();
        for (text, bits, shown) in [
            ("0-3", 4, "f"),
            ("0", 1, "1"),
            ("", 8, "00"),
            ("0,31", 32, "80000001"),
            ("32", 33, "1,00000000"),
            ("0-39", 40, "ff,ffffffff"),
            ("64,100", 128, "00000010,00000001,00000000,00000000"),
        ] {
            assert_eq!(set(text).mask(bits).to_string(), shown);
        }
        assert_eq!(NodeSet::first(2).mask(64).to_string(), "00000000,00000003");
    }

    proptest! {
        #[test]
        fn a_list_is_read_back(numbers: BTreeSet<u8>) {
            let set: CpuSet = numbers.iter().map(|&number| CpuId::new(number.into())).collect();
            prop_assert_eq!(CpuSet::parse_list(&set.to_string(), CpuId::new(255)), Ok(set));
            let singles = numbers.iter().map(|number| format!("{number}")).collect::<std::vec::Vec<_>>().join(" ");
            prop_assert_eq!(CpuSet::parse_list(&singles, CpuId::new(255)), Ok(set));
        }

        #[test]
        fn no_text_panics(text in "[0-9N,:/ al-]{0,20}") {
            let _ = CpuSet::parse_list(&text, CpuId::new(255));
        }
    }
}
