//! Numbers, flags, limits and byte counts as control files and /proc files read and show them.
//!
//! The texts that come in have been stripped of white space at both ends. Rule: interfaces.md, section 4.

use crate::Errno;
use core::{fmt, str::FromStr};

/// The bytes of one page: byte counts are kept in whole pages.
pub const PAGE_BYTES: u64 = 4096;

/// What an unlimited byte count shows: the largest signed number, rounded down to pages.
const UNLIMITED_BYTES: u64 = (i64::MAX as u64) & !(PAGE_BYTES - 1);

/// Reads an unsigned number: decimal, `0x` hexadecimal, `0` octal, with at most one leading `+`.
///
/// Errors: `EINVAL` if it is none, `ERANGE` over 64 bits.
pub fn parse_unsigned(text: impl AsRef<[u8]>) -> Result<u64, Errno> {
    let text = text.as_ref();
    parse_digits(text.strip_prefix(b"+").unwrap_or(text))
}

/// Reads a signed number: as [`parse_unsigned`], with an optional `-`.
///
/// Errors: `EINVAL` if it is none, `ERANGE` outside of 64 bits.
pub fn parse_signed(text: &str) -> Result<i64, Errno> {
    match text.strip_prefix('-') {
        Some(digits) => 0i64.checked_sub_unsigned(parse_digits(digits.as_bytes())?).ok_or(Errno::ERANGE),
        None => i64::try_from(parse_unsigned(text)?).map_err(|_| Errno::ERANGE),
    }
}

/// Reads a flag: an unsigned number of which every value but 0 means true.
///
/// Errors: those of [`parse_unsigned`].
pub fn parse_flag(text: &str) -> Result<bool, Errno> {
    Ok(parse_unsigned(text)? != 0)
}

/// Digits in the base that their prefix names.
fn parse_digits(text: &[u8]) -> Result<u64, Errno> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.is_empty() {
        return Err(Errno::EINVAL);
    }
    // A wrong character is EINVAL even where the number is too long, so the range is judged at the end.
    let mut value = Some(0u64);
    for &byte in digits {
        let digit = char::from(byte).to_digit(radix).ok_or(Errno::EINVAL)?;
        value = value.and_then(|value| value.checked_mul(radix.into())?.checked_add(digit.into()));
    }
    value.ok_or(Errno::ERANGE)
}

/// A count that may be without bound: `max` or an unsigned number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// At most so many.
    At(u64),
    /// No bound.
    Max,
}

impl Limit {
    /// Whether the limit lets a count become `count`.
    pub const fn allows(self, count: u64) -> bool {
        match self {
            Self::At(limit) => count <= limit,
            Self::Max => true,
        }
    }
}

impl FromStr for Limit {
    type Err = Errno;

    /// Errors: those of [`parse_unsigned`].
    fn from_str(text: &str) -> Result<Self, Errno> {
        if text == "max" { Ok(Self::Max) } else { parse_unsigned(text).map(Self::At) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(limit) => fmt::Display::fmt(limit, f),
            Self::Max => f.write_str("max"),
        }
    }
}

/// A limit in bytes, kept in whole pages: decimal with an optional suffix K M G T P E, `-1` for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteLimit(u64);

impl ByteLimit {
    /// No limit.
    pub const UNLIMITED: Self = Self(UNLIMITED_BYTES / PAGE_BYTES);

    /// A limit of so many pages, at most [`ByteLimit::UNLIMITED`].
    pub const fn from_pages(pages: u64) -> Self {
        if pages < Self::UNLIMITED.0 { Self(pages) } else { Self::UNLIMITED }
    }

    /// The limit in pages.
    pub const fn pages(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteLimit {
    type Err = Errno;

    /// Errors: `EINVAL` if it is no byte count. More than can be is unlimited.
    fn from_str(text: &str) -> Result<Self, Errno> {
        if text == "-1" {
            return Ok(Self::UNLIMITED);
        }
        let power = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
            Some(b'K') => 1,
            Some(b'M') => 2,
            Some(b'G') => 3,
            Some(b'T') => 4,
            Some(b'P') => 5,
            Some(b'E') => 6,
            _ => 0,
        };
        let digits = if power > 0 { &text[..text.len() - 1] } else { text };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Errno::EINVAL);
        }
        let bytes = digits.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1 << (10 * power));
        Ok(Self::from_pages(bytes / PAGE_BYTES))
    }
}

impl fmt::Display for ByteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(self.0 * PAGE_BYTES), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    #[test]
    fn unsigned_numbers_have_three_bases_and_one_plus() {
        for (text, value) in [("0", 0), ("+7", 7), ("0x1F", 31), ("0Xa", 10), ("010", 8), ("18446744073709551615", !0)]
        {
            assert_eq!(parse_unsigned(text), Ok(value), "{text}");
        }
        for text in ["", "+", "++1", "-1", "0x", "08", "1 2", "4a", "max", "+-1"] {
            assert_eq!(parse_unsigned(text), Err(Errno::EINVAL), "{text}");
        }
        assert_eq!(parse_unsigned("18446744073709551616"), Err(Errno::ERANGE));
        assert_eq!(parse_unsigned("99999999999999999999x"), Err(Errno::EINVAL));
    }

    #[test]
    fn signed_numbers_reach_both_ends() {
        for (text, value) in [("-1", -1), ("-0x10", -16), ("+5", 5), ("-9223372036854775808", i64::MIN)] {
            assert_eq!(parse_signed(text), Ok(value), "{text}");
        }
        for text in ["-", "--1", "-+1", "+-1", ""] {
            assert_eq!(parse_signed(text), Err(Errno::EINVAL), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_signed(text), Err(Errno::ERANGE), "{text}");
        }
    }

    #[test]
    fn a_flag_is_any_number() {
        assert_eq!(parse_flag("0"), Ok(false));
        assert_eq!(parse_flag("0x80"), Ok(true));
        assert_eq!(parse_flag("yes"), Err(Errno::EINVAL));
    }

    #[test]
    fn a_limit_is_max_or_a_number() {
        assert_eq!("max".parse(), Ok(Limit::Max));
        assert_eq!("16".parse(), Ok(Limit::At(16)));
        assert_eq!("MAX".parse::<Limit>(), Err(Errno::EINVAL));
        assert!(Limit::At(2).allows(2) && !Limit::At(2).allows(3) && Limit::Max.allows(u64::MAX));
    }

    #[test]
    fn byte_counts_take_suffixes_and_round_down_to_pages() {
        for (text, shown) in [
            ("4096", "4096"),
            ("8191", "4096"),
            ("4k", "4096"),
            ("1M", "1048576"),
            ("-1", "9223372036854771712"),
            ("16E", "9223372036854771712"),
            ("99999999999999999999999", "9223372036854771712"),
        ] {
            assert_eq!(text.parse::<ByteLimit>().map(|limit| limit.to_string()), Ok(shown.into()), "{text}");
        }
        for text in ["", "K", "-2", "+4096", "0x1000", "4KK", "4 K", "4\u{212a}"] {
            assert_eq!(text.parse::<ByteLimit>(), Err(Errno::EINVAL), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(value: u64, signed: i64) {
            prop_assert_eq!(parse_unsigned(value.to_string()), Ok(value));
            prop_assert_eq!(parse_unsigned(format!("{value:#x}")), Ok(value));
            prop_assert_eq!(parse_unsigned(format!("0{value:o}")), Ok(value));
            prop_assert_eq!(parse_signed(&signed.to_string()), Ok(signed));
            prop_assert_eq!(Limit::At(value).to_string().parse(), Ok(Limit::At(value)));
        }

        #[test]
        fn no_text_panics(text: std::string::String) {
            let _ = (parse_unsigned(&text), parse_signed(&text), text.parse::<Limit>(), text.parse::<ByteLimit>());
        }
    }
}
