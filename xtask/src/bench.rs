//! `cargo xtask bench`: lets the yardstick measure this kernel and compares with Linux.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command_line::Bench;
use crate::workspace;

/// How the yardstick boots us; it fills in what stands in braces.
const BOOT: &str = "cargo xtask qemu --release --accel tcg --cpu max,erms=off {icount} --cpus {cpus} --nodes {nodes} \
                    --memory {memory}M --initramfs {initrd} --append \"{append}\"";

/// Runs the yardstick, then shows its figures beside those of Linux, if they lie beside it.
pub fn run(options: &Bench) -> Result<u8> {
    let yardstick = workspace::root().join(&options.yardstick);
    ensure!(
        yardstick.is_file(),
        "there is no yardstick at {}. Say where its run.py is with --yardstick",
        yardstick.display()
    );
    let status = python(&yardstick)
        .args(["run", "--name", "menagerie", "--fs", "container", "--boot", BOOT])
        .args(&options.arguments)
        .status()
        .context("cannot start python3")?;
    ensure!(status.success(), "the yardstick failed ({status})");
    let linux = yardstick.with_file_name("linux-6.1-mitigations-off.tsv");
    if linux.is_file() {
        let compared = python(&yardstick).args(["compare", "target/yardstick/menagerie.tsv"]).arg(linux).status()?;
        ensure!(compared.success(), "the comparison failed ({compared})");
    }
    Ok(0)
}

fn python(script: &Path) -> Command {
    let mut python = Command::new("python3");
    python.current_dir(workspace::root()).arg(script);
    python
}
