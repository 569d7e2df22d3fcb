//! Measures subjects in turns, so that whatever else the machine does meets all of them.

use std::fs;
use std::time::{Duration, Instant};

/// The time that one batch of one subject takes about.
const BATCH: Duration = Duration::from_millis(40);

/// Something to measure: does its work this many times.
pub(crate) struct Subject<'a> {
    pub(crate) name: String,
    pub(crate) work: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(name: impl Into<String>, work: impl FnMut(usize) + 'a) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

/// What one piece of work takes, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// CPU time of the calling thread, over all batches.
    pub(crate) cpu: f64,
    /// Wall-clock time in the best batch, since other programs only make it longer.
    pub(crate) wall: f64,
}

/// Measures the subjects, each in `rounds` batches.
pub(crate) fn in_turns(mut subjects: Vec<Subject<'_>>, rounds: usize) -> Vec<Measured> {
    let counts: Vec<usize> = subjects.iter_mut().map(calibrate).collect();
    let mut sums = vec![(Duration::ZERO, f64::INFINITY); subjects.len()];
    for _ in 0..rounds {
        for ((subject, count), (cpu, wall)) in subjects.iter_mut().zip(&counts).zip(&mut sums) {
            let (began, before) = (Instant::now(), thread_cpu());
            (subject.work)(*count);
            *cpu += thread_cpu() - before;
            *wall = wall.min(began.elapsed().as_secs_f64() * 1e6 / *count as f64);
        }
    }
    let measured = subjects.into_iter().zip(counts).zip(sums);
    let measured = measured.map(|((subject, count), (cpu, wall))| Measured {
        name: subject.name,
        cpu: cpu.as_secs_f64() * 1e6 / (count * rounds) as f64,
        wall,
    });
    measured.collect()
}

/// Finds how often the work is done in one batch.
fn calibrate(subject: &mut Subject<'_>) -> usize {
    (subject.work)(1);
    let began = Instant::now();
    (subject.work)(3);
    let each = began.elapsed().as_secs_f64() / 3.0;
    ((BATCH.as_secs_f64() / each) as usize).clamp(1, 100_000)
}

/// Returns the CPU time that this thread has used, which waiting for others does not add to.
/// <https://docs.kernel.org/scheduler/sched-stats.html>
fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux' /proc");
    let nanos = text.split_whitespace().next().expect("a number").parse().expect("a number");
    Duration::from_nanos(nanos)
}
