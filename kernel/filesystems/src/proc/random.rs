//! /proc/sys/kernel/random: numbers that nobody has had before, `random(4)`.

use super::{System, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use machine::{
    random,
    sync::{SpinLock, rank},
};

/// The bits of the generator's key: it is filled before anybody can ask, and then never runs dry.
const KEY_BITS: u32 = 256;

pub(super) static RANDOM: Directory<System> = Directory {
    id: 7,
    lines: &[
        Line::text("boot_id", boot_id),
        Line::text("entropy_avail", |_, out| written(writeln!(out, "{KEY_BITS}"))),
        Line::text("poolsize", |_, out| written(writeln!(out, "{KEY_BITS}"))),
        Line::text("uuid", uuid),
    ],
    children: None,
};

/// The number of this boot; 0 before anybody has asked.
static BOOT: SpinLock<u128> = SpinLock::new(rank::LEAF, 0);

/// A new random number, marked as such (RFC 4122, version 4).
fn new() -> u128 {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    marked(u128::from_be_bytes(bytes))
}

fn marked(random: u128) -> u128 {
    random & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62
}

fn show(number: u128, out: &mut String) -> Result<(), Errno> {
    let low = |shift: u32, digits: u32| number >> shift & ((1 << (4 * digits)) - 1);
    written(writeln!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        low(96, 8),
        low(80, 4),
        low(64, 4),
        low(48, 4),
        low(0, 12)
    ))
}

/// The same at each look, until the next boot.
fn boot_id(_: &System, out: &mut String) -> Result<(), Errno> {
    let mut boot = BOOT.lock();
    if *boot == 0 {
        *boot = new();
    }
    let number = *boot;
    drop(boot);
    show(number, out)
}

/// Another one at each look.
fn uuid(_: &System, out: &mut String) -> Result<(), Errno> {
    show(new(), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_that_it_is_random() {
        let mut out = String::new();
        show(marked(u128::MAX), &mut out).unwrap();
        show(marked(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), &mut out).unwrap();
        assert_eq!(out, "ffffffff-ffff-4fff-bfff-ffffffffffff\n01234567-89ab-4def-8123-456789abcdef\n");
    }
}
