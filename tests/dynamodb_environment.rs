//! Region and credentials from the environment, in processes with an environment of their own.
//!
//! Each test runs this program again with only the test `in_an_environment`, because no process may
//! change its own environment while others read it.

#![cfg(all(feature = "aws-config", feature = "file"))]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "layer/common.rs"]
mod common;

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{alexa, post, send, sync_app};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_persistence::{Database, DynamoDb, PersistenceLayer};

const LONG: Duration = Duration::from_secs(60);
const SECRET: &str = "SECRETKEY";

/// A server that answers each request with this text after this time.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(
        delay: impl Fn(usize) -> Duration + Send + Sync + 'static,
        body: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, answers) = (asked.clone(), Arc::new((delay, body)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (counter, answers) = (counter.clone(), answers.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (counter, answers) = (counter.clone(), answers.clone());
                    async move {
                        let before = counter.fetch_add(1, Ordering::Relaxed);
                        request.into_body().collect().await?;
                        tokio::time::sleep((answers.0)(before)).await;
                        let body = Full::new(Bytes::from((answers.1)()));
                        Ok::<_, hyper::Error>(Response::new(body))
                    }
                });
                tokio::spawn(async move {
                    let stream = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(stream, service).await;
                });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Starts a DynamoDB with an empty table.
async fn dynamodb() -> Server {
    Server::start(|_| Duration::ZERO, || "{}".to_owned()).await
}

/// Makes credentials with this lifetime, in a container's format.
fn credentials(lifetime: Duration) -> String {
    let expires = jiff::Timestamp::now() + lifetime;
    serde_json::json!({
        "Version": 1,
        "AccessKeyId": "AKIASECRETID",
        "SecretAccessKey": SECRET,
        "SessionToken": "TOKEN",
        "Token": "TOKEN",
        "Expiration": expires.to_string(),
    })
    .to_string()
}

/// Runs [`in_an_environment`] with these variables and no others, and returns its output.
async fn run(variables: &[(&str, &str)]) -> String {
    let kept = ["PATH", "TMPDIR", "LD_LIBRARY_PATH"];
    let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let set = variables.iter().map(|(name, value)| (*name, OsString::from(value)));
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "in_an_environment", "--ignored", "--nocapture"])
        .env_clear()
        .envs([("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs(kept)
        .envs(set)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    let output = tokio::time::timeout(LONG, command.output()).await.expect("it ends").unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!text.contains("SECRET"), "{text}");
    text
}

/// Serves requests of eight users at a time, as often as the variable says, and prints the results.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests run it, each in a process of its own"]
async fn in_an_environment() {
    let variable = |name: &str| std::env::var(name).ok();
    let url = variable("DATABASE_URL").expect("the other tests run it");
    let began = Instant::now();
    let database = match tower_persistence::connect(&url).await {
        Ok(database) => database,
        Err(error) => return println!("built: {error:?}"),
    };
    println!("built after {:?}: {database:?}", began.elapsed());
    let app = sync_app(&PersistenceLayer::new(database), |user, _, _| user.set("a", 1));
    let rounds = variable("ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds {
        let mut requests = tokio::task::JoinSet::new();
        for index in 0..8 {
            let app = app.clone();
            requests.spawn(async move {
                let answer = send(&app, post(alexa(&format!("user-{index}")).to_string())).await;
                match answer.status.as_u16() {
                    200 => "served".to_owned(),
                    status => format!("{status}: {:?}", answer.error()),
                }
            });
        }
        while let Some(answer) = requests.join_next().await {
            println!("{} after {:?}", answer.unwrap(), began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn served(text: &str) -> usize {
    text.matches("served").count()
}

/// The container takes longer than a request may, and longer than the SDK waits for a container.
#[tokio::test]
async fn slow_credentials_of_a_container_are_waited_for_once() {
    for delay in [Duration::from_secs(3), Duration::from_secs(8)] {
        let dynamodb = dynamodb().await;
        let container =
            Server::start(move |_| delay, || credentials(Duration::from_secs(3600))).await;
        let url = format!("dynamodb://Users?endpoint={}", dynamodb.url);
        let full_uri = format!("{}/credentials", container.url);
        let variables =
            [("DATABASE_URL", url.as_str()), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full_uri)];
        let text = run(&variables).await;
        assert_eq!(served(&text), 8, "{text}");
        assert_eq!(container.asked(), 1, "{text}");
        assert!(text.contains("region: \"us-east-1\""), "{text}");
    }
}

/// While the old credentials are valid, no request waits for new ones.
#[tokio::test]
async fn credentials_are_refreshed_ahead_of_their_expiry() {
    let dynamodb = dynamodb().await;
    let delay = |before| if before == 0 { Duration::ZERO } else { Duration::from_millis(2500) };
    let container = Server::start(delay, || credentials(Duration::from_secs(8))).await;
    let url = format!("dynamodb://Users?endpoint={}&timeout_ms=1000", dynamodb.url);
    let full_uri = format!("{}/credentials", container.url);
    let text = run(&[
        ("DATABASE_URL", &url),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full_uri),
        ("ROUNDS", "24"),
    ])
    .await;
    assert_eq!(served(&text), 8 * 24, "{text}");
    assert!((2..=4).contains(&container.asked()), "{}: {text}", container.asked());
}

#[tokio::test]
async fn an_error_of_credentials_says_so() {
    let dynamodb = dynamodb().await;
    let hanging = Server::start(|_| LONG, String::new).await;
    let broken = Server::start(|_| Duration::ZERO, || "no credentials".to_owned()).await;
    let cases = [
        (&hanging, "&ready_timeout_ms=800", "were not loaded within 800ms"),
        (&broken, "", "could not be loaded"),
    ];
    for (container, options, why) in cases {
        let url = format!("dynamodb://Users?endpoint={}{options}", dynamodb.url);
        let full_uri = format!("{}/credentials", container.url);
        let text =
            run(&[("DATABASE_URL", &url), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &full_uri)]).await;
        let expected = format!("503: the AWS credentials for table \"Users\" {why}");
        assert_eq!(text.matches(&expected).count(), 8, "{text}");
    }
    assert_eq!(dynamodb.asked(), 0);
}

/// EC2's metadata service never answers, as in many networks outside EC2.
#[tokio::test]
async fn missing_credentials_are_reported_within_seconds() {
    let dynamodb = dynamodb().await;
    let metadata = Server::start(|_| LONG, String::new).await;
    let url = format!("dynamodb://Users?endpoint={}", dynamodb.url);
    let began = Instant::now();
    let text = run(&[
        ("DATABASE_URL", &url),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url),
    ])
    .await;
    assert_eq!(text.matches("503: the AWS credentials for table").count(), 8, "{text}");
    assert!(text.contains("give the app a role or a profile"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {text}", began.elapsed());
    assert!(metadata.asked() <= 4, "{}", metadata.asked());
}

/// EC2 is asked neither for the region nor for credentials if both are set elsewhere.
#[tokio::test]
async fn the_region_is_not_looked_up_where_an_endpoint_is_given() {
    let dynamodb = dynamodb().await;
    let metadata = Server::start(|_| LONG, String::new).await;
    let given = format!("dynamodb://Users?endpoint={}", dynamodb.url);
    for (url, endpoint) in [(given.as_str(), ""), ("dynamodb://Users", dynamodb.url.as_str())] {
        let text = run(&[
            ("DATABASE_URL", url),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIASECRETID"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url),
        ])
        .await;
        assert_eq!(served(&text), 8, "{text}");
        assert!(text.contains("region: \"us-east-1\""), "{text}");
    }
    assert_eq!(metadata.asked(), 0);
}

#[tokio::test]
async fn a_profile_may_run_a_process_or_use_sso() {
    let dynamodb = dynamodb().await;
    let url = format!("dynamodb://Users?endpoint={}", dynamodb.url);
    let directory = tempfile::tempdir().unwrap();
    let (config, answer) = (directory.path().join("config"), directory.path().join("answer"));
    std::fs::write(&answer, credentials(Duration::from_secs(3600))).unwrap();
    let script = format!("sh -c 'sleep 3; cat {}'", answer.display());
    let profiles = format!(
        "[default]\nregion = eu-west-1\ncredential_process = {script}\n\
         [profile sso]\nregion = eu-west-1\nsso_start_url = https://example.com/start\n\
         sso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = Developer\n\
         [profile login]\nregion = eu-west-1\nlogin_session = arn:aws:iam::123456789012:user/a\n"
    );
    std::fs::write(&config, profiles).unwrap();
    let config = config.display().to_string();
    let text = run(&[("DATABASE_URL", &url), ("AWS_CONFIG_FILE", &config)]).await;
    assert_eq!(served(&text), 8, "{text}");
    assert!(text.contains("region: \"eu-west-1\""), "{text}");
    // The profiles work but for the missing login.
    for profile in ["sso", "login"] {
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("AWS_CONFIG_FILE", &config),
            ("AWS_PROFILE", profile),
        ];
        let text = run(&variables).await;
        assert_eq!(text.matches("503: the AWS credentials for table").count(), 8, "{text}");
        let expected =
            if cfg!(feature = "aws-login") || profile == "sso" { "cache" } else { "`aws-login`" };
        assert!(text.contains(expected), "{text}");
    }
}

/// A client of the caller's gets the same treatment.
#[tokio::test]
async fn a_client_of_the_caller_waits_for_its_credentials() {
    use aws_credential_types::provider::{ProvideCredentials, future};
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

    #[derive(Debug)]
    struct Slow(Arc<AtomicUsize>);

    impl ProvideCredentials for Slow {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                self.0.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2500)).await;
                Ok(Credentials::new("AKIASECRETID", SECRET, None, None, "test"))
            })
        }
    }

    let (dynamodb, asked) = (dynamodb().await, Arc::default());
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Slow(Arc::clone(&asked)))
        .endpoint_url(&dynamodb.url);
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    let db = DynamoDb::builder("Users").client(client).timeout(Duration::from_millis(500));
    let db = db.build().await.unwrap();
    // A request that gives up does not end the loading.
    let impatient = tokio::time::timeout(Duration::from_millis(300), db.load("a")).await;
    assert!(impatient.is_err());
    assert_eq!(db.load("a").await.unwrap(), None);
    db.ensure_ready().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
