//! `cargo xtask test`: the tests of all three levels, one line each, and one line at the end that counts them.
//!
//! - [`chapter`]: the controller whose making the manual tells, built from the manual's own text.
//! - [`host`]: `cargo test` for every crate that runs on the host, and the loom models.
//! - [`in_kernel`]: suites compiled into the test kernel.
//! - [`oracle`]: a short comparison with Linux.
//! - [`shell`]: scenarios, what a person types and reads ([`scenario`] is their language), in our shell and in Debian's.

mod chapter;
mod console;
mod host;
mod in_kernel;
mod oracle;
mod report;
mod scenario;
mod shell;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command_line::{Suite, Test};
use crate::emulator::{Boot, Console, Machine};
use crate::shape::{Shape, Size};
use crate::toolchain::Toolchain;
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{acceleration, images, kernel, setup, userland};
use report::Report;

/// The machine of those who ask for nothing: several CPUs on two nodes.
const USUAL: Shape =
    Shape { cpus: 4, nodes: 2, memoryless: 0, memory: Size::mebibytes(512), firmware: crate::shape::Firmware::Bios };

/// Runs what was asked for. Status 1 if a test failed.
pub fn run(options: &Test) -> Result<u8> {
    let filter = options.filter.as_deref().unwrap_or_default();
    let mut report = Report::to(std::io::stdout());
    for suite in [Suite::Host, Suite::Kernel, Suite::Shell, Suite::Linux, Suite::Chapter, Suite::Oracle] {
        if !options.suite.is_empty() && !options.suite.contains(&suite) {
            continue;
        }
        let result = match suite {
            Suite::Host => host::run(filter, &mut report),
            Suite::Kernel => in_kernel::run(filter, options, &mut report),
            Suite::Shell => shell::run(&shell::OURS, filter, options, &mut report),
            Suite::Linux => shell::run(&shell::DEBIANS, filter, options, &mut report),
            Suite::Chapter => chapter::run(filter, options, &mut report),
            Suite::Oracle => oracle::run(filter, options, &mut report),
        };
        // A suite that cannot be built is a failure like another; the others still run.
        if let Err(error) = result {
            report.failed(suite.name(), "(the suite itself)", &format!("{error:#}"));
        }
    }
    Ok(report.end())
}

/// The shape that the options describe; what they leave open is as in `base`.
fn shape(options: &Test, base: Shape) -> Shape {
    Shape {
        cpus: options.cpus.unwrap_or(base.cpus),
        nodes: options.nodes.unwrap_or(base.nodes),
        memoryless: base.memoryless,
        memory: options.memory.unwrap_or(base.memory),
        firmware: options.firmware.unwrap_or(base.firmware),
    }
}

fn variant(options: &Test, test_kernel: bool) -> kernel::Variant {
    let optimisation = kernel::Optimisation::chosen(options.debug, false);
    kernel::Variant { optimisation, test: test_kernel, max_hierarchies: None }
}

/// Our programs and the one that torments the kernel.
fn our_initramfs(run: &RunFolder) -> Result<PathBuf> {
    userland::build(&userland::Contents { added: &[], for_tests: true }, run)
}

/// Makes the machines of one suite from a kernel and an initramfs that are built once.
struct Workshop {
    run: RunFolder,
    kernel: kernel::Kernel,
    initramfs: PathBuf,
    /// What is typed into the shell of each machine before anything else.
    first_line: Option<&'static str>,
    accelerator: crate::emulator::Accelerator,
    cpu_model: String,
}

impl Workshop {
    fn open(options: &Test, test_kernel: bool) -> Result<Self> {
        let variant = variant(options, test_kernel);
        Self::open_with(options, |toolchain| kernel::build(variant, toolchain), our_initramfs)
    }

    /// A workshop for the kernel and the initramfs that the two functions make; the lock is held meanwhile.
    fn open_with(
        options: &Test,
        kernel: impl FnOnce(&Toolchain) -> Result<kernel::Kernel>,
        initramfs: impl FnOnce(&RunFolder) -> Result<PathBuf>,
    ) -> Result<Self> {
        let run = RunFolder::create()?;
        let toolchain = setup::for_building()?;
        setup::for_booting(shape(options, USUAL).firmware)?;
        let _lock = BuildLock::take()?;
        let kernel = kernel(&toolchain)?;
        let initramfs = initramfs(&run)?;
        let accelerator = acceleration::choose(options.accel, false, &run)?;
        Ok(Self { run, kernel, initramfs, first_line: None, accelerator, cpu_model: options.cpu.clone() })
    }

    /// A machine of the given shape; its log goes to `target/xtask/logs/NAME.log`.
    fn machine(&self, name: &str, shape: Shape, command_line: String) -> Result<Machine> {
        setup::for_booting(shape.firmware)?;
        let image = self.kernel.folder.join(format!("{}.img", shape.firmware.name()));
        let lock = BuildLock::take()?;
        images::build(&self.kernel.stripped, shape.firmware, None, &image)?;
        drop(lock);
        let logs = workspace::kept().join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Machine {
            shape,
            accelerator: self.accelerator,
            cpu_model: self.cpu_model.clone(),
            icount: None,
            boot: Boot::Menagerie { image, with_initramfs: false, symbols: self.kernel.symbols.clone() },
            initramfs: self.initramfs.clone(),
            command_line,
            console: Console::Plain,
            log: logs.join(format!("{name}.log")),
            gdb: false,
            memory_files: None,
        })
    }
}
