//! Runs the long steps: shows what is going on, keeps quiet about what took no time, and shows the whole output of what failed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Says something to the person, on standard error.
pub fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs `command` to its end under the title `what`; its standard output is returned, its standard error shown
/// while it runs (the last line) or after it failed (all of it).
///
/// Errors: the command cannot be started or does not end with status 0.
pub fn run(what: &str, command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {program}"))?;
    let bar = spinner(what);
    let mut stdout = child.stdout.take().context("no standard output")?;
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output)
    });
    let (mut errors, mut announced) = (Vec::new(), false);
    let mut lines = BufReader::new(child.stderr.take().context("no standard error")?);
    loop {
        let at = errors.len();
        if lines.read_until(b'\n', &mut errors)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&errors[at..]).trim().to_owned();
        if !announced && line.starts_with("Compiling") && bar.is_hidden() {
            announced = true;
            say(&format!("{what} ..."));
        }
        bar.set_message(line);
    }
    let status = child.wait()?;
    bar.finish_and_clear();
    let output = reader.join().ok().context("the reader of standard output panicked")??;
    if !status.success() {
        eprint!("{}", String::from_utf8_lossy(&errors));
        eprint!("{}", String::from_utf8_lossy(&output));
        bail!("{what}: {program} failed ({status})");
    }
    let taken = started.elapsed();
    if taken > Duration::from_secs(2) {
        say(&format!("{what}: {:.1} s", taken.as_secs_f64()));
    }
    Ok(output)
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
