//! Services without network, each beside its yardsticks.

use std::path::Path;

use tokio::runtime::Runtime;

use super::print;
use crate::measure::{Subject, in_turns};
use crate::{draw, services};

pub(super) fn draw(runtime: &Runtime, directory: &Path, rounds: usize) {
    let measure = |file: &str, title: &str, yardstick: &str, subjects: Vec<Subject<'_>>| {
        let measured = in_turns(subjects, rounds);
        print(title, &measured, |_| measured.iter().find(|one| one.name.ends_with(yardstick)));
        let values: Vec<_> = measured.into_iter().map(|one| (one.name, one.cpu)).collect();
        draw::bars(&directory.join(file), title, "µs of CPU", &values).expect("a figure");
    };
    let (title, yardstick) = ("Identity of an Alexa request of 3 KB", "a borrowed serde struct");
    measure("identity.svg", title, yardstick, services::identity());
    let (title, yardstick) = ("A GET, which passes through", "inner service alone");
    measure("pass-through.svg", title, yardstick, services::pass_through(runtime));
    let title = "An Alexa request of 3 KB, without network";
    measure("layer.svg", title, "buffering and identity", services::requests(runtime));
}
