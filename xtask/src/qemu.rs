//! `cargo xtask qemu`: boots the kernel, with this terminal as its console or for one command.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command_line::{Acceleration, Qemu};
use crate::emulator::{self, Boot, Console, Ending, Machine, PANIC_STATUS};
use crate::shape::{Firmware, Size};
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{acceleration, images, kernel, rootfs, setup, userland};

/// The status after a timeout, as of `timeout(1)`.
const TIMEOUT_STATUS: u8 = 124;

/// What a guest has where nobody says how much.
const MEMORY: Size = Size::mebibytes(512);

/// The same, where an initramfs of a hundred megabytes lies in it.
const MEMORY_WITH_ROOTFS: Size = Size::mebibytes(1024);

/// Boots, waits for the end, and returns the status to end with.
pub fn run(options: &Qemu) -> Result<u8> {
    let deadline = |from: Instant| options.timeout.map(|seconds| from + Duration::from_secs(seconds));
    let run = RunFolder::create()?;
    let machine = prepare(options, &run)?;
    let quiet = options.run.is_some();
    let input = if quiet { Stdio::null() } else { Stdio::inherit() };
    // OVMF writes to the serial port before the kernel does, so its words must be told from the command's.
    let filtered = quiet && options.machine.firmware == Firmware::Uefi;
    let output = if filtered { Stdio::piped() } else { Stdio::inherit() };
    let terminal = Terminal::remember();
    let mut guest = machine.start(&run, input, output, Stdio::inherit())?;
    let copier = guest
        .child()
        .stdout
        .take()
        .map(|from| std::thread::spawn(move || crate::mark::copy_after_mark(from, std::io::stdout())));
    let ending = emulator::wait(&mut guest, &machine.log, deadline(Instant::now()))?;
    drop(guest);
    if let Some(copier) = copier {
        copier.join().ok().context("the copier of the output panicked")??;
    }
    terminal.restore();
    Ok(report(ending, &machine, quiet))
}

/// Builds everything that the machine boots.
fn prepare(options: &Qemu, run: &RunFolder) -> Result<Machine> {
    ensure!(
        !(options.icount && options.machine.accel == Acceleration::Kvm),
        "--icount needs TCG: leave out --accel kvm"
    );
    let toolchain = setup::for_building()?;
    setup::for_booting(options.machine.firmware)?;
    let lock = BuildLock::take()?;
    let variant = kernel::Variant {
        optimisation: kernel::Optimisation::chosen(options.debug, options.release),
        test: options.test.is_some(),
        max_hierarchies: options.max_hierarchies,
    };
    let kernel = kernel::build(variant, &toolchain)?;
    let initramfs = match &options.initramfs {
        _ if options.rootfs.is_some() => rootfs::last()?,
        Some(file) => fs::canonicalize(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => {
            let contents = userland::Contents { added: &options.add, for_tests: options.test.is_some() };
            userland::build(&contents, run)?
        }
    };
    let firmware = options.machine.firmware;
    let image = kernel.folder.join(format!("{}.img", firmware.name()));
    images::build(&kernel.stripped, firmware, None, &image)?;
    drop(lock);
    let watched = std::io::stdout().is_terminal();
    let console = if watched && std::io::stdin().is_terminal() && options.run.is_none() {
        Console::Terminal
    } else {
        Console::Plain
    };
    Ok(Machine {
        shape: options.machine.shape(if options.rootfs.is_some() { MEMORY_WITH_ROOTFS } else { MEMORY }),
        accelerator: acceleration::choose(options.machine.accel, options.icount, run)?,
        cpu_model: options.machine.cpu.clone(),
        icount: options.icount.then_some(0),
        boot: Boot::Menagerie { image, with_initramfs: false, symbols: kernel.symbols },
        initramfs,
        command_line: kernel_command_line(options, watched),
        console,
        log: log_file(options.log.as_deref())?,
        gdb: options.gdb,
        memory_files: None,
    })
}

/// The words for the kernel. What the person appends comes last, so it wins, and may hold `--`.
fn kernel_command_line(options: &Qemu, watched: bool) -> String {
    let mut words = Vec::new();
    if let Some(command) = &options.run {
        words.push("log=ttyS1".to_owned());
        words.push(format!("run={}", percent_encode(command)));
        if options.machine.firmware == Firmware::Uefi {
            words.push(format!("console_mark={}", crate::mark::MARK));
        }
    } else {
        // A log in the middle of what a program reads from us would be noise.
        words.push(if watched { "log=both" } else { "log=ttyS1" }.to_owned());
        // Words that the kernel does not know go to init's environment, as on Linux.
        words.extend(describe_terminal(watched));
    }
    if let Some(filter) = &options.test {
        words.push(if filter.is_empty() { "test".to_owned() } else { format!("test={filter}") });
    }
    if !options.append.is_empty() {
        words.push(options.append.clone());
    }
    words.join(" ")
}

/// What programs in the guest want to know of the terminal: its kind and, as a serial line cannot tell, its size.
fn describe_terminal(watched: bool) -> Vec<String> {
    let kind = std::env::var("TERM").ok().filter(|kind| watched && percent_encode(kind) == *kind);
    let mut words = vec![format!("TERM={}", kind.as_deref().unwrap_or("dumb"))];
    if let (true, Ok(size)) = (watched, rustix::termios::tcgetwinsize(std::io::stdout())) {
        words.push(format!("LINES={} COLUMNS={}", size.ws_row, size.ws_col));
    }
    words
}

/// Leaves letters, digits and `-._/` alone and writes every other byte as `%XX`, so that no space splits the word.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn log_file(wanted: Option<&Path>) -> Result<PathBuf> {
    match wanted {
        Some(path) => std::path::absolute(path).with_context(|| format!("{} is no path", path.display())),
        None => Ok(workspace::kept().join("kernel.log")),
    }
}

/// Says on standard error what went wrong, and returns the status to end with.
fn report(ending: Ending, machine: &Machine, quiet: bool) -> u8 {
    let log = &machine.log;
    let show = |what: &str| {
        let shown = emulator::end_of_log(log, 60);
        eprintln!("xtask: {what}; the end of {}:\n{shown}", log.display());
    };
    match ending {
        Ending::Status(status) => status,
        Ending::Off if quiet => {
            show("the machine ended and named no status");
            1
        }
        Ending::Off => 0,
        Ending::Panic => {
            show("the kernel panicked");
            u8::try_from(PANIC_STATUS).unwrap_or(1)
        }
        Ending::TimedOut => {
            show("the time is over");
            TIMEOUT_STATUS
        }
        Ending::Failed(status) => {
            eprintln!("xtask: QEMU ended with status {status}");
            u8::try_from(status).unwrap_or(1)
        }
    }
}

/// The terminal's settings, to be put back if QEMU had no chance to do it.
struct Terminal {
    settings: Option<rustix::termios::Termios>,
}

impl Terminal {
    fn remember() -> Self {
        Self { settings: rustix::termios::tcgetattr(std::io::stdin()).ok() }
    }

    fn restore(&self) {
        if let Some(settings) = &self.settings {
            // A terminal that is gone needs no settings.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Drain, settings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::{Command, CommandLine};
    use clap::Parser;

    fn options(words: &[&str]) -> Qemu {
        let line = ["xtask", "qemu"].iter().chain(words);
        match CommandLine::try_parse_from(line).unwrap().command {
            Command::Qemu(options) => options,
            _ => panic!("not qemu"),
        }
    }

    #[test]
    fn a_command_becomes_one_word_of_the_kernels_command_line() {
        let options = options(&["--run", "echo 'a%b' | wc -c", "--append", "cgroup_disable=pids -- x"]);
        assert_eq!(
            kernel_command_line(&options, false),
            "log=ttyS1 run=echo%20%27a%25b%27%20%7C%20wc%20-c cgroup_disable=pids -- x"
        );
    }

    #[test]
    fn the_log_goes_to_the_console_only_where_a_person_watches() {
        assert!(kernel_command_line(&options(&[]), true).starts_with("log=both TERM="));
        assert_eq!(kernel_command_line(&options(&[]), false), "log=ttyS1 TERM=dumb");
        assert_eq!(kernel_command_line(&options(&["--test"]), false), "log=ttyS1 TERM=dumb test");
        assert!(kernel_command_line(&options(&["--test", "paging"]), true).ends_with(" test=paging"));
    }

    #[test]
    fn under_uefi_the_command_waits_for_the_mark() {
        let line = kernel_command_line(&options(&["--run", "true", "--firmware", "uefi"]), false);
        assert_eq!(line, format!("log=ttyS1 run=true console_mark={}", crate::mark::MARK));
    }
}
