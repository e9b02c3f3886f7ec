//! The I/O APICs: which CPU hears a device's interrupt line, and as what.

use super::acpi::{Firmware, LineOverride};
use super::interrupts::vector;
use super::{cpu, kernel_map};
use crate::sync::{IrqLock, rank};
use alloc::vec::Vec;
use x2apic::ioapic::{IoApic, IrqFlags, IrqMode, RedirectionTableEntry};
use x86_64::instructions::port::Port;

struct Controller {
    first: u32,
    lines: u32,
    apic: IoApic,
}

struct Lines {
    controllers: Vec<Controller>,
    overrides: Vec<LineOverride>,
}

static LINES: IrqLock<Lines> = IrqLock::new(rank::LEAF, Lines { controllers: Vec::new(), overrides: Vec::new() });

/// Takes the controllers that the firmware names, all lines masked, and silences the old interrupt controller.
pub(super) fn init(firmware: &Firmware) {
    silence_old_controllers();
    let mut lines = Lines { controllers: Vec::new(), overrides: firmware.overrides.clone() };
    for described in &firmware.io_apics {
        let registers = kernel_map::map_device(described.address, 0x20);
        // SAFETY: the firmware says that an I/O APIC's registers are there; they are mapped for ever, uncached,
        // and this is the only value for them.
        let mut apic = unsafe { IoApic::new(registers.expose_provenance() as u64) };
        // SAFETY: as above; masking lines stops interrupts that nobody has asked for.
        let count = unsafe {
            let count = u32::from(apic.max_table_entry()) + 1;
            (0..count).for_each(|line| apic.disable_irq(line as u8));
            count
        };
        crate::log!(
            "interrupts: I/O APIC at {:#x}, lines {}-{}",
            described.address,
            described.first_line,
            described.first_line + count - 1
        );
        lines.controllers.push(Controller { first: described.first_line, lines: count, apic });
    }
    *LINES.lock() = lines;
}

/// Masks the PC's two 8259s. What they still have in flight ends as a spurious interrupt of the numbers given to
/// them here, where it disturbs nobody; the firmware left them at numbers of exceptions.
fn silence_old_controllers() {
    const FIRST: u8 = vector::OLD_CONTROLLERS;
    for (command, first, cascade) in [(0x20u16, FIRST, 4u8), (0xa0, FIRST + 8, 2)] {
        // Initialise (four words follow the command), the first number, the line between the two, 8086 mode, then
        // the mask.
        for (port, value) in
            [(command, 0x11), (command + 1, first), (command + 1, cascade), (command + 1, 1), (command + 1, 0xff)]
        {
            // SAFETY: the controllers' own ports; they reach no memory, and the kernel uses none of their lines.
            unsafe { Port::new(port).write(value) };
        }
    }
}

/// Lets the ISA line `line` interrupt this CPU as `vector`; says whether there is such a line.
pub(super) fn route_isa(line: u8, vector: u8) -> bool {
    let Ok(destination) = u8::try_from(cpu::here().apic_id.get()) else { return false };
    let mut lines = LINES.lock();
    let special = lines.overrides.iter().find(|special| special.line == line).copied();
    let special = special.unwrap_or(LineOverride { line, to: line.into(), active_low: false, level: false });
    let holds =
        |controller: &&mut Controller| (0..controller.lines).contains(&special.to.wrapping_sub(controller.first));
    let Some(controller) = lines.controllers.iter_mut().find(holds) else { return false };
    let mut flags = IrqFlags::empty();
    flags.set(IrqFlags::LOW_ACTIVE, special.active_low);
    flags.set(IrqFlags::LEVEL_TRIGGERED, special.level);
    let mut entry = RedirectionTableEntry::default();
    entry.set_mode(IrqMode::Fixed);
    entry.set_flags(flags);
    entry.set_vector(vector);
    entry.set_dest(destination);
    // SAFETY: the line exists (checked above) and the vector has a handler on the CPU named.
    unsafe { controller.apic.set_table_entry((special.to - controller.first) as u8, entry) };
    true
}
