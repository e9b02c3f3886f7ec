//! CPUs and data that each of them has for itself.

use alloc::{boxed::Box, string::String, vec::Vec};
use base::{CpuId, MAX_CPUS};

pub use crate::arch::cpu::*;

/// What the processor says of itself.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Its maker.
    pub vendor: String,
    /// Its name; empty if it has none.
    pub name: String,
    /// Its family, extensions added.
    pub family: u32,
    /// Its model, extensions added.
    pub model: u32,
    /// The version of the model.
    pub stepping: u32,
    /// The highest leaf of CPUID.
    pub level: u32,
    /// The size of its second cache; 0 where that is not said.
    pub cache_kibibytes: u32,
    /// What `clflush` flushes.
    pub flush_bytes: u32,
    /// The length of a physical address.
    pub physical_bits: u32,
    /// The length of a virtual address.
    pub virtual_bits: u32,
    /// What it can do, by Linux's names.
    pub features: Vec<&'static str>,
}

/// One value for each CPU, each on cache lines of its own so that CPUs writing theirs don't disturb each other.
pub struct PerCpu<T> {
    values: Box<[Padded<T>]>,
}

#[repr(align(128))]
struct Padded<T>(T);

impl<T> PerCpu<T> {
    /// Makes a value for each possible CPU (see [`possible`]).
    pub fn new(mut value: impl FnMut(CpuId) -> T) -> Self {
        let count = possible().iter().last().map_or(1, |cpu| cpu.index() + 1).min(MAX_CPUS);
        Self { values: (0..count).map(|index| Padded(value(CpuId::new(index as u32)))).collect() }
    }

    /// The value of `cpu`. Panics if that is not a possible CPU.
    pub fn get(&self, cpu: CpuId) -> &T {
        &self.values[cpu.index()].0
    }

    /// The value of the CPU that this runs on. The task may move right after, unless interrupts are off or it
    /// can't give way; kernel mode is not preempted, so it stays until it blocks.
    pub fn here(&self) -> &T {
        self.get(current())
    }

    /// All values in the order of CPU numbers.
    pub fn iter(&self) -> impl Iterator<Item = (CpuId, &T)> {
        self.values.iter().enumerate().map(|(index, value)| (CpuId::new(index as u32), &value.0))
    }
}

impl<T: Default> Default for PerCpu<T> {
    fn default() -> Self {
        Self::new(|_| T::default())
    }
}
