//! From a sequence on which the systems differ to the shortest part of it on which they still do.

use anyhow::{Context, Result};

use super::guest::{Guests, Job, Output};
use crate::progress;

/// So often the candidates of a round are tried.
const ROUNDS: usize = 8;

/// The report on a difference: the shortest sequence, and what each system says to it.
pub fn report(guests: &Guests, seed: u64, difference: &str) -> Result<String> {
    let sequence = difference.split('.').next().and_then(|number| number.parse().ok()).context("no sequence")?;
    let job = Job::Detail { seed, sequence };
    let (ours, theirs) = guests.run_both(&job)?;
    let Some(at) = first_unequal(&ours, &theirs) else {
        return Ok(format!("seed {seed}, {difference}\nIt does not show when the sequence runs alone"));
    };
    let mut lines: Vec<String> = ours.entries().iter().take(at + 1).filter_map(operation_of).collect();
    for _ in 0..ROUNDS {
        let shorter = shorten(guests, &lines)?;
        if shorter.len() == lines.len() {
            break;
        }
        lines = shorter;
        progress::say(&format!("{} operations are left", lines.len()));
    }
    let script = lines.join("\n");
    let job = Job::Script(&script);
    let (ours, theirs) = guests.run_both(&job)?;
    let sides = side_by_side(&ours, &theirs);
    Ok(format!("seed {seed}, {difference}\nThe shortest sequence that differs:\n{script}\n\n{sides}"))
}

/// The operation in the first line of a detailed entry: behind the hash.
fn operation_of(entry: &(String, String)) -> Option<String> {
    let first = entry.1.lines().next()?;
    Some(first.split_once(' ')?.1.to_owned()).filter(|_| !entry.0.ends_with("clear"))
}

fn first_unequal(ours: &Output, theirs: &Output) -> Option<usize> {
    let unequal = |(one, other): (&(String, String), &(String, String))| one != other;
    let length = ours.entries().len().min(theirs.entries().len());
    let found = ours.entries().iter().zip(theirs.entries()).position(unequal);
    found.or((ours.entries().len() != theirs.entries().len()).then_some(length.saturating_sub(1)))
}

/// Leaves out what can be left out: each single line is tried, then all those together that were not needed, then
/// halves of them.
fn shorten(guests: &Guests, lines: &[String]) -> Result<Vec<String>> {
    let single: Vec<Vec<usize>> = (0..lines.len()).map(|index| vec![index]).collect();
    let unneeded: Vec<usize> = working(guests, lines, &single)?.into_iter().flatten().collect();
    let mut together = Vec::new();
    let mut size = unneeded.len();
    while size > 0 {
        together.extend(unneeded.chunks(size).map(<[usize]>::to_vec));
        size /= 2;
    }
    let best = working(guests, lines, &together)?.into_iter().max_by_key(Vec::len);
    let gone = best.unwrap_or_default();
    Ok(lines.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, line)| line.clone()).collect())
}

/// Those of the candidates (lines to leave out) without which the systems still differ.
fn working(guests: &Guests, lines: &[String], candidates: &[Vec<usize>]) -> Result<Vec<Vec<usize>>> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let without = |gone: &Vec<usize>| {
        let left = lines.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        left.map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    };
    let script = candidates.iter().map(without).collect::<Vec<_>>().join("\n\n");
    let job = Job::Script(&script);
    let (ours, theirs) = guests.run_both(&job)?;
    let differs = |number: usize| {
        let prefix = format!("{number}.");
        let of = |output: &Output| {
            let mine = output.entries().iter().filter(|(place, _)| place.starts_with(&prefix));
            mine.map(|(_, rest)| rest.clone()).collect::<Vec<_>>()
        };
        of(&ours) != of(&theirs)
    };
    Ok(candidates.iter().enumerate().filter(|(number, _)| differs(*number)).map(|(_, gone)| gone.clone()).collect())
}

/// The operations on which they differ, each with the lines that only one of them has.
pub fn side_by_side(ours: &Output, theirs: &Output) -> String {
    let mut text = String::new();
    for ((place, one), (_, other)) in ours.entries().iter().zip(theirs.entries()) {
        if one == other {
            continue;
        }
        let (mine, linux): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
        let operation = mine.first().and_then(|line| line.split_once(' ')).map_or("", |(_, operation)| operation);
        text += &format!("{place} {operation}\n");
        for (name, lines, without) in [("here", &mine, &linux), ("Linux", &linux, &mine)] {
            for line in lines.iter().skip(1).filter(|line| !without.contains(line)) {
                text += &format!("  {name:>5}:{line}\n");
            }
        }
    }
    if ours.entries().len() != theirs.entries().len() {
        text += "one of the two did not come to the end\n";
    }
    text
}
