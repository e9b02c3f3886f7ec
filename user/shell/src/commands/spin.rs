//! spin: burns CPU time and tells on which CPUs it ran; touches memory and tells on which nodes it lies.

use std::collections::BTreeMap;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::thread::sched_getcpu;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::memory::{kilobytes, nodes};
use super::{Failure, Streams};
use crate::messages::errno_text;

/// Burns CPU time, says when its CPU changes, and at the end how long it ran on which. An interrupt ends it too.
#[derive(Parser)]
#[command(name = "spin")]
pub struct Options {
    /// Says only at the end where it ran
    #[arg(short, long)]
    quiet: bool,
    /// First touches this much memory and says on which nodes it lies: a number with K, M or G behind it
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    memory: Option<usize>,
    /// How long, in seconds of the clock; for ever if it is missing
    #[arg(value_parser = seconds)]
    seconds: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a number of seconds".into())
}

fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("not a size".into()),
    };
    digits.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| "not a size".into())
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options = Options::try_parse_from(arguments)?;
    let mut endings = Endings::watch().map_err(|error| errno_text(&error))?;
    let memory = options.memory.map(|size| touch(size, streams)).transpose()?;
    let deadline = options.seconds.map(|duration| Instant::now() + duration);
    let mut times = Times::new();
    let mut last = None;
    let ended = loop {
        let cpu = sched_getcpu();
        if last != Some(cpu) && !options.quiet {
            match last {
                None => writeln!(streams.out, "spin {}: on CPU {cpu}", std::process::id())?,
                Some(before) => writeln!(streams.out, "spin {}: from CPU {before} to CPU {cpu}", std::process::id())?,
            }
            streams.out.flush()?;
        }
        last = Some(cpu);
        burn();
        times.charge(sched_getcpu());
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break None;
        }
        if let Some(signal) = endings.next() {
            break Some(signal);
        }
    };
    black_box(memory);
    writeln!(streams.out, "spin {}: {}", std::process::id(), times.told())?;
    Ok(ended.map_or(0, |signal| 128 + signal))
}

/// Some tens of microseconds of work, with a pause now and then: where QEMU executes one CPU after another so that time
/// can count instructions, it goes on to the next at a pause, and otherwise only when a timer is due.
fn burn() {
    let mut value: u64 = 1;
    for _ in 0..100 {
        for _ in 0..200 {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        spin_loop();
    }
}

/// How long the process ran on each CPU.
struct Times {
    on: BTreeMap<usize, Duration>,
    until: Duration,
}

impl Times {
    fn new() -> Self {
        Self { on: BTreeMap::new(), until: cpu_time() }
    }

    /// Adds what has passed since the last call to `cpu`.
    fn charge(&mut self, cpu: usize) {
        let now = cpu_time();
        *self.on.entry(cpu).or_default() += now.saturating_sub(self.until);
        self.until = now;
    }

    fn told(&self) -> String {
        let whole: Duration = self.on.values().sum();
        let each: Vec<String> =
            self.on.iter().map(|(cpu, time)| format!("{:.3} s on CPU {cpu}", time.as_secs_f64())).collect();
        format!("ran {:.3} s: {}", whole.as_secs_f64(), each.join(", "))
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Touches `size` bytes, and tells how much less memory each node has free afterwards.
fn touch(size: usize, streams: &mut Streams<'_>) -> Result<Vec<u8>, Failure> {
    let free =
        || -> Vec<(u32, u64)> { nodes().iter().map(|(node, text)| (*node, kilobytes(text, "MemFree"))).collect() };
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| "there is not so much memory".to_owned())?;
    let before = free();
    bytes.resize(size, 1);
    black_box(&mut bytes);
    let told: Vec<String> = before
        .iter()
        .zip(free())
        .filter(|((_, before), (_, after))| before > after)
        .map(|((node, before), (_, after))| format!("{} KiB on node {node}", before - after))
        .collect();
    writeln!(streams.out, "spin {}: touched {} KiB: {}", std::process::id(), size / 1024, told.join(", "))?;
    streams.out.flush()?;
    Ok(bytes)
}

/// The signals that end it with a report.
struct Endings {
    runtime: Runtime,
    signals: Vec<(u8, Signal)>,
}

impl Endings {
    fn watch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let signals = [(2, SignalKind::interrupt()), (15, SignalKind::terminate())]
            .into_iter()
            .map(|(number, kind)| Ok((number, signal(kind)?)))
            .collect::<std::io::Result<Vec<_>>>()?;
        drop(inside);
        Ok(Self { runtime, signals })
    }

    /// One that has come.
    fn next(&mut self) -> Option<u8> {
        self.runtime.block_on(async {
            tokio::task::yield_now().await;
            std::future::poll_fn(|context| {
                let come = self
                    .signals
                    .iter_mut()
                    .find_map(|(number, signal)| signal.poll_recv(context).is_ready().then_some(*number));
                std::task::Poll::Ready(come)
            })
            .await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(size("8M"), Ok(8 << 20));
        assert_eq!(size("10"), Ok(10));
        assert!(size("8MB").is_err() && size("M").is_err() && size("99999999999G").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err());
    }

    #[test]
    fn the_report_names_each_cpu_once() {
        let on = BTreeMap::from([(0, Duration::from_millis(1500)), (2, Duration::from_millis(500))]);
        let times = Times { on, until: Duration::ZERO };
        assert_eq!(times.told(), "ran 2.000 s: 1.500 s on CPU 0, 0.500 s on CPU 2");
    }
}
