//! Runs a schedule: users, their requests, and the processes that serve them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::Alexa;
use tower_persistence::testing::{Fault, Faulty, InjectedFault};
use tower_persistence::{Database, Error, MemoryDb, PersistenceLayer, User};

use crate::plan::{DELIVERIES, Handler, Plan, Request};
use crate::process::{CLAIMED_BY, COUNT, Notes, Process, request_of, traces, user_id};

type HttpRequest = http::Request<Full<Bytes>>;

/// The answer that a client received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Status(u16),
    Cancelled,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delivered {
    /// The answer to each delivery.
    pub(crate) answers: Vec<Answer>,
    /// The body of the last answer.
    pub(crate) body: String,
}

impl Delivered {
    pub(crate) fn last(&self) -> Answer {
        self.answers[self.answers.len() - 1]
    }
}

/// The outcome of a schedule.
#[derive(Debug)]
pub(crate) struct End {
    /// The answers, by request.
    pub(crate) answers: BTreeMap<usize, Delivered>,
    /// The replies that are stored for repeats, by request.
    pub(crate) replies: BTreeMap<usize, String>,
    pub(crate) notes: Notes,
    /// The stored records, by user.
    pub(crate) stored: Vec<Option<Map<String, Value>>>,
    pub(crate) faults: Vec<Vec<InjectedFault>>,
    /// The longest time that one of the last requests took, without any interference.
    pub(crate) last_took: Duration,
}

struct World {
    plan: Plan,
    began: Instant,
    notes: Arc<Mutex<Notes>>,
    layers: Vec<PersistenceLayer<Process>>,
}

/// Runs the schedule on its own runtime, whose time passes only while all tasks wait.
pub(crate) fn run(plan: &Plan) -> End {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run_plan(plan))
}

async fn run_plan(plan: &Plan) -> End {
    let items = MemoryDb::new();
    let faulty = |seed: u64| {
        let database = Faulty::seeded(items.clone(), seed);
        database.set_rates(plan.rates.clone());
        database
    };
    let mut databases = vec![faulty(plan.seed)];
    for process in 1..plan.processes {
        let own = faulty(plan.seed ^ ((process as u64) << 32));
        databases.push(if plan.faults_in_common { databases[0].clone() } else { own });
    }
    let (began, notes) = (Instant::now(), Arc::default());
    let layer = |(number, database): (usize, &Faulty<MemoryDb>)| {
        let notes = Arc::clone(&notes);
        let process = Process { number, database: database.clone(), began, notes };
        let layer = PersistenceLayer::new(process).platforms(vec![Box::new(Alexa)]);
        let layer = layer.on_conflict(plan.on_conflict).on_outage(plan.on_outage);
        layer.deduplicate(plan.redelivers)
    };
    let layers = databases.iter().enumerate().map(layer).collect();
    let world = Arc::new(World { plan: plan.clone(), began, notes: Arc::clone(&notes), layers });

    let mut answers = BTreeMap::new();
    let clients = plan.requests.iter().map(|request| {
        let (world, request) = (Arc::clone(&world), *request);
        let client = async move { world.send(request).await };
        (request.number, tokio::spawn(client))
    });
    for (number, client) in clients.collect::<Vec<_>>() {
        answers.insert(number, client.await.unwrap());
    }
    // Saves without a waiting client run to completion or to their time-out.
    sleep(Duration::from_secs(10)).await;
    databases.iter().for_each(Faulty::heal);

    let mut last_took = Duration::ZERO;
    for request in plan.last_requests() {
        let began = Instant::now();
        answers.insert(request.number, world.send(request).await);
        last_took = last_took.max(began.elapsed());
    }
    let (mut stored, mut replies) = (Vec::new(), BTreeMap::new());
    for user in 0..plan.users {
        let item = items.load(&user_id(user)).await.unwrap();
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

impl World {
    /// Sends a request, and again until it is answered with success if the schedule says so.
    async fn send(self: &Arc<Self>, request: Request) -> Delivered {
        let own = Duration::from_millis(request.number as u64);
        sleep_until(self.began + request.starts_at + own).await;
        let most = if self.plan.redelivers { DELIVERIES } else { 1 };
        let mut answers = Vec::new();
        loop {
            let polls = request.polls.filter(|_| answers.is_empty());
            let before = self.runs(request);
            let process = request.processes[answers.len()];
            let (answer, body) = self.deliver(request, process, polls).await;
            answers.push(answer);
            let is_done = answer == Answer::Status(200);
            if is_done && self.runs(request) == before {
                self.notes.lock().unwrap().answered_again.insert(request.number);
            }
            if is_done || answers.len() == most {
                return Delivered { answers, body };
            }
            sleep(Duration::from_millis(100) + own).await;
        }
    }

    fn runs(&self, request: Request) -> usize {
        self.notes.lock().unwrap().runs.get(&request.number).copied().unwrap_or(0)
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
        let response = service.oneshot(http_request(request));
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
        if user.id() != user_id(request.user) || !traces(&data).all(is_own) {
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

fn http_request(request: Request) -> HttpRequest {
    let (user, number) = (user_id(request.user), request.number);
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

impl End {
    /// Returns the kinds of events in this schedule.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let faults = self.faults.iter().flatten().map(|injected| match injected.fault {
            Fault::Delay(_) => "Delay".to_owned(),
            Fault::DelayAfter(_) => "DelayAfter".to_owned(),
            Fault::Outage { .. } => "Outage".to_owned(),
            fault => format!("{fault:?}"),
        });
        let answers = self.answers.values().flat_map(|it| &it.answers).map(|answer| match answer {
            Answer::Status(status) => format!("answered {status}"),
            Answer::Cancelled => "cancelled".to_owned(),
        });
        let runs = self.notes.runs.values().filter(|runs| **runs > 1);
        let runs = runs.map(|_| "ran twice".to_owned());
        let degraded = self.notes.degraded.keys().map(|_| "degraded".to_owned());
        let unsure = self.stored.iter().flatten().flat_map(|data| data.keys());
        let unsure = unsure.filter_map(|key| request_of(key));
        let unsure = unsure.filter(|number| self.answers[number].last() != Answer::Status(200));
        let unsure = unsure.map(|_| "not acknowledged but stored".to_owned());
        let again = self.notes.answered_again.iter().map(|_| "answered again".to_owned());
        let late = self.answers.values().filter(|it| it.answers.len() > 1);
        let late = late.map(|it| match it.last() {
            Answer::Status(200) => "redelivered with success".to_owned(),
            _ => "redelivered in vain".to_owned(),
        });
        let kinds = faults.chain(answers).chain(runs).chain(degraded).chain(unsure);
        kinds.chain(again).chain(late).collect()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (process, faults) in self.faults.iter().enumerate() {
            writeln!(f, "faults of process {process}:")?;
            faults.iter().try_for_each(|fault| writeln!(f, "  {fault:?}"))?;
        }
        writeln!(f, "answers: {:?}", self.answers)?;
        for (user, data) in self.stored.iter().enumerate() {
            let data = data.as_ref().map(|data| serde_json::to_string(data).unwrap_or_default());
            writeln!(f, "stored of user {user}: {}", data.as_deref().unwrap_or("nothing"))?;
        }
        Ok(())
    }
}
