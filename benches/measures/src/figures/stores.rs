//! Databases beside their bare clients, by the number of users and by the size of the records.

use std::path::Path;

use measures::samples::SIZES;
use tempfile::tempdir;
use tokio::runtime::Runtime;

use super::print;
use crate::draw::{self, Line, Panel};
use crate::measure::{Measured, in_turns};
use crate::stores::{self, PAIRS, Place, VISIT};

/// The numbers of users. The order of visits needs powers of ten.
pub(super) const USERS: [usize; 4] = [1, 100, 10_000, 100_000];

/// The number of users for [`AT_MOST`] alone: the others would fill the memory, or take too long.
const MOST: usize = 1_000_000;
const AT_MOST: &str = "SqliteDb";

/// The legend of the panels.
const COLORS: &str = "Red: load and save. Blue: load. Grey: the same with the bare client.";

/// Measures one user by the size of the record.
pub(super) fn sizes(runtime: &Runtime, directory: &Path, rounds: usize) {
    let mut panels = empty();
    for bytes in SIZES {
        let place = tempdir().expect("a directory");
        let place = Place { runtime, directory: place.path(), users: 1, bytes };
        let measured = in_turns(stores::open_all(&place), rounds);
        print_pairs(&format!("one user of {bytes} bytes"), &measured);
        // Files are synced and read by other threads: their time is that on the clock.
        let time = |one: &Measured| match ["FileDb", "SqliteDb"].contains(&one.group.as_str()) {
            true => one.wall,
            false => one.cpu,
        };
        add(&mut panels, bytes, &measured, time);
    }
    let title = format!("One user: µs of the client's CPU, for files on the clock. {COLORS}");
    let path = directory.join("sizes.svg");
    draw::panels(&path, &title, "bytes of a record", &panels).expect("a figure");
}

/// Measures records of the least size by the number of users.
pub(super) fn users(runtime: &Runtime, directory: &Path, rounds: usize) {
    let (mut panels, bytes) = (empty(), SIZES[0]);
    for users in USERS.into_iter().chain([MOST]) {
        let place = tempdir().expect("a directory");
        let place = Place { runtime, directory: place.path(), users, bytes };
        let subjects = match users {
            MOST => PAIRS.iter().filter(|pair| pair.name == AT_MOST).collect::<Vec<_>>(),
            _ => PAIRS.iter().collect(),
        };
        let subjects = subjects.iter().flat_map(|pair| (pair.open)(&place)).collect();
        let measured = in_turns(subjects, rounds);
        print_pairs(&format!("{users} users of {bytes} bytes"), &measured);
        add(&mut panels, users, &measured, |one| one.wall);
    }
    let title = format!("Records of {bytes} bytes: µs on the clock. {COLORS}");
    draw::panels(&directory.join("users.svg"), &title, "users", &panels).expect("a figure");
}

/// Prints a table, in which each database is compared with its bare client on the same work.
fn print_pairs(title: &str, measured: &[Measured]) {
    let work = |one: &Measured| one.name.split_once(": ").map(|(_, work)| work.to_owned());
    print(title, measured, |one| {
        let mut others = measured.iter().filter(|other| other.is_yardstick && !one.is_yardstick);
        others.find(|other| other.group == one.group && work(other) == work(one))
    });
}

fn empty() -> Vec<Panel> {
    PAIRS.iter().map(|pair| Panel { title: pair.name.to_owned(), lines: Vec::new() }).collect()
}

fn add(panels: &mut [Panel], x: usize, measured: &[Measured], y: impl Fn(&Measured) -> f64) {
    for one in measured.iter().filter(|one| !one.name.contains("prepared")) {
        let panel = panels.iter_mut().find(|panel| panel.title == one.group).expect("a panel");
        let point = (x as f64, y(one));
        match panel.lines.iter_mut().find(|line| line.name == one.name) {
            Some(line) => line.points.push(point),
            None => panel.lines.push(Line {
                name: one.name.clone(),
                points: vec![point],
                is_yardstick: one.is_yardstick,
                is_dark: one.name.ends_with(VISIT),
            }),
        }
    }
}
