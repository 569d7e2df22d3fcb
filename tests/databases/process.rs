//! Starts a server that ends together with the tests, however they end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::servers::Program;

const START: Duration = Duration::from_secs(90);

/// The longest wait until a server may be killed, or until it has ended.
const END: Duration = Duration::from_secs(30);

/// Runs the program until its standard input is closed, which the system does when this process
/// ends, even by a panic, Ctrl-C or SIGKILL. A line on it names a signal for the program. A shell
/// gives a background program no standard input, hence descriptor 3. The shell's own messages about
/// killing are discarded.
const WATCH: &str = r#"
exec 3<&0 4>&2 2>/dev/null
"$@" </dev/null 2>&4 3<&- 4>&- &
server=$!
exec 4>&-
trap 'kill -9 $server' HUP INT TERM
{ while read -r signal <&3; do kill -"$signal" $server; done; kill -9 $server; } &
watcher=$!
exec 3<&-
wait $server
kill $watcher
"#;

/// A server, either of one test or shared by all.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    port: u16,
    directory: TempDir,
    extra: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// Starts `program` on a free port with `extra` arguments, and waits until it accepts
    /// connections.
    pub(crate) fn start(program: &Program, extra: &[&str]) -> Self {
        // Lies in target/, because nothing cleans up after Ctrl-C.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let extra = extra.iter().map(|&argument| argument.to_owned()).collect();
        let mut server =
            Self { program: program.clone(), port: 0, directory, extra, process: None };
        // A port that is free now may be taken before the server binds it.
        for _ in 0..3 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("{} does not start: {}", server.program.name, server.output());
    }

    /// Starts another server of the same program.
    #[allow(dead_code)]
    pub(crate) fn another(&self, extra: &[&str]) -> Self {
        Self::start(&self.program, extra)
    }

    /// Returns the address for clients: `http://127.0.0.1:PORT` or `mongodb://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.program.scheme, self.port)
    }

    /// Kills the server as soon as it can restart: connections break off and new ones are refused.
    /// It keeps the writes that it acknowledged.
    pub(crate) fn stop(&mut self) {
        let (data, since) = (self.data(), Instant::now());
        while self.process.is_some() && !(self.program.may_be_killed)(&data) {
            assert!(
                since.elapsed() < END,
                "{} stores nothing it could start with",
                self.program.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            end(process, self.program.name);
        }
    }

    /// Stops the server for a moment: it accepts connections and does not answer.
    pub(crate) fn freeze(&mut self) {
        let input = self.process.as_mut().and_then(|process| process.stdin.as_mut());
        input.unwrap().write_all(b"STOP\n").unwrap();
    }

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Restarts the server after [`stop`](Self::stop), on the same port and with the same data.
    pub(crate) fn start_again(&mut self) {
        self.stop();
        assert!(self.try_start(), "{} does not start again: {}", self.program.name, self.output());
    }

    /// Returns its output so far.
    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    /// Starts it, and returns whether it answers. If not, it has ended.
    fn try_start(&mut self) -> bool {
        let data = self.data();
        fs::create_dir_all(&data).unwrap();
        let arguments = (self.program.arguments)(self.port, &data);
        let path = self.directory.path().join("output");
        let output = OpenOptions::new().append(true).create(true).open(path).unwrap();
        let mut command = watched(&self.program.command);
        // DynamoDB Local leaves a file in its working directory.
        command.args(arguments).args(&self.extra).current_dir(self.directory.path());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut process = command.spawn().expect("a shell, `sh`");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let since = Instant::now();
        while process.try_wait().unwrap().is_none() && since.elapsed() < START {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
                && (self.program.answers)(&self.endpoint())
            {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        end(process, self.program.name);
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends a [`watched`] process.
pub(crate) fn end(mut process: Child, name: &str) {
    drop(process.stdin.take());
    let since = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if since.elapsed() > END {
            // A panic in a destructor would hide the original failure.
            eprintln!("{name} does not end {END:?} after it was killed");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a command that runs `program` until the standard input of the process is closed, which
/// kills it.
pub(crate) fn watched(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", WATCH, "sh"]).arg(program).stdin(Stdio::piped());
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Makes the arguments that start a server from a port and a directory for its data.
pub(crate) type Arguments = fn(u16, &Path) -> Vec<OsString>;
