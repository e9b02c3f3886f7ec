//! The timer of each CPU: one interrupt at a time.

use super::{cpu, interrupts, local_apic, time};

/// Sets when this CPU's next timer interrupt comes: at `deadline` of [`crate::time::now`], at once if that has
/// passed, never for `None`. It replaces what was set before.
///
/// The interrupt may come early (the local APIC's counter is coarse and ends after about a minute): the handler
/// looks at the clock and sets the timer again.
pub fn set(deadline: Option<u64>) {
    let _off = interrupts::off();
    if cpu::features().tsc_deadline {
        local_apic::set_deadline(deadline.map_or(0, time::cycles_at));
    } else {
        let ticks = deadline.map_or(0, |deadline| time::timer_ticks(deadline.saturating_sub(time::now())));
        cpu::here().local_apic.start_timer(ticks);
    }
}
