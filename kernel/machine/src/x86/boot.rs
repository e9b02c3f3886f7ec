//! From the boot loader to the kernel's main function, on the boot CPU.

use super::{
    acpi, console, cpu, descriptors, direct_map, fpu, fw_cfg, io_apic, kernel_map, log, physical, power, smap, smp,
    time, topology, user,
};
use crate::boot::BootInfo;
use alloc::string::String;
use alloc::vec::Vec;
use base::MAX_CPUS;
#[doc(hidden)]
pub use bootloader_api::BootInfo as LoaderInfo;
use bootloader_api::BootloaderConfig;
use bootloader_api::config::Mapping;
use spin::Once;

/// What the kernel asks of the boot loader.
pub const CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = 64 * 1024;
    config.mappings.page_table_recursive = Some(Mapping::FixedAddress(direct_map::RECURSIVE));
    config.mappings.kernel_base = Mapping::FixedAddress(kernel_map::KERNEL_IMAGE);
    config.mappings.dynamic_range_start = Some(kernel_map::LOADER);
    config.mappings.dynamic_range_end = Some(kernel_map::LOADER_END - 1);
    config
};

static INFO: Once<BootInfo> = Once::new();

/// What was handed over. Panics before [`crate::entry!`]'s function runs.
pub fn info() -> &'static BootInfo {
    INFO.get().expect("boot information is asked for before boot has read it")
}

/// What the command line says after `name=`, the last time; words after `--` are for init. `None` before it is read.
pub(super) fn word(name: &str) -> Option<&'static str> {
    let words = INFO.get()?.command_line.split_ascii_whitespace().take_while(|&word| word != "--");
    words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).last()
}

/// Where the kernel begins and the table of its symbols, if the host gave one; none before it is read.
pub(crate) fn symbol_table() -> Option<(u64, &'static [u8])> {
    Some((kernel_map::KERNEL_IMAGE, INFO.get()?.symbols?))
}

/// Brings the machine up and calls `main`; [`crate::entry!`] makes the boot loader call this.
///
/// `main` runs on the boot CPU, interrupts off: traps, memory protection, topology, local APIC, timer and serial
/// input are ready, memory waits to be taken by the frame allocator, the other CPUs wait to be started.
pub fn start(loader: &'static mut LoaderInfo, main: fn() -> !) -> ! {
    time::start();
    console::init(); // the log works
    cpu::init_boot_cpu(); // traps are caught, locks know their CPU
    cpu::protect();
    crate::sync::order::start_checking();
    physical::init(&loader.memory_regions, loader.recursive_index.into_option()); // the direct map
    let mappings = kernel_map::init(); // write or execute, never both
    smap::patch();
    fpu::init();
    user::init();
    hand_over(loader);
    log::choose(); // nothing is logged before this, unless it panics
    mappings.log();
    crate::log!("boot: command line: {}", info().command_line);
    match info().initramfs {
        Some(bytes) => crate::log!("boot: initramfs of {} KiB", bytes.len().div_ceil(1024)),
        None => crate::log!("boot: no initramfs was handed over"),
    }
    let firmware = acpi::read(loader.rsdp_addr.into_option());
    power::init(firmware.power);
    let topology = topology::init(&firmware, most_cpus());
    let apic_ids: Vec<u32> = topology.cpus.iter().map(|cpu| cpu.apic_id).collect();
    cpu::init_all(&apic_ids);
    descriptors::show_place(topology.node_of(cpu::current()));
    cpu::here().local_apic.init();
    time::calibrate(&firmware);
    io_apic::init(&firmware);
    console::enable_interrupts();
    smp::prepare();
    physical::hand_out(); // the last: no early frame after this
    main()
}

/// Finds command line, initramfs and table of symbols: QEMU's configuration device first, then the boot loader's ramdisk.
fn hand_over(loader: &LoaderInfo) {
    let mut command_line = String::new();
    let (mut initramfs, mut symbols) = (None, None);
    if let Some(device) = fw_cfg::device() {
        let mut device = device.lock();
        if let Some(file) = device.find("opt/menagerie/cmdline") {
            let mut bytes = alloc::vec![0; file.size as usize];
            device.open(file);
            device.next_bytes(&mut bytes);
            command_line = String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).into();
        }
        initramfs = device.find("opt/menagerie/initrd").map(|file| device.load(file));
        symbols = device.find("opt/menagerie/symbols").map(|file| device.load(file));
    }
    if initramfs.is_none()
        && let Some(&address) = loader.ramdisk_addr.as_ref()
    {
        let place = kernel_map::translate(address).expect("the boot loader maps the ramdisk that it names");
        // SAFETY: the boot loader put the ramdisk there in one piece, in memory that its map does not call usable, and
        // nobody writes to it; the direct map shows it.
        let bytes = unsafe { core::slice::from_raw_parts(physical::to_virtual(place), loader.ramdisk_len as usize) };
        initramfs = Some(bytes);
    }
    let has_fw_cfg = fw_cfg::device().is_some();
    INFO.call_once(|| BootInfo { command_line: command_line.leak(), initramfs, symbols, has_fw_cfg });
}

/// The most CPUs to use: `maxcpus=` of the command line, within what the build knows.
fn most_cpus() -> usize {
    word("maxcpus").and_then(|most| most.parse().ok()).unwrap_or(MAX_CPUS).clamp(1, MAX_CPUS)
}

/// Makes `$main` (a `fn() -> !`) the kernel's main function, called as [`crate::boot::start`] says.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            fn start(loader: &'static mut $crate::boot::LoaderInfo) -> ! {
                $crate::boot::start(loader, $main)
            }
            $crate::boot::loader::entry_point!(start, config = &$crate::boot::CONFIG);
        };
    };
}

/// For [`crate::entry!`].
#[doc(hidden)]
pub use bootloader_api as loader;
