//! Disk images: puts a kernel (and an initramfs, if the machine has no fw_cfg to hand one over) behind a bootloader.
//!
//! `boot bios|uefi KERNEL IMAGE [RAMDISK]` writes a raw disk image that QEMU, or a PC from a USB stick, boots.
//! `cargo xtask` builds and runs this program and keeps what it wrote. It stands apart from xtask, because the
//! first build of the bootloader takes minutes and xtask must start at once.
//!
//! What the kernel finds in memory (where physical memory is mapped, the size of the first stack) is not decided
//! here: the bootloader reads it from the kernel's own entry macro.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bootloader::{BootConfig, DiskImageBuilder};

const USAGE: &str = "usage: boot bios|uefi KERNEL IMAGE [RAMDISK]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (firmware, kernel, image, ramdisk) = match arguments {
        [firmware, kernel, image] => (firmware, kernel, image, None),
        [firmware, kernel, image, ramdisk] => (firmware, kernel, image, Some(ramdisk)),
        _ => bail!("{USAGE}"),
    };
    let mut builder = DiskImageBuilder::new(PathBuf::from(kernel));
    builder.set_boot_config(&silent());
    if let Some(ramdisk) = ramdisk {
        builder.set_ramdisk(PathBuf::from(ramdisk));
    }
    let image = Path::new(image);
    match firmware.as_str() {
        "bios" => builder.create_bios_image(image),
        "uefi" => builder.create_uefi_image(image),
        _ => bail!("{USAGE}"),
    }
    .with_context(|| format!("cannot make the {firmware} image {}", image.display()))
}

/// A bootloader that writes to no port and no screen: the serial lines belong to the kernel from the first byte.
fn silent() -> BootConfig {
    let mut config = BootConfig::default();
    config.serial_logging = false;
    config.frame_buffer_logging = false;
    config
}
