//! The figures of `README.md`.

mod cold;
mod services;
mod stores;

use std::path::Path;
use std::time::Instant;

use tokio::runtime::Builder;

use crate::measure::Measured;

/// A set of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Figure {
    /// Identity, a request that passes through, and a request through the whole layer.
    Services,
    /// Load and save by the size of the record.
    Sizes,
    /// Load and save by the number of users.
    Users,
    /// From nothing to the first loaded user.
    Cold,
}

/// Measures and draws into `directory`.
pub(crate) fn draw(figures: &[Figure], directory: &Path, rounds: usize) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for figure in figures {
        let began = Instant::now();
        match figure {
            Figure::Services => services::draw(&runtime, directory, rounds),
            Figure::Sizes => stores::sizes(&runtime, directory, rounds),
            Figure::Users => stores::users(&runtime, directory, rounds),
            Figure::Cold => cold::draw(&runtime, directory, rounds),
        }
        eprintln!("{figure:?}: {:.0} s", began.elapsed().as_secs_f64());
    }
}

/// Prints a table. The ratios are to the yardstick of each row.
fn print<'a>(
    title: &str,
    measured: &'a [Measured],
    yardstick: impl Fn(&Measured) -> Option<&'a Measured>,
) {
    println!("\n{title}\n\n| | CPU, µs | | best on the clock, µs | |");
    println!("| --- | --: | --: | --: | --: |");
    for one in measured {
        let yardstick = yardstick(one);
        let ratio = |of: fn(&Measured) -> f64| {
            yardstick.map_or_else(String::new, |other| format!("{:.2}", of(one) / of(other)))
        };
        let Measured { name, cpu, wall, .. } = one;
        let (cpu_ratio, wall_ratio) = (ratio(|one| one.cpu), ratio(|one| one.wall));
        println!("| {name} | {cpu:.2} | {cpu_ratio} | {wall:.2} | {wall_ratio} |");
    }
}
