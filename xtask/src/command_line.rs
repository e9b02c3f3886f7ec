//! The command line: every command and option with its help text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::shape::{Firmware, Shape, Size};
use crate::userland::Addition;

/// The one tool of Menagerie: builds, boots and tests the kernel
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, each in the file of its name.
#[derive(Subcommand)]
pub enum Command {
    /// Boot the kernel in QEMU; the serial console is this terminal, Ctrl-A X leaves
    Qemu(Qemu),
    /// Run the tests: on the host, in the kernel, in the shell
    Test(Test),
    /// Write a disk image that boots by itself, with the initramfs inside
    Image(Image),
    /// Make an initramfs of another system's own packages
    Rootfs(Rootfs),
    /// Measure the kernel with the yardstick and compare with Linux
    Bench(Bench),
    /// Make random system calls; or do random things to hierarchies, also compared with Debian's Linux 6.1
    Fuzz(Fuzz),
    /// Check formatting, clippy's lints, the documentation and the rules of the house
    Lint,
    /// Say what was found on this host: toolchain, QEMU, firmware, accelerators
    Doctor,
    /// Start a program that ends with its parent
    #[command(hide = true)]
    Tied {
        /// The process that must be the parent.
        parent: u32,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// Options of `qemu`.
#[derive(Args)]
pub struct Qemu {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// Count instructions as time, so that every run takes the same (one CPU under TCG)
    #[arg(long)]
    pub icount: bool,
    /// Build the kernel for so many container hierarchies, the dummy included [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..))]
    pub max_hierarchies: Option<u8>,
    /// Boot this initramfs (cpio newc, raw or gzip) instead of the one built from user/
    #[arg(long, value_name = "FILE", conflicts_with = "add")]
    pub initramfs: Option<PathBuf>,
    /// Boot the userland of another system: what `cargo xtask rootfs` last made, or would make by itself
    #[arg(long, value_enum, value_name = "SYSTEM", conflicts_with_all = ["initramfs", "add", "test"])]
    pub rootfs: Option<System>,
    /// Put a file or folder of this host into the initramfs
    #[arg(long, value_name = "HOST=GUEST")]
    pub add: Vec<Addition>,
    /// Words for the kernel's command line
    #[arg(long, value_name = "CMDLINE", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Run a shell command in the guest, print nothing but its output and end with its status
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub run: Option<String>,
    /// Kill the machine after so many seconds and end with status 124
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Where the kernel's log goes [default: target/xtask/kernel.log]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Wait for a debugger on port 1234
    #[arg(long)]
    pub gdb: bool,
    /// Boot the test kernel and run the in-kernel tests whose names contain FILTER
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "", conflicts_with = "run")]
    pub test: Option<String>,
    /// Optimise the kernel as a whole: a tenth fewer instructions, a longer build
    #[arg(long, conflicts_with = "debug")]
    pub release: bool,
    /// Build the kernel without optimisations, with overflow checks
    #[arg(long)]
    pub debug: bool,
}

/// What the virtual machine looks like.
#[derive(Args)]
pub struct MachineOptions {
    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub cpus: u32,
    /// Memory nodes; CPUs and memory are spread over them evenly
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub nodes: u32,
    /// Memory, like 512M or 2G [default: 512M, or 1024M with --rootfs]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Firmware
    #[arg(long, value_enum, default_value_t)]
    pub firmware: Firmware,
    /// Who executes the guest: `auto` takes KVM if a short boot under it works on this host
    #[arg(long, value_enum, default_value_t)]
    pub accel: Acceleration,
    /// QEMU's name of the CPU model
    #[arg(long, value_name = "MODEL", default_value = "max")]
    pub cpu: String,
}

impl MachineOptions {
    /// The shape that the options describe; where they do not say how much memory, it is `memory`.
    pub fn shape(&self, memory: Size) -> Shape {
        let memory = self.memory.unwrap_or(memory);
        Shape { cpus: self.cpus, nodes: self.nodes, memoryless: 0, memory, firmware: self.firmware }
    }
}

/// Options of `test`.
#[derive(Args)]
pub struct Test {
    /// Run only the tests whose names contain this
    pub filter: Option<String>,
    /// Run only these suites
    #[arg(long, value_enum, value_delimiter = ',')]
    pub suite: Vec<Suite>,
    /// Run also what takes minutes
    #[arg(long)]
    pub long: bool,
    /// CPUs of the virtual machine [default: 4, or what a scenario asks for]
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory nodes of the virtual machine [default: 2, or what a scenario asks for]
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Memory of the virtual machine [default: 512M, or what a scenario asks for]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Firmware of the virtual machine [default: bios, or what a scenario asks for]
    #[arg(long, value_enum)]
    pub firmware: Option<Firmware>,
    /// Who executes the guest
    #[arg(long, value_enum, default_value_t)]
    pub accel: Acceleration,
    /// QEMU's name of the CPU model
    #[arg(long, value_name = "MODEL", default_value = "max")]
    pub cpu: String,
    /// Build the kernel without optimisations, with overflow checks
    #[arg(long)]
    pub debug: bool,
}

impl Test {
    /// Whether the machine is the person's choice, and not that of each scenario.
    pub fn names_a_machine(&self) -> bool {
        self.cpus.is_some() || self.nodes.is_some() || self.memory.is_some() || self.firmware.is_some()
    }
}

/// Options of `fuzz`.
#[derive(Args)]
pub struct Fuzz {
    /// What decides the choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The first round, or the first sequence, of the seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: u64,
    /// How long system calls are made
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "hierarchies")]
    pub minutes: u64,
    /// How many rounds of system calls at most
    #[arg(long, value_name = "N", conflicts_with = "hierarchies")]
    pub rounds: Option<u64>,
    /// CPUs of the machine where system calls are made
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "hierarchies")]
    pub cpus: u32,
    /// Memory nodes of the same machine
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "hierarchies")]
    pub nodes: u32,
    /// Processes that make system calls at a time, each with two threads
    #[arg(long, value_name = "N", default_value_t = 6, conflicts_with = "hierarchies")]
    pub processes: u32,
    /// System calls of each thread in a round
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "hierarchies")]
    pub calls: u64,
    /// Make only this system call; can be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "hierarchies")]
    pub only: Vec<String>,
    /// Do random things to hierarchies instead
    #[arg(long = "hierarchies", id = "alone", group = "hierarchies")]
    pub hierarchies: bool,
    /// Do random things to hierarchies, the same on Linux, and compare; its kernel is fetched by apt-get
    #[arg(long, group = "hierarchies")]
    pub oracle: bool,
    /// How many operations on hierarchies, about
    #[arg(long, value_name = "N", default_value_t = 6000, requires = "hierarchies")]
    pub operations: u64,
    /// Do the lines of this file to hierarchies, and show everything
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "first", "operations"], requires = "hierarchies")]
    pub script: Option<PathBuf>,
    /// Build the kernel without optimisations, with overflow checks
    #[arg(long)]
    pub debug: bool,
}

/// Options of `image`.
#[derive(Args)]
pub struct Image {
    /// Where to write it [default: target/xtask/menagerie-FIRMWARE.img]
    pub output: Option<PathBuf>,
    /// Firmware that shall boot it
    #[arg(long, value_enum, default_value_t)]
    pub firmware: Firmware,
    /// Put this initramfs inside instead of the one built from user/
    #[arg(long, value_name = "FILE", conflicts_with = "add")]
    pub initramfs: Option<PathBuf>,
    /// Put a file or folder of this host into the initramfs
    #[arg(long, value_name = "HOST=GUEST")]
    pub add: Vec<Addition>,
    /// Build the kernel without optimisations, with overflow checks
    #[arg(long)]
    pub debug: bool,
}

/// Options of `rootfs`.
#[derive(Args)]
pub struct Rootfs {
    /// Whose packages
    #[arg(value_enum)]
    pub system: System,
    /// Packages; what they depend on comes with them, and a shell with the essential tools in any case [default: what
    /// drives and loads containers: busybox, procps, cgroup-tools, stress-ng, python3, …]
    #[arg(value_name = "PACKAGE")]
    pub packages: Vec<String>,
}

/// Systems whose userland can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// The release of Debian that this host's apt takes packages from
    Debian,
}

/// Options of `bench`.
#[derive(Args)]
pub struct Bench {
    /// The yardstick's run.py, from the top of the repository
    #[arg(long, value_name = "FILE", default_value = "../shared/bench/run.py")]
    pub yardstick: PathBuf,
    /// Options for `run.py run`, after `--`
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}

/// The levels of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Unit tests and models, by cargo test
    Host,
    /// Suites inside the test kernel
    Kernel,
    /// Scenarios typed into the shell
    Shell,
    /// Debian's programs, driven by its bash
    Linux,
    /// A short comparison with Linux
    Oracle,
    /// The controller of the manual, taken from its chapter
    Chapter,
}

impl Suite {
    /// The word on the command line and in front of each result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::Shell => "shell",
            Self::Linux => "linux",
            Self::Oracle => "oracle",
            Self::Chapter => "chapter",
        }
    }
}

/// Who shall execute the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Acceleration {
    /// KVM if it works, else TCG
    #[default]
    Auto,
    /// QEMU itself
    Tcg,
    /// The host's CPU
    Kvm,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_agree_with_each_other() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_command_for_the_guest_may_begin_with_a_dash_and_hold_anything() {
        let line = ["xtask", "qemu", "--run", "-x 'a b' | c", "--append", "-- one two", "--test=foo"];
        assert!(CommandLine::try_parse_from(line).is_err(), "--run and --test exclude each other");
        let parsed = CommandLine::try_parse_from(&line[..6]).unwrap();
        let Command::Qemu(options) = parsed.command else { panic!("not qemu") };
        assert_eq!(options.run.as_deref(), Some("-x 'a b' | c"));
        assert_eq!(options.append, "-- one two");
    }
}
