//! Builds the vDSO, a shared object of its own beside the kernel: `image/lib.rs` becomes an object file of code that runs
//! wherever it lies, and the linker that comes with Rust makes one loadable piece of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Code for this target uses neither vector registers nor an operating system.
const TARGET: &str = "x86_64-unknown-none";

const OBJECT_OPTIONS: &[&str] = &[
    "--edition=2024",
    "--crate-name=vdso_image",
    "--crate-type=lib",
    "--emit=obj",
    "--target",
    TARGET,
    "-Copt-level=3",
    "-Cpanic=abort",
    "-Crelocation-model=pic",
    // Debuggers and profilers find their way out of these functions too.
    "-Cforce-unwind-tables=yes",
];

const LINK_OPTIONS: &[&str] = &[
    "-flavor",
    "gnu",
    "-shared",
    "-soname=linux-vdso.so.1",
    // musl looks symbols up in the one table, glibc in the other.
    "--hash-style=both",
    "--eh-frame-hdr",
    // All in one piece that is only read and run: nothing in it is ever relocated.
    "--no-rosegment",
    "-zrodynamic",
    "-znorelro",
    "-zdefs",
    "-ztext",
    "-zmax-page-size=4096",
    "--gc-sections",
    "--strip-all",
];

fn main() {
    for source in ["build.rs", "image", "src/clock.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let output = PathBuf::from(variable("OUT_DIR"));
    let (object, image) = (output.join("vdso.o"), output.join("vdso.so"));
    let mut compiler = Command::new(variable("RUSTC"));
    run(compiler.args(OBJECT_OPTIONS).arg("-o").arg(&object).arg("image/lib.rs"));
    let mut linker = Command::new(linker());
    run(linker.args(LINK_OPTIONS).arg("--version-script=image/versions").arg("-o").arg(&image).arg(&object));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// `rust-lld`, a part of every installation for this host.
fn linker() -> PathBuf {
    let output = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output().expect("rustc starts");
    let sysroot = String::from_utf8(output.stdout).expect("the path of the installation is UTF-8");
    Path::new(sysroot.trim_end()).join("lib/rustlib").join(variable("HOST")).join("bin/rust-lld")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}
