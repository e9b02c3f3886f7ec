//! The SLIT: distances between proximity domains (ACPI 6.5, 5.2.17).

/// Header of every table (36 bytes) and the number of domains.
const MATRIX: usize = 44;

/// The distance of a domain to itself.
pub(crate) const LOCAL: u8 = 10;

/// A table whose matrix is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slit<'a> {
    count: usize,
    matrix: &'a [u8],
}

impl<'a> Slit<'a> {
    /// Reads a whole table, `bytes` as long as its header says; `None` if the matrix is not all there.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let count = u64::from_le_bytes(bytes.get(36..MATRIX)?.try_into().ok()?);
        let count = usize::try_from(count).ok()?;
        let matrix = bytes.get(MATRIX..)?.get(..count.checked_mul(count)?)?;
        Some(Self { count, matrix })
    }

    /// The distance from one domain to another; `None` if the table does not name it, says "unreachable"
    /// (255), or says something that ACPI forbids (0 to 9, or 10 between two domains).
    pub(crate) fn distance(&self, from: u32, to: u32) -> Option<u8> {
        let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        if from >= self.count || to >= self.count {
            return None;
        }
        let distance = self.matrix[from * self.count + to];
        let valid = if from == to { distance == LOCAL } else { distance > LOCAL && distance < 255 };
        valid.then_some(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn table(count: u64, matrix: &[u8]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; 36];
        bytes.extend(count.to_le_bytes());
        bytes.extend(matrix);
        bytes
    }

    #[test]
    fn rows_are_from_and_columns_are_to() {
        let bytes = table(2, &[10, 20, 30, 10]);
        let slit = Slit::new(&bytes).unwrap();
        assert_eq!([slit.distance(0, 1), slit.distance(1, 0), slit.distance(1, 1)], [Some(20), Some(30), Some(10)]);
    }

    #[test]
    fn what_acpi_forbids_is_no_distance() {
        let bytes = table(2, &[11, 10, 255, 10]);
        let slit = Slit::new(&bytes).unwrap();
        assert_eq!([slit.distance(0, 0), slit.distance(0, 1), slit.distance(1, 0), slit.distance(0, 2)], [None; 4]);
    }

    #[test]
    fn a_matrix_that_is_cut_off_is_refused() {
        assert!(Slit::new(&table(2, &[10, 20, 20])).is_none());
        assert!(Slit::new(&table(1 << 32, &[10])).is_none());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, from: u32, to: u32) {
            if let Some(slit) = Slit::new(&bytes) {
                let _ = slit.distance(from, to);
            }
        }
    }
}
