//! Counts instructions with valgrind, which depend neither on the load of the machine nor, much, on
//! the machine.

use std::process::Command;

use measures::samples::SIZES;

use crate::stores::{LOAD, VISIT};
use crate::subject::names;

/// Counts every subject that does its work in this thread, and prints tables.
pub(crate) fn count(rounds: usize) {
    let names = names();
    let (stores, services): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.ends_with(LOAD) || name.ends_with(VISIT));
    println!("\n| instructions | |\n| --- | --: |");
    for name in services {
        println!("| {name} | {} |", of(name, SIZES[0], rounds));
    }
    let head = SIZES.map(|bytes| format!(" {bytes} bytes |"));
    println!("\n| instructions |{}\n| --- |{}", head.concat(), " --: |".repeat(SIZES.len()));
    for name in stores.into_iter().filter(|name| name.ends_with(VISIT)) {
        let counts = SIZES.map(|bytes| format!(" {} |", of(name, bytes, rounds)));
        println!("| {name} |{}", counts.concat());
    }
}

/// Returns the instructions of one piece of work: those of starting are in both runs.
fn of(name: &str, bytes: usize, rounds: usize) -> u64 {
    let (few, many) = (run(name, bytes, rounds), run(name, bytes, 3 * rounds));
    many.saturating_sub(few) / (2 * rounds as u64)
}

fn run(name: &str, bytes: usize, count: usize) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["repeat", name, &count.to_string(), "--bytes", &bytes.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.expect("callgrind's result");
    count.trim().parse().expect("a number")
}
