//! `cargo xtask image`: a disk image that boots by itself, from a USB stick or with a plain `qemu -drive`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command_line::Image;
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{images, kernel, progress, setup, userland};

/// Builds everything and says where the image is.
pub fn run(options: &Image) -> Result<u8> {
    let run = RunFolder::create()?;
    let toolchain = setup::for_building()?;
    let _lock = BuildLock::take()?;
    let kernel = kernel::build(
        kernel::Variant {
            optimisation: kernel::Optimisation::chosen(options.debug, true),
            test: false,
            max_hierarchies: None,
        },
        &toolchain,
    )?;
    let archive = match &options.initramfs {
        Some(file) => file.clone(),
        None => userland::build(&userland::Contents { added: &options.add, for_tests: false }, &run)?,
    };
    let firmware = options.firmware;
    let image = match &options.output {
        Some(path) => path.clone(),
        None => workspace::kept().join(format!("menagerie-{}.img", firmware.name())),
    };
    images::build(&kernel.stripped, firmware, Some(&compressed(&archive, &run)?), &image)?;
    println!("{}", image.display());
    progress::say(&format!("write it to a USB stick, or: qemu-system-x86_64 {}", example(options, &image)));
    Ok(0)
}

/// The archive in gzip, because the BIOS loads slowly and fails with tens of megabytes. A file that is compressed
/// already stays as it is.
pub fn compressed(archive: &Path, run: &RunFolder) -> Result<PathBuf> {
    if fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?.starts_with(&[0x1f, 0x8b]) {
        return Ok(archive.to_owned());
    }
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name", "--stdout"]).arg(archive);
    run.write("initramfs.cpio.gz", &progress::run("Compressing the initramfs", &mut gzip)?)
}

fn example(options: &Image, image: &Path) -> String {
    let firmware = match options.firmware {
        crate::shape::Firmware::Bios => "",
        crate::shape::Firmware::Uefi => " -bios /usr/share/ovmf/OVMF.fd",
    };
    let image = image.display();
    format!("-machine q35 -m 512M -smp 4 -cpu max{firmware} -serial stdio -drive format=raw,file={image}")
}
