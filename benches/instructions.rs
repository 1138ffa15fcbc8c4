//! Runs a pure part of the delivery path, so that `scripts/compare-instructions` can count its instructions.
//!
//! `instructions NAME COUNT` runs the part COUNT times; without arguments it lists the names.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark may panic")]

mod paths;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let [name, count] = &arguments[..] else {
        return paths::PATHS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let count: usize = count.parse().expect("COUNT must be a number");
    let (_, path) = paths::PATHS.iter().find(|(path, _)| path == name).expect("NAME must be a listed name");
    let mut action = path();
    measured(&mut action, count);
}

/// Only instructions of this function are counted. The preparation differs between runs, because maps hash randomly.
#[inline(never)]
fn measured(action: &mut dyn FnMut(), count: usize) {
    for _ in 0..count {
        action();
    }
}
