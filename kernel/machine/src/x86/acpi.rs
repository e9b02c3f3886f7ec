//! The firmware's tables: what is read from them, once, at boot.
//!
//! The crate `acpi` finds and checks the tables and decodes MADT, FADT and HPET. SRAT, SLIT and the DSDT's
//! `\_S5` are decoded by our own safe code in [`crate::firmware`].

use super::physical;
use crate::firmware::{sleep, srat};
use ::acpi::address::{AddressSpace, GenericAddress};
use ::acpi::aml::AmlError;
use ::acpi::sdt::fadt::Fadt;
use ::acpi::sdt::hpet::HpetTable;
use ::acpi::sdt::madt::{Madt, MadtEntry, Polarity, TriggerMode, parse_mps_inti_flags};
use ::acpi::sdt::{SdtHeader, Signature};
use ::acpi::{AcpiTables, Handle, Handler, PciAddress, PhysicalMapping};
use alloc::vec::Vec;
use core::ptr::NonNull;
use x86_64::instructions::port::Port;

/// What the tables say. Empty where a table is missing.
#[derive(Debug, Default)]
pub(super) struct Firmware {
    /// The local APICs of the CPUs that can be used, in the table's order.
    pub apic_ids: Vec<u32>,
    /// CPUs that are listed but switched off.
    pub disabled_cpus: usize,
    pub io_apics: Vec<IoApicPlace>,
    pub overrides: Vec<LineOverride>,
    /// The SRAT's entries.
    pub affinities: Vec<srat::Affinity>,
    /// The SLIT's bytes.
    pub slit: Option<&'static [u8]>,
    /// The address of the HPET's registers.
    pub hpet: Option<u64>,
    /// The port of the ACPI timer and how many bits it counts.
    pub power_management_timer: Option<(u16, u32)>,
    /// The calendar chip's register for the century.
    pub century_register: Option<u8>,
    pub power: PowerSwitches,
}

/// Where an I/O APIC is.
#[derive(Clone, Copy, Debug)]
pub(super) struct IoApicPlace {
    pub address: u64,
    /// The global number of its first line.
    pub first_line: u32,
}

/// An ISA interrupt line that arrives elsewhere, or otherwise, than its number says.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineOverride {
    pub line: u8,
    pub to: u32,
    pub active_low: bool,
    pub level: bool,
}

/// How to switch the machine off and how to reset it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PowerSwitches {
    /// The PM1 control ports.
    pub control: [Option<u16>; 2],
    /// The sleep types for "off", one for each port.
    pub sleep_types: Option<(u8, u8)>,
    /// The port and value that switch ACPI mode on.
    pub enable: Option<(u16, u8)>,
    /// The reset register, if it is a port or a memory address, and its value.
    pub reset: Option<(Register, u8)>,
}

/// A register of one byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Register {
    Port(u16),
    Memory(u64),
}

/// Reads all tables that start from the root pointer at `root` (0: there is none).
pub(super) fn read(root: Option<u64>) -> Firmware {
    let mut firmware = Firmware::default();
    let Some(root) = root else {
        crate::log!("acpi: the boot loader found no tables");
        return firmware;
    };
    // SAFETY: the boot loader found the root pointer where the firmware says; the tables are in memory that the
    // direct map covers and that is not in the map's usable ranges.
    let tables = match unsafe { AcpiTables::from_rsdp(DirectMap, root as usize) } {
        Ok(tables) => tables,
        Err(error) => {
            crate::log!("acpi: no tables: {error:?}");
            return firmware;
        }
    };
    read_madt(&tables, &mut firmware);
    if let Some(bytes) = table_bytes(&tables, Signature::SRAT) {
        firmware.affinities = srat::entries(bytes).collect();
    }
    firmware.slit = table_bytes(&tables, Signature::SLIT);
    if let Some(hpet) = tables.find_table::<HpetTable>() {
        let (space, address) = (hpet.base_address.address_space, hpet.base_address.address);
        firmware.hpet = (space == 0 && address != 0).then_some(address);
    }
    read_fadt(&tables, &mut firmware);
    firmware
}

/// The bytes of the first table with that signature, if its checksum is right.
fn table_bytes(tables: &AcpiTables<DirectMap>, signature: Signature) -> Option<&'static [u8]> {
    let (address, header) = tables.table_headers().find(|(_, header)| header.signature == signature)?;
    let bytes = memory(address as u64, header.length.into());
    let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    if sum != 0 {
        crate::log!("acpi: table {signature} has a wrong checksum and is left alone");
        return None;
    }
    Some(bytes)
}

/// Bytes of a table, through the direct map. Panics if they are not in physical memory.
fn memory(address: u64, length: u64) -> &'static [u8] {
    check(address, length);
    // SAFETY: within the direct map (checked), which is always there; tables lie in memory that the firmware's
    // map does not call usable, so nobody writes there.
    unsafe { core::slice::from_raw_parts(physical::to_virtual(address), length as usize) }
}

fn check(address: u64, length: u64) {
    let end = address.saturating_add(length);
    assert!(end <= physical::end(), "a firmware table lies outside memory, at {address:#x}");
}

fn read_madt(tables: &AcpiTables<DirectMap>, firmware: &mut Firmware) {
    const ENABLED: u32 = 1;
    /// More entries than any machine has: an entry of length 0 would come again for ever.
    const MOST: usize = 16_384;
    let Some(madt) = tables.find_table::<Madt>().filter(|madt| madt.region_length >= size_of::<Madt>()) else {
        crate::log!("acpi: no MADT: one CPU, no interrupt lines");
        return;
    };
    let mut cpu = |apic_id: u32, flags: u32| {
        if flags & ENABLED == 0 {
            firmware.disabled_cpus += 1;
        } else if !firmware.apic_ids.contains(&apic_id) {
            firmware.apic_ids.push(apic_id);
        }
    };
    for entry in madt.get().entries().take(MOST) {
        match entry {
            MadtEntry::LocalApic(entry) => cpu(entry.apic_id.into(), entry.flags),
            MadtEntry::LocalX2Apic(entry) => cpu(entry.x2apic_id, entry.flags),
            MadtEntry::IoApic(entry) => firmware.io_apics.push(IoApicPlace {
                address: entry.io_apic_address.into(),
                first_line: entry.global_system_interrupt_base,
            }),
            MadtEntry::InterruptSourceOverride(entry) if entry.bus == 0 => {
                let (polarity, trigger) =
                    parse_mps_inti_flags(entry.flags).unwrap_or((Polarity::SameAsBus, TriggerMode::SameAsBus));
                firmware.overrides.push(LineOverride {
                    line: entry.irq,
                    to: entry.global_system_interrupt,
                    active_low: polarity == Polarity::ActiveLow,
                    level: trigger == TriggerMode::Level,
                });
            }
            _ => {}
        }
    }
}

fn read_fadt(tables: &AcpiTables<DirectMap>, firmware: &mut Firmware) {
    let Some(fadt) = tables.find_table::<Fadt>() else {
        crate::log!("acpi: no FADT: no power switch");
        return;
    };
    if let Err(error) = fadt.validate() {
        crate::log!("acpi: the FADT is damaged: {error:?}");
        return;
    }
    let port = |address: GenericAddress| {
        let is_port = address.address_space == AddressSpace::SystemIo && address.address != 0;
        is_port.then(|| u16::try_from(address.address).ok()).flatten()
    };
    let flags = fadt.flags;
    let timer = fadt.pm_timer_block().ok().flatten().and_then(port);
    firmware.power_management_timer = timer.map(|port| (port, if flags.pm_timer_is_32_bit() { 32 } else { 24 }));
    firmware.century_register = (fadt.century != 0).then_some(fadt.century);
    let power = &mut firmware.power;
    power.control =
        [fadt.pm1a_control_block().ok().and_then(port), fadt.pm1b_control_block().ok().flatten().and_then(port)];
    power.enable = match (u16::try_from(fadt.smi_cmd_port), fadt.acpi_enable) {
        (Ok(port), value) if port != 0 && value != 0 => Some((port, value)),
        _ => None,
    };
    if flags.supports_system_reset_via_fadt()
        && let Ok(register) = fadt.reset_register()
    {
        power.reset = match register.address_space {
            AddressSpace::SystemIo => u16::try_from(register.address).ok().map(Register::Port),
            AddressSpace::SystemMemory => Some(Register::Memory(register.address)),
            _ => None,
        }
        .map(|register| (register, fadt.reset_value));
    }
    match tables.dsdt() {
        Ok(dsdt) => {
            let bytes = memory(dsdt.phys_address as u64, dsdt.length.into());
            power.sleep_types = bytes.get(size_of::<SdtHeader>()..).and_then(sleep::soft_off);
        }
        Err(error) => crate::log!("acpi: no DSDT: {error:?}"),
    }
}

/// Shows `acpi` physical memory through the direct map. What only an AML interpreter would ask for (devices,
/// PCI, waiting, mutexes) is not here, because no AML is run.
#[derive(Clone, Copy)]
struct DirectMap;

impl DirectMap {
    fn no_aml() -> ! {
        unreachable!("no AML is run, and only that asks for it")
    }
}

impl Handler for DirectMap {
    unsafe fn map_physical_region<T>(&self, physical_address: usize, size: usize) -> PhysicalMapping<Self, T> {
        check(physical_address as u64, size as u64);
        let pointer = physical::to_virtual(physical_address as u64).cast::<T>();
        PhysicalMapping {
            physical_start: physical_address,
            virtual_start: NonNull::new(pointer).expect("the direct map does not start at 0"),
            region_length: size,
            mapped_length: size,
            handler: *self,
        }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}

    fn read_u8(&self, _: usize) -> u8 {
        Self::no_aml()
    }
    fn read_u16(&self, _: usize) -> u16 {
        Self::no_aml()
    }
    fn read_u32(&self, _: usize) -> u32 {
        Self::no_aml()
    }
    fn read_u64(&self, _: usize) -> u64 {
        Self::no_aml()
    }
    fn write_u8(&self, _: usize, _: u8) {
        Self::no_aml()
    }
    fn write_u16(&self, _: usize, _: u16) {
        Self::no_aml()
    }
    fn write_u32(&self, _: usize, _: u32) {
        Self::no_aml()
    }
    fn write_u64(&self, _: usize, _: u64) {
        Self::no_aml()
    }
    fn read_io_u8(&self, _: u16) -> u8 {
        Self::no_aml()
    }
    fn read_io_u16(&self, _: u16) -> u16 {
        Self::no_aml()
    }
    fn read_io_u32(&self, _: u16) -> u32 {
        Self::no_aml()
    }
    fn write_io_u8(&self, _: u16, _: u8) {
        Self::no_aml()
    }
    fn write_io_u16(&self, _: u16, _: u16) {
        Self::no_aml()
    }
    fn write_io_u32(&self, _: u16, _: u32) {
        Self::no_aml()
    }
    fn read_pci_u8(&self, _: PciAddress, _: u16) -> u8 {
        Self::no_aml()
    }
    fn read_pci_u16(&self, _: PciAddress, _: u16) -> u16 {
        Self::no_aml()
    }
    fn read_pci_u32(&self, _: PciAddress, _: u16) -> u32 {
        Self::no_aml()
    }
    fn write_pci_u8(&self, _: PciAddress, _: u16, _: u8) {
        Self::no_aml()
    }
    fn write_pci_u16(&self, _: PciAddress, _: u16, _: u16) {
        Self::no_aml()
    }
    fn write_pci_u32(&self, _: PciAddress, _: u16, _: u32) {
        Self::no_aml()
    }
    fn nanos_since_boot(&self) -> u64 {
        Self::no_aml()
    }
    fn stall(&self, _: u64) {
        Self::no_aml()
    }
    fn sleep(&self, _: u64) {
        Self::no_aml()
    }
    fn create_mutex(&self) -> Handle {
        Self::no_aml()
    }
    fn acquire(&self, _: Handle, _: u16) -> Result<(), AmlError> {
        Self::no_aml()
    }
    fn release(&self, _: Handle) {
        Self::no_aml()
    }
}

/// Switches off as the tables say. Returns if that did nothing.
pub(super) fn soft_off(power: &PowerSwitches) {
    const SLEEP_ENABLE: u16 = 1 << 13;
    const ACPI_MODE: u16 = 1;
    let Some((a, b)) = power.sleep_types else { return };
    for (port, kind) in power.control.iter().zip([a, b]).filter_map(|(port, kind)| port.map(|port| (port, kind))) {
        // SAFETY: the firmware says that these are its power ports. The machine is meant to stop: nothing that
        // the writes do to it matters to anybody.
        unsafe {
            let mut control = Port::<u16>::new(port);
            if control.read() & ACPI_MODE == 0
                && let Some((port, value)) = power.enable
            {
                Port::new(port).write(value);
            }
            let rest = control.read() & !(7 << 10);
            control.write(rest | u16::from(kind) << 10 | SLEEP_ENABLE);
        }
    }
}
