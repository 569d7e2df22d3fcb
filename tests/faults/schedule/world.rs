//! Runs a schedule: users, their requests, and the processes that serve them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::Alexa;
use tower_persistence::testing::Faulty;
use tower_persistence::{Database, Error, MemoryDb, PersistenceLayer, User};

use super::end::{Answer, Delivered, End};
use super::plan::{DELIVERIES, Handler, Plan, Request};
use super::process::{CLAIMED_BY, COUNT, Notes, Process, traces};

/// The most deliveries of a request after which a real server must have served it.
const PATIENCE: usize = 30;

type HttpRequest = http::Request<Full<Bytes>>;

struct World<D> {
    plan: Plan,
    began: Instant,
    notes: Arc<Mutex<Notes>>,
    layers: Vec<PersistenceLayer<Process<D>>>,
}

/// Runs the schedule over `MemoryDb` on its own runtime, whose time passes only while all tasks
/// wait.
pub(crate) fn run(plan: &Plan) -> End {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let items = MemoryDb::new();
    runtime.unwrap().block_on(run_over(plan, &[items.clone(), items], Clock::Paused))
}

/// The clock of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Clock {
    /// The schedule is the same each time.
    Paused,
    /// Answers of servers come when they come.
    Real,
}

/// Runs the schedule. The processes use these handles to one database.
pub(crate) async fn run_over<D: Database + Clone>(plan: &Plan, handles: &[D], clock: Clock) -> End {
    let faulty = |process: usize| {
        let seed = plan.seed ^ ((process as u64) << 32);
        let database = Faulty::seeded(handles[process].clone(), seed);
        database.set_rates(plan.rates.clone());
        database
    };
    let mut databases = vec![faulty(0)];
    for process in 1..plan.processes {
        databases.push(if plan.faults_in_common { databases[0].clone() } else { faulty(process) });
    }
    let (began, notes) = (Instant::now(), Arc::default());
    let layer = |(number, database): (usize, &Faulty<D>)| {
        let (database, notes) = (database.clone(), Arc::clone(&notes));
        let (prefix, paced_since) =
            (plan.prefix.clone(), (clock == Clock::Paused).then_some(began));
        let process = Process { number, database, prefix, paced_since, notes };
        let layer = PersistenceLayer::new(process).platforms(vec![Box::new(Alexa)]);
        let layer = layer.on_conflict(plan.on_conflict).on_outage(plan.on_outage);
        layer.deduplicate(plan.redelivers || clock == Clock::Real)
    };
    let layers = databases.iter().enumerate().map(layer).collect();
    let world = Arc::new(World { plan: plan.clone(), began, notes: Arc::clone(&notes), layers });

    let mut answers = BTreeMap::new();
    let clients = plan.requests.iter().map(|request| {
        let (world, request) = (Arc::clone(&world), *request);
        let most = if plan.redelivers { DELIVERIES } else { 1 };
        let client = async move { world.send(request, most).await };
        (request.number, tokio::spawn(client))
    });
    for (number, client) in clients.collect::<Vec<_>>() {
        answers.insert(number, client.await.unwrap());
    }
    // Saves without a waiting client run to completion or to their time-out.
    for layer in &world.layers {
        layer.drain().await;
    }
    databases.iter().for_each(Faulty::heal);

    let most = match clock {
        Clock::Paused if plan.redelivers => DELIVERIES,
        Clock::Paused => 1,
        // A server may not answer in time, for reasons of its own.
        Clock::Real => PATIENCE,
    };
    let mut last_took = None;
    for request in plan.last_requests() {
        let began = Instant::now();
        answers.insert(request.number, world.send(request, most).await);
        last_took = last_took.max((clock == Clock::Paused).then(|| began.elapsed()));
    }
    let (mut stored, mut replies) = (Vec::new(), BTreeMap::new());
    for user in 0..plan.users {
        let item = handles[0].load(&plan.user_id(user)).await.unwrap();
        let fields = item.map(|stored| stored.record.fields().clone()).unwrap_or_default();
        replies.extend(fields.get("handledEvents").into_iter().flat_map(stored_replies));
        let user = fields.get("user").cloned();
        stored.push(user.map(|user| user["data"].as_object().cloned().unwrap_or_default()));
    }
    let notes = std::mem::take(&mut *notes.lock().unwrap());
    let faults = databases.iter().map(Faulty::log).collect();
    End { answers, replies, notes, stored, faults, last_took }
}

/// Returns the stored replies with the numbers of their requests.
fn stored_replies(handled: &Value) -> impl Iterator<Item = (usize, String)> {
    handled.as_array().unwrap().iter().map(|event| {
        let number = event["id"].as_str().unwrap().strip_prefix("alexa:request-");
        let body = event["reply"]["body"].as_str().unwrap();
        (number.unwrap().parse().unwrap(), body.to_owned())
    })
}

impl<D: Database> World<D> {
    /// Sends a request, and again until it is answered with success, at most `most` times. With
    /// patience, it has to be served with memory.
    async fn send(self: &Arc<Self>, request: Request, most: usize) -> Delivered {
        let own = Duration::from_millis(request.number as u64);
        sleep_until(self.began + request.starts_at + own).await;
        let mut answers = Vec::new();
        loop {
            let polls = request.polls.filter(|_| answers.is_empty());
            let before = self.runs(request);
            let without_memory = self.runs_without_memory(request);
            let process = request.processes[answers.len() % DELIVERIES];
            let (answer, body) = self.deliver(request, process, polls).await;
            answers.push(answer);
            let is_patient = most == PATIENCE;
            let is_done = answer == Answer::Status(200)
                && !(is_patient && self.runs_without_memory(request) > without_memory);
            if is_done && self.runs(request) == before {
                self.notes.lock().unwrap().answered_again.insert(request.number);
            }
            if is_done || answers.len() >= most {
                return Delivered { answers, body };
            }
            sleep(Duration::from_millis(100) + own).await;
        }
    }

    fn runs(&self, request: Request) -> usize {
        self.notes.lock().unwrap().runs.get(&request.number).copied().unwrap_or(0)
    }

    fn runs_without_memory(&self, request: Request) -> usize {
        self.notes.lock().unwrap().degraded.get(&request.number).copied().unwrap_or(0)
    }

    /// Sends a request once, and waits for its answer as long as its client does.
    async fn deliver(
        self: &Arc<Self>,
        request: Request,
        process: usize,
        polls: Option<u64>,
    ) -> (Answer, String) {
        let world = Arc::clone(self);
        let handler = service_fn(move |http| Arc::clone(&world).handle(http));
        let service = self.layers[process].layer(handler);
        let response = service.oneshot(http_request(request, &self.plan.user_id(request.user)));
        match up_to(polls, response).await {
            Some(response) => {
                let (head, body) = response.unwrap().into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.into()).unwrap();
                (Answer::Status(head.status.as_u16()), body)
            }
            None => (Answer::Cancelled, String::new()),
        }
    }

    async fn handle(
        self: Arc<Self>,
        http: HttpRequest,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let request = *http.extensions().get::<Request>().unwrap();
        let user = http.extensions().get::<User>().unwrap();
        let run = {
            let mut notes = self.notes.lock().unwrap();
            if user.is_degraded() {
                *notes.degraded.entry(request.number).or_default() += 1;
            }
            let runs = notes.runs.entry(request.number).or_default();
            *runs += 1;
            *runs
        };
        self.look(request, user);
        let written = write(request, user);
        if let Handler::AnswersAfter(delay) = request.handler {
            sleep(delay).await;
        }
        let is_answered = written.is_ok() && request.handler != Handler::Fails;
        // No two runs answer alike.
        let body = format!("run {run} of request {}", request.number);
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = if is_answered { 200 } else { 500 }.try_into().unwrap();
        Ok(response)
    }

    /// Looks for data of other users.
    fn look(&self, request: Request, user: &User) {
        let data = user.data();
        let is_own = |number: Option<usize>| {
            number.is_some_and(|number| self.plan.is_of(number, request.user))
        };
        if user.id() != self.plan.user_id(request.user) || !traces(&data).all(is_own) {
            let what = format!("{request:?} sees {} with {data:?} of others", user.id());
            self.notes.lock().unwrap().violations.push(what);
        }
    }
}

fn write(request: Request, user: &User) -> Result<(), Error> {
    user.increment(COUNT, 1)?;
    // A number rather than a mark, so that storing it twice shows.
    user.increment(&format!("request-{}", request.number), 1)?;
    if request.handler == Handler::Claims {
        user.set(CLAIMED_BY, request.number)?;
    }
    Ok(())
}

fn http_request(request: Request, user: &str) -> HttpRequest {
    let number = request.number;
    let body = format!(
        r#"{{"version":"1.0","context":{{"System":{{"user":{{"userId":"{user}"}}}}}},"request":{{"type":"LaunchRequest","requestId":"request-{number}"}}}}"#
    );
    let http = http::Request::post("/").header("content-type", "application/json");
    http.extension(request).body(Full::from(body)).unwrap()
}

/// Drops `work` once it has been polled this often and is not ready.
async fn up_to<T>(polls: Option<u64>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if let Poll::Ready(result) = work.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        left = left.map(|left| left - 1);
        if left == Some(0) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}
