//! The one tool that a person runs: `cargo xtask COMMAND`. Each command is a file; this one only dispatches.
#![forbid(unsafe_code)]

mod acceleration;
mod bench;
mod command_line;
mod doctor;
mod emulator;
mod fuzz;
mod image;
mod images;
mod initramfs;
mod kernel;
mod lint;
mod mark;
mod progress;
mod qemu;
mod rootfs;
mod setup;
mod shape;
mod test;
mod tied;
mod toolchain;
mod userland;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use command_line::{Command, CommandLine};

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let result = match &line.command {
        Command::Qemu(options) => qemu::run(options),
        Command::Test(options) => test::run(options),
        Command::Fuzz(options) => fuzz::run(options),
        Command::Lint => lint::run(),
        Command::Image(options) => image::run(options),
        Command::Rootfs(options) => rootfs::run(options),
        Command::Bench(options) => bench::run(options),
        Command::Doctor => doctor::run(),
        Command::Tied { parent, words } => tied::become_program(*parent, words).map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that started us, to be run at the top of the repository.
fn cargo() -> std::process::Command {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `.cargo/config.toml` sets it for every cargo; inherited, it would make packages build twice.
    cargo.current_dir(workspace::root()).env_remove("RUSTC_BOOTSTRAP");
    cargo
}
