//! Races: random operations and faults on the real tree, beside a simple second model.
//!
//! A case is a few rounds. In each round a handful of things are asked for at about the
//! same time, while the engine, the store and the sandbox go wrong as planned and the
//! tree may crash. Then the faults end, and the project has to come to rest in a phase
//! that the [model] allows, with everything outside of the tree to match.
//!
//! All of a case runs on one thread with paused time, so that minutes of retries take
//! milliseconds. A case follows from its seed alone: a failure prints the smallest case
//! that fails and the seed, and `SANDTREE_RACES_SEED=<seed>` runs that one and no other,
//! in the same way: the same answers, calls of the engine and transitions, at the same
//! times. `SANDTREE_RACES_CASES` sets how many each of the four tests runs, and
//! `SANDTREE_RACES_REPLAYED` how many are run twice and compared.

#[path = "races/acts.rs"]
mod acts;
#[path = "races/case.rs"]
mod case;
#[path = "it/ground.rs"]
#[expect(dead_code, reason = "shared with `it`, which uses all of it")]
mod ground;
#[path = "races/model.rs"]
mod model;
#[path = "races/rest.rs"]
mod rest;
#[path = "races/run.rs"]
mod run;
#[path = "races/trace.rs"]
mod trace;
#[path = "races/world.rs"]
mod world;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Cases of one test; there are four.
const CASES: u64 = 2_600;

/// Cases that are run twice.
const REPLAYED: u64 = 200;

fn number_in(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

/// Runs the cases of one quarter of all seeds.
fn quarter(number: u64) {
    if let Some(seed) = number_in("SANDTREE_RACES_SEED") {
        return one(seed);
    }
    let cases = number_in("SANDTREE_RACES_CASES").unwrap_or(CASES);
    (number * cases..(number + 1) * cases).for_each(one);
}

/// Draws the one case of a seed.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    TestRunner::new_with_rng(Config { cases: 1, ..config }, rng)
}

/// Runs one case, and looks for a smaller one if it fails.
fn one(seed: u64) {
    let mut runner = runner(seed);
    let outcome = runner.run(&case::cases(), |case| {
        run::run(&case).map_err(|why| TestCaseError::fail(format!("{why}\n{}", trace::text())))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            panic!("SANDTREE_RACES_SEED={seed} fails: {why}\nThe smallest case: {case:#?}")
        }
        Err(TestError::Abort(why)) => panic!("SANDTREE_RACES_SEED={seed} is given up: {why}"),
    }
}

#[test]
fn whatever_races_the_project_comes_to_rest_where_the_model_allows_1() {
    quarter(0);
}

#[test]
fn whatever_races_the_project_comes_to_rest_where_the_model_allows_2() {
    quarter(1);
}

#[test]
fn whatever_races_the_project_comes_to_rest_where_the_model_allows_3() {
    quarter(2);
}

#[test]
fn whatever_races_the_project_comes_to_rest_where_the_model_allows_4() {
    quarter(3);
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..number_in("SANDTREE_RACES_REPLAYED").unwrap_or(REPLAYED) {
        let case = case::cases().new_tree(&mut runner(seed)).expect("a case").current();
        let run = || run::run(&case).map(|()| trace::text());
        let (once, again) = (run(), run());
        assert_eq!(once, again, "seed {seed}: {case:#?}");
    }
}

#[test]
fn a_seed_draws_the_same_case_each_time() {
    for seed in 0..50 {
        let draw = || case::cases().new_tree(&mut runner(seed)).expect("a case").current();
        assert_eq!(format!("{:?}", draw()), format!("{:?}", draw()), "seed {seed}");
    }
}
