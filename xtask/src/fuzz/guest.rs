//! The machines: what they boot, what they are told, and what they print.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::{linux, make_folder};
use crate::command_line::Acceleration;
use crate::emulator::{Accelerator, Boot, Console, Machine};
use crate::initramfs::Initramfs;
use crate::shape::{Firmware, Shape, Size};
use crate::toolchain::USER_TARGET;
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{acceleration, images, kernel, progress, setup};

/// Enough CPUs and nodes for cpusets to differ.
const SHAPE: Shape = Shape { cpus: 4, nodes: 2, memoryless: 0, memory: Size::mebibytes(512), firmware: Firmware::Bios };

/// A machine that prints nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every subsystem of the two kernels; those that are not compared are disabled.
const ALL_SUBSYSTEMS: &[&str] = &[
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "debug",
    "numtasks",
    "bc",
];

/// Which system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum System {
    /// Ours.
    Menagerie,
    /// The oracle.
    Linux,
}

impl System {
    /// Its name in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Menagerie => "menagerie",
            Self::Linux => "linux",
        }
    }
}

/// What a machine is told to do.
pub enum Job<'a> {
    /// Sequences of a seed.
    Seed {
        /// The seed.
        seed: u64,
        /// The first sequence.
        first: u64,
        /// How many operations, about.
        operations: u64,
    },
    /// One sequence of a seed in every detail.
    Detail {
        /// The seed.
        seed: u64,
        /// The sequence.
        sequence: u64,
    },
    /// These lines, with an empty one between two sequences; in every detail.
    Script(&'a str),
}

/// All that is needed to start them.
pub struct Guests {
    run: RunFolder,
    program: Vec<u8>,
    disabled: String,
    accelerator: Accelerator,
    menagerie: Boot,
    linux: Option<Boot>,
}

impl Guests {
    /// Builds the kernel and the program, and fetches Linux if it is wanted.
    pub fn open(oracle: bool, debug: bool) -> Result<Self> {
        let run = RunFolder::create()?;
        let toolchain = setup::for_building()?;
        setup::for_booting(SHAPE.firmware)?;
        let lock = BuildLock::take()?;
        let kernel = kernel::build(
            kernel::Variant {
                optimisation: kernel::Optimisation::chosen(debug, false),
                test: false,
                max_hierarchies: None,
            },
            &toolchain,
        )?;
        let image = kernel.folder.join(format!("{}.img", SHAPE.firmware.name()));
        images::build(&kernel.stripped, SHAPE.firmware, None, &image)?;
        let mut cargo = crate::cargo();
        cargo.args(["build", "--release", "--target", USER_TARGET, "--package", "oracle"]);
        progress::run("Building the program that asks both systems", &mut cargo)?;
        let program = workspace::target().join(USER_TARGET).join("release/oracle");
        let linux = if oracle { Some(Boot::Linux { kernel: linux::kernel()? }) } else { None };
        // Copies: a long run boots the same to its end, whatever is built meanwhile.
        let image = run.write("menagerie.img", &read(&image)?)?;
        let bytes = read(&program)?;
        drop(lock);
        let output = Command::new(&program).arg("subsystems").output();
        let output = output.with_context(|| format!("cannot start {}", program.display()))?;
        let compared = String::from_utf8_lossy(&output.stdout).into_owned();
        let others = ALL_SUBSYSTEMS.iter().filter(|name| !compared.split_whitespace().any(|word| word == **name));
        let disabled = others.copied().collect::<Vec<_>>().join(",");
        let accelerator = acceleration::choose(Acceleration::Auto, false, &run)?;
        let menagerie = Boot::Menagerie { image, with_initramfs: false, symbols: kernel.symbols };
        Ok(Self { run, program: bytes, disabled, accelerator, menagerie, linux })
    }

    /// Lets both systems do the job at the same time: each mostly waits for its own devices and timers.
    pub fn run_both(&self, job: &Job<'_>) -> Result<(Output, Output)> {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| self.run(System::Linux, job));
            let ours = self.run(System::Menagerie, job);
            let theirs = theirs.join().unwrap_or_else(|_| Err(anyhow!("the thread that watched Linux ended early")));
            Ok((ours?, theirs?))
        })
    }

    /// Boots the system, lets it do the job, and returns what it printed.
    pub fn run(&self, system: System, job: &Job<'_>) -> Result<Output> {
        let mut tree = Initramfs::default();
        for folder in ["/dev", "/proc", "/sys", "/tmp"] {
            tree.folder(folder)?;
        }
        tree.file("/init", 0o755, self.program.clone())?;
        let words = match job {
            Job::Seed { seed, first, operations } => {
                format!("ORACLE_SEED={seed} ORACLE_FIRST={first} ORACLE_OPERATIONS={operations}")
            }
            Job::Detail { seed, sequence } => {
                format!("ORACLE_SEED={seed} ORACLE_FIRST={sequence} ORACLE_OPERATIONS=1 ORACLE_FULL=1")
            }
            Job::Script(script) => {
                tree.file("/script", 0o644, script.as_bytes().to_vec())?;
                String::new()
            }
        };
        let (boot, own) = match (system, &self.linux) {
            (System::Linux, Some(boot)) => {
                // A grace period that is hurried gives the same results sooner: a container is gone after several.
                (
                    boot.clone(),
                    "ORACLE_LINUX=1 console=ttyS0 quiet loglevel=0 no_timer_check panic=-1 mitigations=off \
                     rcupdate.rcu_expedited=1 rcutree.jiffies_till_first_fqs=0 rcutree.jiffies_till_next_fqs=1 cgroup.memory=nokmem",
                )
            }
            _ => (self.menagerie.clone(), "log=ttyS1"),
        };
        let folder = workspace::kept().join("fuzz");
        make_folder(&folder)?;
        let machine = Machine {
            shape: SHAPE,
            accelerator: self.accelerator,
            cpu_model: "max".to_owned(),
            icount: None,
            boot,
            initramfs: self.run.write(&format!("{}.cpio", system.name()), &tree.archive()?)?,
            command_line: format!("{own} cgroup_disable={} {words}", self.disabled),
            console: Console::Plain,
            log: folder.join(format!("{}.log", system.name())),
            gdb: false,
            memory_files: None,
        };
        let path = self.run.path().join(format!("{}.txt", system.name()));
        let printed = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut guest = machine.start(&self.run, Stdio::null(), printed.into(), Stdio::inherit())?;
        let (mut size, mut heard) = (0, Instant::now());
        while guest.child().try_wait()?.is_none() && heard.elapsed() < PATIENCE {
            let now = fs::metadata(&path)?.len();
            if now != size {
                (size, heard) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        guest.kill();
        let mut text = Vec::new();
        File::open(&path)?.read_to_end(&mut text)?;
        // For a person who looks afterwards.
        fs::write(folder.join(format!("{}.txt", system.name())), &text)?;
        let output = Output::of(&String::from_utf8_lossy(&text));
        ensure!(!output.entries.is_empty(), "{} printed nothing; see {}", system.name(), machine.log.display());
        Ok(output)
    }
}

/// What a machine printed: for each operation its line and the details below it.
pub struct Output {
    text: String,
    /// `SEQUENCE.NUMBER` and all the rest, with its lines.
    entries: Vec<(String, String)>,
    /// Whether the machine came to its end.
    ended: bool,
}

impl Output {
    /// Reads what was printed.
    pub fn of(text: &str) -> Self {
        let (mut entries, mut ended): (Vec<(String, String)>, bool) = (Vec::new(), false);
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            ended |= line.starts_with("end ");
            match (line.split_once(' '), entries.last_mut()) {
                (Some((place, rest)), _) if is_place(place) => entries.push((place.to_owned(), rest.to_owned())),
                (_, Some((_, rest))) if line.starts_with("  ") => {
                    rest.push('\n');
                    rest.push_str(line);
                }
                _ => {}
            }
        }
        Self { text: text.replace('\r', ""), entries, ended }
    }

    /// As it was printed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Place and rest of each operation.
    pub fn entries(&self) -> &[(String, String)] {
        &self.entries
    }

    /// How many operations.
    pub fn operations(&self) -> u64 {
        self.entries.iter().filter(|(place, _)| !place.ends_with("clear")).count() as u64
    }

    /// The number of the last sequence.
    pub fn last_sequence(&self) -> Option<u64> {
        self.entries.last()?.0.split('.').next()?.parse().ok()
    }

    /// What is wrong with it even without an oracle.
    pub fn trouble(&self) -> Option<String> {
        let last = self.entries.last().map_or("nothing", |(place, _)| place);
        if !self.ended {
            return Some(format!("the machine did not come to its end; its last operation was {last}"));
        }
        let dirty = self.entries.iter().find(|(place, rest)| place.ends_with("clear") && !rest.starts_with("[]"));
        dirty.map(|(place, rest)| format!("{place}: not everything could be undone: {rest}"))
    }

    /// The first place where another says something else.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let pairs = self.entries.iter().zip(&other.entries);
        let unequal = pairs.into_iter().find(|(ours, theirs)| ours != theirs);
        if let Some((ours, theirs)) = unequal {
            return Some(format!("{}: `{}` here, `{}` on Linux", ours.0, ours.1, theirs.1));
        }
        let shorter = self.entries.len().min(other.entries.len());
        let longer = self.entries.get(shorter).or(other.entries.get(shorter))?;
        Some(format!("{}: one of the two did not come so far", longer.0))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_place(word: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('.').is_some_and(|(sequence, rest)| number(sequence) && (number(rest) || rest == "clear"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "boot\r\n0.0 ok 12ab\r\n0.1 EBUSY 00ff\r\n0.clear [] 1\r\nend 2 in 3 ms\r\n";

    #[test]
    fn an_output_has_its_operations_and_its_end() {
        let output = Output::of(BOTH);
        assert_eq!((output.operations(), output.last_sequence(), output.trouble()), (2, Some(0), None));
        assert_eq!(output.entries()[1], ("0.1".to_owned(), "EBUSY 00ff".to_owned()));
    }

    #[test]
    fn a_machine_that_stops_early_is_trouble_and_a_difference() {
        let (whole, part) = (Output::of(BOTH), Output::of("0.0 ok 12ab\n"));
        assert!(part.trouble().unwrap().contains("0.0"));
        assert!(whole.first_difference(&part).unwrap().starts_with("0.1"));
        assert_eq!(whole.first_difference(&Output::of(BOTH)), None);
    }

    #[test]
    fn details_belong_to_the_operation_above_them() {
        let output = Output::of("3.0 00ff 0 look\n  = ok\n  task 0: /\n");
        assert_eq!(output.entries()[0].1, "00ff 0 look\n  = ok\n  task 0: /");
    }
}
