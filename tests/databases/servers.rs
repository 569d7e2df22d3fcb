//! Finds the servers, and runs tests on them.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use tower_persistence::Database;
use tower_persistence::testing::conformance;

use crate::bounded::{Case, LIMIT, case, within};
use crate::erasure::erasure_cases;
use crate::faults::fault_cases;
use crate::layer::layer_cases;
use crate::outage::outage;
use crate::process::{Arguments, Server};
use crate::{health, run};

/// The time limit of a test that starts and stops a server of its own.
const LONG_LIMIT: Duration = Duration::from_secs(480);

/// A server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) command: OsString,
    pub(crate) arguments: Arguments,
    /// Returns, within a time limit of its own, whether the server at the endpoint answers.
    pub(crate) answers: fn(&str) -> bool,
    /// Returns whether the server could restart with this data if it were killed now.
    pub(crate) may_be_killed: fn(&Path) -> bool,
}

/// The place of a database's server.
#[derive(Debug)]
enum Place {
    /// At this endpoint, elsewhere: usable, but not stoppable.
    Elsewhere(String),
    Here(Program),
    /// Not available.
    Missing,
}

/// The servers of one database.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    name: &'static str,
    /// The advice for a missing server.
    hint: &'static str,
    place: Arc<Place>,
    shared: Arc<Mutex<Shared>>,
}

/// The server that tests share.
#[derive(Debug, Default)]
struct Shared {
    server: Option<Server>,
    /// The number of times it has stopped answering.
    hung: u32,
}

/// Finds DynamoDB Local in the directory `DYNAMODB_LOCAL_LIB`, or the server at
/// `DYNAMODB_ENDPOINT`.
pub(crate) fn dynamodb() -> Servers {
    let program = env::var_os("DYNAMODB_LOCAL_LIB").map(|_| Program {
        name: "DynamoDB Local",
        scheme: "http",
        command: "java".into(),
        arguments: |port, data| {
            let library = env::var_os("DYNAMODB_LOCAL_LIB").unwrap_or_default();
            let mut path = OsString::from("-Djava.library.path=");
            path.push(&library);
            let mut classes = library;
            classes.push("/*");
            let port = port.to_string();
            let main = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner";
            // With a path it keeps the data when it is killed.
            let arguments = ["-Xmx512m".into(), path, "-cp".into(), classes, main.into()];
            let data = ["-dbPath".into(), data.into(), "-sharedDb".into()];
            arguments.into_iter().chain(["-port".into(), port.into()]).chain(data).collect()
        },
        answers: health::dynamodb,
        may_be_killed: |_| true,
    });
    let hint = "install Java 17 and Maven and run scripts/test, or set DYNAMODB_ENDPOINT";
    Servers::new("dynamodb", hint, "DYNAMODB_ENDPOINT", program)
}

/// Finds SecantusDB as `SECANTUSD`, or the server at `MONGODB_URI`.
pub(crate) fn mongodb() -> Servers {
    let program = env::var_os("SECANTUSD").map(|command| Program {
        name: "SecantusDB",
        scheme: "mongodb",
        command,
        arguments: |port, data| {
            let port = port.to_string();
            let data = ["--storage-path".into(), data.into(), "--sync-on-commit".into()];
            let arguments = ["--log-level".into(), "WARNING".into(), "--port".into(), port.into()];
            // By default it takes 4 GB of memory, and 128 MB of disk per store.
            let sizes = ["--cache-size", "256M", "--log-file-max", "16MB"];
            let sizes = sizes.into_iter().chain(["--checkpoint-seconds", "1"]).map(Into::into);
            arguments.into_iter().chain(data).chain(sizes).collect()
        },
        answers: health::mongodb,
        // Before its first checkpoint there are tables that it cannot reopen.
        may_be_killed: |data| {
            let checkpoints = std::fs::read_to_string(data.join("WiredTiger.turtle"));
            checkpoints.is_ok_and(|text| text.contains("WiredTigerCheckpoint."))
        },
    });
    let hint = "install CMake and a C compiler and run scripts/test, or set MONGODB_URI";
    Servers::new("mongodb", hint, "MONGODB_URI", program)
}

/// Finds PostgreSQL's programs in the directory `POSTGRES_BIN`, or the server at `POSTGRES_URL`.
pub(crate) fn postgres() -> Servers {
    let program = env::var_os("POSTGRES_BIN").map(|_| Program {
        name: "PostgreSQL",
        scheme: "postgres",
        command: "sh".into(),
        arguments: |port, data| {
            let script = include_str!("postgres/start.sh").into();
            let programs = env::var_os("POSTGRES_BIN").unwrap_or_default();
            let port = port.to_string().into();
            vec!["-c".into(), script, "start".into(), programs, port, data.into()]
        },
        answers: health::postgres,
        may_be_killed: |_| true,
    });
    let hint = "install Python with pip and run scripts/test, or set POSTGRES_URL";
    Servers::new("postgres", hint, "POSTGRES_URL", program)
}

/// Finds Valkey as `VALKEY_SERVER`, or the server at `REDIS_URL`.
pub(crate) fn redis() -> Servers {
    let program = env::var_os("VALKEY_SERVER").map(|command| Program {
        name: "Valkey",
        scheme: "redis",
        command,
        arguments: |port, data| {
            let arguments = ["--port".into(), port.to_string().into(), "--dir".into(), data.into()];
            // That of a cluster is 10,000 above it, which may be more than there are.
            let of_cluster = if port > 55_535 { port - 10_000 } else { port + 10_000 };
            let of_cluster = ["--cluster-port".into(), of_cluster.to_string().into()];
            // It keeps what it acknowledged when it is killed.
            let settings =
                ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
            arguments.into_iter().chain(of_cluster).chain(settings.map(Into::into)).collect()
        },
        answers: health::redis,
        may_be_killed: |_| true,
    });
    let hint = "install Python 3 with pip and run scripts/test, or set REDIS_URL";
    Servers::new("redis", hint, "REDIS_URL", program)
}

impl Servers {
    fn new(
        name: &'static str,
        hint: &'static str,
        elsewhere: &str,
        program: Option<Program>,
    ) -> Self {
        let elsewhere = env::var(elsewhere).ok().filter(|endpoint| !endpoint.is_empty());
        let place = match (elsewhere, program) {
            (Some(endpoint), _) => Place::Elsewhere(endpoint),
            (None, Some(program)) => Place::Here(program),
            (None, None) => {
                eprintln!("no server for the tests of {name}: {hint}");
                Place::Missing
            }
        };
        Self { name, hint, place: Arc::new(place), shared: Arc::default() }
    }

    /// Makes the tests of every database on a server: the conformance suite, and the layer with an
    /// outage. `make_db` makes a handle to the database at the endpoint, with any table or
    /// collection, existing or not.
    pub(crate) fn trials<D, M>(&self, make_db: M) -> Vec<Trial>
    where
        D: Database + Clone,
        M: AsyncFn(String) -> D + Clone + Send + Sync + 'static,
    {
        let (conforming, in_outage, servers) = (make_db.clone(), make_db.clone(), self.clone());
        let mut trials = vec![
            self.trial("conformance", async move |endpoint: String| {
                conformance(async || conforming(endpoint.clone()).await).await;
            }),
            self.trial_with_own_server("layer_outage", &[], async move |server| {
                outage(server, in_outage).await;
            }),
        ];
        #[cfg(feature = "circuit-breaker")]
        trials.push({
            let make_db = make_db.clone();
            self.trial_with_own_server("circuit_breaker", &[], async move |server| {
                crate::outage::circuit_breaker(server, make_db).await;
            })
        });
        let make_db = async move || make_db(servers.endpoint().unwrap()).await;
        let over_layer = layer_cases(self.name, make_db.clone()).into_iter();
        let over_layer = over_layer.chain(erasure_cases(self.name, make_db.clone()));
        let over_layer = over_layer.chain(fault_cases(self.name, make_db));
        trials.extend(over_layer.map(|case| self.over_shared(case)));
        trials
    }

    /// Makes a test on the shared server, which therefore needs a table or users of its own. The
    /// test gets the endpoint.
    pub(crate) fn trial(
        &self,
        name: &str,
        test: impl AsyncFn(String) + Send + Sync + 'static,
    ) -> Trial {
        let servers = self.clone();
        self.over_shared(case(format!("{}::{name}", self.name), async move || {
            test(servers.endpoint().unwrap()).await;
        }))
    }

    /// A server that stops answering says nothing about the test, which runs again on the next
    /// server.
    fn over_shared(&self, Case { name, job }: Case) -> Trial {
        let servers = self.clone();
        self.ignored_if_missing(Trial::test(name, move || {
            let (first, second) = (Arc::clone(&job), job);
            let endpoint = servers.endpoint()?;
            let failed = catch(|| within(LIMIT, &servers.shown(&endpoint), move || first()));
            let Err(failed) = failed else { return Ok(()) };
            match servers.endpoint()? {
                same if same == endpoint => Err(failed),
                other => within(LIMIT, &servers.shown(&other), move || second()),
            }
        }))
    }

    /// Makes a test on a server of its own, started with `extra` arguments, that it may stop and
    /// restart.
    pub(crate) fn trial_with_own_server(
        &self,
        name: &str,
        extra: &'static [&'static str],
        test: impl AsyncFnOnce(Server) + Send + 'static,
    ) -> Trial {
        let servers = self.clone();
        let trial = Trial::test(format!("{}::{name}", self.name), move || match &*servers.place {
            Place::Here(program) => {
                let server = Server::start(program, extra);
                let waits_for = servers.shown(&server.endpoint());
                within(LONG_LIMIT, &waits_for, move || run(test(server)))
            }
            Place::Elsewhere(_) => Err("this needs a server that it may stop".into()),
            Place::Missing => Err(servers.hint.into()),
        });
        match &*self.place {
            Place::Elsewhere(_) => trial.with_ignored_flag(true),
            _ => self.ignored_if_missing(trial),
        }
    }

    /// Checks that a server can be started, stopped and restarted here, and that a hanging one is
    /// detected.
    pub(crate) fn self_tests(&self) -> [Trial; 2] {
        let starts_again = async |mut server: Server| {
            let address = server.endpoint().rsplit('/').next().unwrap().to_owned();
            for _ in 0..2 {
                tokio::net::TcpStream::connect(&address).await.unwrap();
                server.stop();
                // A process of the server's own may hold the port a moment longer.
                let refuses = async {
                    while tokio::net::TcpStream::connect(&address).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), refuses).await.unwrap();
                server.start_again();
            }
        };
        // Tells its messages from those about a server that hung by itself.
        const HUNG: &str = "a server that a test has stopped";
        let program = match &*self.place {
            Place::Here(program) => Some(program.clone()),
            _ => None,
        };
        let is_replaced = async move |server: Server| {
            let shared = Shared { server: Some(server), hung: 0 };
            let servers = Self {
                name: HUNG,
                hint: "",
                place: Arc::new(Place::Here(Program { name: HUNG, ..program.expect("a server") })),
                shared: Arc::new(Mutex::new(shared)),
            };
            let endpoint = servers.endpoint().unwrap();
            assert_eq!(servers.endpoint().unwrap(), endpoint, "it answers, so it stays");
            let freeze = || servers.lock().server.as_mut().unwrap().freeze();
            // It hangs a moment later.
            let changed = |from: &Result<String, String>| loop {
                match servers.endpoint() {
                    same if same == *from => std::thread::sleep(Duration::from_millis(20)),
                    other => break other,
                }
            };
            freeze();
            let next = changed(&Ok(endpoint));
            assert!(next.is_ok(), "{next:?}");
            freeze();
            let error = changed(&next).unwrap_err();
            assert!(error.contains("for the second time"), "{error}");
            assert_eq!(servers.endpoint(), Err(error), "and from then on");
        };
        [
            self.trial_with_own_server("server_starts_again", &[], starts_again),
            self.trial_with_own_server("server_that_hangs_is_replaced_once", &[], is_replaced),
        ]
    }

    /// Stops the shared server.
    pub(crate) fn stop(&self) {
        self.lock().server = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Describes the server behind this endpoint, for which a test waits.
    fn shown(&self, endpoint: &str) -> String {
        let name = match &*self.place {
            Place::Here(program) => program.name,
            _ => self.name,
        };
        format!("{name} at {}", endpoint.rsplit('@').next().unwrap_or_default())
    }

    /// Returns the endpoint of the shared server. The first call starts it. A server that no longer
    /// answers is restarted once.
    fn endpoint(&self) -> Result<String, String> {
        let program = match &*self.place {
            Place::Elsewhere(endpoint) => return Ok(endpoint.clone()),
            Place::Here(program) => program,
            Place::Missing => return Err(self.hint.to_owned()),
        };
        let mut shared = self.lock();
        if let Some(endpoint) = shared.server.as_ref().map(Server::endpoint)
            && !(program.answers)(&endpoint)
        {
            shared.hung += 1;
            shared.server = None;
            let what = format!("{} no longer answers", self.shown(&endpoint));
            eprintln!(
                "{what}; it is ended{}",
                if shared.hung == 1 { " and started anew" } else { "" }
            );
        }
        if shared.hung > 1 {
            let name = program.name;
            return Err(format!("{name} stopped answering for the second time in this run"));
        }
        Ok(shared.server.get_or_insert_with(|| Server::start(program, &[])).endpoint())
    }

    /// Never reports success without a server. In CI a missing server is a failure.
    fn ignored_if_missing(&self, trial: Trial) -> Trial {
        let is_missing = matches!(*self.place, Place::Missing);
        let is_ci = env::var("CI").is_ok_and(|value| value == "true");
        trial.with_ignored_flag(is_missing && !is_ci)
    }
}

/// Turns a panic into a failure.
fn catch(test: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("it panicked").into())
    })
}
