//! Measures subjects in turns, so that whatever else the machine does meets all of them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The time that one batch of one subject takes about.
const BATCH: Duration = Duration::from_millis(40);

/// Pieces of work that are prepared together, outside the measured time.
const PREPARED: usize = 1_000;

/// The time that some work took: CPU time of the calling thread, and time on the clock.
type Taken = (Duration, Duration);

/// Tells the CPU time of the calling thread.
type Clock = fn() -> Duration;

/// Something to measure: does its work a number of times.
pub(crate) struct Subject<'a> {
    /// Names what it is compared within.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) is_yardstick: bool,
    work: Box<dyn FnMut(usize, Clock) -> Taken + 'a>,
}

impl<'a> Subject<'a> {
    /// Makes a subject of work that needs no preparation.
    pub(crate) fn new(group: &str, name: &str, work: impl FnMut(usize) + 'a) -> Self {
        Self::prepared(group, name, |count| count, work)
    }

    /// Makes a subject of work that needs input, which `prepare` makes for so many times.
    pub(crate) fn prepared<T>(
        group: &str,
        name: &str,
        mut prepare: impl FnMut(usize) -> T + 'a,
        mut work: impl FnMut(T) + 'a,
    ) -> Self {
        let work = move |count: usize, clock: Clock| {
            let mut taken = Taken::default();
            for begin in (0..count).step_by(PREPARED) {
                let input = prepare(PREPARED.min(count - begin));
                let (began, before) = (Instant::now(), clock());
                work(input);
                taken.0 += clock() - before;
                taken.1 += began.elapsed();
            }
            taken
        };
        let (group, name) = (group.to_owned(), name.to_owned());
        Self { group, name, is_yardstick: false, work: Box::new(work) }
    }

    /// Marks what others are compared with.
    pub(crate) fn yardstick(self) -> Self {
        Self { is_yardstick: true, ..self }
    }

    /// Does the work a number of times. The clock of a thread is left alone: rustix cannot ask for
    /// it within valgrind.
    pub(crate) fn run(&mut self, count: usize) {
        (self.work)(count, || Duration::ZERO);
    }
}

/// The time that one piece of work takes, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) is_yardstick: bool,
    /// CPU time of the calling thread, the median of all batches: other programs make some of them
    /// longer, as they share the caches.
    pub(crate) cpu: f64,
    /// Time on the clock in the best batch, since other programs only make it longer.
    pub(crate) wall: f64,
}

/// Measures the subjects, each in `rounds` batches.
pub(crate) fn in_turns(mut subjects: Vec<Subject<'_>>, rounds: usize) -> Vec<Measured> {
    let counts: Vec<usize> = subjects.iter_mut().map(calibrate).collect();
    let mut batches = vec![Vec::with_capacity(rounds); subjects.len()];
    for _ in 0..rounds {
        for ((subject, count), batches) in subjects.iter_mut().zip(&counts).zip(&mut batches) {
            let (cpu, wall) = (subject.work)(*count, thread_cpu);
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / *count as f64;
            batches.push((micros(cpu), micros(wall)));
        }
    }
    let measured = subjects.into_iter().zip(batches).map(|(subject, batches)| {
        let (mut cpu, wall): (Vec<f64>, Vec<f64>) = batches.into_iter().unzip();
        cpu.sort_by(f64::total_cmp);
        Measured {
            group: subject.group,
            name: subject.name,
            is_yardstick: subject.is_yardstick,
            cpu: cpu[cpu.len() / 2],
            wall: wall.into_iter().fold(f64::INFINITY, f64::min),
        }
    });
    measured.collect()
}

/// Finds how often the work is done in one batch.
fn calibrate(subject: &mut Subject<'_>) -> usize {
    subject.run(1);
    let (_, taken) = (subject.work)(3, thread_cpu);
    let each = taken.as_secs_f64() / 3.0;
    ((BATCH.as_secs_f64() / each) as usize).clamp(1, 100_000)
}

/// Returns the CPU time that this thread has used, which waiting for others does not add to.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
