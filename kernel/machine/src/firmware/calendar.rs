//! What the PC's calendar chip shows, as seconds since the epoch.

/// The chip's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    pub day: u8,
    pub month: u8,
    pub year: u8,
    /// The register that the firmware names for the century, if it names one.
    pub century: Option<u8>,
    /// Register B: bit 2 says binary (else decimal digits), bit 1 says 24 hours (else 12, top bit for afternoon).
    pub format: u8,
}

/// Seconds since 1970-01-01 00:00 of the moment shown; `None` if it is no date.
pub(crate) fn seconds_since_epoch(reading: &Reading) -> Option<u64> {
    const AFTERNOON: u8 = 0x80;
    let number = |raw: u8| if reading.format & 4 != 0 { raw } else { (raw >> 4) * 10 + (raw & 0xf) };
    let mut hour = number(reading.hour & !AFTERNOON);
    if reading.format & 2 == 0 {
        hour = hour % 12 + if reading.hour & AFTERNOON != 0 { 12 } else { 0 };
    }
    let (minute, second) = (number(reading.minute), number(reading.second));
    let (day, month) = (number(reading.day), number(reading.month));
    let year = u64::from(number(reading.year));
    let year = match reading.century.map(number) {
        Some(century @ 19..=99) => u64::from(century) * 100 + year,
        _ => 2000 + year,
    };
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !valid || year < 1970 {
        return None;
    }
    // Days by counting years from March, so that the leap day is the last.
    let (y, m) = if month > 2 { (year, u64::from(month) - 3) } else { (year - 1, u64::from(month) + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + u64::from(day) - 1;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHOWN: Reading = Reading {
        second: 0x05,
        minute: 0x59,
        hour: 0x23,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        century: Some(0x20),
        format: 2,
    };

    #[test]
    fn a_leap_day_in_decimal_digits() {
        assert_eq!(seconds_since_epoch(&SHOWN), Some(1_709_251_145)); // 2024-02-29 23:59:05
    }

    #[test]
    fn binary_and_twelve_hours() {
        let shown =
            Reading { second: 5, minute: 59, hour: 11 | 0x80, day: 29, month: 2, year: 24, century: None, format: 4 };
        assert_eq!(seconds_since_epoch(&shown), Some(1_709_251_145));
        let midnight = Reading { hour: 12, ..shown };
        assert_eq!(seconds_since_epoch(&midnight), Some(1_709_251_145 - 23 * 3600));
    }

    #[test]
    fn the_epoch_itself_is_zero() {
        let shown =
            Reading { second: 0, minute: 0, hour: 0, day: 1, month: 1, year: 0x70, century: Some(0x19), format: 2 };
        assert_eq!(seconds_since_epoch(&shown), Some(0));
    }

    #[test]
    fn an_absurd_month_is_no_date() {
        assert_eq!(seconds_since_epoch(&Reading { month: 0, ..SHOWN }), None);
    }

    proptest! {
        #[test]
        fn random_registers_never_panic(r: [u8; 8], century: Option<u8>) {
            let [second, minute, hour, day, month, year, format, _] = r;
            let _ = seconds_since_epoch(&Reading { second, minute, hour, day, month, year, century, format });
        }
    }
}
