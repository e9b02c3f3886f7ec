//! Programs of the classic Berkeley packet filter, as seccomp(2) takes them: what is accepted, and what it computes.
//!
//! A program has an accumulator, an index register and 16 words of memory. It reads 32-bit words of what it judges, the
//! facts of a system call ([`Facts`]), goes forwards only, and returns a number. Of the packet filter's instructions those
//! are allowed that Linux allows here: no reading of bytes and half words, nothing indirect, no remainder.
//!
//! Rule: Linux, Documentation/networking/filter.rst; seccomp(2).

use alloc::vec::Vec;
use base::Errno;

/// The most instructions of a program (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;
/// Words of a program's memory (`BPF_MEMWORDS`).
const MEMORY: usize = 16;

/// Bytes of `struct seccomp_data`.
pub const FACTS_SIZE: usize = 64;

/// What a program judges: `struct seccomp_data`, as 32-bit words.
pub type Facts = [u32; FACTS_SIZE / 4];

/// `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many instructions a jump skips if its condition holds.
    pub yes: u8,
    /// How many if it does not.
    pub no: u8,
    /// The operand.
    pub operand: u32,
}

impl Instruction {
    /// Its size in memory.
    pub const SIZE: usize = 8;

    /// As it lies in memory.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [a, b, yes, no, c, d, e, f] = bytes;
        Self { code: u16::from_le_bytes([a, b]), yes, no, operand: u32::from_le_bytes([c, d, e, f]) }
    }

    /// As it lies in memory.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let ([a, b], [c, d, e, f]) = (self.code.to_le_bytes(), self.operand.to_le_bytes());
        [a, b, self.yes, self.no, c, d, e, f]
    }
}

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The instruction.
    Operand,
    /// The index register.
    Index,
}

/// What is computed from the accumulator and another value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    ExclusiveOr,
}

/// How the accumulator and another value compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    LoadFact,
    LoadLength,
    LoadOperand,
    LoadMemory,
    IndexLength,
    IndexOperand,
    IndexMemory,
    Store,
    StoreIndex,
    Compute(Arithmetic, Source),
    Negate,
    Jump,
    JumpIf(Condition, Source),
    ReturnOperand,
    ReturnAccumulator,
    ToIndex,
    FromIndex,
}

impl Operation {
    /// What a code means; `None` for those that are not allowed.
    fn decode(code: u16) -> Option<Self> {
        use Arithmetic::*;
        use Condition::*;
        let source = if code & 0x08 == 0 { Source::Operand } else { Source::Index };
        Some(match code {
            0x20 => Self::LoadFact,
            0x80 => Self::LoadLength,
            0x00 => Self::LoadOperand,
            0x60 => Self::LoadMemory,
            0x81 => Self::IndexLength,
            0x01 => Self::IndexOperand,
            0x61 => Self::IndexMemory,
            0x02 => Self::Store,
            0x03 => Self::StoreIndex,
            0x04 | 0x0c => Self::Compute(Add, source),
            0x14 | 0x1c => Self::Compute(Subtract, source),
            0x24 | 0x2c => Self::Compute(Multiply, source),
            0x34 | 0x3c => Self::Compute(Divide, source),
            0x44 | 0x4c => Self::Compute(Or, source),
            0x54 | 0x5c => Self::Compute(And, source),
            0x64 | 0x6c => Self::Compute(ShiftLeft, source),
            0x74 | 0x7c => Self::Compute(ShiftRight, source),
            0xa4 | 0xac => Self::Compute(ExclusiveOr, source),
            0x84 => Self::Negate,
            0x05 => Self::Jump,
            0x15 | 0x1d => Self::JumpIf(Equal, source),
            0x25 | 0x2d => Self::JumpIf(Greater, source),
            0x35 | 0x3d => Self::JumpIf(GreaterOrEqual, source),
            0x45 | 0x4d => Self::JumpIf(AnyBit, source),
            0x06 => Self::ReturnOperand,
            0x16 => Self::ReturnAccumulator,
            0x07 => Self::ToIndex,
            0x87 => Self::FromIndex,
            _ => return None,
        })
    }
}

impl Condition {
    fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::AnyBit => left & right != 0,
        }
    }
}

/// A program that was checked: it ends, and reads nothing but what it may.
#[derive(Debug)]
pub struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    /// Checks a program. `EINVAL` it is empty or too long, or an instruction is not allowed: no such code, a fact that
    /// there is not, a division by 0, a shift by 32 or more, memory that there is not or that was not written on every way
    /// there, a jump beyond the end; or the last one is no return. `ENOMEM`.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, Errno> {
        let length = instructions.len();
        if length == 0 || length > LONGEST {
            return Err(Errno::EINVAL);
        }
        let mut last = None;
        for (at, instruction) in instructions.iter().enumerate() {
            let operation = Operation::decode(instruction.code).ok_or(Errno::EINVAL)?;
            let behind = length - at - 1;
            let operand = instruction.operand;
            let is_right = match operation {
                Operation::LoadFact => operand < FACTS_SIZE as u32 && operand.is_multiple_of(4),
                Operation::Compute(Arithmetic::Divide, Source::Operand) => operand != 0,
                Operation::Compute(Arithmetic::ShiftLeft | Arithmetic::ShiftRight, Source::Operand) => operand < 32,
                Operation::LoadMemory | Operation::IndexMemory | Operation::Store | Operation::StoreIndex => {
                    operand < MEMORY as u32
                }
                Operation::Jump => (operand as usize) < behind,
                Operation::JumpIf(..) => usize::from(instruction.yes.max(instruction.no)) < behind,
                _ => true,
            };
            if !is_right {
                return Err(Errno::EINVAL);
            }
            last = Some(operation);
        }
        if !matches!(last, Some(Operation::ReturnOperand | Operation::ReturnAccumulator)) {
            return Err(Errno::EINVAL);
        }
        check_memory(&instructions)?;
        Ok(Self { instructions })
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// What it returns about these facts.
    pub fn run(&self, facts: &Facts) -> u32 {
        let mut accumulator = 0u32;
        let mut index = 0u32;
        let mut memory = [0u32; MEMORY];
        let mut next = 0usize;
        // Its jumps go forwards to an instruction, and the last one returns: there is always one.
        while let Some(instruction) = self.instructions.get(next) {
            next += 1;
            let operand = instruction.operand;
            let value = |source| if source == Source::Operand { operand } else { index };
            let cell = operand as usize % MEMORY;
            match Operation::decode(instruction.code) {
                Some(Operation::LoadFact) => accumulator = facts[operand as usize / 4 % facts.len()],
                Some(Operation::LoadLength) => accumulator = FACTS_SIZE as u32,
                Some(Operation::LoadOperand) => accumulator = operand,
                Some(Operation::LoadMemory) => accumulator = memory[cell],
                Some(Operation::IndexLength) => index = FACTS_SIZE as u32,
                Some(Operation::IndexOperand) => index = operand,
                Some(Operation::IndexMemory) => index = memory[cell],
                Some(Operation::Store) => memory[cell] = accumulator,
                Some(Operation::StoreIndex) => memory[cell] = index,
                Some(Operation::Compute(what, source)) => match compute(what, accumulator, value(source)) {
                    Some(result) => accumulator = result,
                    None => return 0,
                },
                Some(Operation::Negate) => accumulator = accumulator.wrapping_neg(),
                Some(Operation::Jump) => next += operand as usize,
                Some(Operation::JumpIf(condition, source)) => {
                    let holds = condition.holds(accumulator, value(source));
                    next += usize::from(if holds { instruction.yes } else { instruction.no });
                }
                Some(Operation::ReturnOperand) => return operand,
                Some(Operation::ReturnAccumulator) => return accumulator,
                Some(Operation::ToIndex) => index = accumulator,
                Some(Operation::FromIndex) => accumulator = index,
                None => return 0,
            }
        }
        0
    }
}

/// `None`: a division by 0, which ends the program with 0. Of a shift by the index register its low five bits count.
fn compute(what: Arithmetic, left: u32, right: u32) -> Option<u32> {
    Some(match what {
        Arithmetic::Add => left.wrapping_add(right),
        Arithmetic::Subtract => left.wrapping_sub(right),
        Arithmetic::Multiply => left.wrapping_mul(right),
        Arithmetic::Divide => return left.checked_div(right),
        Arithmetic::Or => left | right,
        Arithmetic::And => left & right,
        Arithmetic::ShiftLeft => left.wrapping_shl(right),
        Arithmetic::ShiftRight => left.wrapping_shr(right),
        Arithmetic::ExclusiveOr => left ^ right,
    })
}

/// Checks that memory is read only where it was written on each way that leads there. `EINVAL`; `ENOMEM`. All else was
/// checked before.
fn check_memory(instructions: &[Instruction]) -> Result<(), Errno> {
    // For each instruction what is written on all ways to it that are known so far, a bit for each word.
    let mut written = Vec::new();
    written.try_reserve_exact(instructions.len()).map_err(|_| Errno::ENOMEM)?;
    written.resize(instructions.len(), u16::MAX);
    let mut now = 0u16;
    for (at, instruction) in instructions.iter().enumerate() {
        now &= written[at];
        let bit = 1u16.wrapping_shl(instruction.operand);
        let mut arrive = |skipped: usize| written[at + 1 + skipped] &= now;
        match Operation::decode(instruction.code) {
            Some(Operation::Store | Operation::StoreIndex) => now |= bit,
            Some(Operation::LoadMemory | Operation::IndexMemory) if now & bit == 0 => return Err(Errno::EINVAL),
            Some(Operation::Jump) => {
                arrive(instruction.operand as usize);
                now = u16::MAX;
            }
            Some(Operation::JumpIf(..)) => {
                arrive(instruction.yes.into());
                arrive(instruction.no.into());
                now = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
