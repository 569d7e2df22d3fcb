//! Where the servers are, and tests over them.

use std::env;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::Trial;
use tower_persistence::Database;
use tower_persistence::testing::conformance;

use crate::erasure::erasure_trials;
use crate::layer::layer_trials;
use crate::outage::outage;
use crate::process::{Arguments, Server};
use crate::run;

/// A server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) command: OsString,
    pub(crate) arguments: Arguments,
}

/// Where the server of a database is.
#[derive(Debug)]
enum Place {
    /// Somewhere else, at this endpoint: it can be used, and not stopped.
    Elsewhere(String),
    Here(Program),
    /// Nowhere.
    Missing,
}

/// The servers of one database.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    name: &'static str,
    /// What to do about a missing one.
    hint: &'static str,
    place: Arc<Place>,
    shared: Arc<Mutex<Option<Server>>>,
}

/// DynamoDB Local of the directory `DYNAMODB_LOCAL_LIB`, or what is at `DYNAMODB_ENDPOINT`.
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
    });
    let hint = "install Java 17 and Maven and run scripts/test, or set DYNAMODB_ENDPOINT";
    Servers::new("dynamodb", hint, "DYNAMODB_ENDPOINT", program)
}

/// SecantusDB started by `SECANTUSD`, or what is at `MONGODB_URI`.
pub(crate) fn mongodb() -> Servers {
    let program = env::var_os("SECANTUSD").map(|command| Program {
        name: "SecantusDB",
        scheme: "mongodb",
        command,
        arguments: |port, data| {
            let port = port.to_string();
            let data = ["--storage-path".into(), data.into(), "--sync-on-commit".into()];
            let arguments = ["--log-level".into(), "WARNING".into(), "--port".into(), port.into()];
            arguments.into_iter().chain(data).collect()
        },
    });
    let hint = "install Python 3.11 with venv and run scripts/test, or set MONGODB_URI";
    Servers::new("mongodb", hint, "MONGODB_URI", program)
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

    /// What every database on a server has to pass: the conformance suite, and the layer with an outage in its midst.
    /// `make_db` makes a handle to the database at the endpoint, with whatever table or collection it names, created or not.
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
        let over_layer = layer_trials(self.name, make_db.clone());
        let over_layer = over_layer.into_iter().chain(erasure_trials(self.name, make_db));
        trials.extend(over_layer.map(|trial| self.ignored_if_missing(trial)));
        trials
    }

    /// A test over the server that all tests share, so with a table or with users of its own. It is given the endpoint.
    pub(crate) fn trial(
        &self,
        name: &str,
        test: impl AsyncFnOnce(String) + Send + 'static,
    ) -> Trial {
        let servers = self.clone();
        let name = format!("{}::{name}", self.name);
        self.ignored_if_missing(Trial::test(name, move || {
            let endpoint = servers.endpoint()?;
            run(test(endpoint));
            Ok(())
        }))
    }

    /// A test over a server of its own, started with `extra` arguments, that it may stop and start again.
    pub(crate) fn trial_with_own_server(
        &self,
        name: &str,
        extra: &'static [&'static str],
        test: impl AsyncFnOnce(Server) + Send + 'static,
    ) -> Trial {
        let servers = self.clone();
        let trial = Trial::test(format!("{}::{name}", self.name), move || match &*servers.place {
            Place::Here(program) => {
                run(test(Server::start(program, extra)));
                Ok(())
            }
            Place::Elsewhere(_) => Err("this needs a server that it may stop".into()),
            Place::Missing => Err(servers.hint.into()),
        });
        match &*self.place {
            Place::Elsewhere(_) => trial.with_ignored_flag(true),
            _ => self.ignored_if_missing(trial),
        }
    }

    /// That a server here can be started, stopped and started again.
    pub(crate) fn self_test(&self) -> Trial {
        self.trial_with_own_server("server_starts_again", &[], async |mut server| {
            let address = server.endpoint().rsplit('/').next().unwrap().to_owned();
            for _ in 0..2 {
                tokio::net::TcpStream::connect(&address).await.unwrap();
                server.stop();
                assert!(tokio::net::TcpStream::connect(&address).await.is_err());
                server.start_again();
            }
        })
    }

    /// Stops the server that tests share.
    pub(crate) fn stop(&self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The endpoint of the server that tests share, which is started when it is first asked for.
    fn endpoint(&self) -> Result<String, &'static str> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &*self.place {
            Place::Elsewhere(endpoint) => Ok(endpoint.clone()),
            Place::Here(program) => {
                Ok(shared.get_or_insert_with(|| Server::start(program, &[])).endpoint())
            }
            Place::Missing => Err(self.hint),
        }
    }

    /// Never passed without a server. In CI it fails, and says what is missing.
    fn ignored_if_missing(&self, trial: Trial) -> Trial {
        let is_missing = matches!(*self.place, Place::Missing);
        let is_ci = env::var("CI").is_ok_and(|value| value == "true");
        trial.with_ignored_flag(is_missing && !is_ci)
    }
}
