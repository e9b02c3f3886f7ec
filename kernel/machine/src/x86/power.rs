//! The end: off, reset, leaving QEMU, and standing still.

use super::acpi::{PowerSwitches, Register};
use super::{acpi, interrupts, kernel_map, panic};
use spin::Once;
use x86_64::instructions::port::Port;

/// Where QEMU's `isa-debug-exit` device listens, by agreement with the tool that starts QEMU.
const DEBUG_EXIT: u16 = 0xf4;

static SWITCHES: Once<PowerSwitches> = Once::new();

/// Remembers what the firmware's tables say, and maps the reset register if it is in memory.
pub(super) fn init(switches: PowerSwitches) {
    SWITCHES.call_once(|| switches);
    if switches.sleep_types.is_none() {
        crate::log!("acpi: the tables don't say how to switch off");
    }
}

/// Switches the machine off. Where that is not possible, all CPUs stand still.
pub fn off() -> ! {
    if let Some(switches) = SWITCHES.get() {
        acpi::soft_off(switches);
        wait();
    }
    leave_qemu(0); // a machine without ACPI tables may still be QEMU
    crate::log!("power: the machine did not switch off; it can be switched off by hand now");
    halt_all()
}

/// Resets the machine: by the firmware's register, else by the keyboard controller, else by a triple fault.
pub fn reset() -> ! {
    let _off = interrupts::off();
    if let Some((register, value)) = SWITCHES.get().and_then(|switches| switches.reset) {
        match register {
            // SAFETY: the firmware says that this resets the machine.
            Register::Port(port) => unsafe { Port::new(port).write(value) },
            // SAFETY: the firmware says that this resets the machine; it is mapped just here.
            Register::Memory(address) => unsafe { kernel_map::map_device(address, 1).write_volatile(value) },
        }
        wait();
    }
    // SAFETY: the PC's keyboard controller pulls the reset line.
    unsafe { Port::new(0x64).write(0xfeu8) };
    wait();
    // SAFETY: an empty interrupt table makes the next trap a triple fault, which resets the processor: meant.
    unsafe {
        x86_64::instructions::tables::lidt(&x86_64::structures::DescriptorTablePointer {
            limit: 0,
            base: x86_64::VirtAddr::zero(),
        });
        core::arch::asm!("ud2", options(noreturn));
    }
}

/// Ends QEMU with status `code * 2 + 1`, if it has an `isa-debug-exit` device; else switches off.
pub fn exit_qemu(code: u8) -> ! {
    leave_qemu(code);
    off()
}

/// Ends QEMU with status `code * 2 + 1`. Returns if this is not QEMU or has no `isa-debug-exit` device.
pub(super) fn leave_qemu(code: u8) {
    // SAFETY: the device ends QEMU; where there is none, nobody listens at this port.
    unsafe { Port::new(DEBUG_EXIT).write(u32::from(code)) };
    wait();
}

/// Stops all CPUs for ever.
pub fn halt_all() -> ! {
    panic::stop_others();
    stand_still()
}

/// Stops this CPU for ever.
pub(super) fn stand_still() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Gives a device time to do what ends this.
fn wait() {
    for _ in 0..10_000_000 {
        core::hint::spin_loop();
    }
}
