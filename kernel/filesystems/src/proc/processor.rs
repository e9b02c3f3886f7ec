//! /proc/cpuinfo, /proc/interrupts and /proc/softirqs: the CPUs and what interrupts them.

use super::{System, written};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use base::Errno;
use core::fmt::Write;
use machine::{cpu, interrupts, time, topology};

/// A paragraph for each CPU that is online.
pub(super) fn cpuinfo(_: &System, out: &mut String) -> Result<(), Errno> {
    let (topology, identity) = (topology::get(), cpu::identity());
    let flags = identity.features.join(" ");
    let hertz = time::cycles_per_second();
    for cpu in cpu::online().iter() {
        let info = topology.cpus.get(cpu.index()).copied().unwrap_or_default();
        let siblings = topology.cpus.iter().filter(|other| other.package == info.package);
        let cores: BTreeSet<u32> = siblings.clone().map(|sibling| sibling.core).collect();
        written(write!(
            out,
            "processor\t: {cpu}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\nstepping\t: {}\n\
             cpu MHz\t\t: {}.{:03}\n",
            identity.vendor,
            identity.family,
            identity.model,
            identity.name,
            identity.stepping,
            hertz / 1_000_000,
            hertz / 1000 % 1000,
        ))?;
        if identity.cache_kibibytes > 0 {
            written(writeln!(out, "cache size\t: {} KB", identity.cache_kibibytes))?;
        }
        written(write!(
            out,
            "physical id\t: {}\nsiblings\t: {}\ncore id\t\t: {}\ncpu cores\t: {}\napicid\t\t: {}\n\
             initial apicid\t: {}\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\nflags\t\t: {flags}\n\
             bugs\t\t:\nbogomips\t: {}.{:02}\nclflush size\t: {}\ncache_alignment\t: {}\n\
             address sizes\t: {} bits physical, {} bits virtual\npower management:\n\n",
            info.package,
            siblings.count(),
            info.core,
            cores.len(),
            info.apic_id,
            info.apic_id,
            identity.level,
            // Where the clock of the processor is the time, a loop of the delay takes half a cycle.
            hertz / 500_000,
            hertz / 5_000 % 100,
            identity.flush_bytes,
            identity.flush_bytes,
            identity.physical_bits,
            identity.virtual_bits,
        ))?;
    }
    Ok(())
}

/// The lines of devices, then what CPUs tell each other and themselves.
pub(super) fn interrupts(_: &System, out: &mut String) -> Result<(), Errno> {
    interrupt_table(out).map_err(|_| Errno::ENOMEM)
}

fn interrupt_table(out: &mut String) -> core::fmt::Result {
    let counts: Vec<_> = cpu::online().iter().map(|cpu| (cpu, interrupts::counts(cpu))).collect();
    write!(out, "{:11}", "")?;
    counts.iter().try_for_each(|(cpu, _)| write!(out, "CPU{:<8}", format!("{cpu}")))?;
    out.push('\n');
    let mut row = |name: &str, of: &dyn Fn(&interrupts::Counts) -> u64, what: &str| {
        write!(out, "{name:>3}: ")?;
        counts.iter().try_for_each(|(_, counts)| write!(out, "{:>10} ", of(counts)))?;
        writeln!(out, "{what}")
    };
    row("3", &|counts| counts.serial[1], "  IO-APIC   3-edge      ttyS1")?;
    row("4", &|counts| counts.serial[0], "  IO-APIC   4-edge      ttyS0")?;
    row("LOC", &|counts| counts.timer, "  Local timer interrupts")?;
    row("SPU", &|counts| counts.spurious, "  Spurious interrupts")?;
    row("IWI", &|counts| counts.log, "  IRQ work interrupts")?;
    row("RES", &|counts| counts.reschedule, "  Rescheduling interrupts")?;
    row("CAL", &|counts| counts.call, "  Function call interrupts")?;
    writeln!(out, "ERR: {:>10}", counts.iter().map(|(_, counts)| counts.errors).sum::<u64>())
}

/// The lines `intr` and `softirq` of /proc/stat: what all CPUs have served, in sum, and then of the device lines 0 to 4
/// and of each softirq.
pub(super) fn sums() -> [String; 2] {
    let (mut all, mut lines, mut timers) = (0, [0; 5], 0);
    for counts in cpu::possible().iter().map(interrupts::counts) {
        all += counts.sum();
        lines[3] += counts.serial[1];
        lines[4] += counts.serial[0];
        timers += counts.timer;
    }
    let mut soft = [0; SOFT.len()];
    soft[SOFT_TIMER] = timers;
    let line = |name: &str, sum: u64, parts: &[u64]| {
        parts.iter().fold(format!("{name} {sum}"), |line, part| format!("{line} {part}")) + "\n"
    };
    [line("intr", all, &lines), line("softirq", timers, &soft)]
}

/// What waits for a softirq on Linux is done here within the interrupt: the timers' in that of the CPU's timer. The others
/// are of devices that there are none of, or of work that tasks of the kernel do.
pub(super) fn softirqs(_: &System, out: &mut String) -> Result<(), Errno> {
    let timers: Vec<_> = cpu::possible().iter().map(|cpu| (cpu, interrupts::counts(cpu).timer)).collect();
    let mut table = || {
        write!(out, "{:20}", "")?;
        timers.iter().try_for_each(|(cpu, _)| write!(out, "CPU{:<8}", format!("{cpu}")))?;
        out.push('\n');
        SOFT.iter().enumerate().try_for_each(|(index, name)| {
            write!(out, "{name:>12}:")?;
            timers
                .iter()
                .try_for_each(|(_, ran)| write!(out, " {:>10}", if index == SOFT_TIMER { *ran } else { 0 }))?;
            out.write_char('\n')
        })
    };
    written(table())
}

/// Linux's softirqs in its order.
const SOFT: [&str; 10] = ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];
const SOFT_TIMER: usize = 1;
