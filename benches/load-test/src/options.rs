//! The options of the command line.

use std::time::Duration;

/// What to load, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) service: String,
    pub(crate) database: String,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) users: usize,
    pub(crate) zipf: f64,
    pub(crate) workers: usize,
    /// Set in the process of the server.
    pub(crate) serves: bool,
}

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            service: "layer".to_owned(),
            database: "memory:".to_owned(),
            connections: 16,
            duration: Duration::from_secs(10),
            users: 10_000,
            zipf: 1.0,
            workers: 1,
            serves: false,
        };
        while let Some(name) = arguments.next() {
            if name == "--serve" {
                options.serves = true;
                continue;
            }
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            let number = || value.parse::<f64>().unwrap_or_else(|_| panic!("{name} is a number"));
            match name.as_str() {
                "--service" => options.service = value,
                "--database" => options.database = value,
                "--connections" => options.connections = number() as usize,
                "--duration" => options.duration = Duration::from_secs_f64(number()),
                "--users" => options.users = number() as usize,
                "--zipf" => options.zipf = number(),
                "--workers" => options.workers = number() as usize,
                _ => panic!("{name} is not an option; see the top of `main.rs`"),
            }
        }
        options
    }

    /// Returns the kind of the database. The rest of its URL may hold a password.
    pub(crate) fn scheme(&self) -> &str {
        match self.service.as_str() {
            "layer" => self.database.split(':').next().unwrap_or_default(),
            _ => "memory",
        }
    }
}
