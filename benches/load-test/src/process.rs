//! The process of a server, and what it uses.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::contest::Contestant;

/// The unit of CPU time in `/proc`: `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    process: Child,
}

impl Server {
    pub(crate) async fn start(contestant: &Contestant, workers: usize) -> Self {
        let own = || std::env::current_exe().expect("this program");
        let program: PathBuf = contestant.program.clone().unwrap_or_else(own);
        let service = contestant.service.to_string();
        let mut process = Command::new(program)
            .args(["serve", &service, &contestant.database, &workers.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let line = stdout.lines().next_line().await.expect("a line");
        let port = line.expect("the server ended").parse().expect("a port");
        Self { port, process }
    }

    fn read(&self, file: &str) -> String {
        let id = self.process.id().expect("the server ended");
        fs::read_to_string(format!("/proc/{id}/{file}")).expect("Linux' /proc")
    }

    /// Returns the CPU time that the server has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        // The name of the program, in brackets, may hold spaces. User time is the 14th field.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        TICK * ticks.map(|ticks| ticks.parse::<u32>().expect("ticks")).sum()
    }

    /// Returns the server's memory in RAM, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Ends the server, so that it takes nothing from the next one.
    pub(crate) async fn end(mut self) {
        self.process.kill().await.expect("killed");
    }
}
