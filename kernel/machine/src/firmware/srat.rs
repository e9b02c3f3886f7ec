//! The SRAT: which CPU and which memory belong to which proximity domain (ACPI 6.5, 5.2.16).

/// What one entry of the table says. Disabled entries and unknown kinds are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// A CPU, by the number of its local APIC.
    Cpu { apic_id: u32, domain: u32 },
    /// A stretch of physical memory.
    Memory { start: u64, length: u64, domain: u32 },
}

/// Header of every table (36 bytes), a reserved word and a reserved double word.
const ENTRIES: usize = 48;

/// The entries of a whole table, `bytes` as long as its header says. An entry that is cut off, or whose length
/// can't be right, ends the table.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = Affinity> + '_ {
    let mut rest = bytes.get(ENTRIES..).unwrap_or(&[]);
    core::iter::from_fn(move || {
        // kind: one byte, length: one byte
        let length = usize::from(*rest.get(1)?);
        if length < 2 {
            return None;
        }
        let entry = rest.get(..length)?;
        rest = &rest[length..];
        Some(decode(entry))
    })
    .flatten()
}

fn decode(entry: &[u8]) -> Option<Affinity> {
    const ENABLED: u32 = 1;
    match *entry.first()? {
        0 => {
            let flags = u32_at(entry, 4)?;
            let domain = u32::from_le_bytes([*entry.get(2)?, *entry.get(9)?, *entry.get(10)?, *entry.get(11)?]);
            let apic_id = u32::from(*entry.get(3)?);
            (flags & ENABLED != 0).then_some(Affinity::Cpu { apic_id, domain })
        }
        1 => {
            let domain = u32_at(entry, 2)?;
            let (start, length) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
            let sane = length > 0 && start.checked_add(length).is_some();
            (u32_at(entry, 28)? & ENABLED != 0 && sane).then_some(Affinity::Memory { start, length, domain })
        }
        2 => {
            let (domain, apic_id) = (u32_at(entry, 4)?, u32_at(entry, 8)?);
            (u32_at(entry, 12)? & ENABLED != 0).then_some(Affinity::Cpu { apic_id, domain })
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..offset + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn cpu(apic_id: u8, domain: u32, flags: u32) -> Vec<u8> {
        let d = domain.to_le_bytes();
        let f = flags.to_le_bytes();
        alloc::vec![0, 16, d[0], apic_id, f[0], f[1], f[2], f[3], 0, d[1], d[2], d[3], 0, 0, 0, 0]
    }

    fn memory(start: u64, length: u64, domain: u32, flags: u32) -> Vec<u8> {
        let mut entry = alloc::vec![1, 40];
        entry.extend(domain.to_le_bytes());
        entry.extend([0; 2]);
        entry.extend(start.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(flags.to_le_bytes());
        entry.extend([0; 8]);
        entry
    }

    fn table(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; ENTRIES];
        parts.iter().for_each(|part| bytes.extend(part));
        bytes
    }

    #[test]
    fn cpus_and_memory_are_found_and_disabled_entries_are_not() {
        let mut x2apic = alloc::vec![2, 24, 0, 0];
        x2apic.extend(0x0102_0304u32.to_le_bytes());
        x2apic.extend(300u32.to_le_bytes());
        x2apic.extend(1u32.to_le_bytes());
        x2apic.extend([0; 8]);
        let bytes =
            table(&[cpu(3, 0x0a0b_0c0d, 1), cpu(4, 1, 0), memory(0x10_0000, 0x1000, 1, 1), memory(0, 5, 0, 0), x2apic]);
        assert_eq!(
            entries(&bytes).collect::<Vec<_>>(),
            [
                Affinity::Cpu { apic_id: 3, domain: 0x0a0b_0c0d },
                Affinity::Memory { start: 0x10_0000, length: 0x1000, domain: 1 },
                Affinity::Cpu { apic_id: 300, domain: 0x0102_0304 },
            ]
        );
    }

    #[test]
    fn an_entry_of_no_length_ends_the_table() {
        assert_eq!(entries(&table(&[alloc::vec![0, 0], cpu(1, 1, 1)])).count(), 0);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_always_end(bytes: Vec<u8>) {
            prop_assert!(entries(&bytes).count() <= bytes.len() / 2);
        }

        #[test]
        fn a_table_cut_anywhere_gives_a_part_of_what_the_whole_one_gives(
            cpus in proptest::collection::vec((any::<u8>(), any::<u32>()), 0..8), cut in 0usize..200,
        ) {
            let bytes = table(&cpus.iter().map(|&(id, domain)| cpu(id, domain, 1)).collect::<Vec<_>>());
            let whole: Vec<_> = entries(&bytes).collect();
            let part: Vec<_> = entries(&bytes[..cut.min(bytes.len())]).collect();
            prop_assert!(whole.starts_with(&part));
        }
    }
}
