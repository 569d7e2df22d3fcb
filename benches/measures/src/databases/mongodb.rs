//! `MongoDb` beside `mongodb`, over a server that answers at once and stores nothing: what is
//! measured is the client.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Bson, Document, doc, serialize_to_document};
use mongodb::{Client, Collection};
use tower_persistence::{MongoDb, Record};

use super::{Store, id};

/// The operation codes of the wire protocol.
/// <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>
const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// Starts a server whose reads return this record, whoever is asked for, and returns its URI. It
/// ends with the process.
#[must_use]
pub fn serve(record: &Record) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut stored = doc! { "_id": id(0) };
    stored.extend(serialize_to_document(record).expect("a document"));
    stored.iter_mut().for_each(|(_, value)| shorten(value));
    let times = stored.get_str("updatedAt").expect("a time").to_owned();
    stored.insert("persistenceVersion", format!("{times}/0123456789abcdef"));
    let cursor = doc! { "id": 0_i64, "ns": "app.jovoUsers", "firstBatch": [stored] };
    let found = doc! { "ok": 1.0, "cursor": cursor };
    let found: Arc<[u8]> = found.to_vec().expect("a document").into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let found = Arc::clone(&found);
            // The client may close a connection at any time.
            thread::spawn(move || answer(stream, &found).ok());
        }
    });
    format!("mongodb://{address}/app?retryWrites=false")
}

/// Makes an integer of 32 bits of each that fits, as every driver that knows no Rust does.
fn shorten(value: &mut Bson) {
    match value {
        Bson::Int64(long) => {
            if let Ok(short) = i32::try_from(*long) {
                *value = Bson::Int32(short);
            }
        }
        Bson::Array(array) => array.iter_mut().for_each(shorten),
        Bson::Document(document) => document.iter_mut().for_each(|(_, value)| shorten(value)),
        _ => {}
    }
}

fn answer(mut stream: TcpStream, found: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let hello = doc! {
        "ok": 1.0, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "readOnly": false,
        "minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
    };
    let hello = hello.to_vec().expect("a document");
    let written = doc! { "ok": 1.0, "n": 1, "nModified": 1 }.to_vec().expect("a document");
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let word =
            |at: usize| i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut body = vec![0; word(0) as usize - head.len()];
        stream.read_exact(&mut body)?;
        let (request, code) = (word(4), word(12));
        // The command is the first key of the first document.
        let begin = match code {
            OP_QUERY => 4 + body[4..].iter().position(|byte| *byte == 0).expect("a name") + 1 + 8,
            _ => 5,
        };
        let length = i32::from_le_bytes(body[begin..begin + 4].try_into().expect("four bytes"));
        let command = RawDocument::from_bytes(&body[begin..begin + length as usize]);
        let command = command.expect("a document").iter().next().expect("a command").expect("BSON");
        let reply = match command.0.as_str() {
            "hello" | "ismaster" | "isMaster" => &hello[..],
            "find" => found,
            _ => &written[..],
        };
        let mut message = Vec::with_capacity(reply.len() + 64);
        let (own, prefix) = match code {
            OP_QUERY => (OP_REPLY, [0, 0, 0, 0, 1].map(i32::to_le_bytes).concat()),
            _ => (OP_MSG, [0, 0, 0, 0, 0].to_vec()),
        };
        let all = (head.len() + prefix.len() + reply.len()) as i32;
        for word in [all, 0, request, own] {
            message.extend(word.to_le_bytes());
        }
        message.extend(prefix);
        message.extend(reply);
        stream.write_all(&message)?;
    }
}

/// Connects the database.
pub async fn database(uri: &str) -> MongoDb {
    MongoDb::connect(uri).await.expect("a database")
}

/// The driver alone.
#[derive(Clone, Debug)]
pub struct Bare(Collection<Document>);

impl Bare {
    /// Connects.
    pub async fn open(uri: &str) -> Self {
        let client = Client::with_uri_str(uri).await.expect("a client");
        Self(client.database("app").collection("jovoUsers"))
    }

    async fn find(&self, id: &str) -> Document {
        let found = self.0.find_one(doc! { "_id": { "$eq": id } }).await.expect("read");
        found.expect("a document")
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(id).await);
    }

    /// Writes the changed fields, if the version and the times are still the same.
    async fn visit(&self, id: &str, _: usize) {
        let mut document = self.find(id).await;
        let mut user = document.remove("user").expect("a user");
        let data = user.as_document_mut().expect("an object");
        let data = data.get_document_mut("data").expect("data");
        let visits = data.get_i32("visits").expect("a number");
        data.insert("visits", visits + 1);
        let filter = doc! {
            "_id": { "$eq": id },
            "persistenceVersion": { "$eq": document.remove("persistenceVersion") },
            "updatedAt": { "$eq": document.remove("updatedAt") },
            "createdAt": { "$eq": document.remove("createdAt") },
        };
        let now = "2026-01-02T00:00:00.000Z";
        let version = format!("{now}/fedcba");
        let set = doc! { "user": user, "updatedAt": now, "persistenceVersion": version };
        let updated = self.0.update_one(filter, doc! { "$set": set }).await.expect("written");
        assert_eq!(updated.matched_count, 1);
    }
}
