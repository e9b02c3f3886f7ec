//! Numbers and lists as they are written and shown. Rules: sections 4 and 10.2.

use base::Errno;

/// A write without its NUL and what follows, and without white space at both ends.
pub fn stripped(text: &[u8]) -> String {
    let text: Vec<u8> = text.iter().copied().take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&text).trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']).to_owned()
}

/// Decimal, `0x` hexadecimal, `0` octal; one leading `+`.
pub fn unsigned(text: &str) -> Result<u64, Errno> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        (hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (&text[1..], 8)
    } else {
        (text, 10)
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Errno::EINVAL);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Errno::ERANGE)
}

/// The same with an optional `-`.
pub fn signed(text: &str) -> Result<i64, Errno> {
    match text.strip_prefix('-') {
        Some(rest) if rest.starts_with('+') => Err(Errno::EINVAL),
        Some(rest) => match unsigned(rest)? {
            number if number <= 1 << 63 => Ok((number as i64).wrapping_neg()),
            _ => Err(Errno::ERANGE),
        },
        None => i64::try_from(unsigned(text)?).map_err(|_| Errno::ERANGE),
    }
}

/// Nonzero is 1.
pub fn flag(text: &str) -> Result<bool, Errno> {
    unsigned(text).map(|number| number != 0)
}

/// The lists that the steps write, with what they mean; `last` is the highest number.
pub fn list(text: &str, last: u32) -> Result<u32, Errno> {
    let all = (2 << last) - 1;
    let mut set = 0;
    for region in text.split([',', ' ', '\n', '\t']).filter(|region| !region.is_empty()) {
        set |= region_of(region, last, all)?;
    }
    Ok(set)
}

fn region_of(region: &str, last: u32, all: u32) -> Result<u32, Errno> {
    if region == "all" {
        return Ok(all);
    }
    let number = |text: &str| match text {
        "N" => Ok(u64::from(last)),
        _ if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(Errno::EINVAL),
        _ => text.parse::<u32>().map(u64::from).map_err(|_| Errno::EOVERFLOW),
    };
    let (range, group) = match region.split_once(':') {
        Some((range, group)) => (range, Some(group.split_once('/').ok_or(Errno::EINVAL)?)),
        None => (region, None),
    };
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(range)?, number(range)?),
    };
    let (used, of) = match group {
        Some((used, of)) => (number(used)?, number(of)?),
        None => (1, 1),
    };
    if from > to || of == 0 || used > of {
        return Err(Errno::EINVAL);
    }
    if to > u64::from(last) {
        return Err(Errno::ERANGE);
    }
    Ok((from..=to).filter(|at| (at - from) % of < used).fold(0, |set, at| set | 1 << at))
}

/// A set as a list.
pub fn shown(set: u32) -> String {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < 32 {
        if set >> at & 1 == 0 {
            at += 1;
            continue;
        }
        let from = at;
        while at < 32 && set >> at & 1 != 0 {
            at += 1;
        }
        parts.push(if at - from == 1 { format!("{from}") } else { format!("{from}-{}", at - 1) });
    }
    parts.join(",")
}
