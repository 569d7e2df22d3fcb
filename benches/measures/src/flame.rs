//! Flame graphs: samples of the stack while a subject does its work.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use pprof::flamegraph::Options;
use pprof::{Frames, ProfilerGuardBuilder, Symbol};

use crate::subject;

/// Samples in a second: no round number, so that no timer of the program keeps step with it.
const FREQUENCY: i32 = 997;

/// The narrowest frame that is drawn, in per cent.
const LEAST: f64 = 0.2;

/// Layers of generic code that say nothing of their own: their time is that of their callers. What
/// allocates, frees and copies memory is in none of them.
const LIBRARIES: [&str; 4] = ["core::", "alloc::", "hashbrown::", "std::"];

/// Draws a flame graph of a subject that works for this long.
pub(crate) fn draw(name: &str, bytes: usize, duration: Duration, path: &Path) {
    subject::with(name, bytes, |subject| {
        subject.run(1_000);
        let builder = ProfilerGuardBuilder::default().frequency(FREQUENCY);
        let guard = builder.build().expect("a profiler");
        let began = Instant::now();
        while began.elapsed() < duration {
            subject.run(1_000);
        }
        let report = guard.report().frames_post_processor(cut).build().expect("a report");
        let mut options = Options::default();
        options.title = name.to_owned();
        options.min_width = LEAST;
        options.deterministic = true;
        let file = File::create(path).expect("a file");
        report.flamegraph_with_options(file, &mut options).expect("a flame graph");
    });
}

/// Leaves the frames of the subject, and none of the program that calls it. The innermost frame is
/// the first, and so is the innermost of the functions that were inlined into it.
fn cut(frames: &mut Frames) {
    frames.thread_name = "the subject".to_owned();
    let is_caller = |symbol: &Symbol| symbol.name().contains("block_on");
    let mut ends = frames.frames.iter().enumerate();
    let end = ends.find_map(|(at, frame)| Some((at, frame.iter().position(is_caller)?)));
    if let Some((frame, symbol)) = end {
        frames.frames.truncate(frame + 1);
        frames.frames[frame].truncate(symbol);
    }
    for frame in &mut frames.frames {
        frame.retain(|symbol| !is_of_library(&symbol.name()));
        for symbol in frame {
            symbol.name = Some(short(&symbol.name()).into_bytes());
        }
    }
}

fn is_of_library(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&', '*']);
    LIBRARIES.iter().any(|library| name.starts_with(library))
}

/// Leaves the type arguments out of a name, but for the type that implements a trait. A semicolon
/// would part two frames.
fn short(name: &str) -> String {
    let (mut short, mut depth, mut previous) = (String::new(), 0, ' ');
    for next in name.chars() {
        let has_arguments = previous.is_alphanumeric() || [':', '_'].contains(&previous);
        match next {
            '<' if depth > 0 || has_arguments => depth += 1,
            '>' if depth > 0 && previous != '-' => depth -= 1,
            ';' if depth == 0 => short.push(','),
            next if depth == 0 => short.push(next),
            _ => {}
        }
        previous = next;
    }
    short.replace("::::", "::")
}
