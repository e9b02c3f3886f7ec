//! Disk images, made by the `boot` program and kept until the kernel, the initramfs inside or the bootloader changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress;
use crate::shape::Firmware;
use crate::workspace;

/// What the image depends on beside the kernel: our program and the bootloader's release.
const BOOT_SOURCES: &[&str] = &["boot/src/main.rs", "boot/Cargo.toml", "Cargo.toml"];

/// Makes `image` from the stripped kernel `kernel`, unless it is up to date.
///
/// With `ramdisk` the image boots without fw_cfg: the bootloader loads the initramfs.
pub fn build(kernel: &Path, firmware: Firmware, ramdisk: Option<&Path>, image: &Path) -> Result<()> {
    let mut parts = vec![read(kernel)?, firmware.name().as_bytes().to_vec()];
    for source in BOOT_SOURCES {
        parts.push(read(&workspace::root().join(source))?);
    }
    if let Some(ramdisk) = ramdisk {
        parts.push(read(ramdisk)?);
    }
    let key = workspace::fingerprint(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    if workspace::is_made_from(image, &key) {
        return Ok(());
    }
    let part = part_of(image);
    let mut boot = Command::new(boot_program()?);
    boot.arg(firmware.name()).arg(kernel).arg(&part).args(ramdisk);
    progress::run("Making the disk image", &mut boot)?;
    // A QEMU that still runs keeps the old file open.
    fs::rename(&part, image).with_context(|| format!("cannot write {}", image.display()))?;
    workspace::mark_made_from(image, &key)
}

/// Builds the `boot` program, with the bootloader in it.
fn boot_program() -> Result<PathBuf> {
    let program = workspace::target().join("release/boot");
    if !program.exists() {
        progress::say("building the bootloader; the first time this takes two minutes");
    }
    let mut cargo = crate::cargo();
    progress::run("Building the bootloader", cargo.args(["build", "--release", "--package", "boot"]))?;
    Ok(program)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn part_of(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
