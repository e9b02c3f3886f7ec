//! The model and the kernel's framework agree, step by step.
//!
//! `MODEL_OPERATIONS=1000000 cargo test --release -p model` does a million steps; without the variable some thousands.

use model::step::{Pair, any_step};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Steps in one sequence, at most.
const LONGEST: usize = 200;

/// Steps without a wish from outside.
const USUAL: usize = 3000;

#[test]
fn framework_and_model_agree() {
    let wanted = std::env::var("MODEL_OPERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    // Lengths are spread evenly from 1 on.
    let cases = u32::try_from(wanted * 2 / LONGEST).unwrap_or(u32::MAX).max(1);
    let config = Config { cases, max_shrink_iters: 2000, ..Config::default() };
    let done = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(config);
    let steps = proptest::collection::vec(any_step(), 1..LONGEST);
    let result = runner.run(&steps, |steps| {
        let mut pair = Pair::default();
        for step in &steps {
            pair.apply(step).map_err(|error| at(step, error))?;
            pair.compare().map_err(|error| at(step, error))?;
        }
        done.set(done.get() + steps.len());
        pair.end()
    });
    println!("{} operations", done.get());
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn at(step: &impl std::fmt::Debug, error: TestCaseError) -> TestCaseError {
    match error {
        TestCaseError::Fail(reason) => TestCaseError::fail(format!("after {step:?}: {reason}")),
        other => other,
    }
}
