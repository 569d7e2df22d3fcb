//! The report of a layer on its settings, at start.

use std::sync::Arc;

use super::checks::Assigned;
use super::layer::VerifyLayer;
use crate::error::Error;

/// Settings, for a report at start.
impl VerifyLayer {
    /// Checks the settings, at start: that each verifier has what it needs.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// assert!(VerifyLayer::new().slack("signing secret").check_settings().is_ok());
    /// let error = VerifyLayer::new().slack("").check_settings().unwrap_err();
    /// assert!(error.to_string().contains("slack: a secret is empty"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_configuration`](Error::is_configuration), with the platforms whose requests would all
    /// be refused, and the reasons.
    pub fn check_settings(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        for (platform, verifiers) in &self.checks.verifiers {
            problems.extend(verifiers.iter().filter_map(|verifier| match verifier {
                Assigned::Usable(_) => None,
                Assigned::Unusable(problem) => Some(format!("{platform}: {problem}")),
            }));
        }
        problems.sort();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::configuration(problems.join("; "))),
        }
    }

    /// Returns the names of the platforms whose requests are checked.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// assert_eq!(VerifyLayer::new().slack("signing secret").verified(), ["slack"]);
    /// ```
    #[must_use]
    pub fn verified(&self) -> Vec<&str> {
        sorted(self.checks.verifiers.keys())
    }

    /// Returns the names of the platforms whose requests pass unchecked.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// assert_eq!(VerifyLayer::new().trust("web").trusted(), ["web"]);
    /// ```
    #[must_use]
    pub fn trusted(&self) -> Vec<&str> {
        let trusted = self.checks.trusted.iter();
        sorted(trusted.filter(|name| !self.checks.verifiers.contains_key(*name)))
    }

    /// Returns the names of the platforms whose requests are all refused, because they have no
    /// verifier.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// assert!(VerifyLayer::new().refused().contains(&"alexa"));
    /// ```
    #[must_use]
    pub fn refused(&self) -> Vec<&str> {
        let names = self.checks.platforms.iter().map(|platform| &platform.name);
        sorted(names.filter(|name| {
            !self.checks.verifiers.contains_key(*name) && !self.checks.trusted.contains(*name)
        }))
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.map(|name| &**name).collect();
    names.sort_unstable();
    names
}
