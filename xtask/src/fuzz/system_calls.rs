//! Random system calls: `probe fuzz` in the guest, and here what watches it.
//!
//! A panic ends the machine; a machine that prints nothing for [`PATIENCE`] hangs; whatever else is wrong the program
//! finds and says. In each case the report names seed and round and shows the last calls of each thread.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::last_calls;
use crate::command_line::{Acceleration, Fuzz};
use crate::emulator::{self, Boot, Console, Ending, Machine};
use crate::shape::{Firmware, Shape, Size};
use crate::workspace::{self, BuildLock, RunFolder};
use crate::{acceleration, images, kernel, progress, setup, userland};

/// A machine that prints nothing for so long hangs: the program in it speaks every two seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// A machine is replaced after so long.
const OF_A_BOOT: Duration = Duration::from_secs(600);

/// Runs for as long as was asked for. Status 1 at the first finding.
pub fn run(options: &Fuzz) -> Result<u8> {
    let run = RunFolder::create()?;
    let machine = prepare(options, &run)?;
    let started = Instant::now();
    let length = Duration::from_secs(60 * options.minutes);
    let mut first = options.first;
    while started.elapsed() < length {
        let seconds = (length - started.elapsed()).min(OF_A_BOOT).as_secs().max(1);
        let rounds = options.rounds.unwrap_or(u64::MAX >> 1);
        let words = format!("fuzz {} {first} {rounds} {seconds} {} {}", options.seed, options.processes, options.calls);
        let words = [vec![words], options.only.clone()].concat().join(" ");
        let command_line = format!("log=ttyS1 run=probe%20{}", words.replace(' ', "%20"));
        let watched = watch(&Machine { command_line, ..machine.clone() }, &run)?;
        if let Some(finding) = watched.finding {
            println!(
                "{finding}\nAgain: cargo xtask fuzz --seed {} --first {} --cpus {}",
                options.seed, watched.round, options.cpus
            );
            return Ok(1);
        }
        progress::say(&watched.last_line);
        first = watched.round + 1;
        if options.rounds.is_some() {
            break;
        }
    }
    println!(
        "seed {}, rounds {} to {}: no finding in {} s",
        options.seed,
        options.first,
        first - 1,
        started.elapsed().as_secs()
    );
    Ok(0)
}

fn prepare(options: &Fuzz, run: &RunFolder) -> Result<Machine> {
    let firmware = Firmware::Bios;
    let shape =
        Shape { cpus: options.cpus, nodes: options.nodes, memoryless: 0, memory: Size::mebibytes(512), firmware };
    let toolchain = setup::for_building()?;
    setup::for_booting(firmware)?;
    let _lock = BuildLock::take()?;
    let optimisation = kernel::Optimisation::chosen(options.debug, false);
    let kernel = kernel::build(kernel::Variant { optimisation, test: false, max_hierarchies: None }, &toolchain)?;
    let built = userland::build(&userland::Contents { added: &[], for_tests: true }, run)?;
    let image = kernel.folder.join(format!("{}.img", firmware.name()));
    images::build(&kernel.stripped, firmware, None, &image)?;
    let memory = run.path().join("memory");
    super::make_folder(&memory)?;
    // Copies: a long run boots the same to its end, whatever is built meanwhile.
    let copy = |name: &str, path: &Path| -> Result<_> {
        run.write(name, &fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
    };
    Ok(Machine {
        shape,
        accelerator: acceleration::choose(Acceleration::Auto, false, run)?,
        cpu_model: "max".to_owned(),
        icount: None,
        boot: Boot::Menagerie {
            image: copy("menagerie.img", &image)?,
            with_initramfs: false,
            symbols: copy("symbols", &kernel.symbols)?,
        },
        initramfs: copy("initramfs.cpio", &built)?,
        command_line: String::new(),
        console: Console::Plain,
        log: workspace::kept().join("fuzz/system-calls.log"),
        gdb: false,
        memory_files: Some(memory),
    })
}

/// What came of a machine.
struct Watched {
    finding: Option<String>,
    /// The round that it was in.
    round: u64,
    last_line: String,
}

fn watch(machine: &Machine, run: &RunFolder) -> Result<Watched> {
    let path = run.path().join("output");
    let output = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut guest = machine.start(run, Stdio::null(), output.into(), Stdio::inherit())?;
    let (mut size, mut heard) = (0, Instant::now());
    while guest.child().try_wait()?.is_none() && heard.elapsed() < PATIENCE {
        let now = fs::metadata(&path)?.len();
        if now != size {
            (size, heard) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let ending = emulator::wait(&mut guest, &machine.log, Some(Instant::now()))?;
    guest.kill();
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
    let round = text.lines().filter_map(round_of).next_back().unwrap_or(0);
    let last_line = text.lines().next_back().unwrap_or("nothing was printed").to_owned();
    let what = match ending {
        Ending::Status(0) => return Ok(Watched { finding: None, round, last_line }),
        // The program has said what it found and shown the calls.
        Ending::Status(1) if text.contains("finding: ") => {
            let from = text.find("finding: ").unwrap_or(0);
            return Ok(Watched { finding: Some(text[from..].to_owned()), round, last_line });
        }
        Ending::TimedOut => format!("the machine hangs: nothing was printed for {} s", PATIENCE.as_secs()),
        Ending::Panic => "the kernel panicked".to_owned(),
        other => format!("the machine ended: {other:?}"),
    };
    let memory = machine.memory_files.as_deref().map(last_calls::find).transpose()?.unwrap_or_default();
    let log = emulator::end_of_log(&machine.log, 40);
    Ok(Watched { finding: Some(format!("{what}\n{log}\n{memory}")), round, last_line })
}

/// The round that a line of the program is about.
fn round_of(line: &str) -> Option<u64> {
    let words = line.strip_prefix("beat: ").unwrap_or(line).strip_prefix("round ")?;
    words.split([' ', ',']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_is_read_from_what_the_program_prints() {
        assert_eq!(round_of("round 12 as root: 3200 calls, 1 KiB free"), Some(12));
        assert_eq!(round_of("beat: round 3, 566 calls"), Some(3));
        assert_eq!(round_of("beat: 3 tasks are still to end"), None);
    }
}
