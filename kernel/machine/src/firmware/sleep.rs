//! The DSDT's `\_S5` package: which sleep type switches the machine off (ACPI 6.5, 7.4.2).
//!
//! An AML interpreter would be a large thing to run for two small numbers. The object is a name, a package and
//! integers, all in fixed encodings, so it is found by its bytes.

/// The values for the SLP_TYP fields of PM1a_CNT and PM1b_CNT, of an AML stream that defines `\_S5`.
pub(crate) fn soft_off(aml: &[u8]) -> Option<(u8, u8)> {
    const NAME_OP: u8 = 0x08;
    const ROOT: u8 = b'\\';
    let mut from = 0;
    while let Some(found) = aml.get(from..)?.windows(4).position(|window| window == b"_S5_") {
        let at = from + found;
        let is_name = match at.checked_sub(1).map(|before| aml[before]) {
            Some(NAME_OP) => true,
            Some(ROOT) => at.checked_sub(2).is_some_and(|before| aml[before] == NAME_OP),
            _ => false,
        };
        if is_name && let Some(types) = package(&aml[at + 4..]) {
            return Some(types);
        }
        from = at + 4;
    }
    None
}

/// PackageOp, PkgLength (1 to 4 bytes), the number of elements, then the elements.
fn package(bytes: &[u8]) -> Option<(u8, u8)> {
    const PACKAGE_OP: u8 = 0x12;
    let (&PACKAGE_OP, rest) = bytes.split_first()? else { return None };
    let length_bytes = 1 + usize::from(rest.first()? >> 6);
    let (&count, elements) = rest.get(length_bytes..)?.split_first()?;
    let (a, elements) = integer(elements)?;
    // A package of one element packs the second type into the next byte up; no machine in use does.
    let b = if count > 1 { integer(elements)?.0 } else { a };
    (a < 8 && b < 8).then_some((a, b))
}

/// ZeroOp, OneOp, or BytePrefix and a byte.
fn integer(bytes: &[u8]) -> Option<(u8, &[u8])> {
    const BYTE_PREFIX: u8 = 0x0a;
    match *bytes.first()? {
        0 => Some((0, &bytes[1..])),
        1 => Some((1, &bytes[1..])),
        BYTE_PREFIX => Some((*bytes.get(1)?, &bytes[2..])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_package_is_found_with_and_without_a_root_mark() {
        let qemu = b"\x14\x08_S5_\x08_S5_\x12\x06\x04\0\0\0\0";
        assert_eq!(soft_off(qemu), Some((0, 0)));
        let other = b"\x08\\_S5_\x12\x0a\x04\x0a\x05\x0a\x07\0\0";
        assert_eq!(soft_off(other), Some((5, 7)));
    }

    #[test]
    fn a_mention_that_is_no_definition_is_passed_over() {
        assert_eq!(soft_off(b"x_S5_yyyy"), None);
        assert_eq!(soft_off(b"\x08_S5_\x12\x06"), None);
        assert_eq!(soft_off(b"_S5_"), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, at: usize) {
            let _ = soft_off(&bytes);
            let at = at % (bytes.len() + 1);
            bytes.splice(at..at, *b"\x08_S5_\x12");
            let _ = soft_off(&bytes);
        }
    }
}
