//! The Rust toolchain that cargo started us with: where its parts lie and which of them are missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The target of the kernel.
pub const KERNEL_TARGET: &str = "x86_64-unknown-none";
/// The target of the programs in the guest.
pub const USER_TARGET: &str = "x86_64-unknown-linux-musl";

/// A Rust installation.
pub struct Toolchain {
    sysroot: PathBuf,
    host: String,
}

/// A part that rustup installs on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `rustup component add NAME`
    Component(&'static str),
    /// `rustup target add NAME`
    Target(&'static str),
}

impl Toolchain {
    /// Asks `rustc` (the one that cargo uses: `RUSTC` or the first in `PATH`).
    pub fn find() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--print", "sysroot", "--print", "host-tuple"])
            .output()
            .context("cannot start rustc. Install Rust as https://rustup.rs says, then the same command again")?;
        ensure!(output.status.success(), "rustc failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let sysroot = PathBuf::from(lines.next().context("rustc names no sysroot")?);
        let host = lines.next().context("rustc names no host")?.to_owned();
        Ok(Self { sysroot, host })
    }

    /// The folder of the installation.
    pub fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// A program of the `llvm-tools` component.
    pub fn llvm_tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin").join(name)
    }

    /// Which of `wanted` are not there.
    pub fn missing(&self, wanted: &[Part]) -> Vec<Part> {
        wanted.iter().copied().filter(|part| !self.has(*part)).collect()
    }

    fn has(&self, part: Part) -> bool {
        let rustlib = self.sysroot.join("lib/rustlib");
        match part {
            Part::Component("rust-src") => rustlib.join("src/rust/library/Cargo.lock").exists(),
            Part::Component("llvm-tools") => self.llvm_tool("llvm-objcopy").exists(),
            Part::Component("clippy") => self.sysroot.join("bin/cargo-clippy").exists(),
            Part::Component(name) => self.sysroot.join("bin").join(name).exists(),
            Part::Target(name) => rustlib.join(name).join("lib").exists(),
        }
    }
}
