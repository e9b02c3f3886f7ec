//! From the machine that boot left to the first user program: one step after the other.

use crate::{first_program, wiring};
use machine::{cpu, log, topology};

/// The boot CPU comes here when traps, clock, topology and serial lines work. Interrupts are off until it idles.
pub fn kernel_main() -> ! {
    memory::init(); // frames of all nodes, and the heap over them
    sched::initialize(); // run queues; sleeping locks can sleep from here on
    let population = wiring::install(); // interrupts, faults, tasks and containers reach each other
    cpu::start_others(other_cpu);
    log!(
        "menagerie {}: {} CPUs and {} nodes are up, {} MiB are free",
        env!("CARGO_PKG_VERSION"),
        cpu::online().count(),
        topology::get().nodes.len(),
        memory::frames::total().free >> 8
    );
    first_program::start(population);
    sched::run_this_cpu()
}

/// Each other CPU comes here when it has been started.
fn other_cpu() -> ! {
    sched::run_this_cpu()
}
