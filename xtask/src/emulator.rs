//! QEMU: its command line, and what its end says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shape::{Firmware, Shape};
use crate::tied::{self, Tied};
use crate::workspace::RunFolder;

/// The program that emulates an x86-64 PC.
pub const QEMU: &str = "qemu-system-x86_64";

/// The status with which QEMU ends after a kernel panic: the kernel writes 0x32 to isa-debug-exit.
pub const PANIC_STATUS: i32 = 101;

/// Where OVMF lies: its code and its empty variables, on the distributions that we know.
const OVMF: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
];

/// The OVMF of this host: code and variables.
pub fn find_ovmf() -> Option<(&'static Path, &'static Path)> {
    OVMF.iter()
        .map(|(code, variables)| (Path::new(*code), Path::new(*variables)))
        .find(|(code, variables)| code.exists() && variables.exists())
}

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU itself.
    Tcg,
    /// The host's CPU.
    Kvm,
}

/// How the guest's first serial port is joined to QEMU's standard input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// In raw mode, with QEMU's own key `Ctrl-A`: for a person.
    Terminal,
    /// Byte by byte.
    Plain,
}

/// What a machine boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Our kernel, as firmware finds it.
    Menagerie {
        /// The disk image.
        image: PathBuf,
        /// Whether the image holds the initramfs; otherwise QEMU hands it over.
        with_initramfs: bool,
        /// The symbols for backtraces.
        symbols: PathBuf,
    },
    /// Linux, loaded by QEMU.
    Linux {
        /// The kernel as its package has it.
        kernel: PathBuf,
    },
}

/// A virtual machine and what it boots.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs, nodes, memory, firmware.
    pub shape: Shape,
    /// Who executes its instructions.
    pub accelerator: Accelerator,
    /// QEMU's name of the CPU's model.
    pub cpu_model: String,
    /// Virtual time counts instructions, so that every run takes the same: each takes 2 to this power nanoseconds.
    pub icount: Option<u8>,
    /// What it boots.
    pub boot: Boot,
    /// The initramfs, raw or gzip.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// The first serial port.
    pub console: Console,
    /// Where the second serial port, the kernel's log, is written.
    pub log: PathBuf,
    /// Waits for a debugger on port 1234 before the first instruction.
    pub gdb: bool,
    /// A folder for files that are the machine's memory, to be read when it has ended.
    pub memory_files: Option<PathBuf>,
}

impl Machine {
    /// QEMU's arguments. Files that belong to this run alone go to `run`.
    fn arguments(&self, run: &RunFolder) -> Result<Vec<String>> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-nodefaults", "-no-user-config", "-machine", "q35", "-vga", "std", "-display", "none", "-no-reboot"]);
        add(&["-accel", if self.accelerator == Accelerator::Kvm { "kvm" } else { "tcg" }, "-cpu", &self.cpu_model]);
        if let Some(shift) = self.icount {
            // The same clock and the same random numbers in every run.
            add(&[
                "-icount",
                &format!("shift={shift},sleep=off"),
                "-seed",
                "1",
                "-rtc",
                "base=2026-01-01T00:00:00,clock=vm",
            ]);
        }
        let mut shape = self.shape.arguments()?;
        if let Some(folder) = &self.memory_files {
            in_files(&mut shape, &self.shape, &value(folder)?);
        }
        add(&shape.iter().map(String::as_str).collect::<Vec<_>>());
        if self.shape.firmware == Firmware::Uefi {
            let Some((code, variables)) = find_ovmf() else {
                bail!("OVMF is not installed. Run `sudo apt-get install ovmf`, then the same command again");
            };
            let own = run.path().join("variables.fd");
            fs::copy(variables, &own).with_context(|| format!("cannot copy {}", variables.display()))?;
            add(&["-drive", &format!("if=pflash,format=raw,readonly=on,file={}", value(code)?)]);
            add(&["-drive", &format!("if=pflash,format=raw,file={}", value(&own)?)]);
        }
        if let Boot::Menagerie { image, .. } = &self.boot {
            add(&["-drive", &format!("format=raw,snapshot=on,file={}", value(image)?)]);
        }
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        match &self.boot {
            Boot::Menagerie { symbols, with_initramfs, .. } => {
                let command_line = run.write("cmdline", self.command_line.as_bytes())?;
                let files = [("initrd", &self.initramfs), ("cmdline", &command_line), ("symbols", symbols)];
                for (name, file) in files.into_iter().skip(usize::from(*with_initramfs)) {
                    add(&["-fw_cfg", &format!("name=opt/menagerie/{name},file={}", value(file)?)]);
                }
            }
            Boot::Linux { kernel } => {
                let (kernel, initramfs) = (kernel.to_string_lossy(), self.initramfs.to_string_lossy());
                add(&["-kernel", &kernel, "-initrd", &initramfs, "-append", &self.command_line]);
            }
        }
        add(&["-serial", if self.console == Console::Terminal { "mon:stdio" } else { "stdio" }]);
        add(&["-chardev", &format!("file,id=log,path={}", value(&self.log)?), "-serial", "chardev:log"]);
        if self.gdb {
            add(&["-gdb", "tcp:127.0.0.1:1234", "-S"]);
        }
        Ok(arguments)
    }

    /// Starts QEMU, tied to this process.
    pub fn start(&self, run: &RunFolder, input: Stdio, output: Stdio, errors: Stdio) -> Result<Tied> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command: Command = tied::command(QEMU)?;
        command.args(self.arguments(run)?).stdin(input).stdout(output).stderr(errors);
        Ok(Tied::new(command.spawn().context("cannot start QEMU")?))
    }
}

/// Has the memory of a shape in files of `folder`, one a node.
fn in_files(arguments: &mut Vec<String>, shape: &Shape, folder: &str) {
    if shape.nodes == 1 {
        let backend = format!("memory-backend-ram,id=node0,size={}", shape.memory);
        arguments.extend(["-machine", "memory-backend=node0", "-object", &backend].map(str::to_owned));
    }
    for argument in arguments {
        let id =
            argument.strip_prefix("memory-backend-ram,id=").and_then(|rest| rest.split(',').next()).map(str::to_owned);
        if let Some(id) = id {
            *argument = argument.replace("memory-backend-ram", "memory-backend-file");
            argument.push_str(&format!(",share=on,mem-path={folder}/{id}"));
        }
    }
}

/// A path inside one of QEMU's comma-separated options.
fn value(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("QEMU takes no path that is not UTF-8: {}", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Powered off after somebody in the guest named a status.
    Status(u8),
    /// Powered off or reset without a word.
    Off,
    /// The kernel panicked.
    Panic,
    /// Neither happened in time; QEMU was killed.
    TimedOut,
    /// QEMU itself failed with this status.
    Failed(i32),
}

/// Waits for the end of a machine whose log is `log`.
pub fn wait(machine: &mut Tied, log: &Path, deadline: Option<Instant>) -> Result<Ending> {
    let status = machine.wait_until(deadline)?;
    Ok(ending(status, &fs::read(log).unwrap_or_default()))
}

fn ending(status: Option<i32>, log: &[u8]) -> Ending {
    match status {
        None => Ending::TimedOut,
        Some(PANIC_STATUS) => Ending::Panic,
        Some(0) => match reported_status(&String::from_utf8_lossy(log)) {
            Some(status) => Ending::Status(status),
            None => Ending::Off,
        },
        Some(status) => Ending::Failed(status),
    }
}

/// The number in the log's last line `menagerie: exit status N`, with or without the time in front of it.
fn reported_status(log: &str) -> Option<u8> {
    let words = "menagerie: exit status ";
    log.lines().rev().find_map(|line| line.find(words).and_then(|at| line[at + words.len()..].trim().parse().ok()))
}

/// The last `count` lines of a log, for a person who wants to know why.
pub fn end_of_log(log: &Path, count: usize) -> String {
    let content = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Size;

    fn machine(firmware: Firmware) -> Machine {
        Machine {
            shape: Shape { cpus: 1, nodes: 1, memoryless: 0, memory: Size::mebibytes(64), firmware },
            accelerator: Accelerator::Tcg,
            cpu_model: "max,erms=off".to_owned(),
            icount: Some(0),
            boot: Boot::Menagerie {
                image: PathBuf::from("/a,b/bios.img"),
                with_initramfs: false,
                symbols: PathBuf::from("/symbols"),
            },
            initramfs: PathBuf::from("/initramfs.cpio"),
            command_line: "log=ttyS1".to_owned(),
            console: Console::Plain,
            log: PathBuf::from("/log"),
            gdb: false,
            memory_files: None,
        }
    }

    #[test]
    fn the_command_line_names_each_part_of_the_machine() {
        let run = RunFolder::create().unwrap();
        let line = machine(Firmware::Bios).arguments(&run).unwrap().join(" ");
        for part in [
            "-machine q35 -vga std -display none -no-reboot",
            "-accel tcg -cpu max,erms=off -icount shift=0,sleep=off -seed 1 -rtc base=2026-01-01T00:00:00,clock=vm -m 64M",
            "-drive format=raw,snapshot=on,file=/a,,b/bios.img",
            "-device isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-fw_cfg name=opt/menagerie/initrd,file=/initramfs.cpio",
            "-fw_cfg name=opt/menagerie/symbols,file=/symbols",
            "-serial stdio -chardev file,id=log,path=/log -serial chardev:log",
        ] {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
        assert_eq!(fs::read_to_string(run.path().join("cmdline")).unwrap(), "log=ttyS1");
    }

    #[test]
    fn memory_can_be_in_files() {
        let run = RunFolder::create().unwrap();
        let machine = Machine { memory_files: Some(PathBuf::from("/m")), ..machine(Firmware::Bios) };
        let line = machine.arguments(&run).unwrap().join(" ");
        let part =
            "-machine memory-backend=node0 -object memory-backend-file,id=node0,size=64M,share=on,mem-path=/m/node0";
        assert!(line.contains(part), "{line}");
        let shape = Shape { cpus: 2, nodes: 2, ..machine.shape };
        let line = Machine { shape, ..machine }.arguments(&run).unwrap().join(" ");
        assert!(line.contains("memory-backend-file,id=node1,size=32M,share=on,mem-path=/m/node1 -numa"), "{line}");
    }

    #[test]
    fn a_terminal_gets_qemus_own_key() {
        let run = RunFolder::create().unwrap();
        let machine = Machine { console: Console::Terminal, gdb: true, ..machine(Firmware::Bios) };
        let line = machine.arguments(&run).unwrap().join(" ");
        assert!(line.contains("-serial mon:stdio"));
        assert!(line.ends_with("-gdb tcp:127.0.0.1:1234 -S"));
    }

    #[test]
    fn the_end_of_a_machine_is_read_from_its_status_and_its_log() {
        let log = b"[    1.000000] menagerie: exit status 3\n[    1.200000] power: off\n";
        assert_eq!(ending(Some(0), log), Ending::Status(3));
        assert_eq!(ending(Some(0), b"nothing"), Ending::Off);
        assert_eq!(ending(Some(0), b"menagerie: exit status 256"), Ending::Off);
        assert_eq!(ending(Some(101), log), Ending::Panic);
        assert_eq!(ending(Some(1), log), Ending::Failed(1));
        assert_eq!(ending(None, log), Ending::TimedOut);
    }
}
