//! Builds the kernel and what goes with it: the stripped file that is booted and the table of its symbols.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress;
use crate::toolchain::{KERNEL_TARGET, Toolchain};
use crate::workspace;

/// For the kernel as one: what is marked `#[inline]` may be larger than usual. Marked is what lies on the ways of system
/// calls, faults and switches, where most functions have one caller that matters.
const INLINING: &str = r#"["-C", "llvm-args=-inlinehint-threshold=1000"]"#;

/// How much the compiler is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimisation {
    /// Nothing; with overflow checks.
    None,
    /// Each crate by itself: built quickly after a change.
    Crates,
    /// The kernel as one: a tenth fewer instructions, a build of a minute.
    Whole,
}

impl Optimisation {
    /// What `--debug` and `--release` ask for.
    pub fn chosen(debug: bool, release: bool) -> Self {
        match (debug, release) {
            (true, _) => Self::None,
            (_, true) => Self::Whole,
            _ => Self::Crates,
        }
    }

    /// cargo's profile, and the name of its folder.
    fn profile(self) -> (&'static str, &'static str) {
        match self {
            Self::None => ("dev", "debug"),
            Self::Crates => ("release", "release"),
            Self::Whole => ("kernel", "kernel"),
        }
    }

    /// What cargo's configuration is to say besides, for the compiler.
    fn configuration(self) -> Option<String> {
        (self == Self::Whole).then(|| format!("target.{KERNEL_TARGET}.rustflags={INLINING}"))
    }
}

/// Which kernel to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// How much it is optimised.
    pub optimisation: Optimisation,
    /// With the in-kernel suites inside.
    pub test: bool,
    /// How many container hierarchies there can be, if not as many as usual.
    pub max_hierarchies: Option<u8>,
}

impl Variant {
    /// The name of its folder.
    pub fn name(self) -> String {
        format!("{}{}", self.optimisation.profile().1, if self.test { "-test" } else { "" })
    }
}

/// A kernel that was built.
pub struct Kernel {
    /// The file with symbols and line numbers, for debuggers.
    pub elf: PathBuf,
    /// The file that is booted.
    pub stripped: PathBuf,
    /// Lines `address name`, sorted by address: what the kernel needs for a backtrace with names.
    pub symbols: PathBuf,
    /// Where xtask keeps everything that is made of this kernel.
    pub folder: PathBuf,
}

/// Builds a kernel; what is up to date is left alone.
pub fn build(variant: Variant, toolchain: &Toolchain) -> Result<Kernel> {
    build_with(variant, toolchain, crate::cargo(), &workspace::target(), workspace::kept().join(variant.name()))
}

/// Builds a kernel with this cargo, which builds into `target`; what is booted is kept in `folder`.
pub fn build_with(
    variant: Variant,
    toolchain: &Toolchain,
    mut cargo: Command,
    target: &Path,
    folder: PathBuf,
) -> Result<Kernel> {
    let (profile, built_in) = variant.optimisation.profile();
    cargo.args(["build", "--package", "kernel", "--target", KERNEL_TARGET, "--profile", profile]);
    if let Some(configuration) = variant.optimisation.configuration() {
        cargo.args(["--config", &configuration]);
    }
    if variant.test {
        cargo.args(["--features", "test"]);
    }
    if let Some(most) = variant.max_hierarchies {
        cargo.env("MENAGERIE_MAX_HIERARCHIES", most.to_string());
    }
    progress::run("Building the kernel", &mut cargo)?;
    let built = target.join(KERNEL_TARGET).join(built_in).join("kernel");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let kernel = Kernel {
        elf: folder.join("kernel.elf"),
        stripped: folder.join("kernel"),
        symbols: folder.join("symbols"),
        folder,
    };
    let about = fs::metadata(&built).with_context(|| format!("{} was not built", built.display()))?;
    let key = format!("{} {} {}", about.len(), about.mtime(), about.mtime_nsec());
    if !workspace::is_made_from(&kernel.stripped, &key) {
        fs::copy(&built, &kernel.elf).with_context(|| format!("cannot copy {}", built.display()))?;
        strip(&kernel.elf, &kernel.stripped, toolchain)?;
        workspace::replace_file(&kernel.symbols, symbols(&kernel.elf, toolchain)?.as_bytes())?;
        workspace::mark_made_from(&kernel.stripped, &key)?;
    }
    Ok(kernel)
}

fn strip(elf: &Path, stripped: &Path, toolchain: &Toolchain) -> Result<()> {
    let part = stripped.with_extension("part");
    let mut objcopy = Command::new(toolchain.llvm_tool("llvm-objcopy"));
    progress::run("Stripping the kernel", objcopy.arg("--strip-all").arg(elf).arg(&part))?;
    fs::rename(&part, stripped).with_context(|| format!("cannot write {}", stripped.display()))
}

fn symbols(elf: &Path, toolchain: &Toolchain) -> Result<String> {
    let mut nm = Command::new(toolchain.llvm_tool("llvm-nm"));
    let output = progress::run("Reading the symbols", nm.arg("--defined-only").arg(elf))?;
    Ok(symbol_table(&String::from_utf8_lossy(&output)))
}

/// Turns the lines of `nm` (`address type name`) into the sorted table of functions.
fn symbol_table(nm: &str) -> String {
    let mut functions: Vec<(u64, String)> = nm
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?;
            matches!(kind, "t" | "T" | "w" | "W").then(|| (address, format!("{:#}", rustc_demangle::demangle(name))))
        })
        .collect();
    functions.sort();
    functions.dedup_by_key(|function| function.0);
    functions.iter().fold(String::new(), |mut table, (address, name)| {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{address:x} {name}");
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbol_table_holds_functions_by_address_with_readable_names() {
        let nm = "0000000000002000 t _ZN6kernel4main17h0123456789abcdefE\n\
                  0000000000003000 D some_data\n\
                  0000000000001000 T _start\n\
                  0000000000001000 T an_alias\n";
        assert_eq!(symbol_table(nm), "1000 _start\n2000 kernel::main\n");
    }
}
