//! The machine's calendar clock, read once at boot.

use crate::firmware::calendar::{Reading, seconds_since_epoch};
use x86_64::instructions::port::Port;

const UPDATING: u8 = 0x80;

fn register(number: u8) -> u8 {
    // SAFETY: the PC's calendar chip: the first port selects a register (the top bit clear keeps non-maskable
    // interrupts on), the second reads it. Boot is the only user.
    unsafe {
        Port::new(0x70).write(number);
        Port::new(0x71).read()
    }
}

fn read(century_register: Option<u8>) -> Reading {
    Reading {
        second: register(0),
        minute: register(2),
        hour: register(4),
        day: register(7),
        month: register(8),
        year: register(9),
        century: century_register.map(register),
        format: register(0xb),
    }
}

/// Seconds since 1970-01-01 00:00 UTC; 0 if the clock shows no date.
pub(super) fn seconds(century_register: Option<u8>) -> u64 {
    // An update can fall into a reading: two equal ones in a row, none of them during an update, are right.
    for _ in 0..100 {
        while register(0xa) & UPDATING != 0 {
            core::hint::spin_loop();
        }
        let first = read(century_register);
        if register(0xa) & UPDATING == 0 && first == read(century_register) {
            return seconds_since_epoch(&first).unwrap_or(0);
        }
    }
    0
}
