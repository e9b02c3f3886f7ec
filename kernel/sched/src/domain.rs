//! The balancing domain that each CPU is in.

use crate::{
    cpu::{self, Cpu},
    policy::{Domain, Reach},
};
use base::{CpuId, CpuSet, MAX_CPUS};
use core::sync::atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::topology;

/// What one CPU knows of its domain. Who reads while it changes may see part of either: the sets only say where to
/// look, not where a task may run.
pub(crate) struct Membership {
    cpus: [AtomicU64; MAX_CPUS / 64],
    reach: AtomicU8,
}

impl Membership {
    /// That of one domain for all CPUs.
    pub(crate) fn of_all() -> Self {
        let words = machine::cpu::possible().words().map(AtomicU64::new);
        Self { cpus: words, reach: AtomicU8::new(Reach::Everywhere as u8) }
    }

    fn set(&self, domain: &Domain) {
        for (word, value) in self.cpus.iter().zip(domain.cpus.words()) {
            word.store(*value, Relaxed);
        }
        self.reach.store(domain.reach as u8, SeqCst);
    }
}

impl Cpu {
    /// The CPUs that this one takes tasks from and gives them to, itself included.
    pub(crate) fn peers(&self) -> CpuSet {
        let words = core::array::from_fn(|word| self.domain.cpus[word].load(Relaxed));
        CpuSet::from_words(words).and(&machine::cpu::online())
    }

    /// Those of them that a quick search looks at.
    pub(crate) fn near_peers(&self) -> CpuSet {
        let reach = Reach::from_raw(self.domain.reach.load(Relaxed));
        reach.within(&self.peers(), self.number, topology::get())
    }
}

/// Divides the CPUs into domains, which must not overlap. A CPU that is in none keeps its tasks to itself.
pub fn set_domains(domains: &[Domain]) {
    for (number, cpu) in cpu::all().into_iter().flat_map(|cpus| cpus.iter()) {
        let own = domains.iter().find(|domain| domain.cpus.contains(number));
        let alone = Domain { cpus: CpuSet::only(number), reach: Reach::Itself };
        cpu.domain.set(own.unwrap_or(&alone));
    }
}

/// The CPUs of `allowed` among which a task that was on `last` finds its next: those of its domain, the quick search's
/// only if `quick`. All that are allowed if it can't stay in its domain.
pub(crate) fn choice(allowed: CpuSet, last: CpuId, quick: bool) -> CpuSet {
    match cpu::get(last) {
        Some(cpu) if allowed.contains(last) => allowed.and(&if quick { cpu.near_peers() } else { cpu.peers() }),
        _ => allowed,
    }
}
