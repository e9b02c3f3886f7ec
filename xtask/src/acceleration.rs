//! Whether KVM works here: a device that exists may still hang, so a short real boot under it must have worked.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command_line::Acceleration;
use crate::emulator::{Accelerator, QEMU};
use crate::progress;
use crate::tied::{self, Tied};
use crate::workspace::{self, RunFolder};

/// A boot under a KVM that works takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the boot sector writes to isa-debug-exit, and the status with which QEMU then ends.
const SIGN: u8 = 0x15;
const SIGN_STATUS: i32 = ((SIGN as i32) << 1) | 1;

/// The accelerator to use.
///
/// Errors: KVM was demanded and does not work here.
pub fn choose(wanted: Acceleration, icount: bool, run: &RunFolder) -> Result<Accelerator> {
    match wanted {
        Acceleration::Tcg => Ok(Accelerator::Tcg),
        Acceleration::Auto if icount => Ok(Accelerator::Tcg),
        Acceleration::Auto => Ok(if kvm_works(run)? { Accelerator::Kvm } else { Accelerator::Tcg }),
        Acceleration::Kvm if kvm_works(run)? => Ok(Accelerator::Kvm),
        Acceleration::Kvm => bail!("KVM does not work on this host (`cargo xtask doctor` says more). Use --accel tcg"),
    }
}

/// What was found out about KVM, in words; tries it unless that was done since this host started.
pub fn describe_kvm(run: &RunFolder) -> Result<&'static str> {
    Ok(match (fs::exists("/dev/kvm").unwrap_or(false), kvm_works(run)?) {
        (false, _) => "KVM: not there (/dev/kvm does not exist)",
        (true, true) => "KVM: works (a short boot under it ended well)",
        (true, false) => "KVM: there but does not work (a short boot under it failed or took over 5 s)",
    })
}

fn kvm_works(run: &RunFolder) -> Result<bool> {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(false);
    }
    // The verdict holds until the host starts anew.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let kept = workspace::kept().join("kvm");
    if workspace::is_made_from(&kept, &boot) {
        return Ok(fs::read_to_string(&kept).is_ok_and(|verdict| verdict == "works"));
    }
    progress::say("trying KVM once (up to 5 s)");
    let works = try_kvm(run)?;
    let verdict = if works { "works" } else { "does not work" };
    progress::say(&format!("KVM {verdict} here"));
    workspace::replace_file(&kept, verdict.as_bytes())?;
    workspace::mark_made_from(&kept, &boot)?;
    Ok(works)
}

fn try_kvm(run: &RunFolder) -> Result<bool> {
    let sector = run.write("sector.img", &boot_sector())?;
    let mut command = tied::command(QEMU)?;
    command.args(["-nodefaults", "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "64", "-smp", "2"]);
    command.args(["-vga", "std", "-display", "none", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-drive"]);
    command.arg(format!("format=raw,snapshot=on,file={}", sector.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut guest = Tied::new(command.spawn().context("cannot start QEMU")?);
    Ok(guest.wait_until(Some(Instant::now() + PATIENCE))? == Some(SIGN_STATUS))
}

/// A disk of one sector that writes [`SIGN`] to port 0xf4: `mov dx, 0xf4; mov al, SIGN; out dx, al; hlt; jmp -3`.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    let code = [0xba, 0xf4, 0x00, 0xb0, SIGN, 0xee, 0xf4, 0xeb, 0xfd];
    sector[..code.len()].copy_from_slice(&code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
