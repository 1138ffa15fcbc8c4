//! Does one of the pure parts so many times, to count its instructions: `scripts/compare-instructions`.
//!
//! Without arguments it lists them; `instructions NAME COUNT` does one.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool stops where it fails")]

mod paths;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let [name, count] = &arguments[..] else {
        return paths::PATHS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let count: usize = count.parse().expect("a number");
    let (_, path) = paths::PATHS.iter().find(|(path, _)| path == name).expect("the name of a path");
    let mut action = path();
    measured(&mut action, count);
}

/// Only what happens in here is counted: what is prepared differs from run to run, because maps hash by chance.
#[inline(never)]
fn measured(action: &mut dyn FnMut(), count: usize) {
    for _ in 0..count {
        action();
    }
}
