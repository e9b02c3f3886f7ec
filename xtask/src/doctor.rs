//! `cargo xtask doctor`: what was found on this host, with versions. Changes nothing but the verdict on KVM.

use std::process::Command;

use anyhow::Result;

use crate::acceleration;
use crate::emulator::{self, QEMU};
use crate::setup;
use crate::toolchain::Toolchain;
use crate::workspace::RunFolder;

/// Prints a line for each thing that xtask uses. Status 1 if something is missing.
pub fn run() -> Result<u8> {
    let mut healthy = true;
    let toolchain = Toolchain::find()?;
    println!("Rust: {} in {}", version("rustc"), toolchain.sysroot().display());
    println!("cargo: {}", version("cargo"));
    match toolchain.missing(&setup::all_parts()).as_slice() {
        [] => println!("components and targets: all there"),
        missing => {
            healthy = false;
            println!("components and targets: missing {missing:?} (added by the commands that need them)");
        }
    }
    match setup::find_program(QEMU) {
        Some(path) => println!("QEMU: {} in {}", version(QEMU), path.display()),
        None => {
            healthy = false;
            println!("QEMU: missing (added by the commands that need it)");
        }
    }
    match emulator::find_ovmf() {
        Some((code, _)) => println!("OVMF: {}", code.display()),
        None => println!("OVMF: missing (added by --firmware uefi)"),
    }
    println!("accelerators: TCG");
    if setup::find_program(QEMU).is_some() {
        println!("{}", acceleration::describe_kvm(&RunFolder::create()?)?);
    }
    println!("CPUs of this host: {}", std::thread::available_parallelism().map_or(1, usize::from));
    Ok(u8::from(!healthy))
}

/// The first line of what `program --version` says.
fn version(program: &str) -> String {
    match Command::new(program).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("says nothing").to_owned(),
        Err(error) => format!("cannot be started ({error})"),
    }
}
