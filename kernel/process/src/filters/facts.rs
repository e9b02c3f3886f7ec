//! A system call as a filter sees it: `struct seccomp_data`.

use super::program::{FACTS_SIZE, Facts};
use machine::user::UserContext;

/// `AUDIT_ARCH_X86_64`: the only kind of calls that there is.
pub const ARCHITECTURE: u32 = 0xc000_003e;

/// The facts of the call that `context` describes; its number is in `context.call`.
pub(crate) fn of(context: &UserContext) -> Facts {
    let r = &context.registers;
    let wide = [r.rip, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
    let mut facts = [0; FACTS_SIZE / 4];
    (facts[0], facts[1]) = (context.call as u32, ARCHITECTURE);
    for (place, word) in facts[2..].chunks_exact_mut(2).zip(wide) {
        place.copy_from_slice(&[word as u32, (word >> 32) as u32]);
    }
    facts
}

/// As they lie in memory.
pub(crate) fn to_bytes(facts: &Facts) -> [u8; FACTS_SIZE] {
    let mut bytes = [0; FACTS_SIZE];
    for (place, word) in bytes.chunks_exact_mut(4).zip(facts) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::user::Registers;

    #[test]
    fn facts_lie_where_the_c_structure_has_them() {
        let registers = Registers { rip: 0x1_0000_0002, rdi: 3, r9: 0x4_0000_0005, rax: 9, ..Registers::default() };
        let facts = of(&UserContext { registers, call: 0x77_0000_0001 });
        let bytes = to_bytes(&facts);
        assert_eq!(bytes[0..4], 1u32.to_le_bytes());
        assert_eq!(bytes[4..8], ARCHITECTURE.to_le_bytes());
        assert_eq!(bytes[8..16], 0x1_0000_0002u64.to_le_bytes());
        assert_eq!(bytes[16..24], 3u64.to_le_bytes());
        assert_eq!(bytes[56..64], 0x4_0000_0005u64.to_le_bytes());
    }
}
