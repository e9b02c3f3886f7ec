//! `container top`: which containers use the machine most, measured again and again.

use std::collections::HashMap;
use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::{Failure, Streams};
use super::control::{check, read};
use super::figures::size;
use super::screen::{Screen, Wish};
use super::tree::{Node, hierarchies};

/// What `top` can be told.
#[derive(Args)]
pub struct Options {
    /// Measures once, prints and ends
    #[arg(long)]
    once: bool,
    /// Prints JSON, a line for each measurement
    #[arg(long)]
    json: bool,
    /// The seconds between two measurements
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// The order of the rows
    #[arg(short, long, value_enum, default_value_t = Order::Cpu)]
    sort: Order,
    /// Shows the container at PATH and those below it; all hierarchies that are mounted if it is missing
    path: Option<PathBuf>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The most CPU time in the interval first
    Cpu,
    /// The most memory first
    Memory,
    /// The most tasks first
    Tasks,
    /// As the tree is
    Tree,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Order::Cpu => Order::Memory,
            Order::Memory => Order::Tasks,
            Order::Tasks => Order::Tree,
            Order::Tree => Order::Cpu,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|duration| !duration.is_zero()).ok_or_else(|| "not a number of seconds above 0".into())
}

/// A row: one container in one interval.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    hierarchy: String,
    path: String,
    tasks: usize,
    /// CPU time in hundredths of the interval: 100 is one CPU.
    cpu: f64,
    memory: Option<u64>,
}

/// What was measured at one time.
struct Measurement {
    at: Instant,
    hierarchies: Vec<(String, Node)>,
    /// The CPU time of each task in clock ticks, where no subsystem accounts it.
    ticks: HashMap<String, u64>,
}

/// The clock ticks of `/proc`, in nanoseconds each.
const TICK: u64 = 10_000_000;

impl Measurement {
    fn take(path: Option<&PathBuf>) -> Result<Self, String> {
        let mut all = Vec::new();
        match path {
            Some(path) => {
                check(path)?;
                let name = path.display().to_string();
                all.push((name.clone(), Node::read(path, &name)));
            }
            None => {
                for hierarchy in hierarchies()? {
                    let title = format!("{} ({})", hierarchy.directory.display(), hierarchy.subsystems.join(", "));
                    all.push((title, Node::read(&hierarchy.directory, "/")));
                }
            }
        }
        let unaccounted = all.iter().any(|(_, node)| node.figures.cpu.is_none());
        let ticks = if unaccounted { task_ticks() } else { HashMap::new() };
        Ok(Self { at: Instant::now(), hierarchies: all, ticks })
    }

    /// The rows since an earlier measurement, in the order of the trees.
    fn rows(&self, before: &Measurement) -> Vec<Row> {
        let time = self.at.saturating_duration_since(before.at).as_nanos().max(1) as f64;
        let mut earlier: HashMap<PathBuf, Option<u64>> = HashMap::new();
        for (_, node) in &before.hierarchies {
            node.walk(0, &mut |node, _| {
                earlier.insert(node.path.clone(), node.figures.cpu);
            });
        }
        let mut rows = Vec::new();
        for (hierarchy, node) in &self.hierarchies {
            node.walk(0, &mut |node, _| {
                let used = match (node.figures.cpu, earlier.get(&node.path)) {
                    (Some(now), Some(Some(then))) => now.saturating_sub(*then),
                    // It is new: all of it is of this interval.
                    (Some(now), _) => now,
                    (None, _) => self.used_by_tasks(node, before),
                };
                rows.push(Row {
                    hierarchy: hierarchy.clone(),
                    path: node.path.display().to_string(),
                    tasks: node.all_tasks(),
                    cpu: used as f64 * 100.0 / time,
                    memory: node.figures.memory,
                });
            });
        }
        rows
    }

    /// What the tasks that are in a container and below it now have used since, in nanoseconds.
    fn used_by_tasks(&self, node: &Node, before: &Measurement) -> u64 {
        let mut ticks = 0;
        node.walk(0, &mut |node, _| {
            for task in read(&node.path, "tasks").unwrap_or_default().lines() {
                let now = self.ticks.get(task).copied().unwrap_or(0);
                ticks += now.saturating_sub(before.ticks.get(task).copied().unwrap_or(0));
            }
        });
        ticks * TICK
    }
}

/// The CPU time of every task.
fn task_ticks() -> HashMap<String, u64> {
    let mut all = HashMap::new();
    let names = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for process in names("/proc").into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        for task in names(&format!("/proc/{process}/task")) {
            let stat = fs::read_to_string(format!("/proc/{process}/task/{task}/stat")).unwrap_or_default();
            // Fields 14 and 15 of proc(5), the first one after the name being field 3.
            let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
            let ticks = [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum();
            all.insert(task, ticks);
        }
    }
    all
}

/// Puts rows into an order; equal ones stay as the tree has them.
fn sort(rows: &mut [Row], order: Order) {
    match order {
        Order::Cpu => rows.sort_by(|one, two| two.cpu.total_cmp(&one.cpu)),
        Order::Memory => rows.sort_by_key(|row| std::cmp::Reverse(row.memory)),
        Order::Tasks => rows.sort_by_key(|row| std::cmp::Reverse(row.tasks)),
        Order::Tree => {}
    }
}

/// The rows as a table, each hierarchy by itself, its name before it.
fn table(rows: &[Row]) -> Vec<String> {
    let mut lines = vec![format!("{:>7} {:>7} {:>8}  CONTAINER", "CPU %", "TASKS", "MEMORY")];
    let mut titles: Vec<&str> = Vec::new();
    rows.iter().for_each(|row| {
        if !titles.contains(&row.hierarchy.as_str()) {
            titles.push(&row.hierarchy);
        }
    });
    titles.sort_unstable();
    for title in &titles {
        if titles.len() > 1 || rows.iter().all(|row| row.path != **title) {
            lines.push((*title).to_owned());
        }
        for row in rows.iter().filter(|row| row.hierarchy == **title) {
            let memory = row.memory.map_or_else(|| "-".to_owned(), size);
            lines.push(format!("{:>7.1} {:>7} {memory:>8}  {}", row.cpu, row.tasks, row.path));
        }
    }
    lines
}

fn as_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "hierarchy": row.hierarchy,
            "path": row.path,
            "tasks": row.tasks,
            "cpu_percent": (row.cpu * 10.0).round() / 10.0,
            "memory_bytes": row.memory,
        })
    };
    rows.iter().map(row).collect()
}

/// Measures and shows until a key or a signal ends it, or once.
pub fn run(options: &Options, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    if !options.once && !options.json && !dumb && std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        return on_screen(options);
    }
    let mut before = Measurement::take(options.path.as_ref())?;
    loop {
        sleep(options.interval);
        let now = Measurement::take(options.path.as_ref())?;
        let mut rows = now.rows(&before);
        sort(&mut rows, options.sort);
        if options.json {
            writeln!(streams.out, "{}", as_json(&rows))?;
        } else {
            table(&rows).iter().try_for_each(|line| writeln!(streams.out, "{line}"))?;
            if !options.once {
                writeln!(streams.out)?;
            }
        }
        streams.out.flush()?;
        if options.once {
            return Ok(0);
        }
        before = now;
    }
}

fn on_screen(options: &Options) -> Result<u8, Failure> {
    let (mut order, mut chosen, mut first) = (options.sort, 0, 0_usize);
    let mut before = Measurement::take(options.path.as_ref())?;
    sleep(Duration::from_millis(200));
    let mut now = Measurement::take(options.path.as_ref())?;
    let screen = Screen::open()?;
    loop {
        let mut rows = now.rows(&before);
        sort(&mut rows, order);
        // 0 is all of them.
        let titles: Vec<&String> = now.hierarchies.iter().map(|(title, _)| title).collect();
        chosen %= titles.len() + 1;
        if let Some(title) = chosen.checked_sub(1).map(|index| titles[index]) {
            rows.retain(|row| row.hierarchy == *title);
        }
        let mut lines = table(&rows);
        let hidden = (lines.len() - 1).saturating_sub(screen.rows());
        first = first.min(hidden);
        lines.drain(1..=first);
        screen.draw(&lines, &format!("q leave  s sort ({order:?})  h hierarchy  arrows scroll"))?;
        let next = Instant::now() + options.interval;
        loop {
            match screen.wish(next.saturating_duration_since(Instant::now()))? {
                None if Instant::now() < next => continue,
                None => {}
                Some(Wish::Leave) => return Ok(0),
                Some(Wish::Order) => order = order.next(),
                Some(Wish::Hierarchy) => chosen += 1,
                Some(Wish::Scroll(by)) => first = first.saturating_add_signed(by),
                Some(Wish::Again) => {}
            }
            break;
        }
        if Instant::now() >= next {
            before = std::mem::replace(&mut now, Measurement::take(options.path.as_ref())?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::container::figures::Figures;

    fn measurement(at: Instant, cpu: &[(&str, u64)]) -> Measurement {
        let node = |(path, cpu): &(&str, u64)| Node {
            path: path.into(),
            name: (*path).to_owned(),
            figures: Figures { tasks: 1, cpu: Some(*cpu), memory: Some(2048), settings: Vec::new() },
            children: Vec::new(),
        };
        let mut root = node(&cpu[0]);
        root.children = cpu[1..].iter().map(node).collect();
        Measurement { at, hierarchies: vec![("/h (cpuacct)".into(), root)], ticks: HashMap::new() }
    }

    #[test]
    fn cpu_is_what_was_used_in_the_interval_and_the_busiest_is_first() {
        let start = Instant::now();
        let before = measurement(start, &[("/h", 1_000_000_000), ("/h/a", 0)]);
        let later = start + Duration::from_secs(2);
        let after = measurement(later, &[("/h", 2_000_000_000), ("/h/a", 1_000_000_000), ("/h/new", 3_000_000_000)]);
        let mut rows = after.rows(&before);
        let cpu: Vec<f64> = rows.iter().map(|row| row.cpu.round()).collect();
        assert_eq!(cpu, [50.0, 50.0, 150.0]);
        assert_eq!(rows[0].tasks, 3, "tasks count here and below, like the rest");
        sort(&mut rows, Order::Cpu);
        assert_eq!(
            table(&rows),
            [
                "  CPU %   TASKS   MEMORY  CONTAINER",
                "/h (cpuacct)",
                "  150.0       1     2.0K  /h/new",
                "   50.0       3     2.0K  /h",
                "   50.0       1     2.0K  /h/a",
            ]
        );
    }

    #[test]
    fn intervals_are_positive() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert!(interval("0").is_err() && interval("-1").is_err() && interval("x").is_err());
    }
}
